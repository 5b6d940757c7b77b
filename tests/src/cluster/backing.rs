//! What a cluster's gateways stand on.

use super::config;
use crate::servers::RedisServer;
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
}

#[derive(Debug)]
pub(super) struct Backing {
    pub over: Over,
    embedded: Option<Embedded>,
    redis: Option<RedisServer>,
}

impl Backing {
    pub async fn start(over: Over) -> Backing {
        let mut backing = Backing {
            over,
            embedded: None,
            redis: None,
        };
        match over {
            Over::Embedded | Over::Time => {
                let embedded = Embedded::new(Options::default());
                backing.embedded = Some(embedded.expect("memory"));
            }
            Over::Redis | Over::Processes => backing.redis = Some(RedisServer::start().await),
        }
        backing
    }

    /// What a gateway is told about it by flags.
    pub fn flags(&self) -> Vec<String> {
        let url = self.redis.as_ref().map(RedisServer::url);
        url.into_iter()
            .flat_map(|url| ["--redis-url".to_owned(), url])
            .collect()
    }

    /// What a gateway is given besides.
    pub fn given(&self) -> Option<Arc<dyn Backplane>> {
        let embedded = self.embedded.clone()?;
        Some(Arc::new(embedded))
    }

    pub fn redis(&self) -> &RedisServer {
        self.redis.as_ref().expect("a scenario over Redis")
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
