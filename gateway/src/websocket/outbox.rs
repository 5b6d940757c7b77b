//! The way to a socket for everybody who does not own it: a queue of frames, bounded in bytes. Once a shard of the engine
//! owns the socket, frames are passed on to it, and only counted here.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::Waker;

use shared::protocol::close::CloseCode;

use super::encode::Frame;
use crate::fanout::line::{Command, Port};

/// Why a frame was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The peer does not take its frames fast enough. [`Handler::on_drained`](super::handler::Handler::on_drained) is
    /// called when everything queued has gone to the kernel.
    #[error("outbox is full")]
    Full,
    /// The connection is closing or gone.
    #[error("connection is closing")]
    Closed,
}

/// One connection's queue of frames to send, shared by all who have something to say to it.
///
/// Frames leave in the order they were pushed, as many as possible in one system call. An empty outbox owns no buffer.
#[derive(Debug)]
pub struct Outbox {
    len_max: usize,
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    frames: Vec<Frame>,
    /// The sum of [`Frame::queued_len`] of all that the kernel has not taken whole, those frames included that the owner
    /// already collected.
    len: usize,
    /// A frame was refused and `on_drained` is owed.
    refused: bool,
    woken: bool,
    /// Boxed, because nearly no outbox ever has one.
    close: Option<Box<CloseRequest>>,
    /// Nothing is taken any more.
    ended: bool,
    owner: Owner,
}

/// Who writes to the socket.
#[derive(Debug, Default)]
enum Owner {
    /// A task that is awake, or nobody yet.
    #[default]
    Awake,
    /// A task that sleeps.
    Asleep(Waker),
    /// A shard of the engine.
    Shard(Port),
}

impl Owner {
    /// The waker of a task that sleeps, which counts as awake from now on.
    fn take_waker(&mut self) -> Option<Waker> {
        match std::mem::take(self) {
            Owner::Asleep(waker) => Some(waker),
            other => {
                *self = other;
                None
            }
        }
    }
}

/// What [`Outbox::close`] asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseRequest {
    /// The code to close with.
    pub code: CloseCode,
    /// The words to go with it.
    pub reason: String,
    /// Whether what is queued is sent first.
    pub flush: bool,
}

/// What the owner of the socket finds in an outbox.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Collected {
    /// Somebody asked to close.
    pub close: Option<CloseRequest>,
    /// Somebody called [`Outbox::wake`].
    pub woken: bool,
}

impl Outbox {
    /// An outbox that holds at most `len_max` bytes of frames by [`Frame::queued_len`], or one frame of any length.
    pub fn new(len_max: usize) -> Outbox {
        Outbox {
            len_max,
            inner: Mutex::default(),
        }
    }

    /// Queues a frame.
    pub fn push(&self, frame: Frame) -> Result<(), Refused> {
        self.push_within(frame, self.len_max)
    }

    /// Queues a frame if the queue is then no longer than `len_max` bytes, for callers whose frames have classes.
    pub fn push_within(&self, frame: Frame, len_max: usize) -> Result<(), Refused> {
        let mut inner = self.lock();
        if inner.ended || inner.close.is_some() {
            return Err(Refused::Closed);
        }
        let len = inner.len + frame.queued_len();
        if inner.len > 0 && len > len_max {
            inner.refused = true;
            return Err(Refused::Full);
        }
        inner.len = len;
        match &inner.owner {
            Owner::Shard(port) if port.is_inside() => inner.frames.push(frame),
            Owner::Shard(Port { line, link }) => line.push(Command::Push(*link, frame)),
            Owner::Awake | Owner::Asleep(_) => {
                inner.frames.push(frame);
                wake(inner);
            }
        }
        Ok(())
    }

    /// Closes the connection, after all that was pushed before. Later pushes are refused, later closes ignored.
    pub fn close(&self, code: CloseCode, reason: impl Into<String>) {
        self.request_close(code, reason.into(), true);
    }

    /// Closes the connection at once; what is queued is dropped, but for the rest of a frame half-written.
    pub fn close_now(&self, code: CloseCode, reason: impl Into<String>) {
        self.request_close(code, reason.into(), false);
    }

