//! The archive's queue: a stream a partition, read by the consumer group `archive`.
//!
//! All partitions of a server are read in a few pipelines, by the one consumer that holds the server's lease: idle, 256
//! partitions cost four round trips a look, whoever else stands by costs one a lease. Nothing that blocks goes over the shared
//! connection.

use super::{
    Shared,
    every::PORTION,
    keys::Partition,
    log::{number, odd, text},
    message::{self, Heard},
    rooms::millis,
    script,
    topology::Shard,
};
use crate::{
    Answer, Backlog, Content, Entry, Epoch, QueuePosition, Room, Seq, Take, Unavailable, Watermark,
    queue::{ARCHIVED, Place, encode_watermarks, queue_room},
};
use bytes::Bytes;
use rand::RngExt;
use redis::{Cmd, ErrorKind, RedisError, Value};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{task::JoinSet, time::Instant};

/// The consumer group. A promise to all versions.
const GROUP: &str = "archive";

/// How long one server is waited for: the entries of the others must not wait for a server that is away.
const SERVER_TIMEOUT: Duration = Duration::from_millis(2500);

/// Entries asked of one partition at least, however small the limit.
const COUNT_MIN: usize = 16;

/// Which leases for reading a server's queues are known to be held, so that they are not asked for at every look.
#[derive(Debug, Default)]
pub(super) struct Leases(Mutex<HashMap<(String, Partition), Lease>>);

#[derive(Debug, Clone, Copy)]
enum Lease {
    /// Ours; time to renew it then.
    Ours(Instant),
    /// Another's; may have lapsed then.
    Others(Instant),
}

impl Leases {
    fn lock(&self) -> MutexGuard<'_, HashMap<(String, Partition), Lease>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Shared {
    pub async fn take(self: &Arc<Shared>, consumer: &str, take: &Take) -> Answer<Vec<Entry>> {
        let reading = Reading {
            limit: take.limit,
            lease: take.only.is_none().then_some(take.lease),
            stale: None,
        };
        let only = take
            .only
            .as_ref()
            .map(|only| only.iter().copied().map(Partition).collect());
        self.read_queues(consumer, reading, only).await
    }

    pub async fn reclaim(
        self: &Arc<Shared>,
        consumer: &str,
        idle: Duration,
        limit: usize,
    ) -> Answer<Vec<Entry>> {
        let reading = Reading {
            limit,
            lease: None,
            stale: Some(idle),
        };
        self.read_queues(consumer, reading, None).await
    }

    /// Servers that do not answer are left out; only when none answers is that an error.
    async fn read_queues(
        self: &Arc<Shared>,
        consumer: &str,
        reading: Reading,
        only: Option<Vec<Partition>>,
    ) -> Answer<Vec<Entry>> {
        let mut asked = JoinSet::new();
        for shard in &self.topology.map().shards {
            let (shared, shard, consumer) = (self.clone(), shard.clone(), consumer.to_owned());
            let mut partitions = shard.partitions.clone();
            if let Some(only) = &only {
                partitions.retain(|partition| only.contains(partition));
            }
            asked.spawn(async move {
                shared
                    .read_server(&shard, &consumer, reading, partitions)
                    .await
            });
        }
        let (mut entries, mut answered) = (Vec::new(), false);
        while let Some(read) = asked.join_next().await {
            if let Ok(Some(read)) = read {
                answered = true;
                entries.extend(read);
            }
        }
        if answered {
            return Ok(entries);
        }
        self.topology.report_trouble();
        Err(Unavailable("no redis server answers".to_owned()))
    }

