#![allow(clippy::unwrap_used)]
use super::*;
use crate::{Append, Embedded, embedded::Options};

fn embedded() -> Embedded {
    let options = Options {
        start: Some(1_000_000),
        seed: Some(1),
        ..Options::default()
    };
    Embedded::new(options).unwrap()
}

fn room() -> Room {
    Room::parse("room").unwrap()
}

async fn append(backplane: &Embedded, epoch: Option<&Epoch>, expected: Seq, text: &str) -> Epoch {
    let append = Append {
        epoch: epoch.cloned(),
        expected,
        events: events(&[text]),
        at: backplane.now(),
        deadline: None,
    };
    match backplane.append(&room(), append).await.unwrap() {
        crate::Appended::Appended { epoch, .. } => epoch,
        other => panic!("{other:?}"),
    }
}

fn events(texts: &[&str]) -> Vec<Bytes> {
    texts
        .iter()
        .map(|text| Bytes::copy_from_slice(text.as_bytes()))
        .collect()
}

fn reset(epoch: &Epoch, texts: &[&str]) -> FeedItem {
    FeedItem::Reset {
        epoch: epoch.clone(),
        events: events(texts),
    }
}

fn given(first: Seq, texts: &[&str]) -> FeedItem {
    FeedItem::Events {
        first,
        events: events(texts),
    }
}

/// A room with these events, and a feed that has given them.
async fn fed(texts: &[&str]) -> (Embedded, Feed, Epoch) {
    let backplane = embedded();
    let mut feed = Feed::new(Arc::new(backplane.clone()), room());
    let mut epoch = None;
    for (seq, text) in (0..).zip(texts) {
        epoch = Some(append(&backplane, epoch.as_ref(), seq, text).await);
    }
    let epoch = epoch.unwrap();
    assert_eq!(feed.next().await, reset(&epoch, texts));
    assert_eq!(feed.position(), Some((epoch.clone(), texts.len() as Seq)));
    (backplane, feed, epoch)
}

/// What comes within so many seconds; `None` if nothing does.
async fn within(seconds: u64, feed: &mut Feed) -> Option<FeedItem> {
    timeout(Duration::from_secs(seconds), feed.next())
        .await
        .ok()
}

#[tokio::test(start_paused = true)]
async fn a_room_from_before_its_creation() {
    let backplane = embedded();
    let mut feed = Feed::new(Arc::new(backplane.clone()), room());
    assert_eq!(feed.next().await, FeedItem::Missing);
    assert_eq!(feed.position(), None);
    let epoch = append(&backplane, None, 0, "a").await;
    assert_eq!(feed.next().await, reset(&epoch, &["a"]));
    append(&backplane, Some(&epoch), 1, "b").await;
    feed.appended(epoch.clone(), 1, events(&["b"]));
    append(&backplane, Some(&epoch), 2, "c").await;
    assert_eq!(feed.next().await, given(1, &["b"]));
    assert_eq!(feed.next().await, given(2, &["c"]));
    assert_eq!(feed.position(), Some((epoch, 3)));
    assert_eq!(within(120, &mut feed).await, None);
}

#[tokio::test(start_paused = true)]
async fn what_the_node_appended_comes_at_once_and_once() {
    let (backplane, mut feed, epoch) = fed(&["a"]).await;
    append(&backplane, Some(&epoch), 1, "b").await;
    assert_eq!(feed.ready(), None);
    feed.appended(epoch, 1, events(&["b"]));
    assert_eq!(feed.ready(), Some(given(1, &["b"])));
    assert_eq!(within(120, &mut feed).await, None);
}

#[tokio::test(start_paused = true)]
async fn more_than_the_queue_holds_is_read() {
    let (backplane, mut feed, epoch) = fed(&["a"]).await;
    for seq in 1..2_000 {
        append(&backplane, Some(&epoch), seq, "more").await;
    }
    let mut end = 1;
    while end < 2_000 {
        let Some(FeedItem::Events { first, events }) = within(1, &mut feed).await else {
            panic!("stuck at {end}");
        };
        assert_eq!(first, end);
        end += events.len() as Seq;
    }
}

