//! `rookery check`: what is wrong with a configuration and the servers it names, in words, and what to do about it. Looks and
//! changes nothing. What is asked is in one half ([`look`]), what it means in the other, which is pure.

use crate::{
    config::{self, Config, Settings, layers},
    server,
};
use archive::{Store, sqlite_file, store::POSTGRES_CONNECTIONS};
use pubsub::redis::{Facts, PARTITIONS_MAX};
use serde::Serialize;
use std::{fmt::Write, path::Path, time::Duration};

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// As it should be.
    Good,
    /// It runs, and something may be lost or slow one day.
    Warning,
    /// It does not run, or not rightly.
    Error,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// How bad it is.
    pub level: Level,
    /// What it is about, `redis` or `open-files`: a name that scripts can know.
    pub about: &'static str,
    /// What is so.
    pub words: String,
    /// What to do about it; empty where nothing is to be done.
    pub advice: String,
}

fn good(about: &'static str, words: impl Into<String>) -> Finding {
    Finding {
        level: Level::Good,
        about,
        words: words.into(),
        advice: String::new(),
    }
}

fn warning(about: &'static str, words: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding {
        level: Level::Warning,
        about,
        words: words.into(),
        advice: advice.into(),
    }
}

fn error(about: &'static str, words: impl Into<String>, advice: impl Into<String>) -> Finding {
    Finding {
        level: Level::Error,
        about,
        words: words.into(),
        advice: advice.into(),
    }
}

/// Exit code: the worst that was found.
pub fn exit_code(findings: &[Finding]) -> u8 {
    match findings.iter().map(|finding| finding.level).max() {
        Some(Level::Error) => 2,
        Some(Level::Warning) => 1,
        Some(Level::Good) | None => 0,
    }
}

/// For people.
pub fn text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for Finding {
        level,
        about,
        words,
        advice,
    } in findings
    {
        let mark = match level {
            Level::Good => "ok      ",
            Level::Warning => "warning ",
            Level::Error => "ERROR   ",
        };
        let _ = writeln!(text, "{mark} {about}: {words}");
        if !advice.is_empty() {
            let _ = writeln!(text, "         → {advice}");
        }
    }
    let count = |level| {
        findings
            .iter()
            .filter(|finding| finding.level == level)
            .count()
    };
    let _ = writeln!(
        text,
        "{} errors, {} warnings",
        count(Level::Error),
        count(Level::Warning)
    );
    text
}

/// Looks at everything.
pub async fn look(settings: &Settings, grace_seconds: u64) -> Vec<Finding> {
    let config = &settings.config;
    let mut found = of_settings(config, grace_seconds);
    for (name, near) in layers::strays() {
        found.push(warning(
            "settings",
            format!("{name} is no setting"),
            format!("did you mean {near}?"),
        ));
    }
    found.push(open_files(config, config::raise_open_files()));
    let mut nodes = 1;
    if config.redis_url.is_empty() {
        found.push(data_dir(config));
    } else {
        let asked = async {
            let options = server::redis_options(config, "rookery-check")?;
            anyhow::Ok(pubsub::redis::inspect(&options).await?)
        };
        match asked.await {
            Ok(facts) => {
                // To be among the nodes writes the number of partitions where there is none, and this changes nothing.
                if facts.iter().any(|facts| facts.partitions.is_some()) {
                    nodes = super::nodes::reports(config)
                        .await
                        .map_or(1, |reports| reports.len().max(1));
                }
                found.extend(of_redis(config, &facts));
            }
            Err(refused) => found.push(error(
                "redis",
                format!("{refused:#}"),
                "mend this first: the rest of Redis could not be looked at",
            )),
        }
    }
    if let Some(url) = config.database() {
        found.extend(database(&url, nodes).await);
    }
    found
}

/// What the settings say by themselves.
fn of_settings(config: &Config, grace_seconds: u64) -> Vec<Finding> {
    let mut found: Vec<Finding> = config
        .mistakes()
        .into_iter()
        .map(|words| error("settings", words, ""))
        .collect();
    if found.is_empty() {
        found.push(good("settings", "they fit each other"));
    }
    for secret in &config.token_secret {
        found.push(token_secret(secret));
    }
    // A drain may take its whole time, and connections must be closed before the process is killed.
    let needed = config.drain_seconds + DRAIN_MARGIN_SECONDS;
    found.push(match needed <= grace_seconds {
        true => good("drain", format!("{} s to drain, {grace_seconds} s until a process is killed", config.drain_seconds)),
        false => error(
            "drain",
            format!("--drain-seconds is {}, and after {grace_seconds} s a process that was asked to leave is killed", config.drain_seconds),
            format!("give it {needed} s (Kubernetes: terminationGracePeriodSeconds; systemd: TimeoutStopSec), say so by --grace-seconds, or drain faster"),
        ),
    });
    found
}

