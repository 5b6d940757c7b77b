//! A primary and two replicas, watched by three Sentinels.

use super::{Process, RedisServer, free_port, until};
use ::redis::{Value, cmd};
use std::{collections::HashMap, process::Command};
use tempfile::TempDir;

/// The primary's name.
const NAME: &str = "rookery-test";

/// Silence after which a Sentinel takes the primary for dead, in milliseconds: short, so that tests are.
const DOWN_AFTER_MS: u16 = 1500;

/// Three servers and three Sentinels; server 0 begins as the primary.
#[derive(Debug)]
pub struct RedisSentinels {
    /// Primary and replicas.
    pub servers: Vec<RedisServer>,
    /// Those who watch.
    pub sentinels: Vec<Sentinel>,
}

/// One Sentinel.
#[derive(Debug)]
pub struct Sentinel {
    port: u16,
    process: Process,
    _dir: TempDir,
}

impl RedisSentinels {
    /// Starts all; answers when the Sentinels know each other and both replicas.
    pub async fn start() -> RedisSentinels {
        let primary = RedisServer::start().await;
        let mut servers = vec![primary];
        for _ in 0..2 {
            servers.push(RedisServer::start_replica_of(&servers[0]).await);
        }
        let port = servers[0].port();
        let sentinels = (0..3).map(|_| Sentinel::start(port)).collect();
        let all = RedisSentinels { servers, sentinels };
        for sentinel in &all.sentinels {
            until(
                "the Sentinels know each other and the replicas",
                async || {
                    let known = sentinel.master().await;
                    let count = |name| known.get(name).map(String::as_str);
                    count("num-other-sentinels") == Some("2") && count("num-slaves") == Some("2")
                },
            )
            .await;
        }
        all
    }

    /// What to connect to.
    pub fn urls(&self) -> Vec<String> {
        let urls = self.sentinels.iter();
        urls.map(|sentinel| format!("redis://127.0.0.1:{}/?master={NAME}", sentinel.port))
            .collect()
    }

    /// Which server most Sentinels take for the primary.
    pub async fn primary(&self) -> usize {
        let mut votes = HashMap::<usize, usize>::new();
        for sentinel in &self.sentinels {
            let known = sentinel.master().await;
            let port = known.get("port").and_then(|port| port.parse().ok());
            if let Some(index) = self.servers.iter().position(|s| Some(s.port()) == port) {
                *votes.entry(index).or_default() += 1;
            }
        }
        let most = votes.into_iter().max_by_key(|(_, votes)| *votes);
        most.map_or(0, |(index, _)| index)
    }

    /// All servers but this one.
    pub fn replicas(&self, primary: usize) -> Vec<&RedisServer> {
        let others = self.servers.iter().enumerate();
        let others = others.filter(|(index, _)| *index != primary);
        others.map(|(_, server)| server).collect()
    }

    /// Waits until the replicas have all the primary has; nobody must write meanwhile.
    pub async fn wait_replicas_have_all(&self) {
        let primary = self.primary().await;
        let replicas = self.replicas(primary);
        self.servers[primary].wait_copied_by(&replicas).await;
    }

    /// Waits until every server but the primary is a replica in step.
    pub async fn wait_well(&self) {
        for server in self.replicas(self.primary().await) {
            until("it is a replica", async || {
                server.info("replication", "role").await.as_deref() == Some("slave")
            })
            .await;
            server.wait_in_step().await;
        }
    }

    /// Waits until another than `before` is the primary, and writable; answers which.
    pub async fn wait_failed_over(&self, before: usize) -> usize {
        until("another is primary", async || {
            let now = self.primary().await;
            let role = self.servers[now].info("replication", "role").await;
            now != before && role.as_deref() == Some("master")
        })
        .await;
        self.primary().await
    }

    /// Has the Sentinels replace the primary while it lives; answers the new one.
    pub async fn fail_over(&self) -> usize {
        let before = self.primary().await;
        self.sentinels[0]
            .ask("FAILOVER")
            .await
            .expect("a failover can begin");
        self.wait_failed_over(before).await
    }
}

impl Sentinel {
    fn start(primary: u16) -> Sentinel {
        let (port, dir) = (
            free_port(),
            tempfile::tempdir().expect("a temporary directory"),
        );
        let file = dir.path().join("sentinel.conf");
        let config = format!(
            "port {port}\nbind 127.0.0.1\ndir {}\nlogfile sentinel.log\n\
             sentinel monitor {NAME} 127.0.0.1 {primary} 2\n\
             sentinel down-after-milliseconds {NAME} {DOWN_AFTER_MS}\n\
             sentinel failover-timeout {NAME} 6000\n",
            dir.path().display()
        );
        std::fs::write(&file, config).expect("our own directory");
        let mut command = Command::new("redis-server");
        command.arg(&file).arg("--sentinel");
        Sentinel {
            port,
            process: Process::start(&mut command, "redis-server"),
            _dir: dir,
        }
    }

    /// Ends it as kill -9 does.
    pub fn kill(&self) {
        self.process.kill();
    }

    async fn ask(&self, what: &str) -> ::redis::RedisResult<Value> {
        let client = ::redis::Client::open(format!("redis://127.0.0.1:{}", self.port))?;
        let mut connection = client.get_multiplexed_async_connection().await?;
        cmd("SENTINEL")
            .arg(what)
            .arg(NAME)
            .query_async(&mut connection)
            .await
    }

    /// What it knows of the primary.
    async fn master(&self) -> HashMap<String, String> {
        let answer = self.ask("MASTER").await;
        answer
            .ok()
            .and_then(|fields| ::redis::from_redis_value(fields).ok())
            .unwrap_or_default()
    }
}