#[tokio::test(start_paused = true)]
async fn another_life_is_a_reset() {
    let (backplane, mut feed, _) = fed(&["a", "b"]).await;
    let next = Epoch::new(2, "next");
    // By the slow check.
    backplane.replace_log(&room(), Some((next.clone(), events(&["a"]))));
    assert_eq!(within(30, &mut feed).await, Some(reset(&next, &["a"])));
    // By a signal.
    let third = Epoch::new(3, "third");
    backplane.replace_log(&room(), Some((third.clone(), events(&["a", "x"]))));
    append(&backplane, Some(&third), 2, "y").await;
    assert_eq!(
        within(1, &mut feed).await,
        Some(reset(&third, &["a", "x", "y"]))
    );
    // By catching up.
    let fourth = Epoch::new(4, "fourth");
    backplane.replace_log(&room(), Some((fourth.clone(), events(&["z"]))));
    feed.catch_up().await.unwrap();
    assert_eq!(feed.ready(), Some(reset(&fourth, &["z"])));
}

#[tokio::test(start_paused = true)]
async fn a_log_restored_in_time_was_never_shorter() {
    let (backplane, mut feed, epoch) = fed(&["a", "b", "c"]).await;
    let older = Epoch::new(0, "older");
    for lost in [
        Some((epoch.clone(), events(&["a"]))),
        None,
        Some((older, events(&["x"]))),
    ] {
        backplane.replace_log(&room(), lost);
        feed.catch_up().await.unwrap_err();
        feed.catch_up().await.unwrap_err();
        assert_eq!(within(2, &mut feed).await, Some(FeedItem::Short), "once");
        assert_eq!(within(2, &mut feed).await, None);
        assert_eq!(
            feed.position(),
            Some((epoch.clone(), 3)),
            "keeps what it has"
        );
        backplane.replace_log(&room(), Some((epoch.clone(), events(&["a", "b", "c"]))));
        assert_eq!(
            within(2, &mut feed).await,
            Some(reset(&epoch, &["a", "b", "c"]))
        );
        feed.catch_up().await.unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn a_log_that_stays_short_or_gone_is_believed() {
    let (backplane, mut feed, epoch) = fed(&["a", "b", "c"]).await;
    backplane.replace_log(&room(), Some((epoch.clone(), events(&["a"]))));
    feed.resync();
    let before = Instant::now();
    assert_eq!(within(1, &mut feed).await, Some(FeedItem::Short));
    assert_eq!(within(10, &mut feed).await, Some(reset(&epoch, &["a"])));
    assert!(before.elapsed() >= 2 * DOUBT_PAUSE);
    backplane.replace_log(&room(), None);
    feed.resync();
    assert_eq!(within(1, &mut feed).await, Some(FeedItem::Short));
    assert_eq!(within(10, &mut feed).await, Some(FeedItem::Missing));
    assert_eq!(feed.position(), None);
    let epoch = append(&backplane, None, 0, "anew").await;
    assert_eq!(within(1, &mut feed).await, Some(reset(&epoch, &["anew"])));
}

#[tokio::test(start_paused = true)]
async fn a_tail_replaced_by_another_is_a_reset() {
    let (backplane, mut feed, epoch) = fed(&["a", "b", "c"]).await;
    // Lost, and gone on from there, before anybody looked.
    backplane.replace_log(&room(), Some((epoch.clone(), events(&["a", "b"]))));
    append(&backplane, Some(&epoch), 2, "x").await;
    append(&backplane, Some(&epoch), 3, "y").await;
    assert_eq!(
        within(1, &mut feed).await,
        Some(reset(&epoch, &["a", "b", "x", "y"]))
    );
}

#[tokio::test(start_paused = true)]
async fn a_subscription_that_ended_is_begun_again() {
    let (backplane, mut feed, epoch) = fed(&["a"]).await;
    let (_, ended) = Subscription::new(());
    feed.subscription = Some(ended);
    assert_eq!(within(2, &mut feed).await, None);
    append(&backplane, Some(&epoch), 1, "b").await;
    assert_eq!(within(1, &mut feed).await, Some(given(1, &["b"])));
    let message = Message {
        topic: "heard".into(),
        body: Bytes::new(),
    };
    backplane.publish(&room(), message.clone()).await.unwrap();
    assert_eq!(within(1, &mut feed).await, Some(FeedItem::Message(message)));
}

#[tokio::test(start_paused = true)]
async fn what_is_beside_the_log_is_passed_on() {
    let (backplane, mut feed, _) = fed(&["a"]).await;
    let attendance = backplane
        .attend(&room(), "node", &[1, 0], CALL_TIMEOUT)
        .await
        .unwrap();
    assert_eq!(feed.next().await, FeedItem::Attendance(attendance));
    assert_eq!(feed.position().unwrap().1, 1);
}
