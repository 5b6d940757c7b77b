//! The consumer of the queue: takes entries, writes them in batches, acknowledges after the commit.
//!
//! While the database is away it holds the one batch it could not write and takes no more, so it needs no more memory; the
//! queue keeps the rest. It tries again until the database is back. One that died between commit and acknowledgement has its
//! entries come to another one, whose rows change nothing.

use crate::{
    batch::Batch,
    store::{Store, StoreError},
};
use pubsub::{
    Backplane, Content, Entry, Room, Signal, Take,
    queue::{QUEUED, queue_room},
};
use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Entries of a batch, about. A move is some 400 bytes, so a batch is at most some megabytes.
const BATCH_LEN: usize = 4_000;

/// Pause between two looks when something came the last time, so that batches are worth a commit.
const PAUSE_BUSY: Duration = Duration::from_millis(40);

/// The same when nothing came.
const PAUSE_IDLE: Duration = Duration::from_millis(200);

/// How long the queues of a server are left to an archiver that does not read.
const LEASE: Duration = Duration::from_secs(6);

/// A good [`Options::claim_after`]: more than a commit takes; harmless if not.
pub const CLAIM_AFTER: Duration = Duration::from_secs(10);

/// How often such entries are looked for.
const CLAIM_EVERY: Duration = Duration::from_secs(3);

/// Pause before a batch is tried again; doubles to [`RETRY_MAX`].
const RETRY_MIN: Duration = Duration::from_millis(100);

/// See [`RETRY_MIN`]. A database that comes back is waited for no longer.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// How often finished games are looked for that the backplane may forget.
const CHORES_EVERY: Duration = Duration::from_secs(5);

/// How often the length of the queue is measured.
const MEASURE_EVERY: Duration = Duration::from_secs(5);

/// Games forgotten at a time.
const FORGET_MAX: i64 = 500;

/// A game that could not be forgotten (somebody is in it) is looked at again after this, in milliseconds.
const FORGET_AGAIN_MS: i64 = 15_000;

/// Games pruned at a time.
const PRUNE_MAX: i64 = 200;

/// How an archiver is to work.
#[derive(Debug, Clone)]
pub struct Options {
    /// Its name among the consumers of the queue.
    pub consumer: String,
    /// Finished games are forgotten by the backplane so long after their last event.
    pub finished_ttl: Duration,
    /// Entries that another archiver took so long ago and did not acknowledge are written by this one.
    pub claim_after: Duration,
    /// Finished games are taken out of the archive so long after their end; `None` keeps them for ever.
    pub keep: Option<Duration>,
}

/// What an archiver is at, for those who ask about it.
#[derive(Debug, Default)]
pub struct Pulse(AtomicBool);

