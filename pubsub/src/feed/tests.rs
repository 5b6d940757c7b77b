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

async fn append(
    backplane: &Embedded,
    epoch: Option<Epoch>,
    expected: Seq,
    text: &'static str,
) -> Epoch {
    let append = Append {
        epoch,
        expected,
        events: vec![Bytes::from_static(text.as_bytes())],
        at: backplane.now(),
        deadline: None,
    };
    match backplane.append(&room(), append).await.unwrap() {
        crate::Appended::Appended { epoch } => epoch,
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn a_room_from_before_its_creation() {
    let backplane = embedded();
    let mut feed = Feed::new(Arc::new(backplane.clone()), room());
    assert_eq!(feed.next().await, FeedItem::Missing);
    let epoch = append(&backplane, None, 0, "a").await;
    let events = vec![Bytes::from("a")];
    let reset = FeedItem::Reset {
        epoch: epoch.clone(),
        events,
    };
    assert_eq!(feed.next().await, reset);
    append(&backplane, Some(epoch.clone()), 1, "b").await;
    feed.appended(epoch.clone(), 1, vec![Bytes::from("b")]);
    append(&backplane, Some(epoch.clone()), 2, "c").await;
    for (first, text) in [(1, "b"), (2, "c")] {
        let events = vec![Bytes::from(text)];
        assert_eq!(feed.next().await, FeedItem::Events { first, events });
    }
    assert_eq!(feed.position(), Some((epoch, 3)));
}
