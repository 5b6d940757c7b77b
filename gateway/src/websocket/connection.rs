//! One connection's life after the handshake: when to ping, when to give up, how to say goodbye. No IO, no clock.
//!
//! Whoever owns the socket tells this state machine what was read, what was written and what time it is, and asks it what
//! to write, whether to read and when to come back. A shard of the [engine](crate::fanout::engine) does that for thousands of
//! sockets, and [`driver`](super::driver) with a tokio task for one.
//!
//! A goodbye has four steps, and a bounded time for each: what is queued is written, then our Close; the peer's Close is
//! awaited (unless it came first, or the peer broke the protocol); our side of TCP is shut down; what still comes is read
//! and thrown away until the peer's side ends too. Without that last step the kernel would answer unread bytes with a
//! reset, which can overtake our Close and take it from the peer.

use std::io::IoSlice;
use std::sync::Arc;
use std::time::{Duration, Instant};

use shared::protocol::close::CloseCode;

use super::encode::Frame;
use super::frame::{Incoming, ProtocolError, Reader, Rules};
use super::handler::{Handler, Next};
use super::outbox::{CloseRequest, Collected, Outbox};
use super::writer::Writer;

/// Limits of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// What is taken from the peer.
    pub rules: Rules,
    /// The peer is pinged after this long without a byte from it.
    pub heartbeat: Duration,
    /// After this many unanswered pings and one more [`Limits::heartbeat`] the peer is given up with 4010.
    pub pings_max: u8,
    /// A peer that takes no byte for this long while something is queued is given up with 4008. Also the longest time
    /// that what is queued may take before a Close.
    pub write_stall: Duration,
    /// How long the peer may take to answer our Close and to end its side.
    pub close_wait: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            rules: Rules::default(),
            heartbeat: Duration::from_secs(30),
            pings_max: 2,
            write_stall: Duration::from_secs(10),
            close_wait: Duration::from_secs(2),
        }
    }
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The peer said goodbye, with this code if any.
    Peer(Option<u16>),
    /// We did.
    Local(CloseCode),
    /// TCP ended without a word.
    Lost,
}

#[derive(Debug)]
enum Phase {
    Open,
    /// Our Close is the last of what is to be written.
    Closing {
        until: Instant,
        await_peer: bool,
    },
    /// Our Close was written, the peer's is awaited.
    Awaiting {
        until: Instant,
    },
    /// Both are through; our side of TCP is to be shut down.
    ShutDown {
        until: Instant,
    },
    /// The end of the peer's side is awaited.
    Draining {
        until: Instant,
    },
    Done {
        reset: bool,
    },
}

/// The state machine.
#[derive(Debug)]
pub struct Connection<H> {
    handler: H,
    outbox: Arc<Outbox>,
    limits: Arc<Limits>,
    reader: Reader,
    writer: Writer,
    phase: Phase,
    end: End,
    /// When the last byte came, reading began again after a pause, or the last ping was sent: the peer's silence is counted
    /// from then. (Not from the last byte alone: a process that was stopped for a while gives its peers time to answer.)
    quiet_since: Instant,
    /// Pings sent since the last byte.
    pings: u8,
    /// The peer's side of TCP has ended.
    eof: bool,
    paused: bool,
    /// What was read and not looked at when the handler paused.
    backlog: Vec<u8>,
}

impl<H: Handler> Connection<H> {
    /// A connection whose handshake is done.
    pub fn new(handler: H, outbox: Arc<Outbox>, limits: Arc<Limits>, now: Instant) -> Self {
        Connection {
            handler,
            outbox,
            limits,
            reader: Reader::new(),
            writer: Writer::new(now),
            phase: Phase::Open,
            end: End::Lost,
            quiet_since: now,
            pings: 0,
            eof: false,
            paused: false,
            backlog: Vec::new(),
        }
    }

    /// Looks into the outbox: new frames, a wish to close, a wake-up for the handler.
    pub fn collect(&mut self, now: Instant) {
        let collected = self.fetch(now);
        match collected.close {
            Some(close) => self.close(close, now),
            None if collected.woken => self.wake(now),
            None => {}
        }
    }

    /// Moves what waits in the outbox to what is to be written.
    fn fetch(&mut self, now: Instant) -> Collected {
        let mut frames = Vec::new();
        let collected = self.outbox.collect(&mut frames);
        for frame in frames {
            self.writer.push(frame, false, now);
        }
        collected
    }

    fn wake(&mut self, now: Instant) {
        if self.is_open() {
            let next = self.handler.on_wake();
            self.obey(next, now);
        }
    }

    fn close(&mut self, close: CloseRequest, now: Instant) {
        if self.is_open() {
            let frame = Frame::close(close.code, &close.reason);
            self.say_goodbye(frame, End::Local(close.code), close.flush, true, now);
        }
    }

    /// Queues a frame that the outbox has counted and passed on.
    pub(crate) fn passed_on(&mut self, frame: Frame, now: Instant) {
        if self.is_open() {
            self.writer.push(frame, false, now);
        }
    }

