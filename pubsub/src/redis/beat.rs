//! Being there, and when nobody was, over all partitions.
//!
//! One node's beat is enough for all. So a node looks first, which costs the server little, and beats where nobody has just done so
//! or something has happened that it does not know of: with a hundred nodes a partition is beaten a few times a second, not a hundred.

use super::{
    Shared, every::PORTION, keys::Partition, log::odd, rooms::millis, script, topology::Shard,
};
use crate::{
    Answer, CALL_TIMEOUT, Millis, OUTAGE_MIN_MS, OUTAGES_FOR, OUTAGES_LEN, Outage, Outages, Room,
    Unavailable,
};
use redis::{Cmd, Value};
use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{task::JoinSet, time::Instant};

/// How long one server is waited for: a beat that is late is worth no more than the next.
const SERVER_TIMEOUT: Duration = Duration::from_millis(1500);

/// Somebody's beat that is no older than this is as good as an own one: the next look comes long before silence counts.
const RECENT_MS: Millis = 500;

/// What is known of each partition's outages.
#[derive(Debug)]
pub(super) struct Pulse(Vec<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    outages: Outages,
    /// End of the last outage that the server told of; 0 if of none. More may be known here, if the server lost its data.
    told: Millis,
}

impl Pulse {
    pub fn new(partitions: u16) -> Pulse {
        Pulse((0..partitions).map(|_| Mutex::default()).collect())
    }

    /// `None` for a partition that there is not.
    fn of(&self, partition: Partition) -> Option<MutexGuard<'_, Known>> {
        let known = self.0.get(usize::from(partition.0))?;
        Some(known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// What the last beat says, seen at `now`: true if it is recent, and nothing has happened that is not known here.
    fn glance(&self, partition: Partition, now: Millis, last: &Value) -> bool {
        let Value::BulkString(last) = last else {
            return false;
        };
        let text = std::str::from_utf8(last).unwrap_or_default();
        let Some((at, ended)) = text.split_once(' ') else {
            return false;
        };
        let (Ok(at), Ok(ended)) = (at.parse::<Millis>(), ended.parse::<Millis>()) else {
            return false;
        };
        let Some(mut known) = self.of(partition) else {
            return false;
        };
        // Who has never asked knows nothing.
        let has_asked = known.outages.until > 0;
        let settles = has_asked && known.told == ended && (0..RECENT_MS).contains(&(now - at));
        if settles {
            known.outages.until = known.outages.until.max(at);
        }
        settles
    }

    fn learn(&self, partition: Partition, answer: Value) -> Answer<bool> {
        let mut numbers = redis::from_redis_value::<Vec<Millis>>(answer)
            .map_err(|error| odd("a beat", &error))?
            .into_iter();
        let until = numbers.next().unwrap_or_default();
        let mut known = Vec::new();
        while let (Some(from), Some(to)) = (numbers.next(), numbers.next()) {
            known.push(Outage { from, to });
        }
        let told = known.last().map_or(0, |outage| outage.to);
        let heard = Outages { known, until };
        Ok(self.of(partition).is_some_and(|mut known| {
            known.told = told;
            known.outages.learn(heard)
        }))
    }
}

impl Shared {
    /// Says in all partitions that this node is there. True if that brought news of an outage. Partitions whose server does
    /// not answer are left out; only when none answers is that an error.
    pub async fn beat(self: &Arc<Shared>) -> Answer<bool> {
        let mut asked = JoinSet::new();
        for shard in &self.topology.map().shards {
            let (shared, shard) = (self.clone(), shard.clone());
            asked.spawn(async move { shared.beat_server(&shard).await });
        }
        let (mut news, mut answered) = (false, false);
        while let Some(beaten) = asked.join_next().await {
            if let Ok(Some(brought)) = beaten {
                answered = true;
                news |= brought;
            }
        }
        match answered {
            true => Ok(news),
            false => Err(Unavailable("no redis server answers".to_owned())),
        }
    }

    async fn beat_server(&self, shard: &Shard) -> Option<bool> {
        let until = Instant::now() + SERVER_TIMEOUT;
        let mut news = false;
        for partitions in shard.partitions.chunks(PORTION) {
            let partitions = self.silent(shard, partitions, until).await?;
            if partitions.is_empty() {
                continue;
            }
            let command = |partition| self.beat_command(partition);
            let answers = self
                .ask_each(shard, &partitions, Some(&script::BEAT), until, command)
                .await?;
            for (partition, answer) in answers {
                if let Some(answer) = self.unless_error(answer) {
                    news |= self.pulse.learn(partition, answer).unwrap_or(false);
                }
            }
        }
        Some(news)
    }

    /// Those of the partitions that nobody has just beaten, or that have news.
    async fn silent(
        &self,
        shard: &Shard,
        partitions: &[Partition],
        until: Instant,
    ) -> Option<Vec<Partition>> {
        let mut pipeline = redis::pipe();
        pipeline.cmd("TIME");
        for partition in partitions {
            pipeline.cmd("GET").arg(self.keys.beat(*partition));
        }
        let mut answers = shard.link.ask_all(&pipeline, until).await.ok()?.into_iter();
        let (seconds, us): (Millis, Millis) = redis::from_redis_value(answers.next()?).ok()?;
        let now = seconds * 1_000 + us / 1_000;
        let glanced = partitions.iter().zip(answers);
        let silent = glanced.filter(|(partition, last)| !self.pulse.glance(**partition, now, last));
        Some(silent.map(|(partition, _)| *partition).collect())
    }

    fn beat_command(&self, partition: Partition) -> Cmd {
        let keys = [self.keys.beat(partition), self.keys.outages(partition)];
        let mut command = script::BEAT.on(keys.iter().map(String::as_str));
        let last = self
            .pulse
            .of(partition)
            .map_or(0, |known| known.outages.until);
        command
            .arg(last)
            .arg(OUTAGE_MIN_MS)
            .arg(OUTAGES_LEN)
            .arg(millis(OUTAGES_FOR));
        command
    }

    pub async fn outages(self: &Arc<Shared>, room: &Room) -> Answer<Outages> {
        let partition = self.keys.of_room(room);
        let command = self.beat_command(partition);
        let until = Instant::now() + CALL_TIMEOUT;
        let answered = self
            .topology
            .run_script(partition, &script::BEAT, &command, until)
            .await?;
        self.pulse.learn(partition, answered.value)?;
        Ok(self.outages_known(room))
    }

    pub fn outages_known(&self, room: &Room) -> Outages {
        let known = self.pulse.of(self.keys.of_room(room));
        known.map(|known| known.outages.clone()).unwrap_or_default()
    }
}
