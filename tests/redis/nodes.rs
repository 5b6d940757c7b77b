//! Nodes on servers, and what tests do with them.

use bytes::Bytes;
use pubsub::{
    Append, Appended, Backplane, Epoch, Message, Put, Redis, RedisOptions, Restore, Room, Seeker,
    Seq, Signal, Sought, Subscription, Take,
};
use std::time::Duration;
use tests::servers::RedisServer;
use tokio::time::{Instant, sleep, timeout};

/// How long a test waits for what must come.
pub const PATIENCE: Duration = Duration::from_secs(60);

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
        Appended::Appended { epoch, .. } => epoch,
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

/// Every call there is, once.
pub async fn everything(node: &Redis) {
    let (room, ttl) = (room("everything"), Duration::from_secs(60));
    let name = room.to_string();
    let message = Message {
        topic: "chat".to_owned(),
        body: "a".into(),
    };
    create(node, &room).await;
    node.read(&room, 0).await.unwrap().unwrap();
    node.end(&room).await.unwrap().unwrap();
    let mut subscription = node.subscribe(&room);
    assert_eq!(next(&mut subscription).await, Signal::Resync);
    node.publish(&room, message.clone()).await.unwrap();
    node.say(&room, message.clone()).await.unwrap();
    assert_eq!(
        next(&mut subscription).await,
        Signal::Message(message.clone())
    );
    assert_eq!(next(&mut subscription).await, Signal::Message(message));
    assert_eq!(node.history(&room, "chat").await.unwrap().len(), 1);
    let (epoch, end) = node.end(&room).await.unwrap().unwrap();
    node.confirm(&room, &epoch, end).await.unwrap();
    let restore = Restore {
        epoch,
        events: vec!["created".into(), "restored".into()],
        deadline: None,
    };
    node.restore(&room, restore).await.unwrap();
    node.beat().await.unwrap();
    node.outages(&room).await.unwrap();
    node.attend(&room, "a", &[1, 0], ttl).await.unwrap();
    node.sweep("a", i64::MAX / 4, 10, ttl).await.unwrap();
    node.put(&name, "value".into(), ttl, Put::Replace)
        .await
        .unwrap();
    node.put(&name, "value".into(), ttl, Put::IfAbsent)
        .await
        .unwrap();
    assert!(node.get(&name).await.unwrap().is_some());
    node.remove(&name).await.unwrap();
    node.join_set(&name, "member", ttl).await.unwrap();
    assert_eq!(node.set(&name).await.unwrap(), ["member"]);
    node.leave_set(&name, "member").await.unwrap();
    let seeker = |id: &str| Seeker {
        id: format!("{id}-{name}"),
        user: id.to_owned(),
        mailbox: room.clone(),
        data: "data".into(),
    };
    let (ann, bob, cid) = (seeker("ann"), seeker("bob"), seeker("cid"));
    assert_eq!(node.seek(&name, &ann).await.unwrap(), Sought::Waiting);
    assert!(node.renew_seeks(&name, &[ann.id]).await.unwrap().is_empty());
    let Sought::Offered { offer } = node.seek(&name, &bob).await.unwrap() else {
        panic!("nobody waits");
    };
    assert!(
        node.accept_offer(&name, &offer, "pair".into())
            .await
            .unwrap()
            .is_some()
    );
    node.refuse_offer(&name, &offer).await.unwrap();
    assert!(node.settle_offer(&name, &offer).await.unwrap().is_some());
    assert_eq!(node.seek(&name, &cid).await.unwrap(), Sought::Waiting);
    assert!(node.cancel_seek(&name, &cid.id).await.unwrap());
    // The archive's queue, empty where the options do not ask for one.
    let take = Take {
        limit: 100,
        lease: ttl,
        only: None,
    };
    let taken = node.take("archiver", &take).await.unwrap();
    let again = node.reclaim("archiver", Duration::ZERO, 100).await.unwrap();
    let positions: Vec<_> = taken.iter().chain(&again).map(|e| e.position).collect();
    node.backlog().await.unwrap();
    node.acknowledge(&positions).await.unwrap();
    assert_eq!(
        positions.is_empty(),
        node.watermarks().await.unwrap().is_empty()
    );
    node.queue_end(&room).await.unwrap();
    let (epoch, end) = node.end(&room).await.unwrap().unwrap();
    node.forget(&room, &epoch, end).await.unwrap();
}
