//! The backplane of a single process: everything in memory behind a mutex for each partition, and, if wanted, a journal on
//! disk that running games survive a crash by.
//!
//! Every handle cloned from one [`Embedded`] is a node of the same backplane. Nothing here is a task or a timer: leases
//! are looked at when somebody calls, so that a simulation with paused time sees exactly what it caused.
//!
//! Logs of finished games are kept, packed, until somebody who has archived them says [`Backplane::forget`].
//!
//! With [`Options::journal`], all of it that matters after a restart is written to disk first.

mod attendance;
mod clock;
mod journal;
mod log;
mod mend;
mod partition;
mod pool;
mod queue;
mod records;

use crate::queue::{ARCHIVED, encode_watermarks, queue_room};
use crate::*;
use async_trait::async_trait;
use bytes::Bytes;
use clock::Clock;
use journal::{Appending, Image, Journal, Record};
use log::PackedLog;
use partition::{Judged, Partition};
use pool::Pool;
use queue::{Queue, Taken};
use rand::{
    RngExt, SeedableRng,
    distr::{Alphanumeric, SampleString},
    rngs::StdRng,
};
use records::Records;
use std::{
    collections::HashMap,
    hash::{DefaultHasher, Hash, Hasher},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::watch, time::Instant};

pub use journal::OpenError;

/// Mutexes the rooms are spread over: many more than cores, so that two busy rooms rarely meet.
const PARTITIONS: usize = 64;

/// How an [`Embedded`] backplane is to be. The default keeps everything in memory.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// The data directory to keep a journal in; `None` keeps everything in memory only.
    ///
    /// What was acknowledged, or heard by anybody, survives the death of the process in any way (kill -9, a panic, out of
    /// memory). A loss of power or a crash of the kernel may cost the last seconds (up to about 30), which were not
    /// on the disk yet. It holds the logs with their deadlines, records and sets whose time is 10 s or longer, and
    /// pairings; not seeks, leases, attendance and chat. While the disk is full, calls that would have to be
    /// remembered answer [`Unavailable`]. One process at a time may use a directory.
    pub journal: Option<PathBuf>,
    /// What must hold before an append is answered; with a journal. A process has no replica.
    pub ack: Ack,
    /// Keep account of what is not archived. Only where an archive reads it. What a journal holds and was never archived is
    /// queued at the start.
    pub queue: bool,
    /// What the clock shows at the start; `None` for the wall's time. For simulations.
    pub start: Option<Millis>,
    /// Where the names of epochs and offers come from; `None` for unpredictable ones. For simulations.
    pub seed: Option<u64>,
}

/// A handle of an in-process backplane. Clones are further nodes on the same one.
#[derive(Debug, Clone)]
pub struct Embedded {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    clock: Clock,
    partitions: Vec<Mutex<Partition>>,
    records: Mutex<Records>,
    pools: Mutex<HashMap<String, Pool>>,
    random: Mutex<StdRng>,
    journal: Option<Journal>,
    queue: Option<Mutex<Queue>>,
    next_listener: AtomicU64,
    upheavals: watch::Sender<u64>,
    pulse: Mutex<Outages>,
    /// Appends wait until then.
    settled_at: Mutex<Option<Instant>>,
}

impl Embedded {
    /// Starts an empty backplane that is gone with the process.
    pub fn in_memory() -> Embedded {
        Embedded::new(Options::default()).expect("without a journal nothing can fail")
    }

