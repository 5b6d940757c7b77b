//! Rooms before their game: an invitation is a record that lapses, and becomes a log when another user takes the free seat.
//! Of two who try at once the log's first append decides; the other finds both seats taken.

use super::{
    AskKind,
    submit::Job,
    task::{Pending, State, Task, Work},
};
use crate::{
    connection::Conn,
    random::Random,
    recovery,
    session::{Notice, error},
};
use archive::StoredLog;
use bytes::Bytes;
use futures::FutureExt;
use pubsub::{Answer, Append, Appended, Log};
use serde::{Deserialize, Serialize};
use shared::{
    GameId, Timestamp,
    game::{Game, GameCreated, Player, TimeControl},
    protocol::{ErrorCode, ServerMessage, client::ColorChoice, server},
};
use std::{sync::Arc, time::Duration};

/// How long an invitation stands.
pub const INVITATION_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// A game is made so soon after it was agreed on, unless the backplane was away, in milliseconds. One that is to be made later
/// is looked for in the archive first.
const MADE_WITHIN_MS: i64 = 5_000;

/// What is stored of an invitation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Invitation {
    /// Who invites.
    pub by: Player,
    /// Clocks of the game to be.
    pub time_control: Option<TimeControl>,
    /// The creator's colour.
    pub color: ColorChoice,
    /// When it lapses.
    pub expires_at: Timestamp,
}

impl Invitation {
    /// Name of its record.
    pub fn key(game: &GameId) -> String {
        format!("invitation:{game}")
    }

    fn message(&self, game: &GameId) -> ServerMessage {
        let free = match self.color {
            ColorChoice::White => ColorChoice::Black,
            ColorChoice::Black => ColorChoice::White,
            ColorChoice::Random => ColorChoice::Random,
        };
        ServerMessage::Invitation(server::Invitation {
            game_id: game.clone(),
            by: self.by.clone(),
            time_control: self.time_control,
            color: free,
            expires_at: self.expires_at,
        })
    }

    fn created(&self, game: &GameId, guest: &Player, random: &Random) -> GameCreated {
        let creator_is_white = match self.color {
            ColorChoice::White => true,
            ColorChoice::Black => false,
            ColorChoice::Random => random.coin(),
        };
        let (white, black) = if creator_is_white {
            (&self.by, guest)
        } else {
            (guest, &self.by)
        };
        GameCreated {
            game_id: game.clone(),
            white_player: white.clone(),
            black_player: black.clone(),
            time_control: self.time_control,
            fen: super::initial_fen(),
            unlisted: true,
        }
    }
}

/// What there is of a room of which no log was known.
pub(super) enum Found {
    /// The record of its invitation.
    Invitation(Bytes),
    /// No invitation; and the log, if there is one after all, or again.
    Log(Option<Log>),
    /// No invitation and no log: the game is over, archived, and forgotten by everybody else.
    Archived(StoredLog),
}

/// What came of making a game.
pub(super) enum Made {
    /// The append's answer.
    Appended(Appended),
    /// The player has his fill of running games.
    TooMany,
}

impl Task {
    /// Work in a room without a log.
    pub(super) fn attempt_absent(&mut self, pending: Pending) -> Option<Pending> {
        let State::Absent(absent) = &self.state else {
            return Some(pending);
        };
        let (invitation, seen_at) = (absent.invitation.clone(), absent.seen_at);
        if let Work::Create(creation) = &pending.work {
            let (created, at) = (creation.created.clone(), creation.at);
            // One that was agreed on a while ago may have been made, played, and lost.
            let may_be_archived = self.node.archive.get().is_some() && !pending.verified;
            if may_be_archived && self.node.now().since(at) > MADE_WITHIN_MS {
                self.job = Some(self.look_up(pending));
                return None;
            }
            self.make(pending, created, at, None);
            return None;
        }
        if matches!(pending.work, Work::Deadline | Work::Abort | Work::Credit) {
            return None;
        }
        // Another node may be about to restore this room's log: looked at again when all have had the time.
        if self.node.settling().is_some() {
            if let State::Absent(absent) = &mut self.state {
                let before = pending.since.checked_sub(Duration::from_millis(1));
                absent.seen_at = absent.seen_at.min(before.unwrap_or(absent.seen_at));
            }
            return Some(pending);
        }
        if pending.since > seen_at {
            self.job = Some(Job::verify(self, pending));
            return None;
        }
        let Some(invitation) = invitation else {
            // `verified` says here that an invitation was looked for.
            if pending.verified {
                self.not_found(&pending);
            } else {
                self.job = Some(self.look_up(pending));
            }
            return None;
        };
        self.invited(pending, &invitation);
        None
    }

    fn invited(&mut self, pending: Pending, invitation: &Invitation) {
        let (conn, ask) = match &pending.work {
            Work::Ask(conn, ask) => (conn.clone(), ask.clone()),
            Work::Await(conn) => {
                return self.wait(conn.clone(), false);
            }
            _ => return,
        };
        match ask.kind {
            AskKind::Join { .. } => {
                self.wait(conn, true);
                pending.reply(&invitation.message(&self.game));
            }
            AskKind::TakeSeat if ask.user.id == invitation.by.id => {
                self.stays_out(&conn);
                let message = "you made this invitation; somebody else takes the other seat";
                pending.reply(&error(
                    ErrorCode::Forbidden,
                    message,
                    Some(self.game.clone()),
                ));
            }
            AskKind::TakeSeat if !self.node.takes_new_games() => {
                self.stays_out(&conn);
                pending.reply(&crate::session::archive_behind(Some(self.game.clone())));
            }
            AskKind::TakeSeat => {
                // He is seated by this request's own answer.
                self.awaiting.retain(|(waiting, _)| waiting.id != conn.id);
                let created = invitation.created(&self.game, &ask.user, &self.node.random);
                let now = self.node.now();
                self.make(pending, created, now, Some(ask.user));
            }
            AskKind::Leave | AskKind::Exit => {
                self.leave(conn.id);
                conn.notice(Notice::Left(self.game.clone()));
                pending.reply(&crate::session::ack(Some(self.game.clone())));
            }
            _ => self.not_found(&pending),
        }
    }

