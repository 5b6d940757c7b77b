//! Rooms on this node: each a task that owns the game's fold, its feed and its local members. Nothing here matters to the
//! cluster: a room can be dropped at any moment and opened again, on any node, from its log.
//!
//! [`submit`] is the write half: decide, append, on a conflict catch up and decide again. [`follow`]
//! is the read half: apply what the feed brings and hand it to the fan-out. [`task`] is the loop between them.
//! [`repair`] puts back what the log lost.

mod chat;
mod follow;
mod invitation;
mod listing;
mod live;
mod presence;
mod repair;
mod submit;
mod task;

pub use invitation::{INVITATION_TTL, Invitation};
pub use live::{FoldError, Live};
pub use presence::presence_of;
pub(crate) use repair::count as count_restored;
pub(crate) use submit::credit;
pub use task::FLAG_GRACE_MS;

use crate::{connection::Conn, node::Node, session::PlayerAsk};
use dashmap::{DashMap, Entry};
use pubsub::{Epoch, Room};
use shared::{
    GameId, Ply, Seq, Timestamp,
    game::{GameCreated, MoveInput, Player},
    protocol::{ErrorCode, RequestId},
};
use std::sync::Arc;
use tokio::sync::mpsc;

/// Requests waiting for one room on one node. Each connection may send some 20 a second, and a room handles thousands a
/// second: a full inbox means that the backplane is away, and more waiting would not help.
const INBOX_LEN_MAX: usize = 4_096;

/// A room that closes between look-up and send is opened anew, so often at most: in a process that ends, tasks end as soon
/// as they are spawned.
const OPENINGS_MAX: usize = 3;

/// What a connection asks of a room.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    /// Goes back with the answer.
    pub id: Option<RequestId>,
    /// Who asks, under his present name.
    pub user: Player,
    /// When the request reached this node, on the backplane's clock.
    pub arrived: Timestamp,
    /// What.
    pub kind: AskKind,
}

/// Kinds of [`Ask`].
#[derive(Debug, Clone, PartialEq)]
pub enum AskKind {
    /// Become a member.
    Join {
        /// Last event seen, if any.
        seen: Option<(String, Seq)>,
    },
    /// Take the free seat of an invitation.
    TakeSeat,
    /// Cease to be a member.
    Leave,
    /// Resign if playing, then leave.
    Exit,
    /// Make a move.
    Move {
        /// Which.
        mv: MoveInput,
        /// As which half move.
        ply: Option<Ply>,
        /// Last event seen.
        seen: Option<Seq>,
    },
    /// A player's other requests.
    Act {
        /// What.
        action: PlayerAsk,
        /// The offer meant.
        offer: Option<Seq>,
    },
    /// Say something.
    Chat(String),
}

/// All that can be put to a room's task.
#[derive(Debug)]
pub enum RoomInput {
    /// A connection asks.
    Ask(Arc<Conn>, Box<Ask>),
    /// A connection is gone.
    Gone(u64),
    /// A connection's outbox, which had been full, is empty.
    Drained(u64),
    /// A member was skipped by the fan-out, and his socket takes something again.
    Skipped(u64),
    /// Make this game, if it does not exist, and seat these connections.
    Create(Box<Creation>),
    /// This connection made the invitation and waits.
    Await(Arc<Conn>),
    /// Its deadline has passed and no node looks after it.
    Sweep,
    /// An operator ends the game.
    Abort,
    /// The backplane may have lost something.
    Upheaval,
    /// For a while no node could write.
    Outage,
}

/// A game to be made.
#[derive(Debug, Clone)]
pub struct Creation {
    /// Its first event.
    pub created: GameCreated,
    /// When it was agreed on; the same on all nodes that make it, so that all make the same bytes.
    pub at: Timestamp,
    /// Connections of its players that are told with `init_game`.
    pub seats: Vec<Arc<Conn>>,
}

/// The rooms that are open on this node.
#[derive(Debug, Default)]
pub struct Rooms {
    open: DashMap<GameId, mpsc::Sender<RoomInput>>,
}

impl Rooms {
    /// Puts a connection's request to a room, opening it if need be.
    pub fn ask(&self, node: &Arc<Node>, game: GameId, conn: Arc<Conn>, ask: Ask) {
        let id = ask.id.clone();
        if let Err(input) = self.try_tell(node, &game, RoomInput::Ask(conn, Box::new(ask)))
            && let RoomInput::Ask(conn, _) = input
        {
            let error = crate::session::error(
                ErrorCode::Unavailable,
                "the room is busy; ask again",
                Some(game),
            );
            conn.say(&error, id.as_ref());
        }
    }