    /// Queues what the handler said while it was called.
    pub(crate) fn said_inside(&mut self, now: Instant) {
        let mut frames = Vec::new();
        self.outbox.collect_frames(&mut frames);
        for frame in frames {
            self.writer.push(frame, false, now);
        }
    }

    /// The outbox passed on a wake-up.
    pub(crate) fn passed_wake(&mut self, now: Instant) {
        if self.outbox.collect_wake() {
            self.wake(now);
        }
    }

    /// The outbox passed on a wish to close.
    pub(crate) fn passed_close(&mut self, now: Instant) {
        if let Some(close) = self.outbox.collect_close() {
            self.close(close, now);
        }
    }

    /// Queues a frame of the owner's own, of which the kernel has taken `written` bytes already (if that is not 0, nothing else
    /// may be queued). If `may_skip`, [`Connection::skip`] drops it; if not, and it is too much, the peer is closed as slow.
    pub(crate) fn queue(&mut self, frame: Frame, written: usize, may_skip: bool, now: Instant) {
        if !self.is_open() {
            return;
        }
        let fits = self.outbox.charge(frame.queued_len());
        if written > 0 {
            self.writer.push_begun(frame, written, may_skip, now);
        } else {
            self.writer.push(frame, may_skip, now);
        }
        if !fits && !may_skip {
            metrics::counter!("rookery_slow_readers_closed_total").increment(1);
            let frame = Frame::close(CloseCode::Slow, "messages are not taken fast enough");
            self.say_goodbye(frame, End::Local(CloseCode::Slow), false, true, now);
        }
    }

    /// Drops what may be skipped.
    pub(crate) fn skip(&mut self) {
        let settled = self.writer.skip();
        self.outbox.settle(settled);
    }

    /// Whether it is open and nothing waits, so that a frame may go to the kernel without being queued.
    pub(crate) fn is_clear(&self) -> bool {
        self.is_open() && self.writer.is_empty()
    }

    /// Since when the kernel has taken nothing although there was something.
    pub(crate) fn waits_since(&self) -> Option<Instant> {
        self.writer.waits_since()
    }

    /// What waits, bytes.
    pub(crate) fn queued_len(&self) -> usize {
        self.outbox.queued_len()
    }

    /// Takes what was read; it is unmasked in place.
    pub fn receive(&mut self, mut input: &mut [u8], now: Instant) {
        self.quiet_since = now;
        self.pings = 0;
        while let Some(incoming) = self.reader.next(&mut input, &self.limits.rules) {
            self.react(incoming, now);
            if self.paused {
                // Bytes that came before the pause stand before those that are read after it.
                self.backlog = input.to_vec();
                return;
            }
        }
    }

    fn react(&mut self, incoming: Result<Incoming<'_>, ProtocolError>, now: Instant) {
        if !self.is_open() {
            // Only the peer's goodbye is of interest now, however clumsy.
            if matches!(incoming, Ok(Incoming::Close { .. }) | Err(_)) {
                self.peer_is_through();
            }
            return;
        }
        match incoming {
            Ok(Incoming::Text(text)) => {
                let next = self.handler.on_text(&text, now);
                self.obey(next, now);
            }
            Ok(Incoming::Binary(payload)) => {
                let next = self.handler.on_binary(&payload, now);
                self.obey(next, now);
            }
            Ok(Incoming::TooLarge) => {
                let next = self.handler.on_too_large(now);
                self.obey(next, now);
            }
            Ok(Incoming::Ping(payload)) => self.writer.pong(Frame::pong(&payload), now),
            Ok(Incoming::Pong(_)) => {}
            Ok(Incoming::Close { code, .. }) => {
                let reply = Frame::close_reply(code);
                self.say_goodbye(reply, End::Peer(code), true, false, now);
            }
            Err(ProtocolError { code, reason }) => {
                // The peer's idea of the stream is not ours any more: its Close could not be found in it.
                let frame = Frame::close(code, reason);
                self.say_goodbye(frame, End::Local(code), true, false, now);
            }
        }
    }

    fn obey(&mut self, next: Next, now: Instant) {
        match next {
            Next::Pause => self.paused = self.is_open(),
            Next::Read if self.paused => {
                self.paused = false;
                let mut backlog = std::mem::take(&mut self.backlog);
                self.receive(&mut backlog, now);
            }
            Next::Read => {}
        }
    }

    /// The peer's side of TCP has ended.
    pub fn receive_eof(&mut self) {
        self.eof = true;
        match self.phase {
            Phase::Open => self.lost(),
            Phase::Draining { .. } => self.phase = Phase::Done { reset: false },
            _ => self.peer_is_through(),
        }
    }

    /// TCP is broken.
    pub fn lost(&mut self) {
        if self.is_open() {
            self.outbox.end();
            self.handler.on_end(End::Lost);
        }
        self.phase = Phase::Done { reset: false };
    }

    /// The handler panicked: it hears of nothing any more.
    pub(crate) fn abandon(&mut self) {
        self.outbox.end();
        self.phase = Phase::Done { reset: false };
    }

