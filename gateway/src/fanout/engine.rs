//! The threads that own this process's sockets, one a core: each an epoll loop ([`shard`](super::shard)) with its share of
//! the sockets, so that one hot room uses every core and no two threads ever write to one socket.
//!
//! A socket that is not plain TCP in our hands (TLS, a stream in memory) is a task of the runtime instead
//! ([`driver`]); so are all of them in an engine without threads.

use super::{
    line::{Arrival, Command, Line, Port},
    shard::Shard,
};
use crate::websocket::{Handler, Limits, Outbox, Socket, driver, handshake::Io};
use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
};
use tokio::{
    runtime::Handle,
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::task::TaskTracker;

/// Newcomers on their way to their shards at a time. A shard takes in all who stand before it in one turn, and each costs it
/// some 20 µs: so many delay a move by a millisecond or two, however many thousands come back at once after a node died.
const ADMITTED_AT_ONCE: usize = 128;

/// See the module.
#[derive(Debug)]
pub struct Engine {
    lines: Vec<Arc<Line>>,
    /// How many sockets came.
    arrivals: AtomicU64,
    admissions: Arc<Semaphore>,
}

/// A newcomer's turn, which ends when his socket is in the hands of its shard.
#[derive(Debug)]
pub struct Admission(#[expect(dead_code, reason = "it is dropped")] OwnedSemaphorePermit);

impl Engine {
    /// Starts so many threads. They end with [`Engine::stop`], or when the runtime they were started in does.
    pub fn start(threads: usize) -> io::Result<Arc<Engine>> {
        let mut lines = Vec::new();
        for number in 0..threads {
            let (shard, line) = Shard::new()?;
            lines.push(line);
            let runtime = Handle::current();
            thread::Builder::new()
                .name(format!("sockets-{number}"))
                .spawn(move || {
                    // Rooms are tasks of the runtime, and may be opened by what a socket says.
                    let _inside = runtime.enter();
                    shard.run();
                })?;
        }
        if !lines.is_empty() {
            let stop = StopOnDrop(lines.clone());
            tokio::spawn(async move {
                let _stop = stop;
                std::future::pending::<()>().await;
            });
        }
        Ok(Arc::new(Engine {
            lines,
            arrivals: AtomicU64::new(0),
            admissions: Arc::new(Semaphore::new(ADMITTED_AT_ONCE)),
        }))
    }

    /// As many threads as there are cores.
    pub fn threads() -> usize {
        thread::available_parallelism().map_or(1, usize::from)
    }

    /// Waits for a newcomer's turn.
    pub async fn admission(&self) -> Admission {
        let admitted = Arc::clone(&self.admissions).acquire_owned().await;
        Admission(admitted.expect("it is never closed"))
    }

    /// Takes a socket over and runs it to its end, as one of the tasks that `tracker` waits for.
    pub fn adopt(
        &self,
        admission: Admission,
        socket: Socket,
        handler: impl Handler + 'static,
        outbox: Arc<Outbox>,
        limits: Arc<Limits>,
        tracker: &TaskTracker,
    ) {
        let number = self.arrivals.fetch_add(1, Ordering::Relaxed);
        let shards = self.lines.len().max(1) as u64;
        let line = self.lines.get((number % shards) as usize);
        let (line, stream) = match (line, socket.io) {
            (Some(line), Io::Tcp(stream)) => (line, stream),
            (_, io) => {
                let socket = Socket { io, ..socket };
                tracker.spawn(driver::run(socket, handler, outbox, limits));
                return;
            }
        };
        let stream = match stream.into_std() {
            Ok(stream) => stream,
            Err(error) => return tracing::debug!(%error, "a socket was lost on its way"),
        };
        let arrival = Arrival {
            stream,
            leftover: socket.leftover,
            handler: Box::new(handler),
            outbox: Arc::clone(&outbox),
            limits,
            slot: socket.slot,
            token: tracker.token(),
            _admission: admission,
        };
        let port = Port {
            line: Arc::clone(line),
            link: number,
        };
        outbox.attach(port, Command::Adopt(number, Box::new(arrival)));
    }

    /// Ends everything at once, without a word to anybody.
    pub fn stop(&self) {
        stop(&self.lines);
    }
}

fn stop(lines: &[Arc<Line>]) {
    for line in lines {
        line.push(Command::Stop);
    }
}

struct StopOnDrop(Vec<Arc<Line>>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        stop(&self.0);
    }
}