/// What leaving takes besides the drain: the load balancer's last look, the last answers.
const DRAIN_MARGIN_SECONDS: u64 = 5;

/// Different characters that a random secret has at least: 32 random hex digits have fewer than 8 once in a billion times.
const SECRET_CHARACTERS_MIN: usize = 8;

fn token_secret(secret: &str) -> Finding {
    let mut characters: Vec<char> = secret.chars().collect();
    characters.sort_unstable();
    characters.dedup();
    let lower = secret.to_lowercase();
    let guessed = [
        "secret",
        "password",
        "changeme",
        "change-me",
        "example",
        "rookery",
        "12345678",
    ];
    let advice = "make one with `openssl rand -hex 32`: whoever guesses it is anybody he likes";
    if let Some(word) = guessed.iter().find(|word| lower.contains(*word)) {
        return warning(
            "token-secret",
            format!("the token secret holds {word:?}"),
            advice,
        );
    }
    if characters.len() < SECRET_CHARACTERS_MIN {
        return warning(
            "token-secret",
            format!(
                "the token secret has only {} different characters",
                characters.len()
            ),
            advice,
        );
    }
    good("token-secret", format!("{} bytes", secret.len()))
}

fn open_files(config: &Config, files: Option<u64>) -> Finding {
    let wanted = config.max_connections as u64 + config::FILES_BESIDES_SOCKETS;
    match files {
        Some(files) if files < wanted => warning(
            "open-files",
            format!(
                "this process may open {files} files, and --max-connections {} needs {wanted}",
                config.max_connections
            ),
            "raise the limit (ulimit -n; systemd: LimitNOFILE; containers: --ulimit nofile), or take fewer connections: a node started now lowers --max-connections by itself",
        ),
        Some(files) => good(
            "open-files",
            format!(
                "{files} files, enough for {} connections",
                config.max_connections
            ),
        ),
        None => good("open-files", "no limit"),
    }
}

fn data_dir(config: &Config) -> Finding {
    let dir = &config.data_dir;
    let shown = dir.display();
    // The nearest folder that exists decides.
    let Some(existing) = dir
        .ancestors()
        .find(|path| path.exists() || path.as_os_str().is_empty())
    else {
        return error(
            "data-dir",
            format!("{shown} cannot be made"),
            "set --data-dir",
        );
    };
    let existing = if existing.as_os_str().is_empty() {
        std::path::Path::new(".")
    } else {
        existing
    };
    match rustix::fs::access(existing, rustix::fs::Access::WRITE_OK) {
        Ok(()) => good("data-dir", format!("{shown} can be written")),
        Err(why) => error(
            "data-dir",
            format!("{shown} cannot be written: {why}"),
            "set --data-dir to a folder of this user",
        ),
    }
}

/// Oldest PostgreSQL, as it numbers itself.
const POSTGRES_MIN: i32 = 150_000;

/// How long a database is waited for.
const DATABASE_PATIENCE: Duration = Duration::from_secs(10);

async fn database(url: &str, nodes: usize) -> Vec<Finding> {
    if let Some(file) = sqlite_file(url) {
        return vec![sqlite(&file)];
    }
    let asked = async {
        let store = Store::connect(url)?;
        let facts = store.inspect().await;
        store.close().await;
        facts
    };
    match tokio::time::timeout(DATABASE_PATIENCE, asked).await {
        Ok(Ok(Some(facts))) => of_postgres(&facts, nodes),
        Ok(Ok(None)) => vec![good("database", "SQLite, in memory")],
        Ok(Err(why)) => vec![error(
            "database",
            format!("it cannot be asked: {why}"),
            "see that PostgreSQL runs, and that --database-url has its right address, user, password and database; until then games are played and wait in the queue",
        )],
        Err(_) => vec![error(
            "database",
            format!(
                "it does not answer within {} s",
                DATABASE_PATIENCE.as_secs()
            ),
            "see that PostgreSQL runs, and that no firewall is between",
        )],
    }
}