    /// Starts a backplane, with what its journal holds.
    pub fn new(options: Options) -> Result<Embedded, OpenError> {
        let mut start = options.start.unwrap_or_else(clock::wall);
        let (mut journal, mut image) = (None, Image::default());
        if let Some(dir) = &options.journal {
            let opened = Journal::open(dir, start)?;
            let syncs = options.ack == Ack::Fsync;
            (journal, image) = (Some(opened.0.syncing(syncs)), opened.1);
        }
        if image.latest > start {
            let ahead_ms = image.latest - start;
            tracing::warn!(
                ahead_ms,
                "journal holds later events than it is now; the clock starts there"
            );
            start = image.latest;
        }
        let mut random = options
            .seed
            .map_or_else(|| StdRng::from_rng(&mut rand::rng()), StdRng::seed_from_u64);
        let mut queue = options.queue.then(|| Queue::new(random.random()));
        if let Some(queue) = &mut queue {
            for (room, from) in image.unarchived() {
                queue.enqueue(room, from, start);
            }
        }
        let shared = Shared {
            clock: Clock::starting_at(start),
            partitions: (0..PARTITIONS).map(|_| Mutex::default()).collect(),
            records: Mutex::new(image.records),
            pools: Mutex::default(),
            random: Mutex::new(random),
            journal,
            queue: queue.map(Mutex::new),
            next_listener: AtomicU64::new(0),
            upheavals: watch::Sender::new(0),
            pulse: Mutex::new(Outages {
                known: Vec::new(),
                // Whoever appended was there too.
                until: image.beat.max(image.latest),
            }),
            settled_at: Mutex::default(),
        };
        for (room, log) in image.logs {
            shared.partition(&room).replace(&room, Some(log));
        }
        for ((pool, offer), pairing) in image.pairings {
            let mut pools = lock(&shared.pools);
            pools.entry(pool).or_default().restore(offer, pairing);
        }
        Ok(Embedded {
            shared: Arc::new(shared),
        })
    }

    /// Puts another log in the place of a room's, or takes it away, without telling anybody: what a failover, an operator or a
    /// bad disk may do to a log. For tests of those who must notice; the journal does not.
    pub fn replace_log(&self, room: &Room, log: Option<(Epoch, Vec<Bytes>)>) {
        let log = log.map(|(epoch, events)| {
            let mut log = PackedLog::new(epoch);
            log.extend(&events);
            log
        });
        self.shared.partition(room).replace(room, log);
    }

    fn now_ms(&self) -> Millis {
        self.shared.clock.now()
    }

    fn pool<T>(&self, name: &str, act: impl FnOnce(&mut Pool) -> T) -> T {
        let mut pools = lock(&self.shared.pools);
        let pool = pools.entry(name.into()).or_default();
        let answer = act(pool);
        if pool.is_empty() {
            pools.remove(name);
        }
        answer
    }

    /// Writes to the journal, if there is one, what is about to be done.
    fn remember(&self, now: Millis, record: impl FnOnce() -> Record) -> Answer<()> {
        let Some(journal) = &self.shared.journal else {
            return Ok(());
        };
        let written = journal.write(&record(), now);
        written.map_err(|error| Unavailable(format!("the journal cannot be written: {error}")))
    }

    /// Puts a room whose log has new events into the queue, if there is one. Call it with the room's partition locked.
    fn enqueue(&self, room: &Room, from: Seq, now: Millis) -> Option<QueuePosition> {
        let mut queue = lock(self.shared.queue.as_ref()?);
        Some(queue.enqueue(room, from, now))
    }

    /// What was taken, with its events.
    fn entry(&self, position: QueuePosition, taken: &Taken) -> Option<Entry> {
        let log = self
            .shared
            .partition(&taken.room)
            .read(&taken.room, taken.from)?;
        let len = usize::try_from(taken.end.saturating_sub(taken.from)).ok()?;
        let mut events = log.events;
        events.truncate(len);
        (log.epoch == taken.epoch).then(|| Entry {
            position,
            content: Content::Events {
                room: taken.room.clone(),
                log: Log { events, ..log },
            },
        })
    }

    fn tell(&self, mailbox: &Room, topic: &str, body: Bytes) {
        let topic = topic.into();
        let signal = Signal::Message(Message { topic, body });
        self.shared.partition(mailbox).publish(mailbox, signal);
    }
}

impl Shared {
    fn partition(&self, room: &Room) -> MutexGuard<'_, Partition> {
        let mut hasher = DefaultHasher::new();
        room.hash(&mut hasher);
        lock(&self.partitions[hasher.finish() as usize % PARTITIONS])
    }

    fn random(&self, len: usize) -> String {
        Alphanumeric.sample_string(&mut *lock(&self.random), len)
    }
}

/// A panic elsewhere while the lock was held leaves whole values behind: every change is one insertion or removal.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn millis(duration: Duration) -> Millis {
    Millis::try_from(duration.as_millis()).unwrap_or(Millis::MAX)
}

/// Ends a listener when its [`Subscription`] is dropped.
#[derive(Debug)]
struct Listener {
    shared: Weak<Shared>,
    room: Room,
    id: u64,
}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(shared) = self.shared.upgrade() {
            shared.partition(&self.room).unlisten(&self.room, self.id);
        }
    }
}

