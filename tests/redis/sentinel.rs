//! A primary that Sentinels replace.

use crate::{nodes::*, readiness::Readiness, traffic::Traffic};
use pubsub::{
    Redis, RedisOptions,
    redis::{Mode, REPLICAS},
};
use std::sync::Arc;
use tests::servers::{RedisSentinels, RedisServer};

async fn node(sentinels: &RedisSentinels, name: &str, subscribe: &[&str]) -> Arc<Redis> {
    let mut options = RedisOptions::new("", name);
    options.urls = sentinels.urls();
    options.mode = Mode::Sentinel;
    options.subscribe_urls = subscribe.iter().map(ToString::to_string).collect();
    Arc::new(Redis::connect(options).await.unwrap())
}

/// One node listens at the primary, the other at a replica.
async fn two_nodes(sentinels: &RedisSentinels) -> [Arc<Redis>; 2] {
    [
        node(sentinels, "a", &[]).await,
        node(sentinels, "b", &[REPLICAS]).await,
    ]
}

/// Waits until both nodes send their heartbeats to a server, and to no other: only then is a write sure to go there.
async fn wait_followed(server: &RedisServer) {
    until("both nodes have followed", async || {
        let clients: String = server.ask(redis::cmd("CLIENT").arg("LIST")).await;
        clients
            .lines()
            .filter(|client| client.contains(" cmd=time "))
            .count()
            == 2
    })
    .await;
}

/// A failover while the primary lives: for a moment both take writes, and those of the old one are lost. That is the price of
/// Sentinel, and named in the docs; so nobody writes in that moment here.
#[tokio::test]
async fn a_failover_that_was_asked_for() {
    let sentinels = RedisSentinels::start().await;
    let nodes = two_nodes(&sentinels).await;
    let traffic = Traffic::begin(&nodes, 6).await;
    let before = sentinels.primary().await;
    traffic.hold().await;
    sentinels.wait_replicas_have_all().await;
    let after = sentinels.fail_over().await;
    assert_ne!(after, before);
    wait_followed(&sentinels.servers[after]).await;
    traffic.go_on();
    traffic.wait_flowing().await;
    traffic.finish().await;
}

#[tokio::test]
async fn a_primary_that_is_killed() {
    let sentinels = RedisSentinels::start().await;
    let nodes = two_nodes(&sentinels).await;
    let traffic = Traffic::begin(&nodes, 6).await;
    let readiness = Readiness::of(nodes[0].clone());
    let before = sentinels.primary().await;
    traffic.hold().await;
    sentinels.wait_replicas_have_all().await;
    sentinels.servers[before].kill();
    // A Sentinel fewer makes no difference.
    sentinels.sentinels[0].kill();
    traffic.go_on();
    sentinels.wait_failed_over(before).await;
    traffic.wait_flowing().await;
    readiness.assert_always();
    traffic.finish().await;
}
