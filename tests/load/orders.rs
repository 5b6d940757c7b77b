//! What the coordinator and its workers say to each other: one JSON value a line, over the worker's standard input and output.

use serde::{Deserialize, Serialize};
use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

/// How a server is spoken to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// Rookery's protocol: `welcome`, `join_room`, a snapshot, events.
    Rookery,
    /// WebSocket frames on bare TCP, without a handshake: the floor.
    Bare,
    /// A WebSocket on which every message is an event.
    WebSocket,
    /// Socket.IO 4 over a WebSocket, events as messages named `event`.
    SocketIo,
}

/// What a worker must know from the start.
#[derive(Debug, Serialize, Deserialize)]
pub struct Duty {
    pub dialect: Dialect,
    /// Servers; orders name them by their place.
    pub doors: Vec<SocketAddr>,
    /// Addresses to connect from, each good for some 28,000 connections.
    pub sources: Vec<Ipv4Addr>,
    /// File in which publishers write when they sent each event, and its shape.
    pub stamps: PathBuf,
    pub stamps_per_room: u32,
    /// Bytes of an event that is not made by a game.
    pub event_len: usize,
}

/// Spectators of one room at one server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Crowd {
    pub room: u32,
    pub game: String,
    pub door: usize,
    pub count: u32,
    /// So many of them stop reading once they are in.
    pub stalled: u32,
}

/// The two players of a room; without games, two who publish.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Table {
    pub room: u32,
    pub white: usize,
    pub black: usize,
    /// Moves in standard notation, for as long as the run lasts.
    pub moves: Vec<String>,
}

/// A stretch of time on the machine's monotonic clock, which all its processes share, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Window {
    pub from: u64,
    pub to: u64,
}

impl Window {
    pub fn contains(&self, at: u64) -> bool {
        self.from <= at && at < self.to
    }
}

/// What a worker is told.
#[derive(Debug, Serialize, Deserialize)]
pub enum Order {
    Begin(Duty),
    /// Connect these, so many a second.
    Watch {
        crowds: Vec<Crowd>,
        per_second: f64,
    },
    /// Connect these players and have them agree on games.
    Seat {
        tables: Vec<Table>,
        per_second: f64,
    },
    /// Have every table make a move each `every` nanoseconds, begun at moments spread over that time, until `until`.
    Play {
        from: u64,
        every: u64,
        until: u64,
    },
    /// Have spectators talk, so many lines a second in all, until that moment.
    Chat {
        per_second: f64,
        until: u64,
    },
    /// Count from now on anew; delays only of events that were sent within this time.
    Measure(Window),
    /// Answer as soon as every socket that reads has heard the last event of its room, or that time is over.
    Settle {
        last: Vec<(u32, u32)>,
        within: u64,
    },
    /// All connections to the first server go, and come back to the second one from the position they had.
    Return {
        from: usize,
        to: SocketAddr,
        per_second: f64,
    },
    /// Tell what was counted; of events only those that were sent from this moment on: by then all workers were measuring.
    Report {
        from: u64,
    },
}

/// What a worker says.
#[derive(Debug, Serialize, Deserialize)]
pub enum Word {
    Progress(Progress),
    /// The games that were agreed on, by room.
    Seated(Vec<(u32, String)>),
    /// It counts anew from here on.
    Measuring,
    /// The last event of each room.
    Played {
        last: Vec<(u32, u32)>,
    },
    /// So many events did not come in time.
    Settled {
        missing: u64,
    },
    Report(Box<Tally>),
    /// It cannot go on.
    Failed(String),
}

/// How far a worker is.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Progress {
    pub ready: u64,
    pub failed: u64,
    pub delivered: u64,
}

/// What a worker counted since it was told to measure.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Tally {
    /// Events that came to a socket.
    pub delivered: u64,
    /// Bytes of those, with frame heads.
    pub bytes: u64,
    /// Events that a socket did not get: there was a hole before a later one.
    pub lost: u64,
    /// Events that came twice.
    pub repeated: u64,
    /// Events that came behind a later one.
    pub reordered: u64,
    /// Snapshots that came unasked and replaced what was known, and the events that they stand for.
    pub snapshots: u64,
    pub skipped: u64,
    /// Connections that ended unasked.
    pub closed: u64,
    /// Why, and what else went wrong, with counts.
    pub troubles: Vec<(String, u64)>,
    pub chat_sent: u64,
    pub chat_delivered: u64,
    pub pings: u64,
    /// Delays in microseconds with their counts, by kind.
    pub spectators: Vec<(u64, u64)>,
    pub players: Vec<(u64, u64)>,
    pub chat: Vec<(u64, u64)>,
    /// From a lost connection to being in the room again.
    pub returns: Vec<(u64, u64)>,
    /// Events sent within the window.
    pub events: Vec<Seen>,
    /// Seconds of CPU this worker used.
    pub cpu: f64,
}

/// One event as one worker saw it.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Seen {
    pub room: u32,
    pub seq: u32,
    /// When it was sent.
    pub sent: u64,
    /// When the last socket here got it.
    pub last: u64,
    /// How many sockets got it here.
    pub count: u32,
}