fn sqlite(file: &Path) -> Finding {
    let shown = file.display();
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    };
    // SQLite makes files beside the database, and rookery makes the data folder alone.
    let place = if file.exists() { file } else { folder };
    let place = place.ancestors().find(|path| path.exists());
    let writable = |path: &Path| rustix::fs::access(path, rustix::fs::Access::WRITE_OK).is_ok();
    let folder_is_writable = !folder.exists() || (folder.is_dir() && writable(folder));
    match place.is_some_and(writable) && folder_is_writable {
        true => good("database", format!("SQLite: {shown} can be written")),
        false => error(
            "database",
            format!("SQLite: {shown} cannot be written, or files beside it"),
            "set --database-url to a file in a folder of this user",
        ),
    }
}

/// What PostgreSQL says, to a cluster of so many nodes.
fn of_postgres(facts: &archive::Facts, nodes: usize) -> Vec<Finding> {
    let archive::Facts {
        version,
        version_number,
        connections_max,
        ..
    } = facts;
    let mut found = vec![match *version_number >= POSTGRES_MIN {
        true => good("database", format!("PostgreSQL {version}")),
        false => error(
            "database",
            format!("PostgreSQL {version} is too old"),
            "upgrade it to 15 or newer",
        ),
    }];
    let allowed = usize::try_from(*connections_max).unwrap_or(0);
    let each = POSTGRES_CONNECTIONS as usize;
    let words = format!(
        "{allowed} connections allowed, {nodes} nodes take up to {}",
        nodes * each
    );
    found.push(match nodes * each <= allowed {
        true => good("database-connections", words),
        false => warning(
            "database-connections",
            words,
            format!("set max_connections in postgresql.conf to {each} for each node and some for others, and restart PostgreSQL; or put fewer nodes on it"),
        ),
    });
    found.push(match (facts.unknown, facts.pending, facts.may_create) {
        (0, 0, _) => good("database-tables", "they are up to date"),
        (0, pending, true) => warning(
            "database-tables",
            format!("{pending} migrations are to come"),
            "the first node of this release makes them at its start; back the database up before",
        ),
        (0, pending, false) => error(
            "database-tables",
            format!("{pending} migrations are to come, and this user may not make tables"),
            "GRANT CREATE ON SCHEMA public to the user of --database-url",
        ),
        (unknown, _, _) => error(
            "database-tables",
            format!("they are a later release's: {unknown} migrations are not known to this one"),
            "run the release that made them",
        ),
    });
    found
}

/// Clocks that differ by more than this are told, in milliseconds: a node corrects it, but logs of several machines read strangely.
const CLOCK_OFFSET_MAX_MS: i64 = 500;

/// Least hard limit of the output buffer for subscribers, in bytes: a subscriber connection of a node carries all its rooms, and
/// at the limit Redis cuts it.
const PUBSUB_BUFFER_MIN: u64 = 64 << 20;

/// What the servers say.
fn of_redis(config: &Config, servers: &[Facts]) -> Vec<Finding> {
    let mut found = Vec::new();
    for facts in servers {
        let Facts { server, .. } = facts;
        if let Some(why) = &facts.unreachable {
            found.push(error(
                "redis",
                format!("{server} cannot be asked: {why}"),
                "start it, or take it off the list",
            ));
            continue;
        }
        let role = if facts.is_primary {
            "primary"
        } else {
            "replica"
        };
        found.push(good(
            "redis",
            format!("{server} is a {role}, version {}", facts.version),
        ));
        if !facts.denied.is_empty() {
            found.push(warning(
                "redis-acl",
                format!("{server} does not let this user ask {}", facts.denied.join(", ")),
                "a node needs none of it; run this check as a user who may (+info +config|get +cluster|info) to look at the rest",
            ));
        }
        of_server(facts, &mut found);
    }
    let partitions = servers.iter().find_map(|facts| facts.partitions.as_ref());
    match partitions {
        Some(there) if *there != config.partitions.to_string() => found.push(error(
            "partitions",
            format!("this Redis holds rooms in {there} partitions, and --partitions is {}", config.partitions),
            format!("set --partitions {there}: it is fixed for the life of the data (1 to {PARTITIONS_MAX})"),
        )),
        Some(there) => found.push(good("partitions", format!("{there}, as the nodes wrote"))),
        None => found.push(good("partitions", format!("{}; the first node will write it", config.partitions))),
    }
    found
}