impl Pulse {
    /// Whether the database took what it was last given. Not before it was reached for the first time.
    pub fn is_database_up(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// See the module.
#[derive(Debug)]
pub struct Archiver {
    backplane: Arc<dyn Backplane>,
    store: Store,
    options: Options,
    stop: CancellationToken,
    database_is_away: bool,
    pulse: Arc<Pulse>,
}

impl Archiver {
    /// An archiver that works until `stop`; to be run.
    pub fn new(
        backplane: Arc<dyn Backplane>,
        store: Store,
        options: Options,
        stop: CancellationToken,
    ) -> Archiver {
        Archiver {
            backplane,
            store,
            options,
            stop,
            database_is_away: false,
            pulse: Arc::default(),
        }
    }

    /// What it is at, to be looked at while it works.
    pub fn pulse(&self) -> Arc<Pulse> {
        Arc::clone(&self.pulse)
    }

    /// Works.
    pub async fn run(mut self) {
        let stop = self.stop.clone();
        let backplane = Arc::clone(&self.backplane);
        tokio::select! {
            () = stop.cancelled() => {}
            () = measure(backplane.as_ref()) => {}
            () = self.work() => {}
        }
    }

    async fn work(&mut self) {
        self.bring_up_to_date().await;
        let mut bell = self.backplane.subscribe(&queue_room());
        let begun = Instant::now();
        let (mut claim_at, mut look_at, mut chores_at) = (begun, begun, begun);
        let mut pause = Duration::ZERO;
        loop {
            let rung = wait(&mut bell, pause).await;
            let now = Instant::now();
            let mut entries = Vec::new();
            if now >= claim_at {
                claim_at = now + CLAIM_EVERY;
                let claimed = self
                    .backplane
                    .reclaim(&self.options.consumer, self.options.claim_after, BATCH_LEN)
                    .await;
                match claimed {
                    Ok(claimed) => entries.extend(claimed),
                    Err(error) => tracing::debug!(%error, "nothing claimed"),
                }
            }
            if !rung.is_empty() {
                entries.extend(self.take(Some(rung)).await);
            }
            // However much it rings, the others get their turn.
            if now >= look_at && entries.len() < BATCH_LEN {
                entries.extend(self.take(None).await);
                look_at = now + PAUSE_BUSY;
            }
            pause = match entries.len() {
                0 => (pause * 2).clamp(PAUSE_BUSY, PAUSE_IDLE),
                len if len >= BATCH_LEN => Duration::ZERO,
                _ => PAUSE_BUSY,
            };
            if !entries.is_empty() {
                self.archive(&entries).await;
            }
            if now >= chores_at && !self.database_is_away {
                self.chores().await;
                chores_at = Instant::now() + CHORES_EVERY;
            }
        }
    }

    async fn take(&self, only: Option<Vec<u16>>) -> Vec<Entry> {
        let take = Take {
            limit: BATCH_LEN,
            lease: LEASE,
            only,
        };
        let taken = self.backplane.take(&self.options.consumer, &take).await;
        taken.unwrap_or_else(|error| {
            tracing::debug!(%error, "nothing taken");
            Vec::new()
        })
    }

    /// The database may be away at the start.
    async fn bring_up_to_date(&mut self) {
        let mut pause = RETRY_MIN;
        while let Err(error) = self.store.migrate().await {
            self.is_away(&error);
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(RETRY_MAX);
        }
        self.is_back();
    }

    /// Writes entries, however long it takes, and acknowledges them.
    async fn archive(&mut self, entries: &[Entry]) {
        let begun = Instant::now();
        let batch = Batch::of(entries);
        let (rows, aside) = (batch.events.len() as u64, batch.aside.len() as u64);
        let oldest = batch.events.iter().map(|row| row.at).min();
        if let Err(error) = self.write(&batch).await {
            tracing::error!(%error, "a batch is refused; its entries are written one by one");
            self.archive_one_by_one(entries).await;
        }
        metrics::counter!("rookery_archive_events_total").increment(rows);
        metrics::counter!("rookery_archive_set_aside_total").increment(aside);
        metrics::histogram!("rookery_archive_commit_seconds").record(begun.elapsed().as_secs_f64());
        if let Some(oldest) = oldest {
            let lag_ms = self.backplane.now().saturating_sub(oldest).max(0);
            metrics::histogram!("rookery_archive_lag_seconds").record(lag_ms as f64 / 1000.0);
        }
        self.acknowledge(entries).await;
    }

    /// Writes a batch. An error is one that waiting does not mend.
    async fn write(&mut self, batch: &Batch) -> Result<(), StoreError> {
        let mut pause = RETRY_MIN;
        loop {
            match self.store.write(batch, self.backplane.now()).await {
                Ok(()) => {
                    self.is_back();
                    return Ok(());
                }
                Err(error) if error.is_about_the_data() => return Err(error),
                Err(error) => {
                    self.is_away(&error);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(RETRY_MAX);
                }
            }
        }
    }

    /// One entry that the database will never take must not stop the others.
    async fn archive_one_by_one(&mut self, entries: &[Entry]) {
        for entry in entries {
            let batch = Batch::of(std::slice::from_ref(entry));
            let Err(error) = self.write(&batch).await else {
                continue;
            };
            let room = match &entry.content {
                Content::Events { room, .. } => room.as_str(),
                Content::Unreadable(_) => "?",
            };
            tracing::error!(room, place = %entry.position.place, %error, "an entry is kept aside");
            metrics::counter!("rookery_archive_set_aside_total").increment(1);
            let aside = Batch::refused(entry, &error.to_string());
            if let Err(error) = self.write(&aside).await {
                tracing::error!(room, %error, "not even that: the entry is lost");
            }
        }
    }

    async fn acknowledge(&self, entries: &[Entry]) {
        let positions: Vec<_> = entries.iter().map(|entry| entry.position).collect();
        // If it cannot be told, the entries come again.
        if let Err(error) = self.backplane.acknowledge(&positions).await {
            tracing::warn!(%error, entries = positions.len(), "archived, and not acknowledged");
        }
    }

    fn is_away(&mut self, error: &StoreError) {
        metrics::gauge!("rookery_archive_database_up").set(0.0);
        self.pulse.0.store(false, Ordering::Relaxed);
        if !std::mem::replace(&mut self.database_is_away, true) {
            tracing::warn!(%error, "the database is away; games go on, and the queue keeps what is to be archived");
        }
    }

    fn is_back(&mut self) {
        metrics::gauge!("rookery_archive_database_up").set(1.0);
        self.pulse.0.store(true, Ordering::Relaxed);
        if std::mem::replace(&mut self.database_is_away, false) {
            tracing::info!("the database is back");
        }
    }

    async fn chores(&mut self) {
        if let Err(error) = self.forget_finished().await {
            tracing::debug!(%error, "finished games are not looked for");
        }
        if let Err(error) = self.prune().await {
            tracing::debug!(%error, "old games are not pruned");
        }
    }

    async fn forget_finished(&self) -> Result<(), StoreError> {
        let now = self.backplane.now();
        let ttl_ms = i64::try_from(self.options.finished_ttl.as_millis()).unwrap_or(i64::MAX);
        let before = now.saturating_sub(ttl_ms);
        let checked = now.saturating_sub(FORGET_AGAIN_MS);
        for (game, epoch, end) in self.store.to_forget(before, checked, FORGET_MAX).await? {
            let (Ok(room), Ok(epoch)) = (Room::parse(&game), epoch.parse()) else {
                continue;
            };
            match self.backplane.forget(&room, &epoch, end).await {
                Ok(is_gone) => self.store.note_forgotten(&game, is_gone, now).await?,
                Err(_) => return Ok(()),
            }
        }
        Ok(())
    }

    async fn prune(&self) -> Result<(), StoreError> {
        let Some(keep) = self.options.keep else {
            return Ok(());
        };
        let keep_ms = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
        let before = self.backplane.now().saturating_sub(keep_ms);
        let pruned = self.store.prune(before, PRUNE_MAX).await?;
        if pruned > 0 {
            tracing::info!(
                games = pruned,
                "games past their time are gone from the archive"
            );
        }
        Ok(())
    }
}

/// Tells how long the queue is, for ever: most of all while the archiver itself waits for its database.
async fn measure(backplane: &dyn Backplane) {
    loop {
        if let Ok(backlog) = backplane.backlog().await {
            let age_ms = backlog.age_ms(backplane.now());
            metrics::gauge!("rookery_archive_queue_entries").set(backlog.entries as f64);
            metrics::gauge!("rookery_archive_queue_age_seconds").set(age_ms as f64 / 1000.0);
        }
        tokio::time::sleep(MEASURE_EVERY).await;
    }
}

/// Waits so long, or until somebody rings; answers the partitions he rang for.
async fn wait(bell: &mut pubsub::Subscription, pause: Duration) -> Vec<u16> {
    let until = Instant::now() + pause;
    let mut rung = BTreeSet::new();
    loop {
        let signal = tokio::select! {
            biased;
            signal = bell.recv() => signal,
            () = tokio::time::sleep_until(until) => return rung.into_iter().collect(),
        };
        match signal {
            Some(Signal::Message(message)) if message.topic == QUEUED => {
                let partition = std::str::from_utf8(&message.body).ok();
                rung.extend(partition.and_then(|text| text.parse::<u16>().ok()));
                if !rung.is_empty() {
                    // Those who ring in the same moment come along.
                    while let Ok(Some(Signal::Message(message))) =
                        tokio::time::timeout(Duration::ZERO, bell.recv()).await
                    {
                        let text = std::str::from_utf8(&message.body).ok();
                        if message.topic == QUEUED {
                            rung.extend(text.and_then(|text| text.parse::<u16>().ok()));
                        }
                    }
                    return rung.into_iter().collect();
                }
            }
            Some(_) => {}
            None => tokio::time::sleep_until(until).await,
        }
    }
}
