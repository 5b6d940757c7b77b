//! Logs of rooms that were open here and no longer are, kept until it is certain that the backplane's loss would not be
//! theirs: a game that ended and was left by all just before Redis lost its data comes back from here.
//!
//! Where there is an archive, that is when it has committed them; where there is none, after some time. Room for them is bounded.
//! When an archive that is away lets it fill, this node begins no more games (`Node::takes_new_games`); running ones go on. Logs
//! are kept packed, so that an archive may be away for long before that.

mod packed;

use crate::{archive::Archive, node::Node, room::count_restored};
use futures::{StreamExt, stream};
use packed::Packed;
use pubsub::{Answer, QueuePosition, Restore, Restored, Room};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Bytes kept: some ten thousand games of eighty plies. Where no archive takes them, the oldest go when it is more. Where one
/// will, no game is begun any more.
pub const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The games that run when no more are begun may take this many times [`HELD_BYTES_MAX`] before the oldest go all the same: the
/// node's memory is bounded, whatever happens, and Redis has them too.
const HELD_TIMES_MAX: usize = 2;

/// How long a log is kept where no archive will say that it has it. Whatever Redis loses it has lost by then.
const HELD_FOR: Duration = Duration::from_secs(60 * 60);

/// What an entry costs besides its packed events.
const ENTRY_LEN: usize = 384;

/// Logs restored, or asked about, at the same time. Each is one call; all must be done within [`pubsub::RESTORE_SETTLE`], if possible.
const RESTORED_AT_ONCE: usize = 64;

/// How often what is no longer needed is dropped.
const TIDY_EVERY: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub struct Held {
    kept: Mutex<Kept>,
    bytes_max: AtomicUsize,
}

impl Default for Held {
    fn default() -> Held {
        Held {
            kept: Mutex::default(),
            bytes_max: AtomicUsize::new(HELD_BYTES_MAX),
        }
    }
}

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
    log: Arc<Packed>,
    len: usize,
    number: u64,
    since: Instant,
    /// All of it stands there in the archive's queue, or before.
    queued: Option<QueuePosition>,
}

/// What is kept of a room, as of some moment.
#[derive(Debug, Clone)]
struct Waiting {
    room: Room,
    log: Arc<Packed>,
    number: u64,
    queued: Option<QueuePosition>,
}

impl Held {
    /// Keeps the log of a room that closes, in the place of what was kept of it before.
    pub fn keep(&self, room: Room, log: &Restore) {
        let log = Packed::new(log);
        let mut kept = self.kept();
        kept.drop_room(&room);
        let (len, number) = (log.len() + ENTRY_LEN, kept.next);
        kept.next += 1;
        kept.bytes += len;
        kept.order.insert(number, room.clone());
        let entry = Entry {
            log: Arc::new(log),
            len,
            number,
            since: Instant::now(),
            queued: None,
        };
        kept.rooms.insert(room, entry);
    }

    /// What is kept of a room.
    pub fn get(&self, room: &Room) -> Option<Restore> {
        let log = self.kept().rooms.get(room).map(|entry| entry.log.clone());
        log.map(|log| log.unpack())
    }

    /// A room's log need not be kept any more.
    pub fn release(&self, room: &Room) {
        self.kept().drop_room(room);
    }

    /// Whether so much is kept that no more should come.
    pub fn is_full(&self) -> bool {
        self.bytes() > self.bytes_max.load(Ordering::Relaxed)
    }

