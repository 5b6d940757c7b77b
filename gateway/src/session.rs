//! One connection's state machine: texts and notices in, effects out. It does no IO, asks no clock and waits for nobody, so
//! whoever owns the socket can drive it, be it a task or a thread that owns thousands.
//!
//! A session knows who it is and which rooms it asked to be in. What a room answers goes straight from the
//! room into the connection's outbox, in the room's order; a session only hears of what changes its own state.

use crate::room::{Ask, AskKind};
use shared::{
    GameId, Timestamp,
    game::{Action, Command, Player, TimeControl},
    protocol::{
        self, ClientMessage, ErrorCode, Request, RequestId, ServerMessage,
        client::{ColorChoice, PlayerAction},
        close::CloseCode,
        server::{Ack, ErrorBody, Pong, Welcome},
    },
};
use std::collections::BTreeSet;

/// Messages over the limit that are refused before the connection is closed with 1008.
const STRIKES_MAX: u32 = 100;

/// Refusals are forgotten when none was due for this long, in milliseconds. (Not with each message that is within the limit:
/// in the worst of floods there are some.)
const STRIKES_FORGOTTEN_MS: i64 = 5_000;

/// What a connection is told about itself by rooms and the lobby.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Notice {
    /// It is a member of that room now.
    Joined(GameId),
    /// It is not, or not any more.
    Left(GameId),
    /// Its user plays there, and the game runs.
    Playing(GameId),
    /// That game is over.
    Finished(GameId),
}

/// What a session wants done.
#[derive(Debug)]
pub enum Effect {
    /// Say this, in answer to the request of that id.
    Say(Box<ServerMessage>, Option<RequestId>),
    /// Ask a room.
    Room(GameId, Ask),
    /// Ask the lobby.
    Lobby(LobbyAsk),
    /// Close the connection.
    Close(CloseCode, &'static str),
}

/// What a session asks of the lobby; the answer carries `id`.
#[derive(Debug, Clone, PartialEq)]
pub struct LobbyAsk {
    /// The request's id.
    pub id: Option<RequestId>,
    /// Who asks, under his present name.
    pub user: Player,
    /// What.
    pub kind: LobbyKind,
}

/// Kinds of [`LobbyAsk`].
#[derive(Debug, Clone, PartialEq)]
pub enum LobbyKind {
    /// Seek an opponent.
    Seek(Option<TimeControl>),
    /// Stop seeking.
    CancelSeek,
    /// Make an invitation.
    Create {
        /// Clocks.
        time_control: Option<TimeControl>,
        /// The creator's colour.
        color: ColorChoice,
        /// The same key gives the same game.
        key: Option<String>,
    },
}

/// One connection's state.
#[derive(Debug)]
pub struct Session {
    user: Player,
    rooms_max: usize,
    /// Rooms asked to be in, and not known to be out of; true for those it asked to leave. They are kept until they
    /// have answered: a room too busy to hear the request must still learn when this connection is gone.
    ///
    /// Nearly all connections are in one room and there are many of them, so this is a list without room to spare.
    rooms: Vec<(GameId, bool)>,
    /// The user's running games, as far as this connection knows.
    running: BTreeSet<GameId>,
    strikes: u32,
    struck_at: Timestamp,
}

impl Session {
    /// A session of this user, who has these games running.
    pub fn new(user: Player, running: Vec<GameId>, rooms_max: usize) -> Session {
        let running = running.into_iter().collect();
        Session {
            user,
            rooms_max,
            rooms: Vec::new(),
            running,
            strikes: 0,
            struck_at: Timestamp(0),
        }
    }

    /// The first message.
    pub fn welcome(
        &self,
        token: String,
        node: &str,
        server_time: Timestamp,
        heartbeat_ms: u64,
    ) -> ServerMessage {
        ServerMessage::Welcome(Welcome {
            user: self.user.clone(),
            token,
            node: node.to_owned(),
            protocol: protocol::VERSION,
            server_time,
            heartbeat_ms,
            active_games: self.running.iter().cloned().collect(),
        })
    }

