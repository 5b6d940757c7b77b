//! The archive's queue: taken, acknowledged, reclaimed; how far it is archived; and forgetting what is.

use crate::nodes::*;
use bytes::Bytes;
use pubsub::{
    queue::{ARCHIVED, decode_watermarks, queue_room},
    *,
};
use std::time::Duration;
use tokio::time::sleep;

/// A lease that another check can wait out.
const LEASE: Duration = Duration::from_millis(300);

/// More entries than other checks on the same servers leave.
const MANY: usize = 100_000;

fn take() -> Take {
    Take {
        limit: MANY,
        lease: LEASE,
        only: None,
    }
}

/// Appends by the one node that has a queue, and answers where it stands.
async fn queue(
    nodes: &Nodes,
    room: &Room,
    epoch: Option<&Epoch>,
    first: Seq,
    texts: &[&str],
) -> (Epoch, QueuePosition) {
    let asked = append(&*nodes.a, epoch, first, events(texts));
    match nodes.a.append(room, asked).await.unwrap() {
        Appended::Appended {
            epoch,
            queued: Some(position),
        } => (epoch, position),
        other => panic!("{other:?}"),
    }
}

/// What this check's rooms have in the queue, taken by `consumer`; all else that comes is acknowledged, so that it is in
/// nobody's way.
async fn taken(node: &dyn Backplane, consumer: &str, own: &[&Room], known: &mut Vec<Entry>) {
    let entries = node.take(consumer, &take()).await.unwrap();
    sort(node, entries, own, known).await;
}

async fn sort(node: &dyn Backplane, entries: Vec<Entry>, own: &[&Room], known: &mut Vec<Entry>) {
    let is_own = |entry: &Entry| matches!(&entry.content, Content::Events { room, .. } if own.contains(&room));
    let (own, others): (Vec<_>, Vec<_>) = entries.into_iter().partition(is_own);
    known.extend(own);
    let others: Vec<_> = others.iter().map(|entry| entry.position).collect();
    node.acknowledge(&others).await.unwrap();
}

/// Takes until so many events of the room have come.
async fn must_take(nodes: &Nodes, consumer: &str, room: &Room, count: usize) -> Vec<Entry> {
    let known = tokio::sync::Mutex::new(Vec::new());
    wait_until("they are taken", || async {
        let mut known = known.lock().await;
        taken(&*nodes.b, consumer, &[room], &mut known).await;
        events_of(&known, room).len() >= count
    })
    .await;
    known.into_inner()
}

/// The room's events, which must come in order.
fn events_of(entries: &[Entry], of: &Room) -> Vec<Bytes> {
    let mut all = Vec::new();
    for entry in entries {
        let Content::Events { room, log } = &entry.content else {
            continue;
        };
        if room == of {
            assert_eq!(log.first, all.len() as Seq, "dense, once, and in order");
            all.extend(log.events.iter().cloned());
        }
    }
    all
}

fn positions(entries: &[Entry]) -> Vec<QueuePosition> {
    entries.iter().map(|entry| entry.position).collect()
}

async fn covers(node: &dyn Backplane, position: &QueuePosition) -> bool {
    let marks = node.watermarks().await.unwrap();
    marks.iter().any(|mark| mark.covers(position))
}

pub async fn what_is_appended_is_taken_once_and_in_order(nodes: Nodes) {
    let room = nodes.room("room");
    let hostile = hostile_bytes();
    let created = append(&*nodes.a, None, 0, hostile.clone());
    let epoch = must_append(&*nodes.a, &room, created).await;
    let (_, second) = queue(
        &nodes,
        &room,
        Some(&epoch),
        hostile.len() as Seq,
        &["x", "y"],
    )
    .await;
    let refused = append(&*nodes.a, Some(&epoch), 0, events(&["no"]));
    nodes.a.append(&room, refused).await.unwrap();
    let (_, last) = queue(
        &nodes,
        &room,
        Some(&epoch),
        hostile.len() as Seq + 2,
        &["z"],
    )
    .await;
    assert!((second.partition, second.life) == (last.partition, last.life) && second < last);

    let consumer = nodes.name("archiver");
    let mut entries = must_take(&nodes, &consumer, &room, hostile.len() + 3).await;
    // A moment later nothing has come twice.
    taken(&*nodes.c, &consumer, &[&room], &mut entries).await;
    let all = [hostile, events(&["x", "y", "z"])].concat();
    assert_eq!(events_of(&entries, &room), all);
    assert_eq!(entries.last().unwrap().position, last);
    for entry in &entries {
        assert!(matches!(&entry.content, Content::Events { log, .. } if log.epoch == epoch));
    }
    nodes.a.acknowledge(&positions(&entries)).await.unwrap();
    wait_until("the watermark covers it", || covers(&*nodes.c, &last)).await;
}