    /// Tells a room something that must arrive, waiting for a place in its inbox if need be.
    pub fn tell(&self, node: &Arc<Node>, game: GameId, input: RoomInput) {
        if let Err(input) = self.try_tell(node, &game, input)
            && let Some(sender) = self.open.get(&game).map(|sender| sender.clone())
        {
            node.tasks
                .spawn(async move { drop(sender.send(input).await) });
        }
    }

    /// Tells all open rooms that the backplane may have lost something.
    pub fn tell_upheaval(&self, node: &Arc<Node>) {
        for game in self.games() {
            self.tell(node, game, RoomInput::Upheaval);
        }
    }

    /// Tells all open rooms that there was an outage.
    pub fn tell_outage(&self, node: &Arc<Node>) {
        for game in self.games() {
            self.tell(node, game, RoomInput::Outage);
        }
    }

    fn games(&self) -> Vec<GameId> {
        self.open.iter().map(|entry| entry.key().clone()).collect()
    }

    /// How many are open.
    pub fn len(&self) -> usize {
        self.open.len()
    }

    /// Whether none is open.
    pub fn is_empty(&self) -> bool {
        self.open.is_empty()
    }

    fn try_tell(
        &self,
        node: &Arc<Node>,
        game: &GameId,
        mut input: RoomInput,
    ) -> Result<(), RoomInput> {
        // A connection that goes is no reason to open a room.
        let opens = !matches!(
            input,
            RoomInput::Gone(_)
                | RoomInput::Drained(_)
                | RoomInput::Skipped(_)
                | RoomInput::Upheaval
                | RoomInput::Outage
        );
        for _ in 0..OPENINGS_MAX {
            let sender = match self.open.entry(game.clone()) {
                Entry::Occupied(entry) => entry.get().clone(),
                Entry::Vacant(_) if !opens => return Ok(()),
                Entry::Vacant(entry) => {
                    let (sender, inbox) = mpsc::channel(INBOX_LEN_MAX);
                    entry.insert(sender.clone());
                    task::spawn(node.clone(), game.clone(), inbox);
                    sender
                }
            };
            match sender.try_send(input) {
                Ok(()) => return Ok(()),
                Err(mpsc::error::TrySendError::Full(back)) => return Err(back),
                Err(mpsc::error::TrySendError::Closed(back)) => {
                    // The room closed itself between the look-up and the send: take it off the list and open it anew.
                    self.open
                        .remove_if(game, |_, listed| listed.same_channel(&sender));
                    input = back;
                }
            }
        }
        Err(input)
    }

    /// A room's task ends.
    fn closed(&self, game: &GameId) {
        self.open.remove_if(game, |_, listed| listed.is_closed());
    }
}

/// Where every game starts.
pub fn initial_fen() -> String {
    shared::rules::Position::initial().fen()
}

/// The backplane's name for a game's room.
pub fn room_of(game: &GameId) -> Room {
    Room::parse(game.as_str()).expect("a game id is letters and digits")
}

/// True if a client's last seen position is within the log this node knows.
fn is_within(epoch: &Epoch, end: Seq, seen: &(String, Seq)) -> bool {
    seen.0 == epoch.as_str() && seen.1 < end
}

/// True if a client may have seen more than this node knows: the log is looked at before he is answered, for a snapshot of
/// less than he saw would take it back. An earlier life than the node's has nothing to tell it.
fn may_be_ahead(epoch: &Epoch, end: Seq, seen: &(String, Seq)) -> bool {
    let earlier = |named: Epoch| named.generation() < epoch.generation();
    !is_within(epoch, end, seen) && !seen.0.parse().is_ok_and(earlier)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_may_have_seen_more_has_the_log_looked_at() {
        let (epoch, end) = (Epoch::new(2, "b"), 5);
        for (named, seq, ahead) in [
            ("2.b", 4, false),
            ("2.b", 5, true),
            ("2.x", 0, true),
            ("3.c", 0, true),
            ("1.a", 9, false),
            ("nonsense", 0, true),
        ] {
            let seen = (named.to_owned(), seq);
            assert_eq!(may_be_ahead(&epoch, end, &seen), ahead, "{named} {seq}");
        }
    }
}