#[async_trait]
impl Backplane for Embedded {
    fn now(&self) -> Millis {
        self.now_ms()
    }

    fn health(&self) -> Health {
        let journal = self.shared.journal.as_ref();
        Health {
            reachable: !journal.is_some_and(Journal::is_failing),
            hears: true,
        }
    }

    /// Appending nothing is answered as already done, or as [`Appended::Gone`].
    async fn append(&self, room: &Room, append: Append) -> Answer<Appended> {
        self.settled().await;
        let now = self.now_ms();
        let mut partition = self.shared.partition(room);
        match partition.judge(room, &append, now) {
            Judged::Answer(answer) => return Ok(answer),
            Judged::Fits => {}
        }
        let epoch = match partition.log(room) {
            Some(log) if !log.fits(&append.events) => {
                return Err(Unavailable(format!("the log of {room} is full")));
            }
            Some(log) => log.epoch.clone(),
            None => Epoch::new(1, &self.shared.random(8)),
        };
        self.remember(now, || {
            Record::Append(Appending {
                room: room.clone(),
                epoch: epoch.clone(),
                first: append.expected,
                at: append.at,
                deadline: append.deadline,
                events: append.events.clone(),
            })
        })?;
        let queued = self.enqueue(room, append.expected, now);
        partition.extend(room, &append.events, append.deadline, || {
            PackedLog::new(epoch.clone())
        });
        Ok(Appended::Appended { epoch, queued })
    }

    async fn restore(&self, room: &Room, restore: Restore) -> Answer<Restored> {
        self.mend(room, restore)
    }

    fn upheavals(&self) -> watch::Receiver<u64> {
        self.shared.upheavals.subscribe()
    }

    async fn read(&self, room: &Room, from: Seq) -> Answer<Option<Log>> {
        Ok(self.shared.partition(room).read(room, from))
    }

    async fn end(&self, room: &Room) -> Answer<Option<(Epoch, Seq)>> {
        let partition = self.shared.partition(room);
        Ok(partition
            .log(room)
            .map(|log| (log.epoch.clone(), log.end())))
    }

    fn subscribe(&self, room: &Room) -> Subscription {
        let id = self.shared.next_listener.fetch_add(1, Ordering::Relaxed);
        let (sender, subscription) = Subscription::new(Listener {
            shared: Arc::downgrade(&self.shared),
            room: room.clone(),
            id,
        });
        self.shared.partition(room).listen(room, id, sender);
        subscription
    }

    async fn publish(&self, room: &Room, message: Message) -> Answer<()> {
        let partition = self.shared.partition(room);
        partition.publish(room, Signal::Message(message));
        Ok(())
    }

    async fn say(&self, room: &Room, message: Message) -> Answer<()> {
        let now = self.now_ms();
        self.shared.partition(room).say(room, message, now);
        Ok(())
    }

    async fn history(&self, room: &Room, topic: &str) -> Answer<Vec<Bytes>> {
        let now = self.now_ms();
        Ok(self.shared.partition(room).history(room, topic, now))
    }

    async fn attend(
        &self,
        room: &Room,
        node: &str,
        counts: &[u32],
        ttl: Duration,
    ) -> Answer<Attendance> {
        let now = self.now_ms();
        let mut partition = self.shared.partition(room);
        Ok(partition.attend(room, now, node, counts, millis(ttl)))
    }

    async fn sweep(
        &self,
        node: &str,
        before: Millis,
        limit: usize,
        ttl: Duration,
    ) -> Answer<Vec<(Room, Millis)>> {
        let now = self.now_ms();
        let partitions = self.shared.partitions.iter();
        let mut due: Vec<(Millis, Room)> = partitions
            .flat_map(|partition| lock(partition).sweep(now, node, before, limit, millis(ttl)))
            .collect();
        due.sort();
        due.truncate(limit);
        Ok(due
            .into_iter()
            .map(|(deadline, room)| (room, deadline))
            .collect())
    }

    async fn beat(&self) -> Answer<bool> {
        let now = self.now_ms();
        let mut partitions = self.shared.partitions.iter();
        // A journal that is idle stays as it is: without a deadline there is no time to lose.
        if partitions.any(|partition| lock(partition).has_deadlines()) {
            self.remember(now, || Record::Beat { at: now })?;
        }
        Ok(lock(&self.shared.pulse).beat(now).is_some())
    }

