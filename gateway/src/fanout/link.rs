//! One socket of a shard: its TCP stream, its protocol, and the groups it is in. The only one who reads and writes it.

use super::{
    line::{Arrival, Class},
    timers::Tick,
};
use crate::websocket::{Frame, Handler, connection::Connection, listen::Slot};
use bytes::Bytes;
use mio::net::TcpStream;
use std::{
    io::{self, IoSlice, Read, Write},
    net::Shutdown,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio_util::task::task_tracker::TaskTrackerToken;

/// A spectator whose socket has taken nothing for so long, while there was something, is skipped forward as soon as there is
/// more. It is progress that is judged: a burst that the socket works on is no reason.
const SKIP_AFTER: Duration = Duration::from_millis(500);

/// Bytes that wait for a spectator's socket at most, or one snapshot. With what the kernel holds for a socket that is not read, some
/// 55 KB, that is less than 80 KB.
const SPECTATOR_LEN_MAX: usize = 24 * 1024;

/// Frames that are written in one call at most. The kernel takes 1024; beyond a few dozen nothing is gained.
const SLICES_MAX: usize = 64;

/// Reads from one socket before it is the others' turn.
const READS_MAX: usize = 4;

/// A socket's part in a group.
#[derive(Debug)]
pub(super) struct Membership {
    pub group: u64,
    pub class: Class,
    /// Where the socket stands among the members of its class.
    pub place: u32,
    /// What the group's owner calls the member.
    pub member: u64,
    pub standing: Standing,
}

/// Whether a member gets what the others get.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// It does.
    Good,
    /// It was skipped; the owner is told when the socket takes something again.
    Behind,
    /// The owner was told, and will say everything anew.
    Told,
}

/// See the module.
pub(super) struct Link {
    pub id: u64,
    stream: TcpStream,
    pub connection: Connection<Box<dyn Handler>>,
    pub memberships: Vec<Membership>,
    /// The kernel takes nothing until it says so.
    blocked: bool,
    /// There may be bytes that were left in the kernel while the handler paused.
    left_unread: bool,
    /// It is on the shard's list of those to look after.
    pub is_touched: bool,
    /// Some membership is not in good standing.
    pub is_behind: bool,
    /// The bucket that reminds of it.
    pub timer: Tick,
    _slot: Option<Arc<Slot>>,
    _token: TaskTrackerToken,
}

impl Link {
    /// Takes a socket over; what came with its handshake is to be [received](Link::receive).
    pub fn new(id: u64, arrival: Arrival, now: Instant) -> (Link, Bytes) {
        let connection = Connection::new(arrival.handler, arrival.outbox, arrival.limits, now);
        let link = Link {
            id,
            stream: TcpStream::from_std(arrival.stream),
            connection,
            memberships: Vec::new(),
            blocked: false,
            left_unread: false,
            is_touched: false,
            is_behind: false,
            timer: 0,
            _slot: arrival.slot,
            _token: arrival.token,
        };
        (link, arrival.leftover)
    }

    /// Has the kernel tell of it under this token.
    pub fn register(&mut self, registry: &mio::Registry, token: mio::Token) -> io::Result<()> {
        let interests = mio::Interest::READABLE | mio::Interest::WRITABLE;
        registry.register(&mut self.stream, token, interests)
    }

    /// Bytes that came.
    pub fn receive(&mut self, bytes: &mut [u8], now: Instant) {
        self.connection.receive(bytes, now);
    }

    /// The kernel takes bytes again.
    pub fn writable(&mut self) {
        self.blocked = false;
    }

