//! What is heard, by whom, in which order.

use crate::nodes::*;
use bytes::Bytes;
use pubsub::*;
use std::time::Duration;
use tokio::time::timeout;

fn is_events(signal: &Signal) -> Option<Signal> {
    matches!(signal, Signal::Events(_)).then(|| signal.clone())
}

pub async fn the_same_bytes_come_in_order_to_every_node(nodes: Nodes) {
    let room = nodes.room("room");
    let mut ears = Vec::new();
    for node in nodes.all() {
        ears.push(Ear::new(&*node, &room).await);
    }
    let mut epoch = None;
    let mut all: Vec<Bytes> = Vec::new();
    for time in 0..40 {
        let node = &*nodes.all()[time % 3];
        let own: Vec<Bytes> = (0..=time % 3)
            .map(|part| Bytes::from(format!("{time}/{part}")))
            .collect();
        let asked = append(node, epoch.as_ref(), all.len() as Seq, own.clone());
        epoch = Some(must_append(node, &room, asked).await);
        all.extend(own);
    }
    for ear in &mut ears {
        let heard = ear.events(epoch.as_ref().unwrap(), 0, all.len()).await;
        assert_eq!(heard, all);
    }
}

pub async fn refused_appends_are_not_heard(nodes: Nodes) {
    let (node, room) = (&*nodes.a, nodes.room("room"));
    let epoch = create(node, &room, &["a", "b"]).await;
    let mut ear = Ear::new(&*nodes.b, &room).await;
    let stranger = Epoch::new(9, "stranger");
    for (epoch, expected, texts) in [
        (&epoch, 0, ["a", "b"]),
        (&epoch, 1, ["x", "y"]),
        (&epoch, 5, ["x", "y"]),
        (&stranger, 2, ["x", "y"]),
    ] {
        node.append(&room, append(node, Some(epoch), expected, events(&texts)))
            .await
            .unwrap();
    }
    let early = Append {
        at: node.now() + 60_000,
        ..append(node, Some(&epoch), 2, events(&["x"]))
    };
    node.append(&room, early).await.unwrap();
    node.publish(&room, message("mark", "")).await.unwrap();
    ear.nothing_before("mark", is_events).await;
}

pub async fn messages_come_to_those_who_listen(nodes: Nodes) {
    let (room, other) = (nodes.room("room"), nodes.room("other"));
    nodes
        .a
        .publish(&room, message("early", "nobody listens"))
        .await
        .unwrap();
    let mut ears = Vec::new();
    for node in nodes.all() {
        ears.push(Ear::new(&*node, &room).await);
    }
    let mut elsewhere = Ear::new(&*nodes.b, &other).await;
    nodes.a.publish(&room, message("one", "1")).await.unwrap();
    nodes.a.publish(&room, message("two", "2")).await.unwrap();
    for ear in &mut ears {
        // Late is allowed: the early one may have been on its way to a replica.
        assert_eq!(ear.message_but("early").await, message("one", "1"));
        assert_eq!(ear.message().await, message("two", "2"));
    }
    nodes.a.publish(&other, message("mark", "")).await.unwrap();
    elsewhere
        .nothing_before("mark", |signal| Some(signal.clone()))
        .await;
    assert_eq!(nodes.a.end(&room).await.unwrap(), None, "beside the log");
}

pub async fn hostile_bytes_are_heard_unchanged(nodes: Nodes) {
    let (node, room) = (&*nodes.a, nodes.room("room"));
    let mut ear = Ear::new(&*nodes.b, &room).await;
    for body in hostile_bytes() {
        node.publish(&room, message("body", body.clone()))
            .await
            .unwrap();
        assert_eq!(ear.message().await, message("body", body));
    }
    let all = hostile_bytes();
    let epoch = must_append(node, &room, append(node, None, 0, all.clone())).await;
    assert_eq!(ear.events(&epoch, 0, all.len()).await, all);
    for (seq, event) in (all.len() as Seq..).zip(&all) {
        must_append(
            node,
            &room,
            append(node, Some(&epoch), seq, vec![event.clone()]),
        )
        .await;
    }
    assert_eq!(ear.events(&epoch, all.len() as Seq, all.len()).await, all);
}

