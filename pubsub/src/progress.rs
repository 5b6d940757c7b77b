//! How far the archive is, as this node knows it: heard from whoever acknowledges, and looked up when something may have been
//! missed. For movers who wait for their move to be archived, and for those who keep events until they are.

use crate::{
    Backplane, QueuePosition, Signal, Watermark,
    queue::{ARCHIVED, decode_watermarks, queue_room},
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::watch,
    time::{Instant, MissedTickBehavior, interval},
};
use tokio_util::sync::CancellationToken;

/// How often the watermarks are looked up while somebody wants to know more than was heard: announcements may be lost.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// See the module.
#[derive(Debug)]
pub struct Progress {
    marks: Mutex<HashMap<u16, Watermark>>,
    /// Counts changes.
    version: watch::Sender<u64>,
    /// Somebody asked for a position that was not archived yet.
    wanted: AtomicBool,
}

impl Progress {
    /// Begins to listen, until `stop`.
    pub fn follow(backplane: Arc<dyn Backplane>, stop: CancellationToken) -> Arc<Progress> {
        let progress = Arc::new(Progress {
            marks: Mutex::default(),
            version: watch::Sender::new(0),
            wanted: AtomicBool::new(false),
        });
        let listening = progress.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = listening.listen(backplane) => {}
            }
        });
        progress
    }

    /// Whether that entry is known to be committed. Does not wait.
    pub fn is_archived(&self, position: &QueuePosition) -> bool {
        let archived = self
            .marks()
            .get(&position.partition)
            .is_some_and(|mark| mark.covers(position));
        if !archived {
            self.wanted.store(true, Ordering::Relaxed);
        }
        archived
    }

    /// Whether what is known is of another life of its queue, and says nothing of that entry. Does not wait.
    pub fn is_of_another_life(&self, position: &QueuePosition) -> bool {
        let marks = self.marks();
        let mark = marks.get(&position.partition);
        mark.is_some_and(|mark| mark.life != position.life)
    }

    /// Waits until that entry is known to be committed.
    pub async fn archived(&self, position: &QueuePosition) {
        let mut version = self.changes();
        while !self.is_archived(position) {
            if version.changed().await.is_err() {
                // Nobody listens any more: it will never be known.
                return std::future::pending().await;
            }
        }
    }

    /// A number that changes when a watermark does.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }

    fn marks(&self) -> MutexGuard<'_, HashMap<u16, Watermark>> {
        self.marks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn listen(&self, backplane: Arc<dyn Backplane>) {
        let mut subscription = backplane.subscribe(&queue_room());
        let mut looks = interval(LOOK_EVERY);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let look = tokio::select! {
                signal = subscription.recv() => match signal {
                    Some(Signal::Message(message)) if message.topic == ARCHIVED => {
                        self.learn(decode_watermarks(&message.body));
                        false
                    }
                    Some(Signal::Resync) => true,
                    Some(_) => false,
                    None => return,
                },
                _ = looks.tick() => self.wanted.swap(false, Ordering::Relaxed) || self.is_awaited(),
            };
            if look {
                let asked = Instant::now();
                match backplane.watermarks().await {
                    Ok(marks) => self.learn(marks),
                    Err(unavailable) => {
                        tracing::debug!(%unavailable, waited = ?asked.elapsed(), "the archive's progress is not known");
                    }
                }
            }
        }
    }

    fn is_awaited(&self) -> bool {
        self.version.receiver_count() > 0
    }

    fn learn(&self, heard: Vec<Watermark>) {
        let mut rose = false;
        let mut marks = self.marks();
        for mark in heard {
            let known = marks.entry(mark.partition).or_insert(mark);
            // Announcements may overtake each other. One of another life is a newer one, or a look will mend it; it covers
            // nothing that it should not.
            if known.life != mark.life || known.below < mark.below {
                *known = mark;
            }
            rose |= *known == mark;
        }
        drop(marks);
        if rose {
            self.version.send_modify(|version| *version += 1);
        }
    }
}
