//! A cluster in which a primary dies, and slots move.

use crate::{readiness::Readiness, traffic::Traffic};
use pubsub::{
    Redis, RedisOptions,
    redis::{Mode, REPLICAS},
};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tests::servers::RedisCluster;

async fn node(cluster: &RedisCluster, name: &str, subscribe: &[&str]) -> Arc<Redis> {
    let mut options = RedisOptions::new("", name);
    options.urls = cluster.urls();
    options.mode = Mode::Cluster;
    options.subscribe_urls = subscribe.iter().map(ToString::to_string).collect();
    Arc::new(Redis::connect(options).await.unwrap())
}

/// One node listens at the primaries, the other at their replicas.
async fn two_nodes(cluster: &RedisCluster) -> [Arc<Redis>; 2] {
    [
        node(cluster, "a", &[]).await,
        node(cluster, "b", &[REPLICAS]).await,
    ]
}

/// Slots that rooms are in, by owner.
async fn slots(cluster: &RedisCluster, server: usize) -> Vec<u16> {
    let mut slots = BTreeMap::<u16, usize>::new();
    for slot in cluster.slots_with_keys(server).await {
        *slots.entry(slot).or_default() += 1;
    }
    slots.into_keys().collect()
}

#[tokio::test]
async fn a_primary_that_is_killed() {
    let cluster = RedisCluster::start().await;
    let nodes = two_nodes(&cluster).await;
    let traffic = Traffic::begin(&nodes, 12).await;
    let readiness = Readiness::of(nodes[0].clone());
    let slot = slots(&cluster, 0).await[0];
    traffic.hold().await;
    cluster.wait_replicas_have_all().await;
    cluster.servers[0].kill();
    traffic.go_on();
    assert_eq!(cluster.wait_promoted(0, slot).await, 3);
    traffic.wait_flowing().await;
    // The dead one comes back as a replica of the one that took its place.
    cluster.servers[0].restart(tests::servers::Data::Kept).await;
    traffic.wait_flowing().await;
    readiness.assert_always();
    traffic.finish().await;
}

/// The cluster's own failover stops writes until the replica has them all: nothing is lost, whoever writes.
#[tokio::test]
async fn a_replica_that_takes_over_in_good_order() {
    let cluster = RedisCluster::start().await;
    let nodes = two_nodes(&cluster).await;
    let traffic = Traffic::begin(&nodes, 12).await;
    let slot = slots(&cluster, 1).await[0];
    cluster.servers[4]
        .ask::<()>(redis::cmd("CLUSTER").arg("FAILOVER"))
        .await;
    assert_eq!(cluster.wait_promoted(1, slot).await, 4);
    traffic.wait_flowing().await;
    traffic.finish().await;
}

#[tokio::test]
async fn slots_that_move_with_the_rooms_in_them() {
    let cluster = RedisCluster::start().await;
    let nodes = two_nodes(&cluster).await;
    let traffic = Traffic::begin(&nodes, 12).await;
    let mut moved = 0;
    for slot in slots(&cluster, 0).await.into_iter().take(3) {
        moved += cluster.move_slot(slot, 1).await;
        traffic.wait_flowing().await;
    }
    assert!(moved > 0, "nothing was in the slots");
    // Half-way for a while: some rooms are there, some here, and new ones begin.
    let slot = slots(&cluster, 2).await[0];
    cluster.open_slot(slot, 1).await;
    cluster
        .move_keys(slot, 2, 1, Duration::from_millis(20))
        .await;
    traffic.wait_flowing().await;
    cluster.close_slot(slot, 2, 1).await;
    traffic.wait_flowing().await;
    traffic.finish().await;
}
