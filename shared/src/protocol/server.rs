//! What a gateway says directly to one connection, or to a room outside its log. Log events are said with their own
//! stored bytes ([`crate::game::Event`]) and have no type here.

use super::RequestId;
use crate::{
    Color, GameId, Ply, Seq, Timestamp,
    game::{ClockReading, GameResult, Player, Reason, TimeControl},
    protocol::client::ColorChoice,
};
use serde::Serialize;

/// One message of a gateway.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", content = "payload", rename_all = "snake_case")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ServerMessage {
    /// First message on every connection.
    Welcome(Welcome),
    /// A seek is in the pool.
    Waiting(Waiting),
    /// An invitation was made.
    GameAdded(GameAdded),
    /// The room's second player is awaited.
    Invitation(Invitation),
    /// To each player when a game starts.
    InitGame(Box<Snapshot>),
    /// The whole room; replaces all that was known.
    GameJoined(Box<Snapshot>),
    /// The missed events came before this; what follows is live.
    Resumed(Resumed),
    /// There is no such game.
    GameNotFound(GameOnly),
    /// The request's effect is in the log.
    Ack(Ack),
    /// The request was refused.
    Error(ErrorBody),
    /// How many watch.
    Viewers(Viewers),
    /// A player came or went.
    Presence(PresenceChange),
    /// Somebody said something.
    Chat(ChatLine),
    /// What was said before.
    ChatHistory(ChatHistory),
    /// Answer to `ping`.
    Pong(Pong),
    /// This node is leaving.
    Drain(Drain),
}

/// Payload of `welcome`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Welcome {
    /// Who the connection is.
    pub user: Player,
    /// Token that makes another connection the same user.
    pub token: String,
    /// This node's name.
    pub node: String,
    /// The protocol version, [`super::VERSION`].
    pub protocol: u32,
    /// The backplane's clock.
    pub server_time: Timestamp,
    /// After so long a silence the server pings.
    pub heartbeat_ms: u64,
    /// The user's running games.
    pub active_games: Vec<GameId>,
}

/// Payload of `waiting`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Waiting {
    /// The pool.
    pub time_control: Option<TimeControl>,
}

/// Payload of `game_added`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GameAdded {
    /// The game to be.
    pub game_id: GameId,
    /// Path of the page to send to a friend, from the site's root: `/game/{id}`.
    pub invite_url: String,
}

/// Payload of `invitation`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Invitation {
    /// The game to be.
    pub game_id: GameId,
    /// Who invites.
    pub by: Player,
    /// Its clocks.
    pub time_control: Option<TimeControl>,
    /// The free colour, or `random`.
    pub color: ColorChoice,
    /// When it lapses.
    pub expires_at: Timestamp,
}

/// Payload of `game_joined` and `init_game`: all there is to know of a room.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Snapshot {
    /// The game.
    pub game_id: GameId,
    /// Life of the log.
    pub epoch: String,
    /// Last event that is part of this.
    pub seq: Seq,
    /// The receiver's seat; null for a spectator.
    pub color: Option<Color>,
    /// Who has White.
    pub white_player: Player,
    /// Who has Black.
    pub black_player: Player,
    /// Clocks' setting; null for untimed.
    pub time_control: Option<TimeControl>,
    /// When the room was created.
    pub started_at: Timestamp,
    /// Position on the board.
    pub fen: String,
    /// All moves so far.
    pub moves: Vec<MoveRecord>,
    /// What both sides had left at `clock_at`; null for untimed.
    pub clock: Option<ClockReading>,
    /// When the clocks stood so.
    pub clock_at: Timestamp,
    /// Side to move.
    pub turn: Color,
    /// Running or over.
    pub status: Status,
    /// Null while running.
    pub result: Option<GameResult>,
    /// Null while running.
    pub reason: Option<Reason>,
    /// Null while running, and for draws.
    pub winner: Option<Color>,
    /// Side that offers a draw.
    pub draw_offer: Option<Color>,
    /// Side that asks for a move back.
    pub takeback_offer: Option<Color>,
    /// Side that offers another game.
    pub rematch_offer: Option<Color>,
    /// The next game, once agreed.
    pub rematch_game_id: Option<GameId>,
    /// Whether the players are connected.
    pub presence: Presence,
}

/// One move of a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MoveRecord {
    /// `e2e4`
    pub uci: String,
    /// `Nf3+`
    pub san: String,
    /// When.
    pub at: Timestamp,
}

/// Running or over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Status {
    /// Running.
    Started,
    /// Over.
    Finished,
}

/// Whether the players are connected to any node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Presence {
    /// White is connected.
    pub white: bool,
    /// Black is connected.
    pub black: bool,
}

/// Payload of `resumed`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Resumed {
    /// The game.
    pub game_id: GameId,
    /// Last event sent.
    pub seq: Seq,
    /// Life of the log.
    pub epoch: String,
}

