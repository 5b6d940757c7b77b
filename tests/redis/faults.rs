//! What may happen to one server, and to the way there: nothing acknowledged is lost, and every node hears all of it.

use crate::{nodes::*, readiness::Readiness, traffic::Traffic};
use pubsub::{Backplane, Redis, RedisOptions, Signal};
use std::{sync::Arc, time::Duration};
use tests::servers::{Data, RedisServer, Tunnel};
use tokio::time::{Instant, sleep};

async fn two_nodes(server: &RedisServer) -> [Arc<Redis>; 2] {
    [node(server, "a").await, node(server, "b").await].map(Arc::new)
}

async fn ready(node: &Redis) {
    until("the node is ready", async || node.health().is_ready()).await;
}

#[tokio::test]
async fn killed_and_started_again() {
    let server = RedisServer::start().await;
    let nodes = two_nodes(&server).await;
    let traffic = Traffic::begin(&nodes, 8).await;
    ready(&nodes[0]).await;
    let readiness = Readiness::of(nodes[0].clone());
    for outage_ms in [0, 7000] {
        server.kill();
        sleep(Duration::from_millis(outage_ms)).await;
        server.restart(Data::Kept).await;
        traffic.wait_flowing().await;
    }
    assert!(readiness.was_unreachable());
    readiness.assert_always();
    traffic.finish().await;
}

#[tokio::test]
async fn stopped_for_some_seconds() {
    let server = RedisServer::start().await;
    let nodes = two_nodes(&server).await;
    let traffic = Traffic::begin(&nodes, 8).await;
    ready(&nodes[0]).await;
    let readiness = Readiness::of(nodes[0].clone());
    for pause_ms in [1000, 6500] {
        server.pause();
        sleep(Duration::from_millis(pause_ms)).await;
        server.resume();
        traffic.wait_flowing().await;
    }
    assert!(readiness.was_unreachable());
    readiness.assert_always();
    traffic.finish().await;
}

#[tokio::test]
async fn subscriptions_cut_by_the_server() {
    let server = RedisServer::start().await;
    let nodes = two_nodes(&server).await;
    let traffic = Traffic::begin(&nodes, 8).await;
    for _ in 0..5 {
        assert!(server.client_kill_pubsub().await >= 1);
        traffic.wait_flowing().await;
    }
    traffic.finish().await;
}

#[tokio::test]
async fn too_much_for_the_output_buffer() {
    let server =
        RedisServer::start_with(&["--client-output-buffer-limit", "pubsub 64kb 0 0"]).await;
    let nodes = two_nodes(&server).await;
    let traffic = Traffic::begin(&nodes, 8).await;
    let large = pubsub::Message {
        topic: "large".to_owned(),
        body: vec![0; 1 << 20].into(),
    };
    for room in &traffic.rooms()[..3] {
        nodes[0].publish(room, large.clone()).await.unwrap();
        traffic.wait_flowing().await;
    }
    let cut = server
        .info("stats", "client_output_buffer_limit_disconnections")
        .await;
    assert_ne!(cut.as_deref(), Some("0"), "the server cut nobody");
    traffic.finish().await;
}

/// A connection that is open and silent: nothing but the probe can tell.
#[tokio::test]
async fn a_deaf_node_notices_and_mends_itself() {
    let server = RedisServer::start().await;
    let tunnel = Tunnel::to(server.port()).await;
    let mut options = RedisOptions::new(server.url(), "a");
    options.subscribe_urls = vec![tunnel.url()];
    let deaf = Arc::new(Redis::connect(options).await.unwrap());
    let other = Arc::new(node(&server, "b").await);
    let traffic = Traffic::begin(&[deaf.clone(), other.clone()], 4).await;
    ready(&other).await;
    let others = Readiness::of(other.clone());
    let silenced = Instant::now();
    tunnel.swallow();
    traffic.wait_flowing().await;
    let took = silenced.elapsed();
    // Within 5 s on a machine that has nothing else to do, as `make chaos` shows.
    println!("deaf for {took:?}");
    assert!(
        took > Duration::from_secs(2),
        "the tunnel swallowed nothing"
    );
    until("it is ready", async || deaf.health().is_ready()).await;
    others.assert_always();
    traffic.finish().await;
}

/// Messages that were lost while every connection stayed, as when a replica loses its primary for a moment: the next probe tells.
#[tokio::test]
async fn messages_lost_without_a_sign() {
    for _ in 0..10 {
        let server = RedisServer::start().await;
        let tunnel = Tunnel::to(server.port()).await;
        let mut options = RedisOptions::new(server.url(), "a");
        options.subscribe_urls = vec![tunnel.url()];
        let node = Arc::new(Redis::connect(options).await.unwrap());
        let traffic = Traffic::begin(std::slice::from_ref(&node), 4).await;
        ready(&node).await;
        let readiness = Readiness::of(node.clone());
        let connections = tunnel.connections();
        let begun = Instant::now();
        tunnel.swallow_all(true);
        // Less than a deaf node is given, and more than the time between two probes.
        sleep(Duration::from_millis(1300)).await;
        traffic.hold().await;
        tunnel.swallow_all(false);
        let took = begun.elapsed();
        traffic.finish().await;
        // On a machine too busy for that it was taken for deaf, rightly.
        if took < Duration::from_millis(2300) {
            assert_eq!(tunnel.connections(), connections, "the connection stayed");
            readiness.assert_always();
            return;
        }
    }
    panic!("the machine never had time");
}