    fn request_close(&self, code: CloseCode, reason: String, flush: bool) {
        let mut inner = self.lock();
        if inner.ended {
            return;
        }
        match &mut inner.close {
            // The first reason stands, but whoever is in a hurry is heard.
            Some(asked) => asked.flush &= flush,
            None => {
                inner.close = Some(Box::new(CloseRequest {
                    code,
                    reason,
                    flush,
                }));
            }
        }
        match &inner.owner {
            Owner::Shard(Port { line, link }) => line.push(Command::Close(*link)),
            Owner::Awake | Owner::Asleep(_) => wake(inner),
        }
    }

    /// Has [`Handler::on_wake`](super::handler::Handler::on_wake) called soon.
    pub fn wake(&self) {
        let mut inner = self.lock();
        let waits = std::mem::replace(&mut inner.woken, true);
        match &inner.owner {
            Owner::Shard(Port { line, link }) if !waits => line.push(Command::Wake(*link)),
            Owner::Shard(_) => {}
            Owner::Awake | Owner::Asleep(_) => wake(inner),
        }
    }

    /// What waits, by [`Frame::queued_len`], bytes; a frame counts whole until the kernel has taken its last byte.
    pub fn queued_len(&self) -> usize {
        self.lock().len
    }

    /// Whether the connection is closing or gone.
    pub fn is_closed(&self) -> bool {
        let inner = self.lock();
        inner.ended || inner.close.is_some()
    }

    /// A shard takes the socket over: what is said from now on goes after `adopt`, which tells it so.
    pub(crate) fn attach(&self, port: Port, adopt: Command) {
        let mut inner = self.lock();
        port.line.push(adopt);
        inner.owner = Owner::Shard(port);
    }

    /// The shard that owns the socket, if it is one.
    pub(crate) fn port(&self) -> Option<Port> {
        match &self.lock().owner {
            Owner::Shard(port) => Some(port.clone()),
            Owner::Awake | Owner::Asleep(_) => None,
        }
    }

    /// For the socket's owner: counts a frame that did not come through here and cannot be written yet. If that makes it too
    /// much, the connection is closed as slow.
    pub(super) fn charge(&self, len: usize) -> bool {
        let mut inner = self.lock();
        inner.len += len;
        inner.len == len || inner.len <= self.len_max
    }

    /// For the socket's owner: moves what is queued to the end of `frames`.
    pub fn collect(&self, frames: &mut Vec<Frame>) -> Collected {
        let mut inner = self.lock();
        take_frames(&mut inner, frames);
        Collected {
            close: take_close(&mut inner),
            woken: std::mem::take(&mut inner.woken),
        }
    }

    /// For the shard that owns the socket: what its handler said from inside.
    pub(super) fn collect_frames(&self, frames: &mut Vec<Frame>) {
        take_frames(&mut self.lock(), frames);
    }

    /// For the shard that owns the socket: whether the handler is to be woken.
    pub(super) fn collect_wake(&self) -> bool {
        std::mem::take(&mut self.lock().woken)
    }

    /// For the shard that owns the socket: whether it is to be closed.
    pub(super) fn collect_close(&self) -> Option<CloseRequest> {
        take_close(&mut self.lock())
    }

    /// For the socket's owner: pushed frames of `len` bytes by [`Frame::queued_len`] were written or dropped. Whether
    /// [`Handler::on_drained`](super::handler::Handler::on_drained) is due.
    pub fn settle(&self, len: usize) -> bool {
        let mut inner = self.lock();
        inner.len = inner.len.saturating_sub(len);
        inner.len == 0 && std::mem::take(&mut inner.refused)
    }

    /// For the socket's owner: takes nothing any more.
    pub fn end(&self) {
        let mut inner = self.lock();
        inner.ended = true;
        inner.close = None;
        inner.owner.take_waker();
    }

