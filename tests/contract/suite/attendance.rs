//! Who is there.

use crate::nodes::*;
use pubsub::*;
use std::time::Duration;
use tokio::time::{Instant, sleep};

/// A lease that outlasts the check.
const LONG: Duration = Duration::from_secs(60);
/// A lease that is to run out.
const SHORT: Duration = Duration::from_secs(2);

fn counts(attendance: &Attendance) -> Vec<u64> {
    attendance.groups.iter().map(|group| group.count).collect()
}

async fn attend(
    node: &dyn Backplane,
    room: &Room,
    name: &str,
    counts: &[u32],
    ttl: Duration,
) -> Attendance {
    let attendance = node.attend(room, name, counts, ttl).await.unwrap();
    for group in &attendance.groups {
        assert_eq!(
            group.count == 0,
            group.absent_since.is_some(),
            "{attendance:?}"
        );
    }
    attendance
}

pub async fn counts_of_all_nodes_are_added_up(nodes: Nodes) {
    let room = nodes.room("room");
    let mut ear = Ear::new(&*nodes.c, &room).await;
    let first = attend(&*nodes.a, &room, "node-a", &[1, 0, 5], LONG).await;
    assert_eq!(counts(&first), [1, 0, 5]);
    assert_eq!(ear.attendance().await, first, "they came");
    let second = attend(&*nodes.b, &room, "node-b", &[0, 1, 2], LONG).await;
    assert_eq!(counts(&second), [1, 1, 7]);
    assert_eq!(ear.attendance().await, second, "a group came to be there");
    let repeated = attend(&*nodes.b, &room, "node-b", &[0, 1, 2], LONG).await;
    assert_eq!(repeated, second, "a report replaces the node's last");
    let other = attend(&*nodes.b, &nodes.room("other"), "node-b", &[3], LONG).await;
    assert_eq!(counts(&other), [3]);
}

pub async fn a_node_that_leaves_is_subtracted(nodes: Nodes) {
    let room = nodes.room("room");
    let mut ear = Ear::new(&*nodes.c, &room).await;
    attend(&*nodes.a, &room, "node-a", &[1, 1], LONG).await;
    attend(&*nodes.b, &room, "node-b", &[1, 0], LONG).await;
    let left = attend(&*nodes.a, &room, "node-a", &[0, 0], LONG).await;
    assert_eq!(counts(&left), [1, 0]);
    while ear.attendance().await != left {}
    let left = attend(&*nodes.b, &room, "node-b", &[0, 0], LONG).await;
    assert_eq!(counts(&left), [0, 0]);
    assert_eq!(counts(&ear.attendance().await), [0, 0]);
}

pub async fn a_node_that_died_leaves_no_ghosts(nodes: Nodes) {
    let room = nodes.room("room");
    let mut ear = Ear::new(&*nodes.c, &room).await;
    attend(&*nodes.a, &room, "node-a", &[1, 0, 2], LONG).await;
    let died = Instant::now();
    let reports = attend(&*nodes.b, &room, "node-b", &[0, 1, 3], SHORT);
    let (both, reported) = nodes.timed(reports).await;
    assert_eq!(counts(&both), [1, 1, 5]);
    // Looks well after the lease ran out: what counts is when it did.
    sleep(SHORT / 2).await;
    let still = attend(&*nodes.a, &room, "node-a", &[1, 0, 2], LONG).await;
    if died.elapsed() < SHORT {
        assert_eq!(counts(&still), [1, 1, 5]);
    }
    sleep(SHORT / 2 + Duration::from_millis(1_200)).await;
    let lapsed = reported.map(|at| at + SHORT.as_millis() as Millis);
    let now = attend(&*nodes.a, &room, "node-a", &[1, 0, 2], LONG).await;
    assert_eq!(counts(&now), [1, 0, 2], "forgotten");
    assert_within(&nodes, now.groups[1].absent_since.unwrap(), lapsed);
    loop {
        let heard = ear.attendance().await;
        if counts(&heard) == [1, 0, 2] && heard.groups[1] == now.groups[1] {
            break;
        }
    }
}

pub async fn absence_counts_from_leaving(nodes: Nodes) {
    let room = nodes.room("room");
    attend(&*nodes.a, &room, "node-a", &[1, 0], LONG).await;
    attend(&*nodes.b, &room, "node-b", &[0, 1], LONG).await;
    sleep(Duration::from_millis(1_000)).await;
    let leaves = attend(&*nodes.b, &room, "node-b", &[0, 0], LONG);
    let (_, left) = nodes.timed(leaves).await;
    for _ in 0..3 {
        sleep(Duration::from_millis(400)).await;
        let now = attend(&*nodes.a, &room, "node-a", &[1, 0], LONG).await;
        assert_within(&nodes, now.groups[1].absent_since.unwrap(), left);
    }
    let back = attend(&*nodes.c, &room, "node-c", &[0, 1], LONG).await;
    assert_eq!(back.groups[1].absent_since, None);
    sleep(Duration::from_millis(1_000)).await;
    let leaves = attend(&*nodes.c, &room, "node-c", &[0, 0], LONG);
    let (_, left) = nodes.timed(leaves).await;
    let now = attend(&*nodes.a, &room, "node-a", &[1, 0], LONG).await;
    assert_within(&nodes, now.groups[1].absent_since.unwrap(), left);
}

pub async fn absence_starts_anew_after_a_gap(nodes: Nodes) {
    let room = nodes.room("room");
    let comes = attend(&*nodes.a, &room, "node-a", &[1, 0], SHORT);
    let (first, came) = nodes.timed(comes).await;
    assert_within(&nodes, first.groups[1].absent_since.unwrap(), came);
    // Nobody can report, longer than any lease.
    sleep(SHORT + Duration::from_millis(1_500)).await;
    let comes = attend(&*nodes.a, &room, "node-a", &[1, 0], LONG);
    let (after, back) = nodes.timed(comes).await;
    assert_within(&nodes, after.groups[1].absent_since.unwrap(), back);
    assert_eq!(counts(&after), [1, 0]);
}

pub async fn mere_numbers_are_told_once_a_second(nodes: Nodes) {
    let room = nodes.room("room");
    let mut ear = Ear::new(&*nodes.c, &room).await;
    let started = Instant::now();
    let mut last = Attendance::default();
    for count in 1..=60 {
        last = attend(&*nodes.a, &room, "node-a", &[count], LONG).await;
        sleep(Duration::from_millis(50)).await;
    }
    // A change that was kept back is told by a later report.
    sleep(Duration::from_millis(1_100)).await;
    assert_eq!(attend(&*nodes.a, &room, "node-a", &[60], LONG).await, last);
    let mut told = 1;
    while ear.attendance().await != last {
        told += 1;
    }
    let seconds = started.elapsed().as_secs();
    assert!(told <= 2 + seconds, "{told} in {seconds} s");
    assert!(told >= 2);
}

pub async fn four_groups_are_counted(nodes: Nodes) {
    let room = nodes.room("room");
    let most = [1, 0, u32::MAX, 7];
    assert_eq!(most.len(), GROUPS_MAX);
    attend(&*nodes.a, &room, "node-a", &most, LONG).await;
    let sum = attend(&*nodes.b, &room, "node.b:8080", &most, LONG).await;
    assert_eq!(counts(&sum), [2, 0, 2 * u64::from(u32::MAX), 14]);
}
