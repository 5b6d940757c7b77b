//! A room's members on this node, and how one event reaches them: framed once, then the same bytes into every outbox.
//!
//! Two classes of member. A player whose outbox is full is closed with 4008 and comes back. A spectator whose outbox is
//! full is skipped: nothing more is queued for him until he has taken what he has, then he gets one snapshot.

use crate::{
    connection::Conn,
    websocket::{Frame, outbox::Refused},
};
use metrics::counter;
use shared::{Color, protocol::close::CloseCode};
use std::{collections::HashMap, sync::Arc};

/// What a member is in the room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Role {
    /// Sits on that side.
    Player(Color),
    /// Watches.
    Spectator,
}

impl Role {
    /// The seat; `None` for a spectator.
    pub fn color(self) -> Option<Color> {
        match self {
            Role::Player(color) => Some(color),
            Role::Spectator => None,
        }
    }

    /// Place in the counts of [`Members::counts`].
    pub fn group(self) -> usize {
        match self {
            Role::Player(Color::White) => 0,
            Role::Player(Color::Black) => 1,
            Role::Spectator => 2,
        }
    }
}

/// Who a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Audience {
    /// Every member.
    All,
    /// The two players' connections.
    Players,
    /// Everybody else.
    Spectators,
}

#[derive(Debug)]
struct Member {
    conn: Arc<Conn>,
    role: Role,
    /// A frame was refused: he needs a snapshot once his outbox is empty.
    behind: bool,
}

/// The members of one room on this node.
#[derive(Debug, Default)]
pub struct Members {
    // Dense, so that a broadcast walks memory in order; the index finds a member who leaves.
    members: Vec<Member>,
    index: HashMap<u64, usize>,
    counts: [u32; 3],
}

impl Members {
    /// Adds a connection, or changes its role.
    pub fn insert(&mut self, conn: Arc<Conn>, role: Role) {
        self.remove(conn.id);
        self.index.insert(conn.id, self.members.len());
        self.counts[role.group()] += 1;
        self.members.push(Member {
            conn,
            role,
            behind: false,
        });
    }

    /// Takes a connection out. True if it was a member.
    pub fn remove(&mut self, conn: u64) -> bool {
        let Some(place) = self.index.remove(&conn) else {
            return false;
        };
        let gone = self.members.swap_remove(place);
        self.counts[gone.role.group()] -= 1;
        if let Some(moved) = self.members.get(place) {
            self.index.insert(moved.conn.id, place);
        }
        true
    }

    /// White's connections, Black's, spectators'.
    pub fn counts(&self) -> [u32; 3] {
        self.counts
    }

    /// True if nobody is here.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Every member.
    pub fn iter(&self) -> impl Iterator<Item = (&Arc<Conn>, Role)> {
        self.members
            .iter()
            .map(|member| (&member.conn, member.role))
    }

    /// The member's role.
    pub fn role(&self, conn: u64) -> Option<Role> {
        self.index.get(&conn).map(|place| self.members[*place].role)
    }

    /// Gives everybody of that audience the same frame.
    pub fn broadcast(&mut self, frame: &Frame, audience: Audience) {
        for member in &mut self.members {
            let meant = match audience {
                Audience::All => true,
                Audience::Players => member.role != Role::Spectator,
                Audience::Spectators => member.role == Role::Spectator,
            };
            if meant {
                deliver(member, frame);
            }
        }
    }

    /// Gives one member a frame, in the room's order.
    pub fn send(&mut self, conn: u64, frame: &Frame) {
        if let Some(place) = self.index.get(&conn) {
            deliver(&mut self.members[*place], frame);
        }
    }

    /// The member's outbox is empty again. True if he was behind, and now needs a snapshot.
    pub fn caught_up(&mut self, conn: u64) -> bool {
        self.index
            .get(&conn)
            .is_some_and(|place| std::mem::take(&mut self.members[*place].behind))
    }
}

fn deliver(member: &mut Member, frame: &Frame) {
    if member.behind {
        return;
    }
    match (member.conn.outbox.push(frame.clone()), member.role) {
        (Ok(()) | Err(Refused::Closed), _) => {}
        (Err(Refused::Full), Role::Spectator) => {
            member.behind = true;
            counter!("rookery_slow_readers_skipped_total").increment(1);
        }
        (Err(Refused::Full), Role::Player(_)) => {
            counter!("rookery_slow_readers_closed_total").increment(1);
            member
                .conn
                .outbox
                .close_now(CloseCode::Slow, "messages are not taken fast enough");
        }
    }
}