    /// A connection waits for the second player, unless it is gone.
    fn wait(&mut self, conn: Arc<Conn>, by_room: bool) {
        self.awaiting.retain(|(waiting, _)| waiting.id != conn.id);
        if conn.notice(Notice::Joined(self.game.clone())) {
            self.awaiting.push((conn, by_room));
        }
    }

    /// Looks for an invitation. A game takes its invitation away when it begins, so where there is none the log is read
    /// again: there may be one now, of which this node has not heard yet.
    fn look_up(&self, pending: Pending) -> Job {
        let (node, room, game) = (self.node.clone(), self.room.clone(), self.game.clone());
        let key = Invitation::key(&self.game);
        let future = async move {
            if let Some(record) = node.backplane.get(&key).await? {
                return Ok(Found::Invitation(record));
            }
            let log = node.backplane.read(&room, 0).await?;
            if log.is_some() {
                return Ok(Found::Log(log));
            }
            Ok(match recovery::look(&node, &game).await? {
                Some(recovery::Found::Finished(stored)) => Found::Archived(stored),
                Some(recovery::Found::Running(log)) => Found::Log(Some(log)),
                None => Found::Log(None),
            })
        };
        Job::invite(pending, future.boxed())
    }

    /// The look-up of an invitation is done.
    pub(super) async fn looked_up(&mut self, mut pending: Pending, answer: Answer<Found>) {
        let invitation = match answer {
            Ok(Found::Invitation(record)) => serde_json::from_slice(&record).ok(),
            Ok(Found::Log(log)) => {
                if self.took(log).await.is_err() {
                    return self.later(pending);
                }
                None
            }
            Ok(Found::Archived(stored)) => {
                // Nothing will be appended to it any more, so that nothing need be heard of it.
                if matches!(self.state, State::Absent(_)) {
                    self.reset(stored.epoch, &stored.events);
                }
                None
            }
            Err(_) => return self.later(pending),
        };
        if let State::Absent(absent) = &mut self.state {
            absent.invitation = invitation;
            pending.verified = true;
        }
        self.pending.push_front(pending);
    }

    /// Starts making the game. `counted` is the player whose number of games is looked at first.
    fn make(
        &mut self,
        pending: Pending,
        created: GameCreated,
        at: Timestamp,
        counted: Option<Player>,
    ) {
        let first = Game::create(created.clone(), at);
        let deadline = Game::start(&first)
            .ok()
            .and_then(|game| game.next_deadline())
            .map(|at| at.0);
        let bytes = Bytes::from(first.encode());
        let append = Append {
            epoch: None,
            expected: 0,
            events: vec![bytes.clone()],
            at: at.0,
            deadline,
        };
        let (node, game, room) = (self.node.clone(), self.game.clone(), self.room.clone());
        let future = async move {
            if let Some(player) = counted
                && node.running(&player.id).await?.len() >= node.config.games_per_user as usize
            {
                return Ok(Made::TooMany);
            }
            // Indexed first: a game that is listed and does not exist is found out at once, one that exists and is not
            // listed never.
            for player in [&created.white_player, &created.black_player] {
                node.remember_running(&player.id, &game).await?;
            }
            node.backplane
                .append(&room, append)
                .await
                .map(Made::Appended)
        };
        self.job = Some(Job::make(pending, bytes, future.boxed()));
    }

    /// The game was made, by this node or another.
    pub(super) async fn made(&mut self, mut pending: Pending, first: Bytes, answer: Answer<Made>) {
        match answer {
            Ok(Made::Appended(Appended::Appended { epoch, .. })) => {
                metrics::counter!("rookery_games_created_total").increment(1);
                let (node, key) = (self.node.clone(), Invitation::key(&self.game));
                self.node
                    .tasks
                    .spawn(async move { drop(node.backplane.remove(&key).await) });
                self.feed.appended(epoch, 0, vec![first]);
            }
            Ok(Made::Appended(Appended::Conflict { epoch, missed })) => {
                self.feed.appended(epoch, 0, missed)
            }
            Ok(Made::Appended(Appended::BadTime { .. })) if pending.attempts < 3 => {
                pending.attempts += 1;
                return self.pending.push_front(pending);
            }
            Ok(Made::Appended(_)) => {
                if self.feed.catch_up().await.is_err() {
                    return self.later(pending);
                }
            }
            Ok(Made::TooMany) => {
                if let Work::Ask(conn, _) = &pending.work {
                    self.stays_out(conn);
                }
                let message = format!(
                    "a user may have {} running games; finish one first",
                    self.node.config.games_per_user
                );
                return pending.reply(&error(
                    ErrorCode::TooManyGames,
                    message,
                    Some(self.game.clone()),
                ));
            }
            Err(_) => return self.later(pending),
        }
        self.drain_feed();
        pending.attempts += 1;
        if pending.attempts > 3 {
            return self.later(pending);
        }
        // Seats the askers now that the log is there.
        self.pending.push_front(pending);
    }
}
