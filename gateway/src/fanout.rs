//! A room's members on this node, and how one event reaches them: framed once, handed once to each shard, and written by
//! the shards straight to the sockets they own.
//!
//! [`engine`] starts the threads, [`shard`] is what each of them does, [`link`] one of its sockets, [`crowd`] how spectators
//! are walked through, [`line`] the way there. [`Members`] is the room's end of it.
//!
//! Two classes of member. A player gets everything at once and first; if he cannot keep up he is closed with 4008 and comes
//! back. Spectators get an event at once while the room is quiet; when much comes, it is gathered and goes out in one write a
//! window. A spectator who cannot keep up is skipped: what waits for him is dropped, and when his socket takes something
//! again he gets one snapshot.
//!
//! A member whose socket no shard owns (TLS) has an outbox that a task of his own empties; there the room does it all.

mod crowd;
pub mod engine;
pub(crate) mod line;
mod link;
mod shard;
mod timers;

pub use crowd::{WINDOW_MAX, window};
pub use engine::{Admission, Engine};
pub use line::CatchUp;

use crate::{
    connection::Conn,
    metrics::Delivery,
    websocket::{Frame, outbox::Refused},
};
use line::{Class, Command, Line, To};
use metrics::counter;
use shared::{Color, protocol::close::CloseCode};
use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

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

    fn class(self) -> Class {
        match self {
            Role::Player(_) => Class::Player,
            Role::Spectator => Class::Spectator,
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

impl Audience {
    fn to(self) -> To {
        To {
            players: self != Audience::Spectators,
            spectators: self != Audience::Players,
        }
    }
}

/// How a member is reached.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Through the outbox. `behind` once a frame was refused: he needs a snapshot when it is empty.
    Outbox { behind: bool },
    /// Through a shard, the one in that place of [`Members::shards`], which knows the socket by that number.
    Shard { at: usize, link: u64 },
}

#[derive(Debug)]
struct Member {
    conn: Arc<Conn>,
    role: Role,
    way: Way,
}

/// A shard that has members.
#[derive(Debug)]
struct Shard {
    line: Arc<Line>,
    players: usize,
    spectators: usize,
}

/// The members of one room on this node.
#[derive(Debug)]
pub struct Members {
    // Dense, so that all are walked through in order; the index finds a member who leaves.
    members: Vec<Member>,
    index: HashMap<u64, usize>,
    counts: [u32; 3],
    /// What the shards call this room.
    group: u64,
    shards: Vec<Shard>,
    /// Members that no shard serves.
    by_outbox: usize,
    owner: Arc<dyn CatchUp>,
}

impl Members {
    /// Nobody yet. `owner` hears of spectators who were skipped, by their connection's id.
    pub fn new(owner: Arc<dyn CatchUp>) -> Members {
        static GROUPS: AtomicU64 = AtomicU64::new(0);
        Members {
            members: Vec::new(),
            index: HashMap::new(),
            counts: [0; 3],
            group: GROUPS.fetch_add(1, Ordering::Relaxed),
            shards: Vec::new(),
            by_outbox: 0,
            owner,
        }
    }

    /// Adds a connection, or changes its role. Whatever it missed before, from here on it gets everything.
    pub fn insert(&mut self, conn: Arc<Conn>, role: Role) {
        self.forget(conn.id);
        let way = match conn.outbox.port() {
            Some(port) => {
                let at = self.shard(&port.line);
                port.line.push(Command::Enter {
                    group: self.group,
                    link: port.link,
                    class: role.class(),
                    member: conn.id,
                    owner: Arc::clone(&self.owner),
                });
                Way::Shard {
                    at,
                    link: port.link,
                }
            }
            None => Way::Outbox { behind: false },
        };
        self.index.insert(conn.id, self.members.len());
        let member = Member { conn, role, way };
        self.count(&member, 1);
        self.members.push(member);
    }

    /// Takes a connection out. True if it was a member.
    pub fn remove(&mut self, conn: u64) -> bool {
        let Some(gone) = self.forget(conn) else {
            return false;
        };
        if let Way::Shard { at, link } = gone.way {
            let group = self.group;
            self.shards[at].line.push(Command::Leave { group, link });
        }
        true
    }

    fn forget(&mut self, conn: u64) -> Option<Member> {
        let place = self.index.remove(&conn)?;
        let gone = self.members.swap_remove(place);
        self.count(&gone, -1);
        if let Some(moved) = self.members.get(place) {
            self.index.insert(moved.conn.id, place);
        }
        Some(gone)
    }

    fn count(&mut self, member: &Member, by: i32) {
        let add = |count: &mut usize| *count = count.saturating_add_signed(by as isize);
        let counts = &mut self.counts[member.role.group()];
        *counts = counts.saturating_add_signed(by);
        match (member.way, member.role.class()) {
            (Way::Outbox { .. }, _) => add(&mut self.by_outbox),
            (Way::Shard { at, .. }, Class::Player) => add(&mut self.shards[at].players),
            (Way::Shard { at, .. }, Class::Spectator) => add(&mut self.shards[at].spectators),
        }
    }

    /// Place of the shard behind that line.
    fn shard(&mut self, line: &Arc<Line>) -> usize {
        let mut shards = self.shards.iter();
        let known = shards.position(|shard| Arc::ptr_eq(&shard.line, line));
        known.unwrap_or_else(|| {
            self.shards.push(Shard {
                line: Arc::clone(line),
                players: 0,
                spectators: 0,
            });
            self.shards.len() - 1
        })
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

    /// Gives everybody of that audience the same frame. Each shard lets go of the delivery when it has written to its last member.
    pub fn broadcast(
        &mut self,
        frame: &Frame,
        audience: Audience,
        delivery: Option<Arc<Delivery>>,
    ) {
        let to = audience.to();
        let spectators = self.counts[Role::Spectator.group()] as usize;
        // The shards of the players hear of it first.
        for for_players in [true, false] {
            for shard in &self.shards {
                let players = to.players && shard.players > 0;
                let any = players || (to.spectators && shard.spectators > 0);
                if any && players == for_players {
                    shard.line.push(Command::Broadcast {
                        group: self.group,
                        frame: frame.clone(),
                        to,
                        spectators,
                        delivery: delivery.clone(),
                    });
                }
            }
        }
        if self.by_outbox > 0 {
            for member in &mut self.members {
                let meant = match member.role.class() {
                    Class::Player => to.players,
                    Class::Spectator => to.spectators,
                };
                if let (Way::Outbox { behind }, true) = (&mut member.way, meant) {
                    deliver(&member.conn, member.role, behind, frame);
                }
            }
        }
    }

    /// Gives one member a frame, in the room's order.
    pub fn send(&mut self, conn: u64, frame: &Frame) {
        let Some(place) = self.index.get(&conn) else {
            return;
        };
        let member = &mut self.members[*place];
        match &mut member.way {
            Way::Outbox { behind } => deliver(&member.conn, member.role, behind, frame),
            Way::Shard { at, link } => self.shards[*at].line.push(Command::Send {
                group: self.group,
                link: *link,
                frame: frame.clone(),
            }),
        }
    }

    /// The member's outbox is empty again. True if he was behind, and now needs a snapshot.
    pub fn drained(&mut self, conn: u64) -> bool {
        let Some(place) = self.index.get(&conn) else {
            return false;
        };
        match &mut self.members[*place].way {
            Way::Outbox { behind } => std::mem::take(behind),
            Way::Shard { .. } => false,
        }
    }

    /// The member was skipped by his shard and takes something again. True if he is still here, and now needs a snapshot.
    pub fn caught_up(&mut self, conn: u64) -> bool {
        let Some(place) = self.index.get(&conn) else {
            return false;
        };
        let member = &self.members[*place];
        let (conn, role) = (Arc::clone(&member.conn), member.role);
        self.insert(conn, role);
        true
    }
}

impl Drop for Members {
    fn drop(&mut self) {
        for shard in &self.shards {
            if shard.players + shard.spectators > 0 {
                shard.line.push(Command::Dissolve(self.group));
            }
        }
    }
}

/// A spectator is skipped.
fn skipped() {
    counter!("rookery_slow_readers_skipped_total").increment(1);
}

/// Through an outbox.
fn deliver(conn: &Conn, role: Role, behind: &mut bool, frame: &Frame) {
    if *behind {
        return;
    }
    match (conn.outbox.push(frame.clone()), role) {
        (Ok(()) | Err(Refused::Closed), _) => {}
        (Err(Refused::Full), Role::Spectator) => {
            *behind = true;
            skipped();
        }
        (Err(Refused::Full), Role::Player(_)) => {
            counter!("rookery_slow_readers_closed_total").increment(1);
            conn.outbox
                .close_now(CloseCode::Slow, "messages are not taken fast enough");
        }
    }
}