    /// Reads what there is. True if there is more.
    pub fn read(&mut self, buffer: &mut [u8]) -> bool {
        for _ in 0..READS_MAX {
            if !self.connection.wants_read() {
                self.left_unread = true;
                return false;
            }
            match self.stream.read(buffer) {
                Ok(0) => self.connection.receive_eof(),
                Ok(len) => {
                    self.connection.receive(&mut buffer[..len], Instant::now());
                    // Less than it might have been is all there was; what comes later is told anew.
                    if len < buffer.len() {
                        return false;
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => self.connection.lost(),
            }
        }
        self.left_unread = !self.connection.wants_read();
        !self.left_unread
    }

    /// Whether something waits that the kernel would take.
    pub fn may_write(&self) -> bool {
        !self.blocked && self.connection.wants_write()
    }

    /// Whether its handler has ended a pause, and what was left is to be read.
    pub fn is_hungry(&mut self) -> bool {
        self.connection.wants_read() && std::mem::take(&mut self.left_unread)
    }

    /// Writes what waits until the kernel takes no more, and shuts down what is to be.
    pub fn write(&mut self, now: Instant) {
        while !self.blocked && self.connection.wants_write() {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = self.connection.output(&mut slices);
            let written = match &slices[..filled] {
                // The usual case, and a cheaper system call.
                [one] => self.stream.write(one),
                many => self.stream.write_vectored(many),
            };
            match written {
                Ok(len) if len > 0 => self.connection.wrote(len, now),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.blocked = true,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Ok(_) | Err(_) => self.connection.lost(),
            }
        }
        if self.connection.wants_shutdown() {
            // If TCP is broken, nothing is left to be told.
            let _ = self.stream.shutdown(Shutdown::Write);
            self.connection.shut_down();
        }
    }

    /// Gives the socket a frame of a group: to the kernel, if nothing waits before it. True if it is gone whole; if not, the
    /// socket needs looking after.
    pub fn give(&mut self, frame: &Frame, may_skip: bool, now: Instant) -> bool {
        if !self.connection.is_clear() || self.blocked {
            self.wait(frame, may_skip, now);
            return false;
        }
        match self.stream.write(frame.as_bytes()) {
            Ok(len) if len == frame.wire_len() => return true,
            Ok(len) => self.connection.queue(frame.clone(), len, may_skip, now),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.blocked = true;
                self.connection.queue(frame.clone(), 0, may_skip, now);
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                self.connection.queue(frame.clone(), 0, may_skip, now);
            }
            Err(_) => self.connection.lost(),
        }
        false
    }

    /// Queues a frame of a group, to be written with what else there is.
    pub fn wait(&mut self, frame: &Frame, may_skip: bool, now: Instant) {
        // What was queued to be written together is enough, and may not be judged as what the kernel does not take.
        if !self.blocked && self.connection.queued_len() > SPECTATOR_LEN_MAX {
            self.write(now);
        }
        if may_skip && self.blocked && self.is_slow(frame, now) {
            self.skip();
        } else {
            self.connection.queue(frame.clone(), 0, may_skip, now);
        }
    }

    fn is_slow(&self, frame: &Frame, now: Instant) -> bool {
        let stuck = self
            .connection
            .waits_since()
            .is_some_and(|since| now.saturating_duration_since(since) >= SKIP_AFTER);
        let queued = self.connection.queued_len();
        stuck || (queued > 0 && queued + frame.queued_len() > SPECTATOR_LEN_MAX)
    }

    /// Skips it forward in all groups it watches.
    pub fn skip(&mut self) {
        self.connection.skip();
        for membership in &mut self.memberships {
            if membership.class == Class::Spectator && membership.standing == Standing::Good {
                membership.standing = Standing::Behind;
                self.is_behind = true;
                super::skipped();
            }
        }
    }

    /// Whether it was skipped and takes something again.
    pub fn may_catch_up(&self) -> bool {
        self.is_behind && !self.blocked && self.connection.is_clear()
    }

    /// Its memberships changed.
    pub fn note_standings(&mut self) {
        let mut memberships = self.memberships.iter();
        self.is_behind = memberships.any(|membership| membership.standing != Standing::Good);
    }

    /// Its part in that group.
    pub fn membership(&mut self, group: u64) -> Option<&mut Membership> {
        self.memberships
            .iter_mut()
            .find(|membership| membership.group == group)
    }

    /// Has TCP reset instead of closed when this is dropped, so that the kernel forgets what the peer has not taken.
    pub fn reset_on_drop(&self) {
        let stream = socket2::SockRef::from(&self.stream);
        if let Err(error) = stream.set_linger(Some(Duration::ZERO)) {
            tracing::debug!(%error, "cannot reset a connection");
        }
    }
}
