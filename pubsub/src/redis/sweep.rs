//! Deadlines that passed, over all partitions.

use super::{
    Shared, every::PORTION, keys::Partition, log::text, rooms::millis, script, topology::Shard,
};
use crate::{Answer, CALL_TIMEOUT, Millis, Room, Unavailable};
use redis::{Cmd, Value};
use std::{sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::Instant};

/// How long one server is waited for: the rooms of the others must not wait for a server that is away.
const SERVER_TIMEOUT: Duration = Duration::from_millis(1500);

/// Pause before all servers are asked again when none answered.
const PAUSE: Duration = Duration::from_millis(250);

#[derive(Clone)]
struct Question {
    node: String,
    before: Millis,
    limit: usize,
    ttl: Duration,
}

impl Shared {
    /// Partitions whose server does not answer are left out; only when none answers is that an error.
    pub async fn sweep(
        self: &Arc<Shared>,
        node: &str,
        before: Millis,
        limit: usize,
        ttl: Duration,
    ) -> Answer<Vec<(Room, Millis)>> {
        let until = Instant::now() + CALL_TIMEOUT;
        let question = Question {
            node: node.to_owned(),
            before,
            limit,
            ttl,
        };
        loop {
            let mut asked = JoinSet::new();
            for shard in &self.topology.map().shards {
                let (shared, shard, question) = (self.clone(), shard.clone(), question.clone());
                asked.spawn(async move { shared.sweep_server(&shard, &question).await });
            }
            let (mut due, mut answered) = (Vec::new(), false);
            while let Some(found) = asked.join_next().await {
                if let Ok(Some(found)) = found {
                    answered = true;
                    due.extend(found);
                }
            }
            if answered {
                due.sort_by(|(one, at), (other, other_at)| at.cmp(other_at).then(one.cmp(other)));
                due.truncate(limit);
                return Ok(due);
            }
            self.topology.report_trouble();
            if Instant::now() + PAUSE >= until {
                return Err(Unavailable("no redis server answers".to_owned()));
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// `None` if the server did not answer.
    async fn sweep_server(
        &self,
        shard: &Shard,
        question: &Question,
    ) -> Option<Vec<(Room, Millis)>> {
        let until = Instant::now() + SERVER_TIMEOUT;
        let mut due = Vec::new();
        for partitions in shard.partitions.chunks(PORTION) {
            // A look costs the server less than a script that finds another node at it.
            let holder = |partition| {
                let mut command = redis::cmd("GET");
                command.arg(self.keys.sweeper(partition));
                command
            };
            let held = self
                .ask_each(shard, partitions, None, until, holder)
                .await?;
            let is_others = |holder: &Value| matches!(holder, Value::BulkString(name) if name != question.node.as_bytes());
            let ours = held.into_iter().filter(|(_, holder)| !is_others(holder));
            let ours: Vec<Partition> = ours.map(|(partition, _)| partition).collect();
            if ours.is_empty() {
                continue;
            }
            let command = |partition| self.question(partition, question);
            let answers = self
                .ask_each(shard, &ours, Some(&script::SWEEP), until, command)
                .await?;
            for (_, answer) in answers {
                if let Some(Value::Array(items)) = self.unless_error(answer) {
                    read(items, &mut due);
                }
            }
        }
        Some(due)
    }

    fn question(&self, partition: Partition, question: &Question) -> Cmd {
        let keys = [self.keys.sweeper(partition), self.keys.deadlines(partition)];
        let mut command = script::SWEEP.on(keys.iter().map(String::as_str));
        command
            .arg(&question.node)
            .arg(millis(question.ttl))
            .arg(question.before)
            .arg(question.limit);
        command
    }
}

fn read(items: Vec<Value>, due: &mut Vec<(Room, Millis)>) {
    let mut items = items.into_iter();
    while let (Some(room), Some(deadline)) = (items.next(), items.next()) {
        let room = text(Some(room))
            .ok()
            .and_then(|name| Room::parse(&name).ok());
        let deadline = text(Some(deadline))
            .ok()
            .and_then(|ms| ms.parse::<f64>().ok());
        if let (Some(room), Some(deadline)) = (room, deadline) {
            due.push((room, deadline as Millis));
        }
    }
}