    async fn outages(&self, room: &Room) -> Answer<Outages> {
        self.beat().await?;
        Ok(self.outages_known(room))
    }

    fn outages_known(&self, _room: &Room) -> Outages {
        lock(&self.shared.pulse).clone()
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration, put: Put) -> Answer<Option<Bytes>> {
        let now = self.now_ms();
        let mut records = lock(&self.shared.records);
        let in_the_way = records.in_the_way(now, key, put);
        if in_the_way.is_none() {
            let until = now.saturating_add(millis(ttl));
            if ttl >= journal::TTL_MIN || records.get(now, key).is_some() {
                self.remember(now, || Record::Put {
                    key: key.into(),
                    value: value.clone(),
                    until,
                })?;
            }
            records.put(now, key, value, until);
        }
        Ok(in_the_way)
    }

    async fn get(&self, key: &str) -> Answer<Option<Bytes>> {
        let now = self.now_ms();
        Ok(lock(&self.shared.records).get(now, key))
    }

    async fn remove(&self, key: &str) -> Answer<()> {
        let now = self.now_ms();
        let mut records = lock(&self.shared.records);
        if records.get(now, key).is_some() {
            self.remember(now, || Record::Remove { key: key.into() })?;
            records.remove(key);
        }
        Ok(())
    }

    async fn join_set(&self, key: &str, member: &str, ttl: Duration) -> Answer<()> {
        let now = self.now_ms();
        let until = now.saturating_add(millis(ttl));
        let mut records = lock(&self.shared.records);
        if ttl >= journal::TTL_MIN || records.has_member(now, key, member) {
            self.remember(now, || Record::Join {
                key: key.into(),
                member: member.into(),
                at: now,
                until,
            })?;
        }
        records.join(now, key, member, until);
        Ok(())
    }

    async fn leave_set(&self, key: &str, member: &str) -> Answer<()> {
        let now = self.now_ms();
        let mut records = lock(&self.shared.records);
        if records.has_member(now, key, member) {
            self.remember(now, || Record::Leave {
                key: key.into(),
                member: member.into(),
            })?;
            records.leave(key, member);
        }
        Ok(())
    }

    async fn set(&self, key: &str) -> Answer<Vec<String>> {
        let now = self.now_ms();
        Ok(lock(&self.shared.records).members(now, key))
    }

    async fn seek(&self, pool: &str, seeker: &Seeker) -> Answer<Sought> {
        let (now, name) = (self.now_ms(), self.shared.random(16));
        let seeking = self.pool(pool, |entry| entry.seek(now, pool, seeker, name));
        if let Some((mailbox, offer)) = seeking.refused {
            self.tell(&mailbox, topic::REFUSED, Bytes::from(offer));
        }
        if let Some((mailbox, offer)) = seeking.offered {
            self.tell(&mailbox, topic::OFFER, offer.encode());
        }
        Ok(seeking.sought)
    }

    async fn renew_seeks(&self, pool: &str, ids: &[String]) -> Answer<Vec<String>> {
        let now = self.now_ms();
        Ok(self.pool(pool, |pool| {
            let gone = ids.iter().filter(|id| !pool.renew(now, id));
            gone.cloned().collect()
        }))
    }

    async fn cancel_seek(&self, pool: &str, id: &str) -> Answer<bool> {
        let now = self.now_ms();
        Ok(self.pool(pool, |pool| pool.cancel(now, id)))
    }

    async fn accept_offer(&self, pool: &str, offer: &str, pairing: Bytes) -> Answer<Option<Bytes>> {
        let now = self.now_ms();
        let (holds, told) = self.pool(pool, |entry| {
            if !entry.is_open(now, offer) {
                return Ok((entry.pairing(now, offer), None));
            }
            let until = Pool::pairing_until(now);
            let accepted = entry.to_pairing(offer, pairing.clone(), until);
            let accepted = accepted.expect("it is open");
            self.remember(now, || Record::Paired {
                pool: pool.into(),
                offer: offer.into(),
                pairing: accepted,
            })?;
            let mailbox = entry.accept(offer, pairing.clone(), until);
            Ok((Some(pairing), mailbox))
        })?;
        if let (Some(pairing), Some(mailbox)) = (&holds, told) {
            let body = [offer.as_bytes(), b"\n", pairing].concat();
            self.tell(&mailbox, topic::PAIRED, Bytes::from(body));
        }
        Ok(holds)
    }