/// Payload of `game_not_found`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GameOnly {
    /// The id asked for.
    pub game_id: GameId,
}

/// Payload of `ack`.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Ack {
    /// The game.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub game_id: Option<GameId>,
    /// Life of the log.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub epoch: Option<String>,
    /// The event that was the request's effect.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub seq: Option<Seq>,
    /// The half move made.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub ply: Option<Ply>,
}

/// Payload of `error`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ErrorBody {
    /// For programs.
    pub code: ErrorCode,
    /// For people.
    pub message: String,
    /// Whether the same request may succeed later.
    pub retryable: bool,
    /// The game meant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub game_id: Option<GameId>,
    /// When to try again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub retry_after_ms: Option<u64>,
}

/// Why a request was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ErrorCode {
    /// Not JSON, or nested too deep.
    BadJson,
    /// JSON of another shape than that type has.
    BadMessage,
    /// No such message type.
    UnknownType,
    /// Over 4 KiB.
    TooLarge,
    /// Too many requests.
    RateLimited,
    /// A token is needed.
    Unauthorized,
    /// Not with this token.
    Forbidden,
    /// Only the game's players may.
    NotAPlayer,
    /// The other side is to move.
    NotYourTurn,
    /// The rules forbid it.
    IllegalMove,
    /// The ply was played otherwise, or taken back.
    StalePly,
    /// No such game.
    GameNotFound,
    /// Both seats are taken.
    GameFull,
    /// The game has ended.
    GameOver,
    /// Not yet.
    TooEarly,
    /// No longer.
    TooLate,
    /// No such offer is open.
    NoOffer,
    /// The claim is not right.
    NoClaim,
    /// Times out of range.
    BadTimeControl,
    /// The user has too many running games or the connection too many rooms.
    TooManyGames,
    /// The backplane cannot be reached; the outcome is unknown, ask again.
    Unavailable,
}

impl ErrorCode {
    /// Whether the same request may succeed later.
    pub const fn is_retryable(self) -> bool {
        matches!(self, ErrorCode::Unavailable | ErrorCode::RateLimited)
    }
}

/// Payload of `viewers`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Viewers {
    /// The game.
    pub game_id: GameId,
    /// Spectators' connections on all nodes; rounded in large rooms.
    pub count: u64,
}

/// Payload of `presence`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PresenceChange {
    /// The game.
    pub game_id: GameId,
    /// Which player.
    pub color: Color,
    /// Connected to any node.
    pub online: bool,
    /// When the opponent may claim the win if he stays away.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional))]
    pub claimable_at: Option<Timestamp>,
}

/// Who hears a line of chat.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ChatChannel {
    /// The two players.
    Players,
    /// Spectators, and after the game everybody.
    Spectators,
}

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ChatRole {
    /// The player of White.
    White,
    /// The player of Black.
    Black,
    /// Anybody else.
    Spectator,
}

/// Payload of `chat`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChatLine {
    /// The game.
    pub game_id: GameId,
    /// Who hears it.
    pub channel: ChatChannel,
    /// Who said it.
    pub user: Player,
    /// As what.
    pub role: ChatRole,
    /// What.
    pub text: String,
    /// When.
    pub at: Timestamp,
}

/// Payload of `chat_history`: up to 50 payloads of `chat`, oldest first, as they were stored.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ChatHistory {
    /// The game.
    pub game_id: GameId,
    /// The lines.
    #[cfg_attr(test, ts(as = "Vec<ChatLine>"))]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<ChatLine>"))]
    pub messages: Vec<Box<serde_json::value::RawValue>>,
}

impl PartialEq for ChatHistory {
    fn eq(&self, other: &Self) -> bool {
        let text = |history: &ChatHistory| {
            history
                .messages
                .iter()
                .map(|raw| raw.get().to_owned())
                .collect::<Vec<_>>()
        };
        self.game_id == other.game_id && text(self) == text(other)
    }
}

/// Payload of `pong`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Pong {
    /// What `ping` brought.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional, type = "unknown"))]
    pub t: Option<serde_json::Value>,
    /// The backplane's clock.
    pub server_time: Timestamp,
}

/// Payload of `drain`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Drain {
    /// Reconnect at a random moment within this time.
    pub reconnect_within_ms: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Envelope<'a> {
    #[serde(flatten)]
    message: &'a ServerMessage,
    #[serde(skip_serializing_if = "Option::is_none")]
    id: Option<&'a RequestId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    game_id: Option<&'a GameId>,
}

impl ServerMessage {
    /// The JSON text, with the `id` of the request it answers.
    pub fn encode(&self, id: Option<&RequestId>) -> String {
        // Clients of the dialect this protocol follows read the new game's id at top level.
        let game_id = match self {
            ServerMessage::GameAdded(added) => Some(&added.game_id),
            _ => None,
        };
        serde_json::to_string(&Envelope {
            message: self,
            id,
            game_id,
        })
        .expect("messages have no map keys or IO that could fail")
    }
}
