//! On one server.

use crate::nodes::*;
use pubsub::{Backplane, OUTAGE_MIN_MS, Signal};
use std::time::Duration;
use tests::servers::RedisServer;

#[tokio::test]
async fn what_one_node_appends_another_hears_and_reads() {
    let server = RedisServer::start().await;
    let (a, b) = (node(&server, "a").await, node(&server, "b").await);
    let room = room("heard");
    let mut heard = b.subscribe(&room);
    assert_eq!(next(&mut heard).await, Signal::Resync);
    let epoch = create(&a, &room).await;
    let Signal::Events(log) = next(&mut heard).await else {
        panic!("not the events");
    };
    assert_eq!(b.read(&room, 0).await.unwrap(), Some(log));
    assert_eq!(b.end(&room).await.unwrap(), Some((epoch, 1)));
}

/// However many nodes there are, the server does the work of one or two: who comes after another looks, and leaves it at that.
#[tokio::test]
async fn one_nodes_beat_and_sweep_are_enough_for_all() {
    let server = RedisServer::start().await;
    let nodes = [
        node(&server, "a").await,
        node(&server, "b").await,
        node(&server, "c").await,
    ];
    let lease = Duration::from_secs(60);
    let scripts = async || {
        let stats: String = server.ask(redis::cmd("INFO").arg("commandstats")).await;
        let calls = stats.lines().find_map(|line| {
            let calls = line.strip_prefix("cmdstat_evalsha:calls=")?;
            calls.split(',').next()?.parse::<u64>().ok()
        });
        calls.unwrap_or(0)
    };
    // What was before them each has to ask once.
    for node in &nodes {
        node.beat().await.unwrap();
        node.sweep("a", 0, 1, lease).await.unwrap();
    }
    // A slow machine may need several tries to have them all within half a second.
    until("three beat as one", async || {
        tokio::time::sleep(Duration::from_millis(600)).await;
        let before = scripts().await;
        for node in &nodes {
            assert!(!node.beat().await.unwrap());
        }
        scripts().await - before == 256
    })
    .await;
    let before = scripts().await;
    for name in ["b", "c"] {
        nodes[1].sweep(name, 0, 1, lease).await.unwrap();
    }
    assert_eq!(scripts().await, before, "another has the leases");
}

/// Whoever leaves the beat to others hears of an outage all the same.
#[tokio::test]
async fn who_only_looks_learns_of_an_outage() {
    let server = RedisServer::start().await;
    let (a, b) = (node(&server, "a").await, node(&server, "b").await);
    let room = room("outage");
    for node in [&a, &b] {
        assert!(!node.beat().await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(OUTAGE_MIN_MS.unsigned_abs() + 100)).await;
    assert!(a.beat().await.unwrap());
    assert!(
        b.beat().await.unwrap(),
        "within half a second of the other's"
    );
    assert_eq!(a.outages_known(&room).known, b.outages_known(&room).known);
    assert_eq!(b.outages_known(&room).known.len(), 1);
    assert!(!b.beat().await.unwrap(), "it is known by now");
}
