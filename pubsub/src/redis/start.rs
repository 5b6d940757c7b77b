//! First contact: says in words what is wrong with the servers before the node begins.

use super::{
    Mode,
    keys::{Keys, Partition},
    link::FSYNC_NEEDS,
    options::{Plan, StartError},
    server::{Address, Hello},
    topology::Topology,
};
use crate::Answer;
use redis::{ErrorKind, RedisError, ServerErrorKind, Value};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// How long a node tries to reach Redis before it gives up starting.
pub(super) const START_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a running node looks whether the number of partitions still stands.
const KEEP_EVERY: Duration = Duration::from_secs(5);

/// Checks kind, version and password of the first configured server that answers.
pub(super) async fn check_servers(plan: &Plan) -> Result<(), StartError> {
    let dialer = match &plan.sentinel {
        Some(sentinel) => &sentinel.dialer,
        None => &plan.dialer,
    };
    let until = Instant::now() + START_TIMEOUT;
    loop {
        let mut refused = None;
        for seed in &plan.seeds {
            match dialer.dial(seed, |_| {}).await {
                Ok((_, hello)) => return check(seed, &hello, plan.mode),
                Err(error) => refused = Some(self::refused(seed, error)),
            }
        }
        match refused {
            Some(StartError::Unreachable { .. }) if Instant::now() < until => {
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
            Some(refused) => return Err(refused),
            None => return Ok(()),
        }
    }
}

fn check(server: &Address, hello: &Hello, mode: Mode) -> Result<(), StartError> {
    check_mode(server, hello, mode)?;
    if !hello.is_new_enough() {
        return Err(StartError::TooOld {
            server: server.to_string(),
            version: hello.version.clone(),
        });
    }
    if mode == Mode::Single && !hello.is_primary() {
        return Err(StartError::IsReplica {
            server: server.to_string(),
        });
    }
    Ok(())
}

pub(super) fn check_mode(server: &Address, hello: &Hello, mode: Mode) -> Result<(), StartError> {
    let (is, found) = match hello.mode.as_str() {
        "cluster" => (Mode::Cluster, "a node of a Redis Cluster"),
        "sentinel" => (Mode::Sentinel, "a Sentinel"),
        _ => (Mode::Single, "a single Redis server"),
    };
    if is == mode {
        return Ok(());
    }
    Err(StartError::OtherMode {
        server: server.to_string(),
        found,
        mode,
        should: is,
    })
}

/// Waits for the server of partition 0, and compares the number of partitions with what the first node wrote there.
pub(super) async fn check_partitions(
    topology: &Arc<Topology>,
    keys: &Keys,
) -> Result<(), StartError> {
    let until = Instant::now() + START_TIMEOUT;
    let Err(unavailable) = compare_partitions(topology, keys, until).await? else {
        return Ok(());
    };
    let map = topology.map();
    let addresses = map.shards.iter().map(|shard| shard.link.address.clone());
    let server = list(&addresses.collect::<Vec<_>>());
    let why = unavailable.0;
    Err(if why.contains(FSYNC_NEEDS) {
        StartError::BadSetting(why)
    } else if why.contains("NoPerm") {
        StartError::NotPermitted { server, why }
    } else {
        StartError::Unreachable { server, why }
    })
}

/// Writes the number of partitions again whenever Redis has lost it with all else, so that no node of another opinion begins on
/// the empty server. Should that have happened, all that can be done is to say so.
pub(super) async fn keep_partitions(topology: Arc<Topology>, keys: Keys) {
    let mut said = None;
    loop {
        tokio::select! {
            () = topology.closed.cancelled() => return,
            () = tokio::time::sleep(KEEP_EVERY) => {}
        }
        let until = Instant::now() + KEEP_EVERY;
        match compare_partitions(&topology, &keys, until).await {
            Err(error) if said.as_ref() != Some(&error) => {
                tracing::error!(%error, "rooms are looked for where they are not");
                said = Some(error);
            }
            _ => {}
        }
    }
}

async fn compare_partitions(
    topology: &Arc<Topology>,
    keys: &Keys,
    until: Instant,
) -> Result<Answer<()>, StartError> {
    let here = keys.partitions();
    let mut command = redis::cmd("SET");
    command
        .arg(keys.partition_count())
        .arg(here)
        .arg("NX")
        .arg("GET");
    let before = match topology.call(Partition(0), &command, until).await {
        Ok(Value::Nil) => return Ok(Ok(())),
        Ok(value) => value,
        Err(unavailable) => return Ok(Err(unavailable)),
    };
    let there = redis::from_redis_value::<String>(before).unwrap_or_default();
    if there == here.to_string() {
        return Ok(Ok(()));
    }
    Err(StartError::OtherPartitions { here, there })
}

/// An error of first contact, told apart.
pub(super) fn refused(server: &Address, error: RedisError) -> StartError {
    let (server, why) = (server.to_string(), error.to_string());
    let code = error.code().unwrap_or_default();
    let says = |word: &str| code == word || why.contains(word);
    if error.kind() == ErrorKind::AuthenticationFailed || says("WRONGPASS") || says("NOAUTH") {
        StartError::WrongPassword { server, why }
    } else if error.kind() == ErrorKind::Server(ServerErrorKind::NoPerm) {
        StartError::NotPermitted { server, why }
    } else if error.kind() == ErrorKind::RESP3NotSupported {
        StartError::TooOld {
            server,
            version: "before 6".to_owned(),
        }
    } else {
        StartError::Unreachable { server, why }
    }
}

pub(super) fn list(addresses: &[Address]) -> String {
    let named: Vec<_> = addresses.iter().map(Address::to_string).collect();
    named.join(", ")
}
