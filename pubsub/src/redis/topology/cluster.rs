//! Asks the nodes of a Redis Cluster who owns which slots.

use super::{super::start, Found, Map};
use crate::redis::{
    keys::{Keys, Partition},
    options::{Plan, StartError},
    server::{Address, Dialer},
};
use redis::{RedisError, Value};
use std::{collections::BTreeMap, time::Duration};
use tokio::time::Instant;

/// How long one node is asked before another.
const ASK_TIMEOUT: Duration = Duration::from_millis(800);

#[derive(Debug)]
pub(super) struct Cluster {
    seeds: Vec<Address>,
    dialer: Dialer,
    slots: Vec<(u16, Partition)>,
}

impl Cluster {
    pub fn new(plan: &Plan, keys: &Keys) -> Cluster {
        Cluster {
            seeds: plan.seeds.clone(),
            dialer: plan.dialer.clone(),
            slots: keys.all().map(|p| (Keys::slot(p), p)).collect(),
        }
    }

    /// Asks the known primaries over their links, beginning with another at each sign of trouble, then the configured nodes.
    pub async fn ask(&self, map: &Map, turn: usize) -> Result<Vec<Found>, StartError> {
        let command = redis::cmd("CLUSTER").arg("SLOTS").to_owned();
        let count = map.shards.len();
        for index in 0..count {
            let link = &map.shards[(turn + index) % count].link;
            let answer = link.ask(&command, Instant::now() + ASK_TIMEOUT).await;
            if let Ok(value) = answer
                && let Some(found) = self.read(value, &link.address)
            {
                return Ok(found);
            }
        }
        let mut refused = StartError::Unreachable {
            server: start::list(&self.seeds),
            why: "no node of the cluster answers".to_owned(),
        };
        for index in 0..self.seeds.len() {
            let seed = &self.seeds[(turn + index) % self.seeds.len()];
            match self.ask_seed(seed, &command).await {
                Ok(Some(found)) => return Ok(found),
                Ok(None) => {}
                Err(error) => refused = error,
            }
        }
        Err(refused)
    }

    async fn ask_seed(
        &self,
        seed: &Address,
        command: &redis::Cmd,
    ) -> Result<Option<Vec<Found>>, StartError> {
        let refused = |error| start::refused(seed, error);
        let (mut connection, _) = self.dialer.dial(seed, |_| {}).await.map_err(refused)?;
        let answer = tokio::time::timeout(ASK_TIMEOUT, connection.send_packed_command(command));
        let answer = answer.await.map_err(|_| StartError::Unreachable {
            server: seed.to_string(),
            why: "CLUSTER SLOTS was not answered in time".to_owned(),
        })?;
        let value = answer.and_then(Value::extract_error).map_err(refused)?;
        Ok(self.read(value, seed))
    }

    /// `None` if no slot is assigned (a cluster that is being made) or the answer is of another kind.
    fn read(&self, value: Value, asked: &Address) -> Option<Vec<Found>> {
        let mut shards: BTreeMap<Address, Found> = BTreeMap::new();
        for range in list(value)? {
            let mut range = list(range)?.into_iter();
            let first: u16 = redis::from_redis_value(range.next()?).ok()?;
            let last: u16 = redis::from_redis_value(range.next()?).ok()?;
            let primary = address(range.next()?, asked)?;
            let replicas = range.filter_map(|replica| address(replica, asked));
            let shard = shards.entry(primary.clone()).or_insert_with(|| Found {
                primary,
                replicas: replicas.collect(),
                partitions: Vec::new(),
            });
            let within = |slot: u16| (first..=last).contains(&slot);
            let ours = self.slots.iter().filter(|(slot, _)| within(*slot));
            shard
                .partitions
                .extend(ours.map(|(_, partition)| *partition));
        }
        (!shards.is_empty()).then(|| shards.into_values().collect())
    }
}

fn list(value: Value) -> Option<Vec<Value>> {
    match value {
        Value::Array(items) => Some(items),
        _ => None,
    }
}

/// `[preferred endpoint, port, …]`; without an endpoint it is the host that was asked.
fn address(value: Value, asked: &Address) -> Option<Address> {
    let mut fields = list(value)?.into_iter();
    let host: Option<String> = redis::from_redis_value(fields.next()?).ok()?;
    let port: u16 = redis::from_redis_value(fields.next()?).ok()?;
    let host = host.filter(|host| !host.is_empty() && host != "?");
    Some(Address {
        host: host.unwrap_or_else(|| asked.host.clone()),
        port,
    })
}

/// The slot and address of a MOVED or ASK answer, which came from `asked`.
pub(in crate::redis) fn redirection(error: &RedisError, asked: &Address) -> Option<(u16, Address)> {
    let (target, slot) = error.redirect_node()?;
    let (host, port) = target.rsplit_once(':')?;
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let host = if host.is_empty() { &asked.host } else { host };
    Some((
        slot,
        Address {
            host: host.to_owned(),
            port: port.parse().ok()?,
        },
    ))
}