fn of_server(facts: &Facts, found: &mut Vec<Finding>) {
    let Facts {
        server,
        config,
        info,
        cluster,
        ..
    } = facts;
    let is = |name: &str| config.get(name).map(String::as_str);
    if facts.clock_offset_ms.abs() > CLOCK_OFFSET_MAX_MS {
        found.push(warning(
            "clock",
            format!(
                "the clock of {server} is {:+} ms off this machine's",
                facts.clock_offset_ms
            ),
            "run NTP on both; games go by Redis' clock, so nobody's thinking time is touched",
        ));
    }
    if let Some(policy) = is("maxmemory-policy").filter(|policy| *policy != "noeviction") {
        found.push(error(
            "redis-eviction",
            format!("{server} throws keys away when memory is short (maxmemory-policy {policy}): running games would vanish"),
            "CONFIG SET maxmemory-policy noeviction, and in redis.conf; memory that runs short then shows as `unavailable`",
        ));
    }
    if is("appendonly") == Some("no") {
        found.push(warning(
            "redis-aof",
            format!("{server} keeps no append-only file: what it holds is gone when it restarts, but for what nodes restore"),
            "CONFIG SET appendonly yes (appendfsync everysec), and in redis.conf",
        ));
    }
    let replicas: u32 = info
        .get("connected_slaves")
        .and_then(|count| count.parse().ok())
        .unwrap_or(0);
    if facts.is_primary && replicas > 0 && is("min-replicas-to-write") == Some("0") {
        found.push(warning(
            "redis-min-replicas",
            format!("{server} takes writes while none of its {replicas} replicas can be reached: a failover then loses them"),
            "CONFIG SET min-replicas-to-write 1 and min-replicas-max-lag 10",
        ));
    }
    if let Some(limit) = is("client-output-buffer-limit").and_then(pubsub_limit)
        && limit > 0
        && limit < PUBSUB_BUFFER_MIN
    {
        found.push(warning(
            "redis-pubsub-buffer",
            format!("{server} cuts a subscriber with {} MiB waiting for it (client-output-buffer-limit pubsub)", limit >> 20),
            "CONFIG SET client-output-buffer-limit \"pubsub 256mb 64mb 60\": one connection carries all rooms of a node",
        ));
    }
    if let Some(state) = cluster.get("cluster_state") {
        let covered = cluster.get("cluster_slots_ok").map_or("?", String::as_str);
        found.push(match (state.as_str(), covered) {
            ("ok", "16384") => good("redis-cluster", format!("{server} sees a healthy cluster, all 16384 slots served")),
            _ => error(
                "redis-cluster",
                format!("{server} sees the cluster as {state}, {covered} of 16384 slots served"),
                "redis-cli --cluster check tells which; games in the other slots answer `unavailable`",
            ),
        });
    }
}

