//! What an operator should know of the servers: asked of each of them once, changing nothing. What it means is for the caller
//! to say.

use super::{
    options::{RedisOptions, StartError},
    server::{Address, Dialer},
    start,
    topology::Topology,
};
use crate::redis::keys::Keys;
use redis::{Value, aio::MultiplexedConnection};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio_util::sync::CancellationToken;

/// How long a server may take to answer all that it is asked.
const PATIENCE: Duration = Duration::from_secs(5);

/// What one server says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Host and port.
    pub server: String,
    /// It takes writes.
    pub is_primary: bool,
    /// As it says.
    pub version: String,
    /// What `INFO` tells, by name.
    pub info: BTreeMap<String, String>,
    /// Its settings that matter here, by name. Empty where it does not let this user see them.
    pub config: BTreeMap<String, String>,
    /// What `CLUSTER INFO` tells, by name; empty where it is no cluster or does not let this user see it.
    pub cluster: BTreeMap<String, String>,
    /// Its clock less this machine's, in milliseconds.
    pub clock_offset_ms: i64,
    /// The number of partitions that nodes wrote there, if this server holds it.
    pub partitions: Option<String>,
    /// What this user may not ask, as the server says.
    pub denied: Vec<String>,
    /// Why it could not be asked at all.
    pub unreachable: Option<String>,
}

/// The settings that matter.
const SETTINGS: [&str; 6] = [
    "maxmemory",
    "maxmemory-policy",
    "appendonly",
    "appendfsync",
    "min-replicas-to-write",
    "client-output-buffer-limit",
];

/// Asks every server, primaries first. Fails as [`super::Redis::connect`] does, where nothing can be asked at all.
pub async fn inspect(options: &RedisOptions) -> Result<Vec<Facts>, StartError> {
    let plan = options.plan()?;
    start::check_servers(&plan).await?;
    let keys = Keys::new(plan.dialer.database(), plan.partitions);
    let closed = CancellationToken::new();
    let _guard = closed.clone().drop_guard();
    let topology = Topology::discover(&plan, &keys, closed).await?;
    let mut servers: Vec<Address> = Vec::new();
    let mut replicas: Vec<Address> = Vec::new();
    for shard in &topology.map().shards {
        servers.push(shard.link.address.clone());
        replicas.extend(shard.replicas.iter().cloned());
    }
    servers.extend(replicas);
    let mut all = Vec::new();
    for server in servers {
        all.push(ask(&server, &plan.dialer, &keys).await);
    }
    Ok(all)
}

async fn ask(server: &Address, dialer: &Dialer, keys: &Keys) -> Facts {
    let mut facts = Facts {
        server: server.to_string(),
        ..Facts::default()
    };
    let (connection, hello) = match dialer.dial(server, |_| {}).await {
        Ok(dialed) => dialed,
        Err(error) => {
            facts.unreachable = Some(error.to_string());
            return facts;
        }
    };
    facts.version.clone_from(&hello.version);
    facts.is_primary = hello.is_primary();
    let is_cluster = hello.mode == "cluster";
    let asking = ask_all(connection, is_cluster, keys, &mut facts);
    if tokio::time::timeout(PATIENCE, asking).await.is_err() {
        facts.unreachable = Some("it does not answer in time".to_owned());
    }
    facts
}

async fn ask_all(
    mut connection: MultiplexedConnection,
    is_cluster: bool,
    keys: &Keys,
    facts: &mut Facts,
) {
    let mut ask = async |words: &[&str], denied: &mut Vec<String>| -> Option<Value> {
        let mut command = redis::cmd(words[0]);
        command.arg(&words[1..]);
        let answer = connection.send_packed_command(&command).await;
        match answer.and_then(Value::extract_error) {
            Ok(value) => Some(value),
            Err(error) => {
                // Only what it does not allow: a replica's MOVED says nothing of interest.
                if error.code() == Some("NOPERM")
                    || error.to_string().contains("NOPERM")
                    || error.to_string().contains("NoPerm")
                {
                    denied.push(words.iter().take(2).copied().collect::<Vec<_>>().join(" "));
                }
                None
            }
        }
    };
    let mut denied = Vec::new();
    let (asked, asked_at) = (Instant::now(), SystemTime::now());
    if let Some(value) = ask(&["TIME"], &mut denied).await
        && let Ok((seconds, us)) = redis::from_redis_value::<(i64, i64)>(value)
    {
        let middle = asked_at + asked.elapsed() / 2;
        let here = middle.duration_since(UNIX_EPOCH).unwrap_or_default();
        let here_ms = i64::try_from(here.as_millis()).unwrap_or(i64::MAX);
        facts.clock_offset_ms = seconds * 1_000 + us / 1_000 - here_ms;
    }
    if let Some(value) = ask(&["INFO"], &mut denied).await {
        facts.info = lines(value);
    }
    for setting in SETTINGS {
        let Some(value) = ask(&["CONFIG", "GET", setting], &mut denied).await else {
            continue;
        };
        let pairs = redis::from_redis_value::<BTreeMap<String, String>>(value);
        facts.config.extend(pairs.unwrap_or_default());
    }
    if is_cluster && let Some(value) = ask(&["CLUSTER", "INFO"], &mut denied).await {
        facts.cluster = lines(value);
    }
    let count = keys.partition_count();
    if facts.is_primary
        && let Some(value) = ask(&["GET", &count], &mut denied).await
    {
        facts.partitions = redis::from_redis_value(value).ok();
    }
    denied.sort();
    denied.dedup();
    facts.denied = denied;
}

/// `name:value` lines.
fn lines(value: Value) -> BTreeMap<String, String> {
    let text = redis::from_redis_value::<String>(value).unwrap_or_default();
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    pairs
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}
