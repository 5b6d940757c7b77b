//! The feed, over real nodes.

use crate::nodes::*;
use bytes::Bytes;
use pubsub::*;
use std::sync::Arc;

/// What a node knows of a room through its feed; checks that it is dense and without repeats.
#[derive(Default)]
struct Known {
    epoch: Option<Epoch>,
    events: Vec<Bytes>,
}

impl Known {
    fn take(&mut self, item: FeedItem) {
        match item {
            FeedItem::Reset { epoch, events } => (self.epoch, self.events) = (Some(epoch), events),
            FeedItem::Events { first, events } => {
                assert_eq!(first, self.events.len() as Seq, "a gap or a repeat");
                self.events.extend(events);
            }
            FeedItem::Missing => *self = Known::default(),
            FeedItem::Message(_) | FeedItem::Attendance(_) | FeedItem::Short => {}
        }
    }
}

/// Decides on top of what its feed told until it has appended its share, then follows until the log has `total` events.
async fn play(
    node: Arc<dyn Backplane>,
    room: Room,
    who: usize,
    share: usize,
    total: usize,
) -> Vec<Bytes> {
    let mut feed = Feed::new(node.clone(), room.clone());
    let mut known = Known::default();
    let mut done = 0;
    loop {
        while let Some(item) = feed.ready() {
            known.take(item);
        }
        if known.events.len() == total {
            return known.events;
        }
        if done == share {
            known.take(soon("the others' events", feed.next()).await);
            continue;
        }
        let event = vec![Bytes::from(format!("{who}/{done}"))];
        let expected = known.events.len() as Seq;
        let asked = append(&*node, known.epoch.as_ref(), expected, event.clone());
        match node.append(&room, asked).await.unwrap() {
            Appended::Appended { epoch, .. } => {
                done += 1;
                feed.appended(epoch, expected, event);
            }
            Appended::Conflict { epoch, missed } => feed.appended(epoch, expected, missed),
            other => panic!("{other:?}"),
        }
        tokio::task::yield_now().await;
    }
}

pub async fn every_node_sees_the_same_dense_room(nodes: Nodes) {
    const SHARE: usize = 40;
    let room = nodes.room("room");
    let tasks: Vec<_> = (0..4)
        .map(|who| {
            // The fourth only watches.
            let share = if who == 3 { 0 } else { SHARE };
            let node = nodes.all()[who % 3].clone();
            tokio::spawn(play(node, room.clone(), who, share, 3 * SHARE))
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.unwrap(), log(&*nodes.a, &room).await);
    }
}

pub async fn catching_up_sees_what_was_answered(nodes: Nodes) {
    let room = nodes.room("room");
    let mut feed = Feed::new(nodes.b.clone(), room.clone());
    let mut known = Known::default();
    let mut epoch = None;
    for seq in 0..50 {
        let asked = append(&*nodes.a, epoch.as_ref(), seq, events(&["event"]));
        epoch = Some(must_append(&*nodes.a, &room, asked).await);
        feed.catch_up().await.unwrap();
        while let Some(item) = feed.ready() {
            known.take(item);
        }
        assert_eq!(known.events.len() as Seq, seq + 1);
        assert_eq!(feed.position(), epoch.clone().map(|epoch| (epoch, seq + 1)));
    }
}
