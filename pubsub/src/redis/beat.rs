//! Being there, and when nobody was, over all partitions.

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

/// What is known of each partition's outages.
#[derive(Debug)]
pub(super) struct Pulse(Vec<Mutex<Outages>>);

impl Pulse {
    pub fn new(partitions: u16) -> Pulse {
        Pulse((0..partitions).map(|_| Mutex::default()).collect())
    }

    /// `None` for a partition that there is not.
    fn of(&self, partition: Partition) -> Option<MutexGuard<'_, Outages>> {
        let outages = self.0.get(usize::from(partition.0))?;
        Some(outages.lock().unwrap_or_else(PoisonError::into_inner))
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
        let heard = Outages { known, until };
        Ok(self
            .of(partition)
            .is_some_and(|mut known| known.learn(heard)))
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
            let command = |partition| self.beat_command(partition);
            let answers = self
                .ask_each(shard, partitions, Some(&script::BEAT), until, command)
                .await?;
            for (partition, answer) in answers {
                if let Some(answer) = self.unless_error(answer) {
                    news |= self.pulse.learn(partition, answer).unwrap_or(false);
                }
            }
        }
        Some(news)
    }

    fn beat_command(&self, partition: Partition) -> Cmd {
        let keys = [self.keys.beat(partition), self.keys.outages(partition)];
        let mut command = script::BEAT.on(keys.iter().map(String::as_str));
        let last = self.pulse.of(partition).map_or(0, |known| known.until);
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
        known.map(|known| known.clone()).unwrap_or_default()
    }
}
