//! Clusters of real gateways: in this process, each with its own threads, over one embedded backplane or a real Redis; or as
//! `rookery` processes over a real Redis. All speak over real sockets on ports of their own.

mod backing;
mod binary;
mod node;
mod panics;

pub use backing::Over;
pub use binary::path as rookery;
pub use node::{Listening, Node};

use crate::servers::{RedisCluster, RedisSentinels, RedisServer, Tunnel, free_port};
use backing::Backing;
use gateway::Config;
use pubsub::Backplane;
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tempfile::TempDir;

/// How long tests wait for a fact: far more than any fact needs, even on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// What signs all nodes' tokens.
pub const SECRET: &str = "a secret for tests that has more than 32 bytes";

/// Gateways that share a backplane. Gone with all their servers when dropped.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    doors: Doors,
    flags: Vec<String>,
    started: usize,
    /// Public and admin port by place, where those stay.
    ports: Vec<[u16; 2]>,
    // The nodes go before what they stand on.
    backing: Backing,
    data: TempDir,
}

/// Where a client may knock: the public ports of all nodes that take connections, as a load balancer knows them.
#[derive(Debug, Clone, Default)]
pub struct Doors(Arc<Mutex<Vec<SocketAddr>>>);

impl Doors {
    /// All of them now.
    pub fn open(&self) -> Vec<SocketAddr> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// These, for as long as nobody says otherwise.
    pub fn at(doors: Vec<SocketAddr>) -> Doors {
        Doors(Arc::new(Mutex::new(doors)))
    }

    fn set(&self, doors: Vec<SocketAddr>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = doors;
    }
}

impl Cluster {
    /// So many gateways, each with these flags of `rookery serve` besides those that make it part of this cluster.
    pub async fn start(over: Over, nodes: usize, flags: &[&str]) -> Cluster {
        init_logs();
        panics::watch();
        let mut cluster = Cluster {
            nodes: Vec::new(),
            doors: Doors::default(),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            started: 0,
            ports: Vec::new(),
            backing: Backing::start(over).await,
            data: tempfile::tempdir().expect("a temporary directory"),
        };
        for _ in 0..nodes {
            cluster.add().await;
        }
        cluster
    }

    /// Starts another gateway; answers its index.
    pub async fn add(&mut self) -> usize {
        let node = self.launch(self.nodes.len()).await;
        self.nodes.push(node);
        self.note_doors();
        self.nodes.len() - 1
    }

    /// Puts a new gateway into the place of one that ended.
    pub async fn replace(&mut self, index: usize) {
        let replaced = self.try_replace(index).await;
        replaced.unwrap_or_else(|error| panic!("{error}"));
    }

    /// The same, where a machine may be too busy for a start to succeed.
    pub async fn try_replace(&mut self, index: usize) -> Result<(), String> {
        let name = self.next_name();
        self.nodes[index] = self.launch_as(name, index).await?;
        self.note_doors();
        Ok(())
    }

    /// Starts a gateway that ended again, under its name and with what it kept.
    pub async fn restart(&mut self, index: usize) {
        self.kill(index);
        let name = self.nodes[index].name.clone();
        let launched = self.launch_as(name, index).await;
        self.nodes[index] = launched.unwrap_or_else(|error| panic!("{error}"));
        self.note_doors();
    }

    async fn launch(&mut self, place: usize) -> Node {
        let name = self.next_name();
        let launched = self.launch_as(name, place).await;
        launched.unwrap_or_else(|error| panic!("{error}"))
    }

    fn next_name(&mut self) -> String {
        self.started += 1;
        format!("node-{}", self.started - 1)
    }

    async fn launch_as(&mut self, name: String, place: usize) -> Result<Node, String> {
        let data = self.data.path().join(&name);
        let mut flags = self.flags.clone();
        let [http, admin] = self.ports_at(place).map(|port| format!("127.0.0.1:{port}"));
        for (flag, value) in [
            ("--listen", http.as_str()),
            ("--admin-listen", &admin),
            ("--token-secret", SECRET),
            ("--node-id", &name),
            ("--data-dir", &data.to_string_lossy()),
        ] {
            flags.extend([flag.to_owned(), value.to_owned()]);
        }
        flags.extend(self.backing.flags_at(place).await);
        Node::start(&self.backing, name, &flags, &self.data.path().join("logs")).await
    }

    fn ports_at(&mut self, place: usize) -> [u16; 2] {
        if !self.backing.over.keeps_ports() {
            return [0; 2];
        }
        while self.ports.len() <= place {
            self.ports.push([free_port(), free_port()]);
        }
        self.ports[place]
    }

    /// One of its gateways.
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// The gateways that run.
    pub fn living(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().filter(|node| node.is_alive())
    }

    /// Where clients may knock, from now on and as that changes.
    pub fn doors(&self) -> Doors {
        self.doors.clone()
    }

    fn note_doors(&self) {
        let living = self.living().map(|node| node.http);
        self.doors.set(living.collect());
    }

    /// Ends a gateway as kill -9 does.
    pub fn kill(&mut self, index: usize) {
        self.nodes[index].kill();
        self.note_doors();
    }

    /// Asks a gateway to leave, takes it off the list of doors at once as a load balancer does, and waits until it is gone.
    /// Answers its exit code; a gateway in this process has 0.
    pub async fn stop(&mut self, index: usize) -> i32 {
        let doors = self.doors.open();
        let leaving = self.nodes[index].http;
        self.doors
            .set(doors.into_iter().filter(|door| *door != leaving).collect());
        let code = self.nodes[index].stop().await;
        self.note_doors();
        code
    }

    /// A further handle on what the gateways share, as another node has it.
    pub async fn backplane(&self) -> Arc<dyn Backplane> {
        let mut flags = self.backing.flags();
        flags.extend(["--token-secret".to_owned(), SECRET.to_owned()]);
        self.backing.backplane(&flags).await
    }

    /// The Redis that the gateways share.
    pub fn redis(&self) -> &RedisServer {
        self.backing.redis()
    }

    /// The Redis Cluster that the gateways share.
    pub fn redis_cluster(&self) -> &RedisCluster {
        self.backing.redis_cluster()
    }

    /// The Redis behind Sentinels that the gateways share.
    pub fn sentinels(&self) -> &RedisSentinels {
        self.backing.sentinels()
    }

    /// The way of the gateway at that place to Redis.
    pub fn tunnel(&self, place: usize) -> &Tunnel {
        self.backing.tunnel(place)
    }
}

/// Waits for a fact that has to be asked for, now and again.
pub async fn until(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let end = tokio::time::Instant::now() + PATIENCE;
    while !fact().await {
        assert!(tokio::time::Instant::now() < end, "in vain until {what}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Fails if a gateway panicked, whichever test it belonged to: tokio only ends the task.
pub fn assert_no_panics() {
    let panics = panics::seen();
    assert!(panics.is_empty(), "gateways panicked: {panics:#?}");
}

/// The settings of these flags.
pub fn config(flags: &[String]) -> Config {
    let settings = gateway::config::Settings::parse(flags);
    settings.expect("flags of `rookery serve`").config
}

/// Logs of gateways in this process go where the test's output goes; `RUST_LOG` says how much.
fn init_logs() {
    use tracing_subscriber::{EnvFilter, fmt};
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("warn"));
    drop(
        fmt()
            .with_env_filter(filter)
            .with_test_writer()
            .with_ansi(false)
            .try_init(),
    );
}