    /// A text message came at `arrived`; `limited` if it came over the rate. `may_cost` counts one of the costly kinds, and says
    /// whether it is within theirs.
    pub fn text(
        &mut self,
        text: &str,
        arrived: Timestamp,
        limited: bool,
        may_cost: impl FnOnce() -> bool,
        effects: &mut Vec<Effect>,
    ) {
        let request = match Request::decode(text) {
            _ if limited => {
                if self.strike(arrived, effects) {
                    return;
                }
                let id = Request::decode(text).map_or_else(|error| error.id, |request| request.id);
                return effects.push(refuse(
                    id,
                    ErrorCode::RateLimited,
                    "too many messages; slow down",
                ));
            }
            Ok(request) => request,
            Err(error) => return effects.push(refuse(error.id, error.code, error.message)),
        };
        if is_costly(&request.message) && !may_cost() {
            if !self.strike(arrived, effects) {
                let why = "too many seeks, invitations and joins; slow down";
                effects.push(refuse(request.id, ErrorCode::RateLimited, why));
            }
            return;
        }
        self.request(request, arrived, effects);
    }

    /// A message too long to be decoded was skipped; `limited` if it came over the rate.
    pub fn too_large(&mut self, arrived: Timestamp, limited: bool, effects: &mut Vec<Effect>) {
        if limited && self.strike(arrived, effects) {
            return;
        }
        let message = format!("a message has at most {} bytes", protocol::MESSAGE_LEN_MAX);
        effects.push(refuse(None, ErrorCode::TooLarge, message));
    }

    /// Counts a message over the rate. True if it was one too many, and the connection closes.
    fn strike(&mut self, arrived: Timestamp, effects: &mut Vec<Effect>) -> bool {
        if arrived.since(self.struck_at) > STRIKES_FORGOTTEN_MS {
            self.strikes = 0;
        }
        self.struck_at = arrived;
        self.strikes += 1;
        let is_out = self.strikes > STRIKES_MAX;
        if is_out {
            effects.push(Effect::Close(CloseCode::Policy, "too many messages"));
        }
        is_out
    }

    /// A room or the lobby says something about this connection.
    pub fn notice(&mut self, notice: Notice) {
        match notice {
            Notice::Joined(game) => self.note_room(game),
            Notice::Left(game) => self.rooms.retain(|(room, _)| *room != game),
            Notice::Playing(game) => drop(self.running.insert(game)),
            Notice::Finished(game) => drop(self.running.remove(&game)),
        }
    }

    /// The connection is gone: the rooms to leave.
    pub fn close(self) -> Vec<GameId> {
        self.rooms.into_iter().map(|(game, _)| game).collect()
    }

    /// Whether it is in the room of a running game of its user.
    pub fn is_playing(&self) -> bool {
        self.running
            .iter()
            .any(|game| self.rooms().any(|room| room == game))
    }

    /// Rooms this connection asked to be in.
    pub fn rooms(&self) -> impl Iterator<Item = &GameId> {
        self.rooms.iter().map(|(game, _)| game)
    }

