//! One redis-server.

use super::{PATIENCE, Process, free_port, until};
use ::redis::{Cmd, FromRedisValue, Value, aio::MultiplexedConnection, cmd};
use std::{
    process::Command,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tempfile::TempDir;
use tokio::time::Instant;

/// What a server that restarts finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Data {
    /// All it had acknowledged.
    Kept,
    /// Nothing.
    Lost,
}

/// A Redis server with a directory of its own. It writes an append-only file, so that it may be killed and come back.
#[derive(Debug)]
pub struct RedisServer {
    port: u16,
    dir: TempDir,
    arguments: Vec<String>,
    process: Mutex<Option<Process>>,
}

impl RedisServer {
    /// A server on its own.
    pub async fn start() -> RedisServer {
        RedisServer::start_with(&[]).await
    }

    /// A replica of another; answers when it is in step.
    pub async fn start_replica_of(primary: &RedisServer) -> RedisServer {
        let of = format!("127.0.0.1 {}", primary.port);
        let replica = RedisServer::start_with(&["--replicaof", &of]).await;
        replica.wait_in_step().await;
        replica
    }

    /// A server with further arguments.
    pub async fn start_with(arguments: &[&str]) -> RedisServer {
        let server = RedisServer::launch(arguments);
        server.wait_ready().await;
        server
    }

    /// As [`RedisServer::start_with`], without waiting until it answers.
    pub(super) fn launch(arguments: &[&str]) -> RedisServer {
        let server = RedisServer {
            port: free_port(),
            dir: tempfile::tempdir().expect("a temporary directory"),
            arguments: arguments.iter().map(ToString::to_string).collect(),
            process: Mutex::default(),
        };
        server.run();
        server
    }

    fn run(&self) {
        let port = self.port.to_string();
        let dir = self.dir.path().to_string_lossy();
        let mut command = Command::new("redis-server");
        command
            .args(["--port", &port, "--bind", "127.0.0.1", "--dir", &dir])
            .args(["--logfile", "redis.log", "--daemonize", "no"])
            // The kernel keeps what a killed process wrote, so no fsync is needed to survive kill -9.
            .args(["--save", "", "--appendonly", "yes", "--appendfsync", "no"])
            .args(["--repl-diskless-sync-delay", "0"])
            .args(&self.arguments);
        let process = Process::start(&mut command, "redis-server");
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
    }

    /// Waits until it answers.
    pub async fn wait_ready(&self) {
        let end = Instant::now() + PATIENCE;
        while self.try_ask(&cmd("PING")).await.is_err() {
            if self.with_process(|process| process.ended().is_some()) {
                panic!("redis-server ended at once:\n{}", self.log());
            }
            assert!(Instant::now() < end, "no answer:\n{}", self.log());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }

    /// Waits until this replica has all its primary has, and hears what that publishes.
    pub async fn wait_in_step(&self) {
        until("the replica is in step", async || {
            self.info("replication", "master_link_status").await == Some("up".to_owned())
        })
        .await;
    }

    /// Waits until these replicas have all this primary has.
    pub async fn wait_copied_by(&self, replicas: &[&RedisServer]) {
        let offset =
            async |server: &RedisServer| server.info("replication", "master_repl_offset").await;
        until("the replicas have everything", async || {
            let own = offset(self).await;
            let mut same = own.is_some();
            for replica in replicas {
                same &= offset(replica).await == own;
            }
            same
        })
        .await;
    }

    /// What it wrote into its log.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.dir.path().join("redis.log")).unwrap_or_default()
    }

    fn with_process<T>(&self, with: impl FnOnce(&Process) -> T) -> T {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        with(
            process
                .as_ref()
                .expect("a server has a process from its start on"),
        )
    }

    /// Its port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `127.0.0.1:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// `redis://127.0.0.1:port`.
    pub fn url(&self) -> String {
        format!("redis://{}", self.address())
    }

