//! The contract on real Redis servers: one; one listened to at its replica; a cluster, listened to at both; Sentinels.

use crate::nodes::Nodes;
use pubsub::{
    Backplane, Redis, RedisOptions,
    redis::{Mode, REPLICAS},
};
use std::sync::Arc;
use tests::servers::{RedisCluster, RedisSentinels, RedisServer};

/// Three nodes, of which the last listens as `last_listens` says.
async fn three_nodes(
    urls: &[String],
    mode: Mode,
    last_listens: &[String],
) -> [Arc<dyn Backplane>; 3] {
    let connect = async |name: &str, subscribe: &[String]| {
        let mut options = RedisOptions::new("", name);
        options.urls = urls.to_vec();
        options.mode = mode;
        options.subscribe_urls = subscribe.to_vec();
        // Whatever the archive does, appends are to be the same.
        options.queue = name == "a";
        let node: Arc<dyn Backplane> = Arc::new(Redis::connect(options).await.unwrap());
        node
    };
    [
        connect("a", &[]).await,
        connect("b", &[]).await,
        connect("c", last_listens).await,
    ]
}

pub async fn single() -> Nodes {
    let server = RedisServer::start().await;
    let nodes = three_nodes(&[server.url()], Mode::Single, &[]).await;
    Nodes::of_real_time(nodes, server)
}

pub async fn replica() -> ([Arc<dyn Backplane>; 3], RedisServer, RedisServer) {
    let server = RedisServer::start().await;
    let replica = RedisServer::start_replica_of(&server).await;
    let nodes = three_nodes(&[server.url()], Mode::Single, &[replica.url()]).await;
    (nodes, server, replica)
}

pub async fn cluster() -> ([Arc<dyn Backplane>; 3], RedisCluster) {
    let cluster = RedisCluster::start().await;
    let nodes = three_nodes(&cluster.urls(), Mode::Cluster, &[REPLICAS.to_owned()]).await;
    (nodes, cluster)
}

pub async fn sentinel() -> ([Arc<dyn Backplane>; 3], RedisSentinels) {
    let sentinels = RedisSentinels::start().await;
    let nodes = three_nodes(&sentinels.urls(), Mode::Sentinel, &[REPLICAS.to_owned()]).await;
    (nodes, sentinels)
}

/// Runs all checks on the same three nodes, as starting so many servers for each would take minutes: all at once, but for those
/// of deadlines and of the queue, which would wait for each other's leases.
macro_rules! all_at_once {
    ($kind:ident, $($group:ident { $($check:ident)* })*) => {
        #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
        async fn $kind() {
            let started = crate::redis::$kind().await;
            let nodes = || crate::nodes::Nodes::of_real_time(started.0.clone(), ());
            let turn = std::sync::Arc::new(tokio::sync::Mutex::new(()));
            let mut running = Vec::new();
            $($(
                let name = concat!(stringify!($group), "::", stringify!($check));
                let (own, mine) = (nodes(), turn.clone());
                running.push((name, tokio::spawn(async move {
                    let _turn = match stringify!($group) {
                        "deadlines" | "queue" => Some(mine.lock().await),
                        _ => None,
                    };
                    crate::suite::$group::$check(own).await;
                })));
            )*)*
            let mut failed = Vec::new();
            for (name, check) in running {
                if check.await.is_err() {
                    failed.push(name);
                }
            }
            assert!(failed.is_empty(), "failed: {failed:?}");
        }
    };
}
pub(crate) use all_at_once;