pub async fn a_subscription_ends_and_begins_again(nodes: Nodes) {
    let (node, room) = (&*nodes.a, nodes.room("room"));
    for time in 0..5 {
        let mut ear = Ear::new(&*nodes.b, &room).await;
        node.publish(&room, message("during", format!("{time}")))
            .await
            .unwrap();
        // What was published just before may be on its way still.
        let heard = ear.message_but("between").await;
        assert_eq!(heard, message("during", format!("{time}")));
        drop(ear);
        node.publish(&room, message("between", "")).await.unwrap();
    }
    // Begun again before it has quite ended, and again while that is under way.
    drop(nodes.b.subscribe(&room));
    let mut first = nodes.b.subscribe(&room);
    drop(nodes.b.subscribe(&room));
    assert_eq!(
        soon("the first signal", first.recv()).await,
        Some(Signal::Resync)
    );
    let mut ear = Ear(first);
    node.publish(&room, message("last", "")).await.unwrap();
    while ear.message().await.topic != "last" {}
}

pub async fn one_listener_leaving_does_not_silence_another(nodes: Nodes) {
    let (node, room) = (&*nodes.a, nodes.room("room"));
    let mut stays = Ear::new(&*nodes.b, &room).await;
    let mut leaves = Ear::new(&*nodes.b, &room).await;
    node.publish(&room, message("both", "")).await.unwrap();
    assert_eq!(leaves.message().await.topic, "both");
    assert_eq!(stays.message().await.topic, "both");
    drop(leaves);
    for time in 0..20 {
        node.publish(&room, message("one", format!("{time}")))
            .await
            .unwrap();
        assert_eq!(stays.message().await, message("one", format!("{time}")));
    }
}

pub async fn a_listener_who_is_busy_is_told_to_resynchronise(nodes: Nodes) {
    let (node, room) = (&*nodes.a, nodes.room("room"));
    let mut busy = Ear::new(&*nodes.b, &room).await;
    let mut attentive = Ear::new(&*nodes.b, &room).await;
    let all: Vec<Bytes> = (0..2 * SIGNALS_LEN_MAX)
        .map(|seq| Bytes::from(format!("event {seq}")))
        .collect();
    let mut epoch = None;
    for (seq, event) in (0..).zip(&all) {
        let asked = append(node, epoch.as_ref(), seq, vec![event.clone()]);
        let named = must_append(node, &room, asked).await;
        // One who keeps up hears everything, whatever the other does.
        assert_eq!(
            attentive.events(&named, seq, 1).await,
            std::slice::from_ref(event)
        );
        epoch = Some(named);
    }
    let mut resync = false;
    let mut heard = 0;
    while !resync {
        match busy.next().await {
            Signal::Resync => resync = true,
            Signal::Events(log) => heard = log.first + log.events.len() as Seq,
            other => panic!("{other:?}"),
        }
    }
    assert!(heard < all.len() as Seq, "the queue has an end");
    // Once he has taken what was queued before, he hears again.
    let mut hears = false;
    for _ in 0..50 {
        node.publish(&room, message("after", "")).await.unwrap();
        hears |= timeout(Duration::from_millis(200), busy.message())
            .await
            .is_ok();
    }
    assert!(hears);
}

pub async fn many_rooms_are_heard_at_once(nodes: Nodes) {
    const ROOMS: usize = 150;
    let rooms: Vec<Room> = (0..ROOMS)
        .map(|index| nodes.room(&format!("room{index}")))
        .collect();
    let subscriptions: Vec<Subscription> =
        rooms.iter().map(|room| nodes.b.subscribe(room)).collect();
    let mut ears = Vec::new();
    for (index, mut subscription) in subscriptions.into_iter().enumerate() {
        assert_eq!(
            soon("the first signal", subscription.recv()).await,
            Some(Signal::Resync)
        );
        // Every third leaves again.
        ears.push((index % 3 > 0).then_some(Ear(subscription)));
    }
    for (room, ear) in rooms.iter().zip(&mut ears) {
        let epoch = create(&*nodes.a, room, &[room.as_str()]).await;
        if let Some(ear) = ear {
            assert_eq!(ear.events(&epoch, 0, 1).await, events(&[room.as_str()]));
        }
    }
}
