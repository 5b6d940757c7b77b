//! What the calls cost, and what they answer when something goes wrong on the way.

use crate::nodes::*;
use pubsub::{Appended, Backplane, CALL_TIMEOUT, Redis, RedisOptions};
use redis::cmd;
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tests::servers::{RedisServer, Tunnel};
use tokio::time::Instant;

/// How often each command was called, those of scripts included.
async fn all_calls(server: &RedisServer) -> BTreeMap<String, u64> {
    let text: String = server.ask(cmd("INFO").arg("commandstats")).await;
    let calls = text.lines().filter_map(|line| {
        let (name, rest) = line.strip_prefix("cmdstat_")?.split_once(':')?;
        let calls = rest.strip_prefix("calls=")?.split(',').next()?;
        Some((name.to_owned(), calls.parse().ok()?))
    });
    calls.collect()
}

/// The price of a move: one command from here to Redis, and within it one of each that is needed.
#[tokio::test]
async fn an_append_is_one_round_trip() {
    const MOVES: u64 = 100;
    let server = RedisServer::start().await;
    let mut options = RedisOptions::new(server.url(), "a");
    options.queue = true;
    let node = Redis::connect(options).await.unwrap();
    let room = room("trips");
    let epoch = create(&node, &room).await;
    let begun = Instant::now();
    let before = all_calls(&server).await;
    for seq in 1..=MOVES {
        let mut append = event(&node, Some(&epoch), seq, "move");
        append.deadline = Some(node.now() + 1000);
        let appended = node.append(&room, append).await.unwrap();
        assert!(
            matches!(&appended, Appended::Appended { epoch: e, queued: Some(_) } if *e == epoch)
        );
    }
    let after = all_calls(&server).await;
    // Heartbeats and probes go on meanwhile, one or two a second.
    let aside = 4 * (1 + begun.elapsed().as_secs());
    for (name, count) in after {
        let calls = count - before.get(&name).copied().unwrap_or(0);
        match name.as_str() {
            "evalsha" | "llen" | "lindex" | "rpush" | "zadd" | "hget" | "xadd" => {
                assert_eq!(calls, MOVES, "{name}")
            }
            "spublish" | "time" => {
                assert!((MOVES..=MOVES + aside).contains(&calls), "{name}: {calls}")
            }
            _ => assert!(calls <= aside, "{name}: {calls}"),
        }
    }
}

/// The reply to an append is lost: asked again, on another connection, it is known again.
#[tokio::test]
async fn a_lost_answer_is_no_conflict() {
    let server = RedisServer::start().await;
    let tunnel = Tunnel::to(server.port()).await;
    let mut options = RedisOptions::new(tunnel.url(), "a");
    options.subscribe_urls = vec![server.url()];
    let node = Redis::connect(options).await.unwrap();
    let room = room("lost");
    let epoch = create(&node, &room).await;
    tunnel.swallow();
    let append = event(&node, Some(&epoch), 1, "move");
    let answer = node.append(&room, append).await.unwrap();
    assert_eq!(
        answer,
        Appended::AlreadyAppended {
            epoch: epoch.clone()
        }
    );
    assert_eq!(node.end(&room).await.unwrap(), Some((epoch, 2)));

    // The first append of a log, which names its own epoch.
    let room = crate::nodes::room("lost");
    tunnel.swallow();
    let answer = node
        .append(&room, event(&node, None, 0, "created"))
        .await
        .unwrap();
    let Appended::AlreadyAppended { epoch } = answer else {
        panic!("{answer:?}");
    };
    assert_eq!(node.end(&room).await.unwrap(), Some((epoch, 1)));

    // A record that only one may write: it is not in its own way.
    tunnel.swallow();
    let key = format!("once-{room}");
    let put = node.put(
        &key,
        "mine".into(),
        Duration::from_secs(60),
        pubsub::Put::IfAbsent,
    );
    assert_eq!(put.await.unwrap(), None);
}

#[tokio::test]
async fn an_answer_comes_in_time_even_if_redis_does_not() {
    let server = RedisServer::start().await;
    let node = Arc::new(node(&server, "a").await);
    let room = room("away");
    let epoch = create(&node, &room).await;
    for stop in [RedisServer::pause, RedisServer::kill] {
        stop(&server);
        let begun = Instant::now();
        let append = event(&node, Some(&epoch), 1, "move");
        let (append, end, sweep) = tokio::join!(
            node.append(&room, append),
            node.end(&room),
            node.sweep("a", 1, 1, Duration::from_secs(1))
        );
        let took = begun.elapsed();
        assert!(append.is_err() && end.is_err() && sweep.is_err());
        assert!(took < CALL_TIMEOUT + PATIENCE, "took {took:?}");
        assert!(
            took > CALL_TIMEOUT - Duration::from_secs(1),
            "gave up after {took:?}"
        );
        server.resume();
    }
}

#[tokio::test]
async fn scripts_are_loaded_again() {
    let server = RedisServer::start().await;
    let node = node(&server, "a").await;
    everything(&node).await;
    server.ask::<()>(cmd("SCRIPT").arg("FLUSH")).await;
    everything(&node).await;
}

/// Many callers share one connection; none waits for another's answer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_share_the_connection() {
    let server = RedisServer::start().await;
    let node = Arc::new(node(&server, "a").await);
    until("it hears", async || node.health().hears).await;
    let callers = (0..200).map(|_| {
        let (node, room) = (node.clone(), room("many"));
        tokio::spawn(async move {
            let epoch = create(&node, &room).await;
            for seq in 1..20 {
                let appended = node
                    .append(&room, event(&node, Some(&epoch), seq, "move"))
                    .await;
                let same = |answer: &Appended| matches!(answer, Appended::Appended { epoch: e, .. } if *e == epoch);
                assert!(same(&appended.unwrap()));
            }
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    // One that asks, one that listens, and this test's own.
    let clients: String = server.ask(cmd("CLIENT").arg("LIST")).await;
    assert_eq!(clients.lines().count(), 3, "{clients}");
}