pub async fn an_entry_held_back_holds_the_watermark_back(nodes: Nodes) {
    let (room, consumer) = (nodes.room("room"), nodes.name("archiver"));
    let (epoch, first) = queue(&nodes, &room, None, 0, &["a"]).await;
    let early = must_take(&nodes, &consumer, &room, 1).await;
    let (_, second) = queue(&nodes, &room, Some(&epoch), 1, &["b"]).await;
    let mut late = Vec::new();
    while late.is_empty() {
        taken(&*nodes.b, &consumer, &[&room], &mut late).await;
    }
    nodes.b.acknowledge(&positions(&late)).await.unwrap();
    assert!(!covers(&*nodes.a, &first).await);
    assert!(!covers(&*nodes.a, &second).await);
    assert!(nodes.c.backlog().await.unwrap().entries > 0);
    // A repeat changes nothing.
    nodes.c.acknowledge(&positions(&late)).await.unwrap();
    assert!(!covers(&*nodes.a, &second).await);
    nodes.c.acknowledge(&positions(&early)).await.unwrap();
    wait_until("all is covered", || async {
        covers(&*nodes.a, &first).await && covers(&*nodes.b, &second).await
    })
    .await;
}

pub async fn what_a_dead_consumer_took_is_reclaimed(nodes: Nodes) {
    const IDLE: Duration = Duration::from_millis(200);
    let (room, dead, heir) = (nodes.room("room"), nodes.name("dead"), nodes.name("heir"));
    let (_, position) = queue(&nodes, &room, None, 0, &["a", "b"]).await;
    let before = must_take(&nodes, &dead, &room, 2).await;
    let early = nodes
        .c
        .reclaim(&heir, Duration::from_secs(3600), MANY)
        .await
        .unwrap();
    assert_eq!(early, [], "nobody has been dead for an hour");
    let backlog = nodes.c.backlog().await.unwrap();
    assert!(
        backlog
            .oldest
            .is_some_and(|oldest| oldest <= nodes.c.now() + nodes.slack())
    );
    sleep(IDLE * 2).await;
    let mut after = Vec::new();
    let reclaimed = nodes.c.reclaim(&heir, IDLE, MANY).await.unwrap();
    sort(&*nodes.c, reclaimed, &[&room], &mut after).await;
    assert_eq!(after, before);
    assert!(!covers(&*nodes.a, &position).await);
    nodes.c.acknowledge(&positions(&after)).await.unwrap();
    wait_until("it is covered", || covers(&*nodes.a, &position)).await;
    let again = nodes.c.reclaim(&heir, Duration::ZERO, MANY).await.unwrap();
    assert_eq!(again, [], "acknowledged is acknowledged");
}

pub async fn one_consumer_reads_at_a_time(nodes: Nodes) {
    let (room, first, second) = (
        nodes.room("room"),
        nodes.name("first"),
        nodes.name("second"),
    );
    let long = Take {
        lease: Duration::from_secs(2),
        ..take()
    };
    // Whoever held the lease before this check lets it lapse.
    let mut known = Vec::new();
    let (epoch, _) = queue(&nodes, &room, None, 0, &["a"]).await;
    wait_until("the first has the lease", || async {
        let entries = nodes.a.take(&first, &long).await.unwrap();
        let has_it = !entries.is_empty();
        nodes.a.acknowledge(&positions(&entries)).await.unwrap();
        has_it
    })
    .await;
    let (_, position) = queue(&nodes, &room, Some(&epoch), 1, &["b"]).await;
    taken(&*nodes.b, &second, &[&room], &mut known).await;
    assert_eq!(known, [], "the first reads");
    // One who knows that something is there need not wait for it.
    let only = Take {
        only: Some(vec![position.partition]),
        ..take()
    };
    wait_until("it is taken all the same", || async {
        let entries = nodes.b.take(&second, &only).await.unwrap();
        nodes.b.acknowledge(&positions(&entries)).await.unwrap();
        covers(&*nodes.b, &position).await
    })
    .await;
    // And who died loses it.
    let (_, position) = queue(&nodes, &room, Some(&epoch), 2, &["c"]).await;
    let entries = must_take(&nodes, &second, &nodes.room("none"), 0).await;
    assert_eq!(entries, []);
    wait_until("the second has the lease", || async {
        let entries = nodes.b.take(&second, &take()).await.unwrap();
        nodes.b.acknowledge(&positions(&entries)).await.unwrap();
        covers(&*nodes.b, &position).await
    })
    .await;
}

