//! Rooms that are written to all the time, and watched by feeds on several nodes: at the end, every event that was acknowledged
//! must have come to every watcher, once and in order.

use crate::nodes::{room, until};
use bytes::Bytes;
use pubsub::{Append, Appended, Backplane, Epoch, Feed, FeedItem, Redis, Room, Seq};
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    task::JoinHandle,
    time::{Instant, sleep},
};
use tokio_util::sync::CancellationToken;

/// Pause between two events of a room.
const PACE: Duration = Duration::from_millis(20);

/// How long watchers may take to see something new: less than the time after which a feed looks at its log unasked, so that
/// a subscription that was lost is not covered up by that.
const WAKE_UP: Duration = Duration::from_secs(12);

/// How long watchers may take to have everything after the writers stopped: less than that for the same
/// reason.
const CATCH_UP: Duration = Duration::from_secs(12);

/// Writers and watchers.
pub struct Traffic {
    rooms: Vec<Room>,
    stop: CancellationToken,
    held: Arc<AtomicBool>,
    paused: Arc<AtomicUsize>,
    writers: Vec<JoinHandle<Vec<Bytes>>>,
    watchers: Vec<Watcher>,
}

/// One feed, and what it has given.
struct Watcher {
    room: usize,
    node: usize,
    seen: Arc<Mutex<Vec<Bytes>>>,
    task: JoinHandle<()>,
}

impl Drop for Watcher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Traffic {
    /// Begins: `count` rooms, each written to by one of the nodes in turn and watched by all.
    pub async fn begin(nodes: &[Arc<Redis>], count: usize) -> Traffic {
        crate::logging::begin();
        let rooms: Vec<Room> = (0..count).map(|_| room("traffic")).collect();
        let stop = CancellationToken::new();
        let held = Arc::<AtomicBool>::default();
        let paused = Arc::<AtomicUsize>::default();
        let (mut writers, mut watchers) = (Vec::new(), Vec::new());
        for (index, room) in rooms.iter().enumerate() {
            for (number, node) in nodes.iter().enumerate() {
                let seen = Arc::<Mutex<Vec<Bytes>>>::default();
                let feed = Feed::new(node.clone(), room.clone());
                let task = tokio::spawn(watch(feed, seen.clone()));
                watchers.push(Watcher {
                    room: index,
                    node: number,
                    seen,
                    task,
                });
            }
            let writer = Writer {
                node: nodes[index % nodes.len()].clone(),
                room: room.clone(),
                stop: stop.clone(),
                held: held.clone(),
                paused: paused.clone(),
            };
            writers.push(tokio::spawn(writer.write()));
        }
        let traffic = Traffic {
            rooms,
            stop,
            held,
            paused,
            writers,
            watchers,
        };
        traffic.wait_flowing().await;
        traffic
    }

    /// Has the writers pause after the event they are at, and waits until all do.
    pub async fn hold(&self) {
        self.held.store(true, Ordering::SeqCst);
        until("all writers pause", async || {
            self.paused.load(Ordering::SeqCst) == self.rooms.len()
        })
        .await;
    }

    /// Has them go on.
    pub fn go_on(&self) {
        self.held.store(false, Ordering::SeqCst);
    }

    /// The rooms.
    pub fn rooms(&self) -> &[Room] {
        &self.rooms
    }

    /// Waits until each watcher has seen some events more than now.
    pub async fn wait_flowing(&self) {
        let len = |watcher: &Watcher| lock(&watcher.seen).len();
        let before: Vec<usize> = self.watchers.iter().map(len).collect();
        let end = Instant::now() + WAKE_UP;
        loop {
            let stuck = self
                .watchers
                .iter()
                .zip(&before)
                .find(|(w, before)| len(w) < **before + 3);
            let Some((watcher, _)) = stuck else {
                return;
            };
            assert!(
                Instant::now() < end,
                "nothing comes to node {} of {}",
                watcher.node,
                self.rooms[watcher.room]
            );
            sleep(Duration::from_millis(20)).await;
        }
    }

    /// Stops writing, and checks every watcher; answers how many events were acknowledged.
    pub async fn finish(mut self) -> usize {
        self.stop.cancel();
        let mut acknowledged = Vec::new();
        for writer in self.writers.drain(..) {
            acknowledged.push(writer.await.expect("a writer failed"));
        }
        let end = Instant::now() + CATCH_UP;
        for watcher in &self.watchers {
            let wanted = &acknowledged[watcher.room];
            loop {
                let seen = lock(&watcher.seen).clone();
                if seen == *wanted {
                    break;
                }
                if Instant::now() > end {
                    let at = seen
                        .iter()
                        .zip(wanted)
                        .position(|(one, other)| one != other);
                    panic!(
                        "node {} of {} has {} events of {}, first difference at {at:?}",
                        watcher.node,
                        self.rooms[watcher.room],
                        seen.len(),
                        wanted.len()
                    );
                }
                assert!(!watcher.task.is_finished(), "a watcher ended");
                sleep(Duration::from_millis(20)).await;
            }
        }
        acknowledged.iter().map(Vec::len).sum()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn watch(mut feed: Feed, seen: Arc<Mutex<Vec<Bytes>>>) {
    loop {
        match feed.next().await {
            FeedItem::Reset { events, .. } => *lock(&seen) = events,
            FeedItem::Events { first, events } => {
                let mut seen = lock(&seen);
                assert_eq!(first as usize, seen.len(), "a gap or a repeat");
                seen.extend(events);
            }
            FeedItem::Missing => assert!(lock(&seen).is_empty(), "the log is gone"),
            FeedItem::Message(_) | FeedItem::Attendance(_) | FeedItem::Short => {}
        }
    }
}

struct Writer {
    node: Arc<Redis>,
    room: Room,
    stop: CancellationToken,
    held: Arc<AtomicBool>,
    paused: Arc<AtomicUsize>,
}

impl Writer {
    /// Appends one event after the other; answers all that were acknowledged.
    async fn write(self) -> Vec<Bytes> {
        let mut epoch = None;
        let mut acknowledged: Vec<Bytes> = Vec::new();
        while !self.stop.is_cancelled() {
            if self.held.load(Ordering::SeqCst) {
                self.paused.fetch_add(1, Ordering::SeqCst);
                while self.held.load(Ordering::SeqCst) && !self.stop.is_cancelled() {
                    sleep(PACE).await;
                }
                self.paused.fetch_sub(1, Ordering::SeqCst);
                continue;
            }
            let event = Bytes::from(format!("{} {}", self.room, acknowledged.len()));
            let expected = acknowledged.len() as Seq;
            epoch = Some(self.append(epoch, expected, &event).await);
            acknowledged.push(event);
            sleep(PACE).await;
        }
        acknowledged
    }

    /// Until it is acknowledged, as a gateway does for a player who asks again.
    async fn append(&self, epoch: Option<Epoch>, expected: Seq, event: &Bytes) -> Epoch {
        loop {
            let append = Append {
                epoch: epoch.clone(),
                expected,
                events: vec![event.clone()],
                at: self.node.now(),
                deadline: Some(self.node.now() + 60_000),
            };
            match self.node.append(&self.room, append).await {
                Ok(Appended::Appended { epoch, .. } | Appended::AlreadyAppended { epoch }) => {
                    return epoch;
                }
                // Another server's clock; the estimate is mended by that.
                Ok(Appended::BadTime { .. }) => {}
                Ok(other) => panic!(
                    "event {expected} of {}, which nobody else writes to: {other:?}",
                    self.room
                ),
                Err(_) => {}
            }
        }
    }
}
