//! The way to a shard: one queue of commands, which the shard takes in order. What is said to a socket and what concerns
//! its groups goes the same way, so nothing overtakes anything.

use super::engine::Admission;
use crate::{
    metrics::Delivery,
    websocket::{Frame, Handler, Limits, Outbox, listen::Slot},
};
use bytes::Bytes;
use std::{
    cell::Cell,
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio_util::task::task_tracker::TaskTrackerToken;

/// How a member of a group is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// At once and first; whoever cannot keep up is closed with 4008.
    Player,
    /// At once while the group is quiet, else gathered; whoever cannot keep up is skipped forward.
    Spectator,
}

/// Which members of a group a frame is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct To {
    /// Those of [`Class::Player`].
    pub players: bool,
    /// Those of [`Class::Spectator`].
    pub spectators: bool,
}

/// Hears of members who were skipped and can take something again: they need everything anew.
pub trait CatchUp: Send + Sync {
    /// The member that was entered under this number.
    fn caught_up(&self, member: u64);
}

impl fmt::Debug for dyn CatchUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CatchUp")
    }
}

/// A socket on its way to its shard.
pub(crate) struct Arrival {
    pub stream: std::net::TcpStream,
    pub leftover: Bytes,
    pub handler: Box<dyn Handler>,
    pub outbox: Arc<Outbox>,
    pub limits: Arc<Limits>,
    /// Dropped when the socket is gone.
    pub slot: Option<Arc<Slot>>,
    /// Dropped when the socket is gone.
    pub token: TaskTrackerToken,
    /// Dropped when the socket has arrived.
    pub _admission: Admission,
}

/// All that can be put to a shard.
pub(crate) enum Command {
    /// A new socket, under this number.
    Adopt(u64, Box<Arrival>),
    /// A frame for one socket, which its outbox has counted.
    Push(u64, Frame),
    /// Its outbox was asked to close it.
    Close(u64),
    /// Its handler is to be woken.
    Wake(u64),
    /// It becomes a member, or is one anew: from here on it gets everything.
    Enter {
        group: u64,
        link: u64,
        class: Class,
        member: u64,
        owner: Arc<dyn CatchUp>,
    },
    /// It ceases to be a member.
    Leave { group: u64, link: u64 },
    /// A frame for one member, in the group's order.
    Send { group: u64, link: u64, frame: Frame },
    /// A frame for all members of a kind. So many of the group's members, on all shards, are spectators.
    Broadcast {
        group: u64,
        frame: Frame,
        to: To,
        spectators: usize,
        /// Let go of when the last of them here was served; of an event.
        delivery: Option<Arc<Delivery>>,
    },
    /// The group is no more.
    Dissolve(u64),
    /// Everything ends at once.
    Stop,
}

/// The queue.
pub(crate) struct Line {
    queue: Mutex<Vec<Command>>,
    /// The shard sleeps, or is about to.
    asleep: AtomicBool,
    waker: mio::Waker,
}

impl Line {
    pub fn new(waker: mio::Waker) -> Line {
        Line {
            queue: Mutex::default(),
            asleep: AtomicBool::new(false),
            waker,
        }
    }

    /// Puts a command to the shard.
    pub fn push(&self, command: Command) {
        self.lock().push(command);
        if self.asleep.swap(false, Ordering::SeqCst)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "a shard cannot be woken");
        }
    }

    /// For the shard: takes all there is into an empty list, whose allocation is used again.
    pub fn take(&self, commands: &mut Vec<Command>) {
        std::mem::swap(&mut *self.lock(), commands);
    }

    /// For the shard: announces that it will sleep. False if there is something to do.
    pub fn falls_asleep(&self) -> bool {
        // Whoever pushes looks at the flag afterwards, whoever sleeps looks at the queue afterwards: one of the two sees.
        self.asleep.store(true, Ordering::SeqCst);
        let sleeps = self.lock().is_empty();
        if !sleeps {
            self.wakes_up();
        }
        sleeps
    }

    /// For the shard: it is awake.
    pub fn wakes_up(&self) {
        self.asleep.store(false, Ordering::SeqCst);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Command>> {
        // A list is whole whoever panicked beside it.
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Line")
    }
}

/// One socket's place at its shard.
#[derive(Debug, Clone)]
pub(crate) struct Port {
    pub line: Arc<Line>,
    pub link: u64,
}

thread_local! {
    /// The socket whose handler is being called by this thread.
    static INSIDE: Cell<Option<u64>> = const { Cell::new(None) };
}

impl Port {
    /// Whether it is this very socket's handler that speaks. What it says needs no way to the shard, and must stand before
    /// what the protocol adds, such as a Close.
    pub fn is_inside(&self) -> bool {
        INSIDE.get() == Some(self.link)
    }
}

/// Calls the handler of that socket.
pub(crate) fn inside<T>(link: u64, call: impl FnOnce() -> T) -> T {
    INSIDE.set(Some(link));
    let done = call();
    inside_no_more();
    done
}

/// A handler was left, if only by a panic.
pub(crate) fn inside_no_more() {
    INSIDE.set(None);
}

/// The queue's other end, for a shard to be made with.
pub(crate) fn line(poll: &mio::Poll, token: mio::Token) -> io::Result<Arc<Line>> {
    Ok(Arc::new(Line::new(mio::Waker::new(
        poll.registry(),
        token,
    )?)))
}