    /// `None` if the server did not answer, and nothing was taken.
    async fn read_server(
        &self,
        shard: &Shard,
        consumer: &str,
        reading: Reading,
        mut partitions: Vec<Partition>,
    ) -> Option<Vec<Entry>> {
        let until = Instant::now() + SERVER_TIMEOUT;
        if let Some(lease) = reading.lease
            && !self.holds_lease(shard, consumer, lease, until).await?
        {
            return Some(Vec::new());
        }
        if !partitions.is_empty() {
            // Where the limit cuts off, others come first the next time.
            let turn = rand::rng().random_range(0..partitions.len());
            partitions.rotate_left(turn);
        }
        let share = partitions.len().clamp(1, PORTION);
        let count = (reading.limit / share)
            .clamp(COUNT_MIN.min(reading.limit.max(1)), reading.limit.max(1));
        let mut entries = Vec::new();
        for portion in partitions.chunks(PORTION) {
            if entries.len() >= reading.limit {
                break;
            }
            let command = |partition| self.reading(partition, consumer, reading, count);
            let Some(answers) = self.ask_each(shard, portion, None, until, command).await else {
                // What came so far is taken, and must not be lost.
                return (!entries.is_empty()).then_some(entries);
            };
            let mut groupless = Vec::new();
            for (partition, answer) in answers {
                if has_no_group(&answer) {
                    groupless.push(partition);
                } else if let Some(answer) = self.unless_error(answer) {
                    read_entries(partition, answer, &mut entries);
                }
            }
            // Their entries come with the next look.
            let group = |partition| {
                let mut command = redis::cmd("XGROUP");
                command
                    .arg("CREATE")
                    .arg(self.keys.queue(partition))
                    .arg(GROUP)
                    .arg(0)
                    .arg("MKSTREAM");
                command
            };
            if !groupless.is_empty() && reading.stale.is_none() {
                self.ask_each(shard, &groupless, None, until, group).await;
            }
        }
        Some(entries)
    }

    fn reading(&self, partition: Partition, consumer: &str, reading: Reading, count: usize) -> Cmd {
        let queue = self.keys.queue(partition);
        match reading.stale {
            None => {
                let mut command = redis::cmd("XREADGROUP");
                command
                    .arg("GROUP")
                    .arg(GROUP)
                    .arg(consumer)
                    .arg("COUNT")
                    .arg(count)
                    .arg("STREAMS")
                    .arg(queue)
                    .arg(">");
                command
            }
            Some(idle) => {
                let mut command = redis::cmd("XAUTOCLAIM");
                command
                    .arg(queue)
                    .arg(GROUP)
                    .arg(consumer)
                    .arg(idle.as_millis() as u64)
                    .arg("0-0")
                    .arg("COUNT")
                    .arg(count);
                command
            }
        }
    }

    /// Whether this consumer may read the queues of a server. `None` if the server does not say.
    async fn holds_lease(
        &self,
        shard: &Shard,
        consumer: &str,
        ttl: Duration,
        until: Instant,
    ) -> Option<bool> {
        let lowest = *shard.partitions.first()?;
        let key = (consumer.to_owned(), lowest);
        let now = Instant::now();
        match self.archivers.lock().get(&key) {
            Some(Lease::Ours(renew)) if now < *renew => return Some(true),
            Some(Lease::Others(lapses)) if now < *lapses => return Some(false),
            _ => {}
        }
        let command = |partition| {
            let mut command =
                script::LEASE.on([self.keys.archiver(partition).as_str()].into_iter());
            command.arg(consumer).arg(millis(ttl));
            command
        };
        let answers = self
            .ask_each(shard, &[lowest], Some(&script::LEASE), until, command)
            .await?;
        let (_, answer) = answers.into_iter().next()?;
        let others: u64 = number(Some(self.unless_error(answer)?)).ok()?;
        let lease = match others {
            0 => Lease::Ours(now + ttl / 2),
            ms => Lease::Others(now + Duration::from_millis(ms)),
        };
        self.archivers.lock().insert(key, lease);
        Some(others == 0)
    }