    /// Fills `slices` with what is to be written next, and says how many it filled.
    pub fn output<'s>(&'s self, slices: &mut [IoSlice<'s>]) -> usize {
        self.writer.slices(slices)
    }

    /// Whether there is anything to write.
    pub fn wants_write(&self) -> bool {
        !self.writer.is_empty() && !matches!(self.phase, Phase::Done { .. })
    }

    /// The kernel has taken `len` bytes of the output.
    pub fn wrote(&mut self, len: usize, now: Instant) {
        let settled = self.writer.wrote(len, now);
        if settled > 0 && self.outbox.settle(settled) && self.is_open() {
            let next = self.handler.on_drained();
            self.obey(next, now);
        }
        if self.writer.is_empty()
            && let Phase::Closing { await_peer, .. } = self.phase
        {
            let until = now + self.limits.close_wait;
            self.phase = if await_peer {
                Phase::Awaiting { until }
            } else {
                Phase::ShutDown { until }
            };
        }
    }

    /// Whether to read.
    pub fn wants_read(&self) -> bool {
        !self.paused && !self.eof && !matches!(self.phase, Phase::Done { .. })
    }

    /// Whether our side of TCP is to be shut down now, which [`Connection::shut_down`] then confirms.
    pub fn wants_shutdown(&self) -> bool {
        matches!(self.phase, Phase::ShutDown { .. })
    }

    /// Our side of TCP was shut down.
    pub fn shut_down(&mut self) {
        if let Phase::ShutDown { until } = self.phase {
            self.phase = if self.eof {
                Phase::Done { reset: false }
            } else {
                Phase::Draining { until }
            };
        }
    }

    /// Once all is over: how it ended.
    pub fn ended(&self) -> Option<End> {
        matches!(self.phase, Phase::Done { .. }).then_some(self.end)
    }

    /// Once all is over: whether to reset TCP, so that the kernel does not go on holding, for minutes, what the peer
    /// does not take.
    pub fn wants_reset(&self) -> bool {
        matches!(self.phase, Phase::Done { reset: true })
    }

    /// When to call [`Connection::tick`] at the latest.
    pub fn deadline(&self) -> Instant {
        match self.phase {
            Phase::Open => {
                let silent = (!self.paused).then(|| self.quiet_since + self.limits.heartbeat);
                let stalled = self
                    .writer
                    .waits_since()
                    .map(|at| at + self.limits.write_stall);
                match (silent, stalled) {
                    (Some(silent), Some(stalled)) => silent.min(stalled),
                    (Some(at), None) | (None, Some(at)) => at,
                    // Paused with nothing to write: somebody else's turn.
                    (None, None) => self.quiet_since + FAR,
                }
            }
            Phase::Closing { until, .. }
            | Phase::Awaiting { until }
            | Phase::ShutDown { until }
            | Phase::Draining { until } => until,
            Phase::Done { .. } => self.quiet_since + FAR,
        }
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant) {
        match self.phase {
            Phase::Open => {
                let stalled = |since| now >= since + self.limits.write_stall;
                if self.writer.waits_since().is_some_and(stalled) {
                    let frame = Frame::close(CloseCode::Slow, "messages are not taken");
                    self.say_goodbye(frame, End::Local(CloseCode::Slow), false, true, now);
                } else if self.paused || now < self.quiet_since + self.limits.heartbeat {
                } else if self.pings < self.limits.pings_max {
                    self.pings += 1;
                    self.quiet_since = now;
                    self.writer.control(Frame::ping(), now);
                } else {
                    let frame = Frame::close(CloseCode::Idle, "pings are not answered");
                    self.say_goodbye(frame, End::Local(CloseCode::Idle), false, true, now);
                }
            }
            Phase::Done { .. } => {}
            Phase::Closing { until, .. }
            | Phase::Awaiting { until }
            | Phase::ShutDown { until }
            | Phase::Draining { until } => {
                if now >= until {
                    self.phase = Phase::Done { reset: true };
                }
            }
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    fn peer_is_through(&mut self) {
        match &mut self.phase {
            Phase::Closing { await_peer, .. } => *await_peer = false,
            Phase::Awaiting { until } => self.phase = Phase::ShutDown { until: *until },
            _ => {}
        }
    }

    /// From open to closing.
    fn say_goodbye(&mut self, close: Frame, end: End, flush: bool, await_peer: bool, now: Instant) {
        self.outbox.end();
        self.fetch(now);
        if !flush {
            self.outbox.settle(self.writer.drop_unsent());
        }
        self.writer.control(close, now);
        let patience = if flush {
            self.limits.write_stall
        } else {
            self.limits.close_wait
        };
        self.phase = Phase::Closing {
            until: now + patience,
            await_peer,
        };
        self.end = end;
        self.paused = false;
        self.handler.on_end(end);
        // The peer's own goodbye may be in what was not looked at.
        let mut backlog = std::mem::take(&mut self.backlog);
        if !backlog.is_empty() {
            self.receive(&mut backlog, now);
        }
    }
}

/// Later than anything.
const FAR: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests;
