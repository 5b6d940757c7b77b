//! Moves bytes between a socket and its [`Connection`] in a tokio task: the way of sockets that no thread of the
//! [`engine`](crate::fanout::engine) can own, because TLS or something else is around them.
//!
//! All read calls of a thread share one buffer, and what a connection has queued goes to the kernel in as few calls as
//! possible. A quiet connection is a task that waits, and no buffer.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep_until};

use super::connection::{Connection, End, Limits};
use super::handler::Handler;
use super::handshake::{Io, Socket};
use super::outbox::Outbox;

/// The shared read buffer, bytes: large enough that even a message of 16 MiB takes few calls.
const READ_BUFFER_LEN: usize = 64 * 1024;

/// Frames that are written in one call at most. The kernel takes 1024; beyond a few dozen nothing is gained.
const SLICES_MAX: usize = 64;

/// Runs a connection to its end: until TCP is closed on both sides, or it took too long. The handler has been told by
/// [`Handler::on_end`] when this returns.
pub fn run<H: Handler>(
    socket: Socket,
    handler: H,
    outbox: Arc<Outbox>,
    limits: Arc<Limits>,
) -> impl Future<Output = End> + Send {
    let Socket {
        mut io,
        leftover,
        slot,
    } = socket;
    let mut connection = Connection::new(handler, outbox.clone(), limits, now());
    if !leftover.is_empty() {
        connection.receive(&mut Vec::from(leftover), now());
    }
    async move {
        let _slot = slot;
        let mut sleep = pin!(sleep_until(connection.deadline().into()));
        poll_fn(|cx| poll(&mut io, &mut connection, &outbox, sleep.as_mut(), cx)).await
    }
}

fn poll<H: Handler>(
    io: &mut Io,
    connection: &mut Connection<H>,
    outbox: &Outbox,
    mut sleep: Pin<&mut Sleep>,
    cx: &mut Context<'_>,
) -> Poll<End> {
    loop {
        let now = now();
        connection.collect(now);
        // Written before time is looked at: a peer that takes its bytes is not slow because this process was stopped.
        write(io, connection, now, cx);
        if now >= connection.deadline() {
            connection.tick(now);
            write(io, connection, now, cx);
        }
        if connection.wants_shutdown() && Pin::new(&mut *io).poll_shutdown(cx).is_ready() {
            connection.shut_down();
        }
        if let Some(end) = connection.ended() {
            if connection.wants_reset() {
                io.reset_on_drop();
            }
            return Poll::Ready(end);
        }
        if connection.wants_read() && read(io, connection, cx).is_ready() {
            continue;
        }
        if !outbox.register(cx.waker()) {
            continue;
        }
        // A timer is only moved when it comes too late, or has run out too early: deadlines mostly move away.
        let deadline = connection.deadline().into();
        if deadline < sleep.deadline() || sleep.is_elapsed() {
            sleep.as_mut().reset(deadline);
        }
        ready!(sleep.as_mut().poll(cx));
    }
}

/// Writes what there is until the kernel takes no more.
fn write<H: Handler>(
    io: &mut Io,
    connection: &mut Connection<H>,
    now: Instant,
    cx: &mut Context<'_>,
) {
    while connection.wants_write() {
        let mut slices = [IoSlice::new(&[]); SLICES_MAX];
        let filled = connection.output(&mut slices);
        let stream = Pin::new(&mut *io);
        let written = match &slices[..filled] {
            // The usual case, and a cheaper system call.
            [one] => stream.poll_write(cx, one),
            many => stream.poll_write_vectored(cx, many),
        };
        match written {
            Poll::Ready(Ok(len)) if len > 0 => connection.wrote(len, now),
            Poll::Ready(_) => connection.lost(),
            Poll::Pending => break,
        }
    }
}

/// Reads once. Ready if that brought anything, the end included.
fn read<H: Handler>(io: &mut Io, connection: &mut Connection<H>, cx: &mut Context<'_>) -> Poll<()> {
    with_read_buffer(|buffer| {
        let mut buffer = ReadBuf::new(buffer);
        match ready!(Pin::new(io).poll_read(cx, &mut buffer)) {
            Ok(()) if buffer.filled().is_empty() => connection.receive_eof(),
            Ok(()) => connection.receive(buffer.filled_mut(), now()),
            Err(_) => connection.lost(),
        }
        Poll::Ready(())
    })
}

/// The current time, which a test may have stopped.
fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Lends this thread's read buffer. A handler that comes back here from inside gets another one.
fn with_read_buffer<T>(lend: impl FnOnce(&mut [u8]) -> T) -> T {
    thread_local! {
        static BUFFER: Cell<Option<Box<[u8]>>> = const { Cell::new(None) };
    }
    let kept = BUFFER.take();
    let mut buffer = kept.unwrap_or_else(|| vec![0; READ_BUFFER_LEN].into_boxed_slice());
    let result = lend(&mut buffer);
    BUFFER.set(Some(buffer));
    result
}

impl Io {
    /// Has TCP reset instead of closed when this is dropped, so that the kernel forgets what the peer has not taken.
    fn reset_on_drop(&self) {
        if let Io::Tcp(stream) = self
            && let Err(error) = stream.set_zero_linger()
        {
            tracing::debug!(%error, "cannot reset a connection");
        }
    }
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Tcp(stream) => Pin::new(stream).poll_read(cx, buffer),
            Io::Other(stream) => stream.as_mut().poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Io::Tcp(stream) => Pin::new(stream).poll_write(cx, bytes),
            Io::Other(stream) => stream.as_mut().poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Io::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Io::Other(stream) => stream.as_mut().poll_write_vectored(cx, slices),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Tcp(stream) => Pin::new(stream).poll_flush(cx),
            Io::Other(stream) => stream.as_mut().poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            Io::Other(stream) => stream.as_mut().poll_shutdown(cx),
        }
    }
}
