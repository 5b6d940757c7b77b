//! Logs of rooms that were open here and no longer are, kept until it is certain that the backplane's loss would not be
//! theirs: a game that ended and was left by all just before Redis lost its data comes back from here.

use crate::{node::Node, room::count_restored};
use futures::{StreamExt, stream};
use pubsub::{Restore, Restored, Room};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Bytes of events kept, at most: some thousand games of eighty plies.
pub const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// How long a log is kept where no archive says that it has it. Whatever Redis loses it has lost by then.
const HELD_FOR: Duration = Duration::from_secs(60 * 60);

/// What an entry costs besides its events' text.
const ENTRY_LEN: usize = 256;

/// The same of an event.
const EVENT_LEN: usize = 64;

/// Logs restored at the same time. Each is one call; all must be done within [`pubsub::RESTORE_SETTLE`], if possible.
const RESTORED_AT_ONCE: usize = 64;

/// How often what is no longer needed is dropped.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Default)]
pub struct Held(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    rooms: HashMap<Room, Entry>,
    /// In the order they came.
    order: BTreeMap<u64, Room>,
    next: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    log: Arc<Restore>,
    len: usize,
    number: u64,
    since: Instant,
}

impl Held {
    /// Keeps the log of a room that closes, in the place of what was kept of it before.
    pub fn keep(&self, room: Room, log: Restore) {
        let mut kept = self.kept();
        kept.drop_room(&room);
        let text: usize = log.events.iter().map(|event| event.len() + EVENT_LEN).sum();
        let (len, number) = (text + ENTRY_LEN, kept.next);
        kept.next += 1;
        kept.bytes += len;
        kept.order.insert(number, room.clone());
        let entry = Entry {
            log: Arc::new(log),
            len,
            number,
            since: Instant::now(),
        };
        kept.rooms.insert(room, entry);
    }

    /// What is kept of a room.
    pub fn get(&self, room: &Room) -> Option<Restore> {
        let kept = self.kept();
        kept.rooms.get(room).map(|entry| (*entry.log).clone())
    }

    /// A room's log need not be kept any more.
    pub fn release(&self, room: &Room) {
        self.kept().drop_room(room);
    }

    /// How many bytes are kept.
    pub fn bytes(&self) -> usize {
        self.kept().bytes
    }

    /// Drops what was kept for long enough, and the oldest of what is too much.
    fn tidy(&self) {
        let mut kept = self.kept();
        while let Some(room) = kept.order.values().next().cloned() {
            let old = kept
                .rooms
                .get(&room)
                .is_some_and(|entry| entry.since.elapsed() >= HELD_FOR);
            if !old && kept.bytes <= HELD_BYTES_MAX {
                break;
            }
            kept.drop_room(&room);
        }
    }

    fn all(&self) -> Vec<(Room, Arc<Restore>)> {
        let kept = self.kept();
        // What came last was most likely lost.
        let newest = kept.order.values().rev();
        newest
            .filter_map(|room| Some((room.clone(), kept.rooms.get(room)?.log.clone())))
            .collect()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Kept {
    fn drop_room(&mut self, room: &Room) {
        if let Some(entry) = self.rooms.remove(room) {
            self.bytes -= entry.len;
            self.order.remove(&entry.number);
        }
    }
}

/// Restores what is held whenever the backplane may have lost something, until the node stops.
pub async fn run(node: Arc<Node>) {
    let mut upheavals = node.backplane.upheavals();
    loop {
        tokio::select! {
            biased;
            () = node.stopped.cancelled() => return,
            upheaval = upheavals.changed() => {
                if upheaval.is_err() {
                    return;
                }
                node.upheaval();
                // Open rooms see to themselves.
                node.rooms.tell_upheaval(&node);
                restore_all(&node).await;
            }
            () = tokio::time::sleep(TIDY_EVERY) => {
                node.held.tidy();
                metrics::gauge!("rookery_held_bytes").set(node.held.bytes() as f64);
            }
        }
    }
}

async fn restore_all(node: &Arc<Node>) {
    let held = node.held.all();
    if held.is_empty() {
        return;
    }
    let begun = Instant::now();
    let count = held.len();
    let restored = stream::iter(held)
        .map(|(room, log)| async move {
            let restored = node.backplane.restore(&room, (*log).clone()).await;
            if let Ok(restored) = &restored {
                count_restored(restored);
            }
            match &restored {
                Ok(Restored::Forked { epoch, at, .. }) => {
                    tracing::error!(%room, %epoch, at, "two branches of one log: the backplane's holds");
                    node.held.release(&room);
                }
                Ok(_) => {}
                // When somebody opens the room, it is tried again.
                Err(unavailable) => tracing::warn!(%room, %unavailable, "not restored"),
            }
            matches!(restored, Ok(Restored::Extended { .. }))
        })
        .buffer_unordered(RESTORED_AT_ONCE)
        .filter(|restored| futures::future::ready(*restored))
        .count()
        .await;
    tracing::info!(held = count, restored, took = ?begun.elapsed(), "closed rooms were compared with what was held of them");
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use bytes::Bytes;
    use pubsub::Epoch;

    fn room(number: usize) -> Room {
        Room::parse(&format!("room{number}")).unwrap()
    }

    fn log(len: usize) -> Restore {
        Restore {
            epoch: Epoch::new(1, "a"),
            events: vec![Bytes::from(vec![b'x'; len])],
            deadline: None,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_are_dropped_when_it_is_too_much_or_long_ago() {
        let held = Held::default();
        for number in 0..5 {
            held.keep(room(number), log(HELD_BYTES_MAX / 4));
        }
        // Came again: is the newest, and counted once.
        held.keep(room(0), log(10));
        held.tidy();
        assert_eq!(held.get(&room(1)), None);
        for number in [0, 2, 3, 4] {
            assert!(held.get(&room(number)).is_some(), "{number}");
        }
        assert!(held.bytes() <= HELD_BYTES_MAX);
        tokio::time::advance(HELD_FOR / 2).await;
        held.keep(room(9), log(10));
        tokio::time::advance(HELD_FOR / 2).await;
        held.tidy();
        assert_eq!(held.all().len(), 1);
        held.release(&room(9));
        assert_eq!((held.bytes(), held.all().len()), (0, 0));
    }
}