    /// A connection of the test's own.
    pub async fn connect(&self) -> ::redis::RedisResult<MultiplexedConnection> {
        let client = ::redis::Client::open(self.url())?;
        let config = ::redis::AsyncConnectionConfig::new()
            .set_connection_timeout(Some(Duration::from_secs(2)))
            .set_response_timeout(Some(Duration::from_secs(10)));
        client
            .get_multiplexed_async_connection_with_config(&config)
            .await
    }

    /// Asks it something.
    pub async fn try_ask(&self, command: &Cmd) -> ::redis::RedisResult<Value> {
        let mut connection = self.connect().await?;
        command.query_async(&mut connection).await
    }

    /// Asks it something that it must answer.
    #[track_caller]
    pub fn ask<T: FromRedisValue>(&self, command: &Cmd) -> impl Future<Output = T> {
        let place = std::panic::Location::caller();
        async move {
            let value = self.try_ask(command).await;
            let value = value.unwrap_or_else(|error| panic!("{place}: {}: {error}", self.port));
            ::redis::from_redis_value(value).unwrap_or_else(|error| panic!("{place}: {error}"))
        }
    }

    /// One line of INFO.
    pub async fn info(&self, section: &str, name: &str) -> Option<String> {
        let text = self.try_ask(cmd("INFO").arg(section)).await.ok()?;
        let text: String = ::redis::from_redis_value(text).ok()?;
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines
            .find(|(key, _)| *key == name)
            .map(|(_, value)| value.trim().to_owned())
    }

    /// Seconds of CPU it has used, of both kinds.
    pub async fn cpu_seconds(&self) -> f64 {
        let mut sum = 0.0;
        for name in ["used_cpu_user", "used_cpu_sys"] {
            let text = self.info("cpu", name).await.unwrap_or_default();
            sum += text.parse::<f64>().unwrap_or(f64::NAN);
        }
        sum
    }

    /// How often each command was called, by its name in lower case.
    pub async fn calls(&self, command: &str) -> u64 {
        let line = self
            .info("commandstats", &format!("cmdstat_{command}"))
            .await;
        let calls = line.as_deref().and_then(|line| {
            let first = line.split(',').next()?;
            first.strip_prefix("calls=")?.parse().ok()
        });
        calls.unwrap_or(0)
    }

    /// The number of its process.
    pub fn pid(&self) -> u32 {
        self.with_process(Process::pid)
    }

    /// Ends it as kill -9 does.
    pub fn kill(&self) {
        self.with_process(Process::kill);
    }

    /// Stops it where it is (SIGSTOP).
    pub fn pause(&self) {
        self.with_process(Process::pause);
    }

    /// Lets it go on (SIGCONT).
    pub fn resume(&self) {
        self.with_process(Process::resume);
    }

    /// Starts it again on the same port, having killed it if need be; answers when it answers.
    pub async fn restart(&self, data: Data) {
        self.kill();
        if data == Data::Lost {
            let aof = self.dir.path().join("appendonlydir");
            if aof.exists() {
                std::fs::remove_dir_all(aof).expect("our own directory");
            }
        }
        self.run();
        self.wait_ready().await;
    }

    /// Whether this replica gets what its primary has from now on; one that does not stays connected to everybody else.
    pub async fn replicate(&self, on: bool) {
        let [user, secret] = if on { ["", ""] } else { ["nobody", "none"] };
        let mut set = cmd("CONFIG");
        set.arg("SET").arg("masteruser").arg(user);
        set.arg("masterauth").arg(secret);
        self.ask::<()>(&set).await;
        if !on {
            // It comes back to its primary at once, and is turned away there.
            self.ask::<u64>(cmd("CLIENT").arg("KILL").arg("TYPE").arg("master"))
                .await;
        }
    }

    /// Cuts all connections that listen.
    pub async fn client_kill_pubsub(&self) -> u64 {
        self.ask(cmd("CLIENT").arg("KILL").arg("TYPE").arg("pubsub"))
            .await
    }
}
