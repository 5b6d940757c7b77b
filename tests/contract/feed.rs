//! The feed on a bad network. Not part of the contract: it is the same code on every backplane.

use crate::nodes::{create, events, message, must_append};
use bytes::Bytes;
use pubsub::{feed::*, *};
use std::{sync::Arc, time::Duration};
use tests::faulty::{Faulty, Link, Plan};
use tokio::time::{Instant, timeout};

/// A backplane, and a node whose link to it is bad in this way.
fn node(plan: Plan) -> (Embedded, Arc<Faulty<Embedded>>, Room) {
    let options = embedded::Options {
        start: Some(1_000_000_000),
        seed: Some(1),
        ..Default::default()
    };
    let backplane = Embedded::new(options).unwrap();
    let node = Arc::new(Faulty::new(Arc::new(backplane.clone()), plan, 1));
    (backplane, node, Room::parse("room").unwrap())
}

async fn within(seconds: u64, feed: &mut Feed) -> Option<FeedItem> {
    timeout(Duration::from_secs(seconds), feed.next())
        .await
        .ok()
}

async fn append(backplane: &Embedded, room: &Room, epoch: &Epoch, expected: Seq) {
    let event = Bytes::from(format!("event {expected}"));
    let asked = crate::nodes::append(backplane, Some(epoch), expected, vec![event]);
    must_append(backplane, room, asked).await;
}

#[tokio::test(start_paused = true)]
async fn messages_come_while_the_log_cannot_be_read() {
    let plan = Plan {
        lost_calls: 1.0,
        ..Plan::calm(0)
    };
    let (backplane, node, room) = node(plan);
    let epoch = create(&backplane, &room, &["a"]).await;
    let mut feed = Feed::new(node.clone(), room.clone());
    assert_eq!(within(30, &mut feed).await, None, "nothing can be read");
    for text in ["1", "2", "3"] {
        backplane
            .publish(&room, message("chat", text))
            .await
            .unwrap();
        let before = Instant::now();
        assert_eq!(feed.next().await, FeedItem::Message(message("chat", text)));
        assert!(before.elapsed() < Duration::from_millis(100));
    }
    assert!(feed.catch_up().await.is_err());
    node.make_peace();
    let reset = FeedItem::Reset {
        epoch,
        events: events(&["a"]),
    };
    assert_eq!(within(10, &mut feed).await, Some(reset));
}

#[tokio::test(start_paused = true)]
async fn what_is_known_is_kept_while_nothing_can_be_read() {
    let (backplane, node, room) = node(Plan::calm(0));
    let epoch = create(&backplane, &room, &["a"]).await;
    let mut feed = Feed::new(node.clone(), room.clone());
    feed.next().await;
    node.set_link(Link::Cut);
    append(&backplane, &room, &epoch, 1).await;
    assert_eq!(within(300, &mut feed).await, None);
    assert_eq!(feed.position(), Some((epoch, 1)));
    // Not more than one attempt in the time one takes to fail.
    let calls = node.faults().calls;
    assert!(calls < 300 / CALL_TIMEOUT.as_secs() + 10, "{calls} calls");
    node.set_link(Link::Whole);
    assert_eq!(
        within(10, &mut feed).await,
        Some(FeedItem::Events {
            first: 1,
            events: events(&["event 1"])
        })
    );
}

#[tokio::test(start_paused = true)]
async fn a_signal_lost_before_a_silence_is_found_by_the_slow_check() {
    let plan = Plan {
        lost_signals: 1.0,
        ..Plan::calm(0)
    };
    let (backplane, node, room) = node(plan);
    let epoch = create(&backplane, &room, &["a"]).await;
    let mut feed = Feed::new(node, room.clone());
    feed.next().await;
    for seq in 1..20 {
        append(&backplane, &room, &epoch, seq).await;
        let before = Instant::now();
        let event = events(&[&format!("event {seq}")]);
        let item = FeedItem::Events {
            first: seq,
            events: event,
        };
        assert_eq!(within(60, &mut feed).await, Some(item));
        assert!(before.elapsed() <= CHECK_EVERY + CHECK_JITTER);
    }
}

#[tokio::test(start_paused = true)]
async fn a_room_is_shown_though_the_channel_is_deaf() {
    let (backplane, node, room) = node(Plan::calm(0));
    node.set_link(Link::Deaf);
    create(&backplane, &room, &["a"]).await;
    let before = Instant::now();
    let mut feed = Feed::new(node, room);
    assert!(matches!(
        within(10, &mut feed).await,
        Some(FeedItem::Reset { .. })
    ));
    assert!(before.elapsed() < 2 * SUBSCRIBE_PATIENCE);
}

#[tokio::test(start_paused = true)]
async fn a_room_that_is_heard_well_is_read_once() {
    let (backplane, node, room) = node(Plan::calm(0));
    let epoch = create(&backplane, &room, &["a"]).await;
    let mut feed = Feed::new(node.clone(), room.clone());
    feed.next().await;
    for seq in 1..500 {
        append(&backplane, &room, &epoch, seq).await;
        feed.next().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(node.faults().calls, 1);
    // And a silent one now and then.
    assert_eq!(within(3_600, &mut feed).await, None);
    let calls = node.faults().calls;
    assert!(
        (3_600 / 25..3_600 / 14).contains(&calls),
        "{calls} calls in an hour"
    );
}

#[tokio::test(start_paused = true)]
async fn a_call_cancelled_at_any_moment_loses_nothing() {
    for seed in 0..20 {
        let plan = Plan {
            storms: None,
            ..Plan::rough(seed)
        };
        let (backplane, node, room) = node(plan);
        let epoch = create(&backplane, &room, &["event 0"]).await;
        let mut feed = Feed::new(node, room.clone());
        let mut known: Vec<Bytes> = Vec::new();
        let mut end = 1;
        let mut cancelled = 0;
        while known.len() < 200 {
            if end < 200 && cancelled % 3 == 0 {
                append(&backplane, &room, &epoch, end).await;
                end += 1;
            }
            // Given up after some milliseconds, or before it did anything at all.
            let patience = Duration::from_millis(cancelled % 40);
            let item = match cancelled % 7 {
                0 => {
                    let _ = timeout(patience, feed.catch_up()).await;
                    feed.ready()
                }
                _ => timeout(patience, feed.next()).await.ok(),
            };
            cancelled += 1;
            match item {
                Some(FeedItem::Reset { events, .. }) => known = events,
                Some(FeedItem::Events { first, events }) => {
                    assert_eq!(first, known.len() as Seq);
                    known.extend(events);
                }
                _ => {}
            }
            assert!(cancelled < 1_000_000, "stuck at {} of {end}", known.len());
        }
        assert_eq!(known, crate::nodes::log(&backplane, &room).await);
    }
}
