//! What one connection has yet to write: whole frames in order, and how far the first has gone.
//!
//! Some of it may be left out if the peer is too slow, because whoever queued it will say everything anew.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::Instant;

use crate::metrics::meters;

use super::encode::Frame;
use super::frame::Opcode;

/// Answers to pings that may wait to be written. A peer that pings on without reading gets its latest ping answered, as
/// RFC 6455, 5.5.3 allows, and no memory.
const PONGS_MAX: usize = 16;

#[derive(Debug)]
struct Queued {
    frame: Frame,
    may_skip: bool,
}

#[derive(Debug)]
pub(super) struct Writer {
    frames: VecDeque<Queued>,
    /// Bytes of the first frame that are gone.
    offset: usize,
    pongs: usize,
    /// When the kernel last took something, or the first frame came.
    moved_at: Instant,
}

impl Writer {
    pub(super) fn new(now: Instant) -> Writer {
        Writer {
            frames: VecDeque::new(),
            offset: 0,
            pongs: 0,
            moved_at: now,
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Queues a message; if `may_skip`, [`Writer::skip`] drops it.
    pub(super) fn push(&mut self, frame: Frame, may_skip: bool, now: Instant) {
        if self.is_empty() {
            self.moved_at = now;
        }
        self.frames.push_back(Queued { frame, may_skip });
    }

    /// Queues a message of which the kernel has taken `len` bytes already. There must be no other.
    pub(super) fn push_begun(&mut self, frame: Frame, len: usize, may_skip: bool, now: Instant) {
        debug_assert!(self.is_empty());
        self.push(frame, may_skip, now);
        self.offset = len;
    }

    /// Since when the kernel has taken nothing although there was something.
    pub(super) fn waits_since(&self) -> Option<Instant> {
        (!self.is_empty()).then_some(self.moved_at)
    }

    /// Queues a control frame.
    pub(super) fn control(&mut self, frame: Frame, now: Instant) {
        self.push(frame, false, now);
    }

    /// Queues the answer to a ping, in the place of an earlier one if there are many.
    pub(super) fn pong(&mut self, frame: Frame, now: Instant) {
        if self.pongs >= PONGS_MAX {
            let mut queued = self.frames.iter_mut();
            let latest = queued.rfind(|queued| queued.frame.is(Opcode::Pong));
            latest.expect("pongs are counted").frame = frame;
            return;
        }
        self.pongs += 1;
        self.control(frame, now);
    }

    pub(super) fn slices<'s>(&'s self, slices: &mut [IoSlice<'s>]) -> usize {
        let mut offset = self.offset;
        let mut filled = 0;
        for (slice, queued) in slices.iter_mut().zip(&self.frames) {
            *slice = IoSlice::new(&queued.frame.as_bytes()[offset..]);
            offset = 0;
            filled += 1;
        }
        filled
    }

    /// `len` bytes are gone. Returns what the outbox has to settle for that.
    pub(super) fn wrote(&mut self, len: usize, now: Instant) -> usize {
        if len > 0 {
            self.moved_at = now;
        }
        self.offset += len;
        let mut settled = 0;
        let mut messages = 0;
        while let Some(queued) = self.frames.front()
            && self.offset >= queued.frame.wire_len()
        {
            self.offset -= queued.frame.wire_len();
            let message = self.forget_front();
            messages += u64::from(message > 0);
            settled += message;
        }
        // Once a system call, however many frames went.
        meters().sent_bytes.add(len as u64);
        meters().deliveries.add(messages);
        if self.frames.is_empty() {
            // A quiet connection holds no buffer.
            self.frames = VecDeque::new();
        }
        settled
    }

    /// Drops all but the rest of a frame half-written. Returns what the outbox has to settle for that.
    pub(super) fn drop_unsent(&mut self) -> usize {
        self.drop_where(|_| true)
    }

    /// Drops what may be skipped, but for the rest of a frame half-written. Returns what the outbox has to settle for that.
    pub(super) fn skip(&mut self) -> usize {
        self.drop_where(|queued| queued.may_skip)
    }

    fn drop_where(&mut self, mut goes: impl FnMut(&Queued) -> bool) -> usize {
        let mut begun = self.offset > 0;
        let (mut settled, mut pongs) = (0, 0);
        self.frames.retain(|queued| {
            let stays = std::mem::take(&mut begun) || !goes(queued);
            if !stays {
                settled += message_len(&queued.frame);
            } else if queued.frame.is(Opcode::Pong) {
                pongs += 1;
            }
            stays
        });
        self.frames.shrink_to_fit();
        self.pongs = pongs;
        settled
    }

    fn forget_front(&mut self) -> usize {
        let Some(Queued { frame, .. }) = self.frames.pop_front() else {
            return 0;
        };
        if frame.is(Opcode::Pong) {
            self.pongs -= 1;
        }
        message_len(&frame)
    }
}

/// What the outbox counts this frame for: control frames never were in it.
fn message_len(frame: &Frame) -> usize {
    if frame.is(Opcode::Text) || frame.is(Opcode::Binary) {
        frame.queued_len()
    } else {
        0
    }
}
