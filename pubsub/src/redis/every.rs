//! One question about many partitions: a pipeline to each server, in portions, so that moves get their turn in between.

use super::{Shared, keys::Partition, script::Script, topology::Shard};
use redis::{Cmd, ErrorKind, ServerErrorKind, Value};
use tokio::time::Instant;

/// Partitions asked about in one go.
pub(super) const PORTION: usize = 64;

impl Shared {
    /// Asks one server about some partitions. A partition that cannot answer (its slot is moving) is left out; `None` if the
    /// server does not answer.
    pub(super) async fn ask_each(
        &self,
        shard: &Shard,
        partitions: &[Partition],
        script: Option<&Script>,
        until: Instant,
        command: impl Fn(Partition) -> Cmd,
    ) -> Option<Vec<(Partition, Value)>> {
        let mut answers = self.ask_portion(shard, partitions, until, &command).await?;
        if let Some(script) = script
            && answers
                .iter()
                .any(|answer| is(answer, ServerErrorKind::NoScript))
        {
            let mut load = redis::cmd("SCRIPT");
            load.arg("LOAD").arg(script.source());
            shard.link.ask(&load, until).await.ok()?;
            answers = self.ask_portion(shard, partitions, until, &command).await?;
        }
        Some(partitions.iter().copied().zip(answers).collect())
    }

    async fn ask_portion(
        &self,
        shard: &Shard,
        partitions: &[Partition],
        until: Instant,
        command: &impl Fn(Partition) -> Cmd,
    ) -> Option<Vec<Value>> {
        let mut pipeline = redis::pipe();
        for partition in partitions {
            pipeline.add_command(command(*partition));
        }
        shard.link.ask_all(&pipeline, until).await.ok()
    }

    /// An answer, unless it is an error: then the arrangement of the servers is looked at.
    pub(super) fn unless_error(&self, value: Value) -> Option<Value> {
        let Value::ServerError(error) = value else {
            return Some(value);
        };
        tracing::debug!(%error, "a partition does not answer");
        self.topology.report_trouble();
        None
    }
}

fn is(answer: &Value, kind: ServerErrorKind) -> bool {
    let Value::ServerError(error) = answer else {
        return false;
    };
    redis::RedisError::from(error.clone()).kind() == ErrorKind::Server(kind)
}
