//! What must hold before an append is answered.

use crate::nodes::*;
use pubsub::{Ack, Append, Appended, Backplane, Epoch, Redis, RedisOptions, redis::StartError};
use std::{sync::Arc, time::Duration};
use tests::servers::RedisServer;
use tokio::time::Instant;

async fn node_with(server: &RedisServer, ack: Ack) -> Result<Redis, StartError> {
    let mut options = RedisOptions::new(server.url(), "a");
    options.ack = ack;
    Redis::connect(options).await
}

fn event(node: &Redis, epoch: Option<&Epoch>, expected: u64, text: &'static str) -> Append {
    Append {
        epoch: epoch.cloned(),
        expected,
        events: vec![text.into()],
        at: node.now() - 1_000,
        deadline: None,
    }
}

#[tokio::test]
async fn a_replica_must_have_it() {
    let server = RedisServer::start().await;
    let replica = RedisServer::start_replica_of(&server).await;
    let node = node_with(&server, Ack::Replica).await.unwrap();
    let room = room("replicated");
    let created = node.append(&room, event(&node, None, 0, "a")).await;
    let Ok(Appended::Appended { epoch, .. }) = created else {
        panic!("{created:?}")
    };
    replica.pause();
    let begun = Instant::now();
    let asked = event(&node, Some(&epoch), 1, "b");
    let answer = node.append(&room, asked.clone()).await;
    assert!(answer.is_err(), "{answer:?}");
    assert!(
        begun.elapsed() < Duration::from_secs(20),
        "{:?}",
        begun.elapsed()
    );
    // It is in the log, for all to read, and does not hold yet: whoever asks again is not told that it does.
    assert_eq!(node.end(&room).await.unwrap(), Some((epoch.clone(), 2)));
    let again = node.append(&room, asked.clone()).await;
    assert!(again.is_err(), "{again:?}");
    assert!(node.confirm(&room, &epoch, 2).await.is_err());
    replica.resume();
    until("the repeat is answered", async || {
        let answer = node.append(&room, asked.clone()).await;
        matches!(answer, Ok(Appended::AlreadyAppended { .. }))
    })
    .await;
    node.confirm(&room, &epoch, 2).await.unwrap();
    let more = node.confirm(&room, &epoch, 3).await;
    assert!(more.is_err(), "it does not stand there");
}

#[tokio::test]
async fn many_appends_share_a_round() {
    const ROOMS: u64 = 300;
    let server = RedisServer::start().await;
    let _replica = RedisServer::start_replica_of(&server).await;
    let node = Arc::new(node_with(&server, Ack::Replica).await.unwrap());
    let tasks: Vec<_> = (0..ROOMS)
        .map(|number| {
            let (node, room) = (node.clone(), room(&format!("round-{number}")));
            tokio::spawn(async move {
                let asked = event(&node, None, 0, "a");
                node.append(&room, asked).await.unwrap()
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let rounds = server.calls("wait").await;
    println!("{rounds} rounds for {ROOMS} appends");
    assert!((1..ROOMS / 2).contains(&rounds), "{rounds} rounds");
}

#[tokio::test]
async fn a_server_that_answers_before_it_syncs_is_refused() {
    let server = RedisServer::start().await;
    let error = node_with(&server, Ack::Fsync).await.unwrap_err();
    assert!(
        matches!(&error, StartError::BadSetting(why) if why.contains("appendfsync always")),
        "{error}"
    );
    // The last setting of a name counts.
    let server = RedisServer::start_with(&["--appendfsync", "always"]).await;
    let node = node_with(&server, Ack::Fsync).await.unwrap();
    let answer = node
        .append(&room("synced"), event(&node, None, 0, "a"))
        .await;
    assert!(
        matches!(answer, Ok(Appended::Appended { .. })),
        "{answer:?}"
    );
}