pub async fn whoever_waits_is_told(nodes: Nodes) {
    let (room, consumer) = (nodes.room("room"), nodes.name("archiver"));
    let mut ear = Ear::new(&*nodes.c, &queue_room()).await;
    let stop = tokio_util::sync::CancellationToken::new();
    let progress = Progress::follow(nodes.b.clone(), stop.clone());
    let (_, position) = queue(&nodes, &room, None, 0, &["a"]).await;
    assert!(!progress.is_archived(&position));
    let entries = must_take(&nodes, &consumer, &room, 1).await;
    nodes.a.acknowledge(&positions(&entries)).await.unwrap();
    soon("progress", progress.archived(&position)).await;
    assert!(progress.is_archived(&position));
    loop {
        let message = ear.message().await;
        assert_eq!(message.topic, ARCHIVED);
        let marks = decode_watermarks(&message.body);
        if marks.iter().any(|mark| mark.covers(&position)) {
            break;
        }
    }
    // One who comes later knows too.
    let late = Progress::follow(nodes.c.clone(), stop);
    soon("late progress", late.archived(&position)).await;
}

pub async fn the_end_of_a_queue_covers_a_room(nodes: Nodes) {
    let (room, consumer) = (nodes.room("room"), nodes.name("archiver"));
    let (_, position) = queue(&nodes, &room, None, 0, &["a"]).await;
    let end = nodes.c.queue_end(&room).await.unwrap().unwrap();
    assert_eq!(
        (end.partition, end.life),
        (position.partition, position.life)
    );
    assert!(end >= position);
    let entries = must_take(&nodes, &consumer, &room, 1).await;
    nodes.b.acknowledge(&positions(&entries)).await.unwrap();
    // Trimmed, it is still known.
    wait_until("it is covered", || covers(&*nodes.a, &position)).await;
    let end = nodes.c.queue_end(&room).await.unwrap().unwrap();
    assert!(end >= position);
}

pub async fn what_is_over_and_archived_is_forgotten(nodes: Nodes) {
    let (room, consumer) = (nodes.room("room"), nodes.name("archiver"));
    let mut asked = append(&*nodes.a, None, 0, events(&["a", "b"]));
    asked.deadline = Some(1);
    let epoch = must_append(&*nodes.a, &room, asked).await;
    let entries = must_take(&nodes, &consumer, &room, 2).await;
    nodes.b.acknowledge(&positions(&entries)).await.unwrap();
    let stranger = Epoch::new(epoch.generation(), "stranger");
    assert!(!nodes.b.forget(&room, &stranger, 2).await.unwrap());
    assert!(!nodes.b.forget(&room, &epoch, 1).await.unwrap());
    assert!(!nodes.b.forget(&room, &epoch, 3).await.unwrap());
    nodes
        .c
        .attend(&room, &nodes.name("c"), &[1], PATIENCE)
        .await
        .unwrap();
    assert!(
        !nodes.b.forget(&room, &epoch, 2).await.unwrap(),
        "somebody is there"
    );
    nodes
        .c
        .attend(&room, &nodes.name("c"), &[0], PATIENCE)
        .await
        .unwrap();
    assert_eq!(log(&*nodes.c, &room).await, events(&["a", "b"]));
    assert!(nodes.b.forget(&room, &epoch, 2).await.unwrap());
    assert_eq!(nodes.c.read(&room, 0).await.unwrap(), None);
    assert_eq!(nodes.a.end(&room).await.unwrap(), None);
    assert!(
        nodes.a.forget(&room, &epoch, 2).await.unwrap(),
        "it is gone"
    );
    let due = nodes
        .a
        .sweep(&nodes.name("sweeper"), 2, MANY, LEASE)
        .await
        .unwrap();
    assert!(
        due.iter().all(|(other, _)| *other != room),
        "its deadline too"
    );
}
