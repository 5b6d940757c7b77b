//! On one server.

use crate::nodes::*;
use pubsub::{Appended, Backplane, Signal};
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

/// The price of a move: one command from here to Redis, and none that blocks.
#[tokio::test]
async fn an_append_is_one_round_trip() {
    let server = RedisServer::start().await;
    let a = node(&server, "a").await;
    let room = room("trips");
    let epoch = create(&a, &room).await;
    let before = server.calls("evalsha").await;
    for seq in 1..=100 {
        let appended = a.append(&room, event(&a, Some(&epoch), seq, "move")).await;
        assert_eq!(
            appended.unwrap(),
            Appended::Appended {
                epoch: epoch.clone()
            }
        );
    }
    assert_eq!(server.calls("evalsha").await - before, 100);
    for other in ["eval", "script|load", "multi", "wait", "blpop", "xread"] {
        // The first call of all loads the script by sending it.
        let allowed = u64::from(other == "eval");
        assert!(server.calls(other).await <= allowed, "{other}");
    }
}