    /// Another bound than [`HELD_BYTES_MAX`]: for tests, which cannot play so many games.
    #[doc(hidden)]
    pub fn bound(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// How many bytes are kept.
    pub fn bytes(&self) -> usize {
        self.kept().bytes
    }

    /// Drops what was kept for long enough and will not be released by the archive, and the oldest of what is too much.
    fn tidy(&self, is_archived: bool) {
        let mut kept = self.kept();
        let queued = |entry: &Entry| is_archived && entry.queued.is_some();
        let old: Vec<Room> = kept
            .order
            .values()
            .map_while(|room| {
                let entry = kept.rooms.get(room)?;
                let old = entry.since.elapsed() >= HELD_FOR;
                old.then(|| (!queued(entry)).then(|| room.clone()))
            })
            .flatten()
            .collect();
        for room in old {
            kept.drop_room(&room);
        }
        let times = if is_archived { HELD_TIMES_MAX } else { 1 };
        let bytes_max = self.bytes_max.load(Ordering::Relaxed) * times;
        while kept.bytes > bytes_max
            && let Some(room) = kept.order.values().next().cloned()
        {
            kept.drop_room(&room);
        }
    }

    /// All that is kept; what came last, and was most likely lost, first.
    fn all(&self) -> Vec<Waiting> {
        let kept = self.kept();
        let newest = kept.order.values().rev();
        newest
            .filter_map(|room| {
                let entry = kept.rooms.get(room)?;
                Some(Waiting {
                    room: room.clone(),
                    log: entry.log.clone(),
                    number: entry.number,
                    queued: entry.queued,
                })
            })
            .collect()
    }

    /// Where the room's events stand in the queue; unless something else is kept of it by now.
    fn note_queued(&self, waiting: &Waiting, queued: Option<QueuePosition>) {
        let mut kept = self.kept();
        let entry = kept.rooms.get_mut(&waiting.room);
        if let Some(entry) = entry.filter(|entry| entry.number == waiting.number) {
            entry.queued = queued;
        }
    }

    /// The archive has it; unless something else is kept of the room by now.
    fn archived(&self, waiting: &Waiting) {
        let mut kept = self.kept();
        let entry = kept.rooms.get(&waiting.room);
        if entry.is_some_and(|entry| entry.number == waiting.number) {
            kept.drop_room(&waiting.room);
        }
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
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
    let mut was_full = false;
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
                let archive = node.archive.get();
                if let Some(archive) = archive
                    && let Err(unavailable) = release_archived(&node, archive).await
                {
                    tracing::debug!(%unavailable, "what is archived is not known");
                }
                node.held.tidy(archive.is_some());
                let full = node.held.is_full() && archive.is_some();
                if full && !std::mem::replace(&mut was_full, full) {
                    tracing::warn!(bytes = node.held.bytes(), "the archive is behind: no more games are begun here until it has caught up");
                } else if !full && std::mem::replace(&mut was_full, full) {
                    tracing::info!("the archive has caught up: games are begun again");
                }
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
        .map(|waiting| async move {
            let restored = restore(node, &waiting).await;
            // When somebody opens the room, it is tried again.
            if let Err(unavailable) = &restored {
                tracing::warn!(room = %waiting.room, %unavailable, "not restored");
            }
            matches!(restored, Ok(Restored::Extended { .. }))
        })
        .buffer_unordered(RESTORED_AT_ONCE)
        .filter(|restored| futures::future::ready(*restored))
        .count()
        .await;
    tracing::info!(held = count, restored, took = ?begun.elapsed(), "closed rooms were compared with what was held of them");
}

async fn restore(node: &Node, waiting: &Waiting) -> Answer<Restored> {
    let room = &waiting.room;
    let restored = node.backplane.restore(room, waiting.log.unpack()).await?;
    count_restored(&restored);
    if let Restored::Forked { epoch, at, .. } = &restored {
        tracing::error!(%room, %epoch, at, "two branches of one log: the backplane's holds");
        node.held.release(room);
    }
    // What was put back stands further behind in the queue.
    node.held.note_queued(waiting, None);
    Ok(restored)
}

/// Releases what the archive has committed, and finds out where the rest waits for it.
async fn release_archived(node: &Node, archive: &Archive) -> Answer<()> {
    let (waiting, mut unknown) = (node.held.all(), Vec::new());
    for waiting in waiting {
        match waiting.queued {
            Some(queued) if archive.progress.is_archived(&queued) => node.held.archived(&waiting),
            Some(queued) if !archive.progress.is_of_another_life(&queued) => {}
            _ => unknown.push(waiting),
        }
    }
    let mut asked = stream::iter(unknown)
        .map(|waiting| async move { find_in_queue(node, &waiting).await })
        .buffer_unordered(RESTORED_AT_ONCE);
    while let Some(answer) = asked.next().await {
        answer?;
    }
    Ok(())
}

async fn find_in_queue(node: &Node, waiting: &Waiting) -> Answer<()> {
    let queued = node.backplane.queue_end(&waiting.room).await?;
    let life = |position: Option<QueuePosition>| position.map(|position| position.life);
    if waiting.queued.is_some() && life(waiting.queued) != life(queued) {
        // The queue was lost before the archive had read this.
        restore(node, waiting).await?;
    } else {
        node.held.note_queued(waiting, queued);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::random::Random;
    use bytes::Bytes;
    use pubsub::{Epoch, queue::Place};

    fn room(number: usize) -> Room {
        Room::parse(&format!("room{number}")).unwrap()
    }

    /// So many bytes that cannot be packed.
    fn log(len: usize) -> Restore {
        let noise = Random::seeded(7).base62(len);
        Restore {
            epoch: Epoch::new(1, "a"),
            events: vec![Bytes::from(noise)],
            deadline: None,
        }
    }

    fn position(minor: u64) -> QueuePosition {
        QueuePosition {
            partition: 0,
            life: 1,
            place: Place { major: 1, minor },
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_an_archive_will_take_is_kept_and_what_it_has_is_not() {
        let held = Held::default();
        held.bound(3_000);
        for number in 0..3 {
            held.keep(room(number), &log(1_000));
        }
        assert!(held.is_full());
        for waiting in held.all() {
            held.note_queued(&waiting, Some(position(1)));
        }
        tokio::time::advance(2 * HELD_FOR).await;
        held.tidy(true);
        assert_eq!(held.all().len(), 3, "they are not archived yet");
        // Opened and closed again meanwhile: what is known of before is not true of now.
        let before = held.all();
        held.keep(room(0), &log(1_000));
        for waiting in before {
            held.archived(&waiting);
        }
        assert_eq!(held.all().len(), 1);
        assert!(!held.is_full());
        assert_eq!(held.all()[0].queued, None);
        // Of which it is not known that an archive will take it, goes in time.
        tokio::time::advance(HELD_FOR).await;
        held.tidy(true);
        assert_eq!(held.bytes(), 0);
        for number in 0..20 {
            held.keep(room(number), &log(1_000));
        }
        held.tidy(true);
        assert!(held.is_full() && held.bytes() <= HELD_TIMES_MAX * 3_000);
        held.tidy(false);
        assert!(!held.is_full() && !held.all().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn the_oldest_are_dropped_when_it_is_too_much_or_long_ago() {
        let (held, bytes_max) = (Held::default(), 100_000);
        held.bound(bytes_max);
        for number in 0..5 {
            held.keep(room(number), &log(bytes_max / 4));
        }
        // Came again: is the newest, and counted once.
        held.keep(room(0), &log(10));
        held.tidy(false);
        assert_eq!(held.get(&room(1)), None);
        for number in [0, 2, 3, 4] {
            assert!(held.get(&room(number)).is_some(), "{number}");
        }
        assert!(held.bytes() <= bytes_max);
        tokio::time::advance(HELD_FOR / 2).await;
        held.keep(room(9), &log(10));
        tokio::time::advance(HELD_FOR / 2).await;
        held.tidy(false);
        assert_eq!(held.all().len(), 1);
        held.release(&room(9));
        assert_eq!((held.bytes(), held.all().len()), (0, 0));
    }
}