    pub async fn acknowledge(self: &Arc<Shared>, positions: &[QueuePosition]) -> Answer<()> {
        let mut by_partition: BTreeMap<u16, Vec<Place>> = BTreeMap::new();
        for position in positions {
            by_partition
                .entry(position.partition)
                .or_default()
                .push(position.place);
        }
        let mut asked = JoinSet::new();
        for (partition, places) in by_partition {
            let shared = self.clone();
            asked.spawn(async move {
                let partition = Partition(partition);
                let keys = [
                    shared.keys.queue(partition),
                    shared.keys.archived(partition),
                ];
                let mut command = script::ACKNOWLEDGE.on(keys.iter().map(String::as_str));
                for place in places {
                    command.arg(place.to_string());
                }
                let answered = shared
                    .run(partition, &script::ACKNOWLEDGE, &command)
                    .await?;
                watermark(partition, answered.value)
            });
        }
        let (mut marks, mut failed) = (Vec::new(), None);
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(mark)) => marks.extend(mark),
                Ok(Err(unavailable)) => failed = Some(unavailable),
                Err(error) => failed = Some(Unavailable(error.to_string())),
            }
        }
        if !marks.is_empty() {
            let body = encode_watermarks(&marks);
            self.tell(queue_room(), ARCHIVED, body);
        }
        failed.map_or(Ok(()), Err)
    }

    pub async fn watermarks(self: &Arc<Shared>) -> Answer<Vec<Watermark>> {
        let command = |shared: &Shared, partition| {
            let mut command = redis::cmd("HMGET");
            command
                .arg(shared.keys.archived(partition))
                .arg("life")
                .arg("below");
            command
        };
        let answers = self.ask_all_partitions(None, command).await?;
        let marks = answers
            .into_iter()
            .filter_map(|(partition, answer)| watermark(partition, answer).ok().flatten());
        Ok(marks.collect())
    }

    pub async fn backlog(self: &Arc<Shared>) -> Answer<Backlog> {
        let command = |shared: &Shared, partition| {
            script::BACKLOG.on([shared.keys.queue(partition).as_str()].into_iter())
        };
        let answers = self
            .ask_all_partitions(Some(&script::BACKLOG), command)
            .await?;
        let mut backlog = Backlog::default();
        for (_, answer) in answers {
            let Value::Array(items) = answer else {
                continue;
            };
            let mut items = items.into_iter();
            backlog.entries += number::<u64>(items.next())?;
            let Some(oldest) = items.next() else { continue };
            let place = Place::parse(&text(Some(oldest))?);
            let at = place.and_then(|place| i64::try_from(place.major).ok());
            backlog.oldest = match (backlog.oldest, at) {
                (Some(known), Some(at)) => Some(known.min(at)),
                (known, at) => known.or(at),
            };
        }
        Ok(backlog)
    }

    /// Asks all servers about all partitions. Servers that do not answer are left out; only when none answers is that an error.
    async fn ask_all_partitions(
        self: &Arc<Shared>,
        script: Option<&'static script::Script>,
        command: impl Fn(&Shared, Partition) -> Cmd + Copy + Send + Sync + 'static,
    ) -> Answer<Vec<(Partition, Value)>> {
        let mut asked = JoinSet::new();
        for shard in &self.topology.map().shards {
            let (shared, shard) = (self.clone(), shard.clone());
            asked.spawn(async move {
                let until = Instant::now() + SERVER_TIMEOUT;
                let mut answers = Vec::new();
                for portion in shard.partitions.chunks(PORTION) {
                    let command = |partition| command(&shared, partition);
                    let found = shared
                        .ask_each(&shard, portion, script, until, command)
                        .await?;
                    answers.extend(found);
                }
                Some(answers)
            });
        }
        let (mut all, mut answered) = (Vec::new(), false);
        while let Some(answers) = asked.join_next().await {
            if let Ok(Some(answers)) = answers {
                answered = true;
                let good = answers.into_iter().filter_map(|(partition, answer)| {
                    Some((partition, self.unless_error(answer)?))
                });
                all.extend(good);
            }
        }
        if answered {
            return Ok(all);
        }
        self.topology.report_trouble();
        Err(Unavailable("no redis server answers".to_owned()))
    }

    pub async fn queue_end(self: &Arc<Shared>, room: &Room) -> Answer<Option<QueuePosition>> {
        let partition = self.keys.of_room(room);
        let keys = [self.keys.queue(partition), self.keys.archived(partition)];
        let command = script::QUEUE_END.on(keys.iter().map(String::as_str));
        let answered = self.run(partition, &script::QUEUE_END, &command).await?;
        match answered.value {
            Value::Nil => Ok(None),
            Value::Array(items) => {
                let mut items = items.into_iter();
                let life = number(items.next())?;
                position(partition, life, items.next()).map(Some)
            }
            other => Err(odd("queue_end", &other)),
        }
    }

    pub async fn forget(self: &Arc<Shared>, room: &Room, epoch: &Epoch, end: Seq) -> Answer<bool> {
        let partition = self.keys.of_room(room);
        let keys = [
            self.keys.log(room),
            self.keys.deadlines(partition),
            self.keys.attendance_leases(room),
        ];
        let mut command = script::FORGET.on(keys.iter().map(String::as_str));
        command.arg(room.as_str()).arg(epoch.as_str()).arg(end);
        let answered = self.run(partition, &script::FORGET, &command).await?;
        let gone: i64 = number(Some(answered.value))?;
        Ok(gone == 1)
    }
}