/// Hard limit for subscribers in `normal 0 0 0 slave … pubsub 33554432 8388608 60`.
fn pubsub_limit(setting: &str) -> Option<u64> {
    let mut words = setting
        .split_whitespace()
        .skip_while(|word| *word != "pubsub");
    words.next()?;
    words.next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(flags: &[&str]) -> Config {
        Settings::parse(flags).expect("flags").config
    }

    fn facts(change: impl FnOnce(&mut Facts)) -> Facts {
        let mut facts = Facts {
            server: "a:6379".to_owned(),
            is_primary: true,
            version: "7.0.15".to_owned(),
            partitions: Some("256".to_owned()),
            ..Facts::default()
        };
        for (name, value) in [
            ("maxmemory-policy", "noeviction"),
            ("appendonly", "yes"),
            ("min-replicas-to-write", "1"),
            (
                "client-output-buffer-limit",
                "normal 0 0 0 slave 268435456 67108864 60 pubsub 268435456 67108864 60",
            ),
        ] {
            facts.config.insert(name.to_owned(), value.to_owned());
        }
        change(&mut facts);
        facts
    }

    #[test]
    fn a_good_server_is_let_through() {
        let found = of_redis(&settings(&[]), &[facts(|_| {})]);
        assert!(
            found.iter().all(|finding| finding.level == Level::Good),
            "{found:#?}"
        );
        assert_eq!(exit_code(&found), 0);
    }

    #[test]
    fn what_is_wrong_with_a_server_is_told() {
        type Change = fn(&mut Facts);
        let table: &[(Change, &str, Level)] = &[
            (
                |f| {
                    drop(
                        f.config
                            .insert("maxmemory-policy".into(), "allkeys-lru".into()),
                    )
                },
                "redis-eviction",
                Level::Error,
            ),
            (
                |f| drop(f.config.insert("appendonly".into(), "no".into())),
                "redis-aof",
                Level::Warning,
            ),
            (
                |f| {
                    f.config.insert("min-replicas-to-write".into(), "0".into());
                    f.info.insert("connected_slaves".into(), "1".into());
                },
                "redis-min-replicas",
                Level::Warning,
            ),
            (
                |f| {
                    drop(f.config.insert(
                        "client-output-buffer-limit".into(),
                        "normal 0 0 0 slave 1 1 1 pubsub 33554432 8388608 60".into(),
                    ))
                },
                "redis-pubsub-buffer",
                Level::Warning,
            ),
            (
                |f| {
                    f.cluster.insert("cluster_state".into(), "fail".into());
                    f.cluster.insert("cluster_slots_ok".into(), "16000".into());
                },
                "redis-cluster",
                Level::Error,
            ),
            (|f| f.clock_offset_ms = -3_000, "clock", Level::Warning),
            (
                |f| f.partitions = Some("128".into()),
                "partitions",
                Level::Error,
            ),
            (
                |f| f.denied = vec!["CONFIG GET".into()],
                "redis-acl",
                Level::Warning,
            ),
            (
                |f| f.unreachable = Some("refused".into()),
                "redis",
                Level::Error,
            ),
        ];
        for (change, about, level) in table {
            let found = of_redis(&settings(&[]), &[facts(change)]);
            let worst: Vec<_> = found
                .iter()
                .filter(|finding| finding.level != Level::Good)
                .collect();
            assert!(
                matches!(worst.as_slice(), [one] if one.about == *about && one.level == *level && !one.advice.is_empty()),
                "{about}: {found:#?}"
            );
        }
        // A lone primary cannot have a replica to write to.
        let found = of_redis(
            &settings(&[]),
            &[facts(|f| {
                drop(f.config.insert("min-replicas-to-write".into(), "0".into()))
            })],
        );
        assert_eq!(exit_code(&found), 0);
    }

    #[test]
    fn what_is_wrong_with_the_settings_is_told() {
        let worst = |found: &[Finding]| {
            found
                .iter()
                .map(|finding| (finding.level, finding.about))
                .max()
        };
        let of = |flags: &[&str], grace| worst(&of_settings(&settings(flags), grace));
        assert_eq!(of(&[], 30), Some((Level::Good, "settings")));
        assert_eq!(
            of(&["--drain-seconds", "30"], 30),
            Some((Level::Error, "drain"))
        );
        assert_eq!(
            of(&["--drain-seconds", "30"], 40),
            Some((Level::Good, "settings"))
        );
        assert_eq!(
            of(&["--redis-url", "redis://a"], 30),
            Some((Level::Error, "settings"))
        );
        let random = "7f0c1de2a93b5c48e6d1907af2b3c4d5";
        for (secret, level) in [
            (random, Level::Good),
            ("aaaaaaaabbbbbbbbaaaaaaaabbbbbbbb", Level::Warning),
            ("my secret is that I have no secret!", Level::Warning),
        ] {
            assert_eq!(token_secret(secret).level, level, "{secret}");
        }
    }

    #[test]
    fn what_is_wrong_with_postgres_is_told() {
        type Change = fn(&mut archive::Facts);
        let table: &[(Change, usize, &str, Level)] = &[
            (|_| {}, 20, "", Level::Good),
            (|_| {}, 21, "database-connections", Level::Warning),
            (|f| f.version_number = 149_999, 1, "database", Level::Error),
            (|f| f.pending = 1, 1, "database-tables", Level::Warning),
            (
                |f| (f.pending, f.may_create) = (1, false),
                1,
                "database-tables",
                Level::Error,
            ),
            (|f| f.unknown = 1, 1, "database-tables", Level::Error),
        ];
        for (change, nodes, about, level) in table {
            let mut facts = archive::Facts {
                version: "15.4".to_owned(),
                version_number: 150_004,
                connections_max: 100,
                pending: 0,
                unknown: 0,
                may_create: true,
            };
            change(&mut facts);
            let found = of_postgres(&facts, *nodes);
            let worst = found.iter().max_by_key(|finding| finding.level);
            let worst = worst.expect("there are some");
            assert_eq!(worst.level, *level, "{found:#?}");
            if *level != Level::Good {
                assert_eq!(worst.about, *about, "{found:#?}");
                assert!(!worst.advice.is_empty(), "{found:#?}");
            }
        }
    }

    #[test]
    fn too_few_open_files_are_told() {
        let config = settings(&["--max-connections", "1000"]);
        for (files, level) in [
            (Some(1_255), Level::Warning),
            (Some(1_256), Level::Good),
            (None, Level::Good),
        ] {
            assert_eq!(open_files(&config, files).level, level, "{files:?}");
        }
    }
}