    /// For the socket's owner: who is to be woken by the next push. False, and nobody is kept, if something is waiting
    /// to be collected already.
    pub fn register(&self, waker: &Waker) -> bool {
        let mut inner = self.lock();
        if !inner.frames.is_empty() || inner.woken || inner.close.is_some() {
            return false;
        }
        match &inner.owner {
            Owner::Asleep(kept) if kept.will_wake(waker) => {}
            _ => inner.owner = Owner::Asleep(waker.clone()),
        }
        true
    }

    /// A panic elsewhere cannot leave this queue in a state that hurts, so poison is no reason to panic too.
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn take_frames(inner: &mut Inner, frames: &mut Vec<Frame>) {
    if frames.is_empty() {
        // The allocation moves along, so that there is only one.
        std::mem::swap(frames, &mut inner.frames);
    } else {
        frames.append(&mut inner.frames);
    }
}

fn take_close(inner: &mut Inner) -> Option<CloseRequest> {
    let close = inner.close.take()?;
    inner.ended = true;
    Some(*close)
}

/// Wakes the owner, after the lock was given back so that it does not run into it.
fn wake(mut inner: MutexGuard<'_, Inner>) {
    let waker = inner.owner.take_waker();
    drop(inner);
    if let Some(waker) = waker {
        waker.wake();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn frames() -> Vec<Frame> {
        Vec::new()
    }

    #[test]
    fn nobody_sleeps_over_something_that_waits() {
        let waits: [fn(&Outbox); 4] = [
            |outbox| outbox.push(Frame::text("x")).unwrap(),
            |outbox| outbox.wake(),
            |outbox| outbox.close(CloseCode::Normal, ""),
            |outbox| outbox.close_now(CloseCode::Normal, ""),
        ];
        for wait in waits {
            let count = Arc::new(Count::default());
            let waker = Waker::from(Arc::clone(&count));
            let outbox = Outbox::new(100);
            wait(&outbox);
            assert!(!outbox.register(&waker), "it came before the owner slept");
            outbox.collect(&mut frames());

            let outbox = Outbox::new(100);
            assert!(outbox.register(&waker));
            wait(&outbox);
            assert_eq!(count.0.load(Ordering::Relaxed), 1);
            // Once is enough, until the owner sleeps again.
            outbox.wake();
            assert_eq!(count.0.load(Ordering::Relaxed), 1);
        }
    }

    #[test]
    fn the_first_close_stands_and_the_hurry_counts() {
        let outbox = Outbox::new(100);
        outbox.close(CloseCode::Policy, "first");
        outbox.close_now(CloseCode::Normal, "second");
        let close = outbox.collect(&mut frames()).close.unwrap();
        assert_eq!((close.code, close.flush), (CloseCode::Policy, false));
        assert_eq!(close.reason, "first");
        // It is asked for once, and the outbox is closed from then on.
        assert_eq!(outbox.collect(&mut frames()), Collected::default());
        assert_eq!(outbox.push(Frame::text("x")), Err(Refused::Closed));
        outbox.close(CloseCode::Normal, "third");
        assert_eq!(outbox.collect(&mut frames()), Collected::default());
    }

    #[test]
    fn many_tiny_frames_are_as_bounded_as_a_few_large_ones() {
        let outbox = Outbox::new(64 * 1024);
        let taken = (0..100_000)
            .take_while(|_| outbox.push(Frame::text("x")).is_ok())
            .count();
        assert!((500..1000).contains(&taken), "{taken}");
    }

    #[test]
    fn frames_keep_their_order_over_several_collections() {
        let outbox = Outbox::new(1000);
        let mut got = frames();
        for n in 0..10 {
            outbox.push(Frame::text(&n.to_string())).unwrap();
            if n % 3 == 0 {
                outbox.collect(&mut got);
            }
        }
        outbox.collect(&mut got);
        let wanted: Vec<_> = (0..10).map(|n| Frame::text(&n.to_string())).collect();
        assert_eq!(got, wanted);
        let queued_len: usize = got.iter().map(Frame::queued_len).sum();
        assert_eq!(outbox.queued_len(), queued_len);
    }
}