    fn request(&mut self, request: Request, arrived: Timestamp, effects: &mut Vec<Effect>) {
        let Request { id, message } = request;
        let user = self.user.clone();
        let room = |id, user, kind| Ask {
            id,
            user,
            arrived,
            kind,
        };
        match message {
            ClientMessage::Ping(ping) => {
                effects.push(Effect::Say(
                    Box::new(ServerMessage::Pong(Pong {
                        t: ping.t,
                        server_time: arrived,
                    })),
                    id,
                ));
            }
            ClientMessage::InitGame(seek) => {
                self.rename(seek.name);
                effects.push(self.lobby(id, LobbyKind::Seek(seek.time_control)));
            }
            ClientMessage::CancelSeek => {
                effects.push(self.lobby(id, LobbyKind::CancelSeek));
            }
            ClientMessage::CreateGame(create) => {
                self.rename(create.name);
                let (time_control, color, key) = (create.time_control, create.color, create.key);
                effects.push(self.lobby(
                    id,
                    LobbyKind::Create {
                        time_control,
                        color,
                        key,
                    },
                ));
            }
            ClientMessage::JoinGame(join) => {
                self.rename(join.name);
                if self.enter(&join.game_id, id.as_ref(), effects) {
                    effects.push(Effect::Room(
                        join.game_id,
                        room(id, self.user.clone(), AskKind::TakeSeat),
                    ));
                }
            }
            ClientMessage::JoinRoom(join) => {
                if self.enter(&join.game_id, id.as_ref(), effects) {
                    let seen = join.epoch.zip(join.seq);
                    effects.push(Effect::Room(
                        join.game_id,
                        room(id, user, AskKind::Join { seen }),
                    ));
                }
            }
            ClientMessage::LeaveRoom(leave) => {
                self.leaves(&leave.game_id);
                effects.push(Effect::Room(leave.game_id, room(id, user, AskKind::Leave)));
            }
            ClientMessage::ExitGame(exit) => {
                self.leaves(&exit.game_id);
                effects.push(Effect::Room(exit.game_id, room(id, user, AskKind::Exit)));
            }
            ClientMessage::Move(mv) => match mv.game_id.or_else(|| self.only_game()) {
                Some(game) => {
                    let kind = AskKind::Move {
                        mv: mv.mv,
                        ply: mv.ply,
                        seen: mv.seq,
                    };
                    effects.push(Effect::Room(game, room(id, user, kind)));
                }
                None => {
                    let message =
                        "name the `gameId`: it may be left out with exactly one running game";
                    effects.push(refuse(id, ErrorCode::BadMessage, message));
                }
            },
            ClientMessage::ClaimDraw(claim) => {
                let kind = AskKind::Act {
                    action: PlayerAsk::ClaimDraw(claim.mv),
                    offer: claim.seq,
                };
                effects.push(Effect::Room(claim.game_id, room(id, user, kind)));
            }
            ClientMessage::Act(action, offer) => {
                let kind = AskKind::Act {
                    action: PlayerAsk::Plain(action),
                    offer: offer.seq,
                };
                effects.push(Effect::Room(offer.game_id, room(id, user, kind)));
            }
            ClientMessage::Chat(chat) => {
                effects.push(Effect::Room(
                    chat.game_id,
                    room(id, user, AskKind::Chat(chat.text)),
                ));
            }
        }
    }

    fn lobby(&self, id: Option<RequestId>, kind: LobbyKind) -> Effect {
        Effect::Lobby(LobbyAsk {
            id,
            user: self.user.clone(),
            kind,
        })
    }

    /// Guests choose their names; users with an account have the one their token says.
    fn rename(&mut self, name: Option<String>) {
        let name = name
            .map(|name| name.trim().to_owned())
            .filter(|name| !name.is_empty());
        if let (true, Some(name)) = (self.user.is_guest, name) {
            self.user.name = name;
        }
    }

    fn enter(&mut self, game: &GameId, id: Option<&RequestId>, effects: &mut Vec<Effect>) -> bool {
        let stays = self
            .rooms
            .iter()
            .filter(|(room, leaves)| room != game && !leaves);
        if stays.count() >= self.rooms_max {
            let message = format!(
                "a connection may be in {} rooms; leave one first",
                self.rooms_max
            );
            effects.push(refuse(id.cloned(), ErrorCode::TooManyGames, message));
            return false;
        }
        self.note_room(game.clone());
        true
    }

    /// It is, or asks to be, in that room. The id given last is kept: the room's own, which all its members share.
    fn note_room(&mut self, game: GameId) {
        let mut rooms = self.rooms.iter_mut();
        match rooms.find(|(room, _)| *room == game) {
            Some(known) => *known = (game, false),
            None => {
                self.rooms.reserve_exact(1);
                self.rooms.push((game, false));
            }
        }
    }

