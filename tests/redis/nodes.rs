//! Nodes on servers, and what tests do with them.

use bytes::Bytes;
use pubsub::{
    Append, Appended, Backplane, Epoch, Redis, RedisOptions, Room, Seq, Signal, Subscription,
};
use std::time::Duration;
use tests::servers::RedisServer;
use tokio::time::{Instant, sleep, timeout};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(20);

/// A node on one server.
pub async fn node(server: &RedisServer, name: &str) -> Redis {
    Redis::connect(RedisOptions::new(server.url(), name))
        .await
        .unwrap()
}

/// A room's name that no other test has.
pub fn room(label: &str) -> Room {
    Room::parse(&format!("{label}-{:016x}", rand::random::<u64>())).unwrap()
}

/// An append of one event, stamped now.
pub fn event(node: &Redis, epoch: Option<&Epoch>, expected: Seq, text: &str) -> Append {
    Append {
        epoch: epoch.cloned(),
        expected,
        events: vec![Bytes::copy_from_slice(text.as_bytes())],
        at: node.now(),
        deadline: None,
    }
}

/// Creates a log of one event; answers its epoch.
pub async fn create(node: &Redis, room: &Room) -> Epoch {
    match node
        .append(room, event(node, None, 0, "created"))
        .await
        .unwrap()
    {
        Appended::Appended { epoch } => epoch,
        other => panic!("{other:?}"),
    }
}

/// The next signal, which must come.
pub async fn next(subscription: &mut Subscription) -> Signal {
    timeout(PATIENCE, subscription.recv())
        .await
        .expect("waited in vain for a signal")
        .expect("the subscription ended")
}

/// Waits for a fact.
pub async fn until(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !fact().await {
        assert!(Instant::now() < end, "waited in vain until {what}");
        sleep(Duration::from_millis(20)).await;
    }
}