/// How to read queues.
#[derive(Debug, Clone, Copy)]
struct Reading {
    limit: usize,
    /// Under the lease of each server, for so long.
    lease: Option<Duration>,
    /// Not new entries, but those taken and not acknowledged for so long.
    stale: Option<Duration>,
}

/// A position as scripts answer it.
pub(super) fn position(
    partition: Partition,
    life: u64,
    id: Option<Value>,
) -> Answer<QueuePosition> {
    let id = text(id)?;
    let place = Place::parse(&id).ok_or_else(|| odd("a queue", &id))?;
    Ok(QueuePosition {
        partition: partition.0,
        life,
        place,
    })
}

/// A watermark as it is stored: life and place; `None` if there is none yet.
fn watermark(partition: Partition, value: Value) -> Answer<Option<Watermark>> {
    let Value::Array(items) = value else {
        return Ok(None);
    };
    let mut items = items.into_iter();
    let (Some(life), Some(below)) = (items.next(), items.next()) else {
        return Ok(None);
    };
    if life == Value::Nil || below == Value::Nil {
        return Ok(None);
    }
    let below = text(Some(below))?;
    Ok(Some(Watermark {
        partition: partition.0,
        life: number(Some(life))?,
        below: Place::parse(&below).ok_or_else(|| odd("a watermark", &below))?,
    }))
}

fn has_no_group(answer: &Value) -> bool {
    let Value::ServerError(error) = answer else {
        return false;
    };
    let error = RedisError::from(error.clone());
    matches!(error.kind(), ErrorKind::Server(_) | ErrorKind::Extension)
        && error.code() == Some("NOGROUP")
}

/// Entries in an answer to XREADGROUP or XAUTOCLAIM.
fn read_entries(partition: Partition, answer: Value, entries: &mut Vec<Entry>) {
    let list = match answer {
        // Streams by name, of which there is one.
        Value::Map(streams) => streams.into_iter().next().map(|(_, list)| list),
        // A cursor, the entries, and ids of those that are gone; or, by the older protocol, a list of streams.
        Value::Array(mut items) => match items.first() {
            Some(Value::Array(_)) => match items.swap_remove(0) {
                Value::Array(stream) => stream.into_iter().nth(1),
                _ => None,
            },
            _ => items.into_iter().nth(1),
        },
        _ => None,
    };
    let Some(Value::Array(list)) = list else {
        return;
    };
    entries.extend(
        list.into_iter()
            .filter_map(|entry| read_entry(partition, entry)),
    );
}

fn read_entry(partition: Partition, entry: Value) -> Option<Entry> {
    let Value::Array(parts) = entry else {
        return None;
    };
    let mut parts = parts.into_iter();
    let place = Place::parse(&text(parts.next()).ok()?)?;
    let mut fields: HashMap<Vec<u8>, Bytes> = HashMap::new();
    let mut raw = Vec::new();
    if let Some(Value::Array(items)) = parts.next() {
        let mut items = items.into_iter();
        while let (Some(Value::BulkString(name)), Some(Value::BulkString(value))) =
            (items.next(), items.next())
        {
            raw.extend_from_slice(&name);
            raw.push(b'=');
            raw.extend_from_slice(&value);
            raw.push(b'\n');
            fields.insert(name, Bytes::from(value));
        }
    }
    let word = |name: &str| std::str::from_utf8(fields.get(name.as_bytes())?).ok();
    let understood = || {
        let room = Room::parse(word("room")?).ok()?;
        let Heard::Events(log) = message::hear(fields.get(b"log".as_slice())?.clone())? else {
            return None;
        };
        Some(Content::Events { room, log })
    };
    let content = understood().unwrap_or_else(|| Content::Unreadable(raw.into()));
    let life = word("life").and_then(|life| life.parse().ok());
    Some(Entry {
        position: QueuePosition {
            partition: partition.0,
            life: life.unwrap_or(0),
            place,
        },
        content,
    })
}