    fn leaves(&mut self, game: &GameId) {
        let mut rooms = self.rooms.iter_mut();
        if let Some((_, leaves)) = rooms.find(|(room, _)| room == game) {
            *leaves = true;
        }
    }

    fn only_game(&self) -> Option<GameId> {
        let mut games = self.running.iter();
        games.next().filter(|_| games.next().is_none()).cloned()
    }
}

/// Whether a message asks the backplane for more than a room's next event.
fn is_costly(message: &ClientMessage) -> bool {
    matches!(
        message,
        ClientMessage::InitGame(_)
            | ClientMessage::CreateGame(_)
            | ClientMessage::JoinGame(_)
            | ClientMessage::JoinRoom(_)
    )
}

/// A player's request besides moves, before the room has added what only it knows.
#[derive(Debug, Clone, PartialEq)]
pub enum PlayerAsk {
    /// A name and a game.
    Plain(PlayerAction),
    /// A claim, with the intended move.
    ClaimDraw(Option<shared::game::MoveInput>),
}

/// An error in answer to a request.
pub fn refuse(id: Option<RequestId>, code: ErrorCode, message: impl Into<String>) -> Effect {
    Effect::Say(Box::new(error(code, message, None)), id)
}

/// An `error` message.
pub fn error(
    code: ErrorCode,
    message: impl Into<String>,
    game_id: Option<GameId>,
) -> ServerMessage {
    let retry_after_ms = (code == ErrorCode::RateLimited).then_some(1_000);
    ServerMessage::Error(ErrorBody {
        code,
        message: message.into(),
        retryable: code.is_retryable(),
        game_id,
        retry_after_ms,
    })
}

/// No game is begun, because the archive is too far behind.
pub fn archive_behind(game_id: Option<GameId>) -> ServerMessage {
    let message =
        "the archive is behind, and no game is begun until it has caught up; those that run go on";
    error(ErrorCode::Unavailable, message, game_id)
}

/// A bare `ack`.
pub fn ack(game_id: Option<GameId>) -> ServerMessage {
    ServerMessage::Ack(Ack {
        game_id,
        ..Ack::default()
    })
}

/// What is random or known to the node alone, for [`PlayerAsk::command`].
#[derive(Debug, Clone)]
pub struct Circumstances {
    /// Id of the game a rematch would make.
    pub new_game_id: GameId,
    /// Since when the opponent has been away.
    pub opponent_absent_since: Option<Timestamp>,
}

impl PlayerAsk {
    /// The command of the player on that seat.
    pub fn command(
        &self,
        by: shared::Color,
        offer: Option<shared::Seq>,
        circumstances: Circumstances,
    ) -> Command {
        let Circumstances {
            new_game_id,
            opponent_absent_since,
        } = circumstances;
        let action = match self {
            PlayerAsk::ClaimDraw(mv) => Action::ClaimDraw { mv: mv.clone() },
            PlayerAsk::Plain(action) => match action {
                PlayerAction::Resign => Action::Resign,
                PlayerAction::Abort => Action::Abort,
                PlayerAction::OfferDraw => Action::OfferDraw,
                PlayerAction::AcceptDraw => Action::AcceptDraw,
                PlayerAction::DeclineDraw => Action::DeclineDraw,
                PlayerAction::ClaimVictory => Action::ClaimVictory {
                    absent_since: opponent_absent_since,
                },
                PlayerAction::OfferRematch => Action::OfferRematch { new_game_id },
                PlayerAction::AcceptRematch => Action::AcceptRematch { new_game_id },
                PlayerAction::DeclineRematch => Action::DeclineRematch,
                PlayerAction::OfferTakeback => Action::OfferTakeback,
                PlayerAction::AcceptTakeback => Action::AcceptTakeback,
                PlayerAction::DeclineTakeback => Action::DeclineTakeback,
            },
        };
        Command::Act { by, action, offer }
    }
}

#[cfg(test)]
mod tests;