#[tokio::test]
async fn rooms_that_nobody_is_in_are_left() {
    let server = RedisServer::start().await;
    let node = node(&server, "a").await;
    let mut subscriptions: Vec<_> = (0..300).map(|_| node.subscribe(&room("left"))).collect();
    for subscription in &mut subscriptions {
        next(subscription).await;
    }
    let channels = async || server.info("stats", "pubsubshard_channels").await;
    // One more is the probe's.
    assert_eq!(channels().await.as_deref(), Some("301"));
    let stays = subscriptions.pop();
    let left = Instant::now();
    drop(subscriptions);
    until("the rooms are left", async || {
        channels().await.as_deref() == Some("2")
    })
    .await;
    assert!(
        left.elapsed() > Duration::from_secs(1),
        "who reloads a page comes back"
    );
    drop(stays);
    until("the last is left", async || {
        channels().await.as_deref() == Some("1")
    })
    .await;
}

/// A node with thousands of rooms asks for all of them at a reconnect. One by one, that is thousands of reads on each side.
#[tokio::test]
async fn many_rooms_are_asked_for_in_few_pieces() {
    const ROOMS: u64 = 3_000;
    let server = RedisServer::start().await;
    let node = node(&server, "a").await;
    let mut subscriptions: Vec<_> = (0..ROOMS).map(|_| node.subscribe(&room("many"))).collect();
    for subscription in &mut subscriptions {
        next(subscription).await;
    }
    let reads = async || {
        let reads = server.info("stats", "total_reads_processed").await;
        reads.and_then(|reads| reads.parse::<u64>().ok())
    };
    let (before, asked) = (reads().await, server.calls("ssubscribe").await);
    assert!(server.client_kill_pubsub().await > 0);
    for subscription in &mut subscriptions {
        assert_eq!(next(subscription).await, Signal::Resync);
    }
    let asked = server.calls("ssubscribe").await - asked;
    assert!((ROOMS..2 * ROOMS).contains(&asked), "{asked}");
    let read = reads().await.unwrap() - before.unwrap();
    assert!(read < ROOMS / 5, "{read} reads for {ROOMS} rooms");
}

/// What a load balancer sees of a node that alone is deaf, as long as it cannot mend that.
#[tokio::test]
async fn a_deaf_node_is_not_ready() {
    let server = RedisServer::start().await;
    let (speak, listen) = (
        Tunnel::to(server.port()).await,
        Tunnel::to(server.port()).await,
    );
    let mut options = RedisOptions::new(speak.url(), "a");
    options.subscribe_urls = vec![listen.url()];
    let deaf = Arc::new(Redis::connect(options).await.unwrap());
    let traffic = Traffic::begin(std::slice::from_ref(&deaf), 4).await;
    ready(&deaf).await;
    speak.refuse(true);
    listen.swallow_all(true);
    until("it takes itself out", async || !deaf.health().is_ready()).await;
    let readiness = Readiness::of(deaf.clone());
    sleep(Duration::from_secs(3)).await;
    assert!(readiness.never_ready(), "it was ready in between");
    assert!(
        !readiness.was_unreachable(),
        "commands go through all the time"
    );
    listen.swallow_all(false);
    until("it is ready again", async || deaf.health().is_ready()).await;
    traffic.wait_flowing().await;
    traffic.finish().await;
}

#[tokio::test]
async fn a_replica_that_dies_is_left_for_another() {
    let server = RedisServer::start().await;
    let replicas = [
        RedisServer::start_replica_of(&server).await,
        RedisServer::start_replica_of(&server).await,
    ];
    let mut options = RedisOptions::new(server.url(), "a");
    options.subscribe_urls = replicas.iter().map(RedisServer::url).collect();
    let node = Arc::new(Redis::connect(options).await.unwrap());
    let traffic = Traffic::begin(&[node], 4).await;
    let listened = async |server: &RedisServer| server.info("stats", "pubsubshard_channels").await;
    let at = usize::from(listened(&replicas[0]).await.as_deref() == Some("0"));
    let elsewhere = 1 - at;
    replicas[at].kill();
    traffic.wait_flowing().await;
    assert_ne!(listened(&replicas[elsewhere]).await.as_deref(), Some("0"));
    assert_eq!(
        listened(&server).await.as_deref(),
        Some("0"),
        "not at the primary"
    );
    // With no replica left, the primary itself is better than silence; when one comes back, it is used again.
    replicas[elsewhere].kill();
    traffic.wait_flowing().await;
    assert_ne!(listened(&server).await.as_deref(), Some("0"));
    traffic.finish().await;
}