    async fn refuse_offer(&self, pool: &str, offer: &str) -> Answer<()> {
        let now = self.now_ms();
        if let Some(mailbox) = self.pool(pool, |pool| pool.refuse(now, offer)) {
            let body = Bytes::copy_from_slice(offer.as_bytes());
            self.tell(&mailbox, topic::REFUSED, body);
        }
        Ok(())
    }

    async fn settle_offer(&self, pool: &str, offer: &str) -> Answer<Option<Bytes>> {
        let now = self.now_ms();
        Ok(self.pool(pool, |pool| {
            let pairing = pool.pairing(now, offer);
            if pairing.is_none() {
                pool.refuse(now, offer);
            }
            pairing
        }))
    }

    async fn take(&self, consumer: &str, take: &Take) -> Answer<Vec<Entry>> {
        let Some(queue) = &self.shared.queue else {
            return Ok(Vec::new());
        };
        let now = self.now_ms();
        let rooms = lock(queue).candidates(consumer, take, now);
        let mut entries = Vec::with_capacity(rooms.len());
        for room in rooms {
            // The log must not grow between what is noted as taken and what is read.
            let partition = self.shared.partition(&room);
            let Some(log) = partition.log(&room) else {
                lock(queue).drop_room(&room);
                continue;
            };
            let taken = lock(queue).take(&room, &log.epoch, log.end(), now);
            if let Some((position, taken)) = taken {
                let log = Log {
                    epoch: taken.epoch,
                    first: taken.from,
                    events: log.events(taken.from),
                };
                let content = Content::Events { room, log };
                entries.push(Entry { position, content });
            }
        }
        Ok(entries)
    }

    async fn reclaim(&self, _consumer: &str, idle: Duration, limit: usize) -> Answer<Vec<Entry>> {
        let Some(queue) = &self.shared.queue else {
            return Ok(Vec::new());
        };
        let stale = lock(queue).reclaim(millis(idle), limit, self.now_ms());
        let entry = |(position, taken)| {
            let entry = self.entry(position, &taken);
            if entry.is_none() {
                // The log has another life now, or none: these events are in no log any more.
                lock(queue).acknowledge(&[position]);
            }
            entry
        };
        Ok(stale.into_iter().filter_map(entry).collect())
    }

    async fn acknowledge(&self, positions: &[QueuePosition]) -> Answer<()> {
        let Some(queue) = &self.shared.queue else {
            return Ok(());
        };
        let now = self.now_ms();
        let mark = {
            let mut queue = lock(queue);
            for archived in queue.archived_with(positions) {
                self.remember(now, || Record::Archived {
                    room: archived.room,
                    epoch: archived.epoch,
                    end: archived.end,
                })?;
            }
            queue.acknowledge(positions);
            queue.watermark()
        };
        if let Some(mark) = mark {
            self.tell(&queue_room(), ARCHIVED, encode_watermarks(&[mark]));
        }
        Ok(())
    }

    async fn watermarks(&self) -> Answer<Vec<Watermark>> {
        let queue = self.shared.queue.iter();
        Ok(queue.filter_map(|queue| lock(queue).watermark()).collect())
    }

    async fn queue_end(&self, _room: &Room) -> Answer<Option<QueuePosition>> {
        let queue = self.shared.queue.as_ref();
        Ok(queue.and_then(|queue| lock(queue).end()))
    }

    async fn backlog(&self) -> Answer<Backlog> {
        let queue = self.shared.queue.as_ref();
        Ok(queue.map(|queue| lock(queue).backlog()).unwrap_or_default())
    }

    async fn forget(&self, room: &Room, epoch: &Epoch, end: Seq) -> Answer<bool> {
        let now = self.now_ms();
        let mut partition = self.shared.partition(room);
        let Some(log) = partition.log(room) else {
            return Ok(true);
        };
        let archived = |queue: &Mutex<Queue>| lock(queue).is_archived(room);
        let may = (&log.epoch, log.end()) == (epoch, end)
            && self.shared.queue.as_ref().is_none_or(archived)
            && !partition.is_attended(room, now);
        if may {
            self.remember(now, || Record::Forget {
                room: room.clone(),
                bytes: log.len() as u64,
            })?;
            partition.forget(room);
        }
        Ok(may)
    }
}
