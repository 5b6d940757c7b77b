//! What a cluster's gateways stand on.

use super::config;
use crate::servers::{RedisCluster, RedisSentinels, RedisServer, Tunnel};
use pubsub::{
    Backplane,
    embedded::{Embedded, Options},
};
use std::sync::Arc;

/// What a scenario is played over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Over {
    /// Gateways in this process, each with its own threads, on one embedded backplane.
    Embedded,
    /// Gateways in the test's own runtime on one embedded backplane, so that the test can let time pass.
    Time,
    /// Gateways in this process, each with its own threads, on one real Redis.
    Redis,
    /// Gateways as processes, on one real Redis.
    Processes,
    /// The same at ports that stay, and each with a tunnel of its own to Redis.
    Tunnels,
    /// Gateways as processes, on a real Redis Cluster.
    RedisCluster,
    /// Gateways as processes, on a real Redis behind Sentinels.
    Sentinel,
    /// One gateway as a process, on the journal in its own folder.
    Alone,
}

impl Over {
    /// Whether a gateway that takes another's place listens where that did.
    pub(super) fn keeps_ports(self) -> bool {
        matches!(self, Over::Tunnels | Over::RedisCluster | Over::Sentinel)
    }
}

#[derive(Debug)]
pub(super) struct Backing {
    pub over: Over,
    embedded: Option<Embedded>,
    redis: Option<RedisServer>,
    redis_cluster: Option<RedisCluster>,
    sentinels: Option<RedisSentinels>,
    /// By the gateway's place.
    tunnels: Vec<Tunnel>,
}

impl Backing {
    pub async fn start(over: Over) -> Backing {
        let mut backing = Backing {
            over,
            embedded: None,
            redis: None,
            redis_cluster: None,
            sentinels: None,
            tunnels: Vec::new(),
        };
        match over {
            Over::Embedded | Over::Time => {
                let embedded = Embedded::new(Options::default());
                backing.embedded = Some(embedded.expect("memory"));
            }
            Over::Alone => {}
            Over::Redis | Over::Processes | Over::Tunnels => {
                backing.redis = Some(RedisServer::start().await);
            }
            Over::RedisCluster => backing.redis_cluster = Some(RedisCluster::start().await),
            Over::Sentinel => backing.sentinels = Some(RedisSentinels::start().await),
        }
        backing
    }

    /// What the gateway at that place is told about it by flags.
    pub async fn flags_at(&mut self, place: usize) -> Vec<String> {
        if self.over != Over::Tunnels {
            return self.flags();
        }
        while self.tunnels.len() <= place {
            let tunnel = Tunnel::to(self.redis().port()).await;
            self.tunnels.push(tunnel);
        }
        vec!["--redis-url".to_owned(), self.tunnels[place].url()]
    }

    /// What any node is told about it by flags.
    pub fn flags(&self) -> Vec<String> {
        let (urls, mode) = match (&self.redis, &self.redis_cluster, &self.sentinels) {
            (Some(server), ..) => (vec![server.url()], "single"),
            (_, Some(cluster), _) => (cluster.urls(), "cluster"),
            (.., Some(sentinels)) => (sentinels.urls(), "sentinel"),
            // Only what runs in the test's own runtime lives by the test's clock.
            _ if self.over == Over::Time => {
                return ["--socket-threads", "0"].map(str::to_owned).to_vec();
            }
            _ => return Vec::new(),
        };
        let words = ["--redis-url", &urls.join(","), "--redis-mode", mode];
        words.map(str::to_owned).to_vec()
    }

    /// What a gateway is given besides.
    pub fn given(&self) -> Option<Arc<dyn Backplane>> {
        let embedded = self.embedded.clone()?;
        Some(Arc::new(embedded))
    }

    pub fn redis(&self) -> &RedisServer {
        self.redis.as_ref().expect("a scenario over Redis")
    }

    pub fn redis_cluster(&self) -> &RedisCluster {
        let cluster = self.redis_cluster.as_ref();
        cluster.expect("a scenario over a Redis Cluster")
    }

    pub fn sentinels(&self) -> &RedisSentinels {
        self.sentinels.as_ref().expect("a scenario over Sentinels")
    }

    pub fn tunnel(&self, place: usize) -> &Tunnel {
        &self.tunnels[place]
    }

    /// Connects as another node.
    pub async fn backplane(&self, flags: &[String]) -> Arc<dyn Backplane> {
        match self.given() {
            Some(embedded) => embedded,
            None => gateway::server::backplane(&config(flags), "test")
                .await
                .expect("Redis is there"),
        }
    }
}
