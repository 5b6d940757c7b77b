//! What a load is put on: a cluster of Rookery's own started for it, the floor, another program, or servers that run already.

use crate::orders::Dialect;
use anyhow::{Context, ensure};
use rustix::process::{Pid, setpriority_process};
use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, ChildStdin, Command, Stdio},
};
use tests::{
    cluster::{Cluster, Over},
    servers::RedisServer,
};

/// Some servers that share rooms.
pub struct Target {
    pub name: String,
    pub dialect: Dialect,
    pub doors: Vec<SocketAddr>,
    /// Their processes; empty if they are not of this machine.
    pub pids: Vec<u32>,
    pub redis: Option<u32>,
    keep: Keep,
}

enum Keep {
    Outside,
    Cluster(Box<Cluster>),
    Programs {
        _programs: Vec<Program>,
        _redis: Option<RedisServer>,
    },
}

/// Priority that [`Target::give_redis_precedence`] gives; 0 is everybody's, -20 the highest.
const REDIS_NICE: i32 = -15;

/// How often a gateway that was killed is started again.
const STARTS_MAX: usize = 10;

impl Target {
    /// So many gateways of Rookery over one Redis of their own.
    pub async fn rookery(gateways: usize, heartbeat_seconds: u64, flags: &[String]) -> Target {
        let heartbeat = heartbeat_seconds.to_string();
        let mut all = vec![
            // The load is one machine's; limits against a single client's greed are not what is measured.
            "--messages-per-second",
            "100000",
            "--connections-per-address",
            "0",
            "--handshakes-per-address",
            "0",
            "--requests-per-address",
            "0",
            "--max-connections",
            "19700",
            "--games-per-user",
            "1000",
            "--heartbeat-seconds",
            &heartbeat,
        ];
        all.extend(flags.iter().map(String::as_str));
        let cluster = Cluster::start(Over::Processes, gateways, &all).await;
        let nodes = || (0..gateways).map(|index| cluster.node(index));
        Target {
            name: "rookery".to_owned(),
            dialect: Dialect::Rookery,
            doors: nodes().map(|node| node.http).collect(),
            pids: nodes().map(tests::cluster::Node::pid).collect(),
            redis: Some(cluster.redis().pid()),
            keep: Keep::Cluster(Box::new(cluster)),
        }
    }

    /// Lets Redis go before the hundred processes that share two cores with it here: elsewhere it has a machine of its own. Needs root;
    /// without it Redis waits its turn, for seconds, and gateways take it for gone.
    pub fn give_redis_precedence(&self) {
        let pid = self.redis.and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.and_then(Pid::from_raw)
            && let Err(error) = setpriority_process(Some(pid), REDIS_NICE)
        {
            eprintln!("load: Redis cannot be given precedence: {error}");
        }
    }

    /// So many processes of the floor.
    pub fn floor(processes: usize) -> anyhow::Result<Target> {
        let start = |_| {
            let mut command = Command::new(std::env::current_exe()?);
            command.arg("floor");
            Program::start(command)
        };
        let programs: Vec<Program> = (0..processes).map(start).collect::<Result<_, _>>()?;
        Ok(Target::programs("floor", Dialect::Bare, programs, None))
    }

    /// Two processes of another program that share a Redis of their own, each started by this command with the URL of that Redis
    /// behind it.
    pub async fn peer(
        name: &str,
        dialect: Dialect,
        command: impl Fn() -> Command,
    ) -> anyhow::Result<Target> {
        let redis = RedisServer::start().await;
        let start = |_| {
            let mut command = command();
            command.arg(redis.url());
            Program::start(command)
        };
        let programs: Vec<Program> = (0..2)
            .map(start)
            .collect::<Result<_, _>>()
            .with_context(|| format!("starting {name}"))?;
        Ok(Target::programs(name, dialect, programs, Some(redis)))
    }

    /// Servers that run already; `pids` are those of them that can be watched.
    pub fn outside(doors: Vec<SocketAddr>, pids: Vec<u32>) -> Target {
        Target {
            name: "rookery".to_owned(),
            dialect: Dialect::Rookery,
            doors,
            pids,
            redis: None,
            keep: Keep::Outside,
        }
    }

    fn programs(
        name: &str,
        dialect: Dialect,
        programs: Vec<Program>,
        redis: Option<RedisServer>,
    ) -> Target {
        Target {
            name: name.to_owned(),
            dialect,
            doors: programs.iter().map(|program| program.door).collect(),
            pids: programs.iter().map(|program| program.child.id()).collect(),
            redis: redis.as_ref().map(RedisServer::pid),
            keep: Keep::Programs {
                _programs: programs,
                _redis: redis,
            },
        }
    }

    /// Kills a gateway and puts a new one into its place; answers where that listens.
    pub async fn replace(&mut self, index: usize) -> anyhow::Result<SocketAddr> {
        let Keep::Cluster(cluster) = &mut self.keep else {
            anyhow::bail!("only a gateway of our own can be replaced");
        };
        cluster.kill(index);
        // As a supervisor would: a machine that has just lost a gateway of many may be too busy for the first start.
        let mut tries = 0;
        while let Err(error) = cluster.try_replace(index).await {
            tries += 1;
            anyhow::ensure!(tries < STARTS_MAX, "{error}");
        }
        let node = cluster.node(index);
        self.pids[index] = node.pid();
        Ok(node.http)
    }
}

/// A server that tells on its first line where it listens, and ends when its standard input does.
struct Program {
    child: Child,
    door: SocketAddr,
    _stdin: ChildStdin,
}

impl Program {
    fn start(mut command: Command) -> anyhow::Result<Program> {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("{} cannot be started", command.get_program().display()))?;
        let stdin = child.stdin.take().context("its standard input")?;
        let stdout = child.stdout.take().context("its standard output")?;
        let mut first = String::new();
        BufReader::new(stdout).read_line(&mut first)?;
        let door = first.trim().strip_prefix("listening http=");
        ensure!(door.is_some(), "it said {first:?} first");
        Ok(Program {
            door: door.unwrap_or_default().parse()?,
            child,
            _stdin: stdin,
        })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
