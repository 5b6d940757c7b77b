//! Deadlines, and who sweeps.

use crate::nodes::*;
use pubsub::*;
use std::time::Duration;
use tokio::time::sleep;

/// A lease that outlasts the check.
const LONG: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(300);

/// More rooms than other checks on the same servers leave due.
const MANY: usize = 10_000;

/// What a node sweeps of this check's rooms.
async fn swept(
    node: &dyn Backplane,
    name: &str,
    before: Millis,
    ttl: Duration,
    own: &[Room],
) -> Vec<(Room, Millis)> {
    let due = node.sweep(name, before, MANY, ttl).await.unwrap();
    due.into_iter()
        .filter(|(room, _)| own.contains(room))
        .collect()
}

/// Sweeps until these come, as other checks' leases may be in the way; each sweep takes leases for a moment only.
async fn must_sweep(nodes: &Nodes, before: Millis, expected: &[(Room, Millis)]) {
    let name = nodes.name("sweeper");
    let rooms: Vec<Room> = expected.iter().map(|(room, _)| room.clone()).collect();
    wait_until("they are swept", || async {
        let mut due = swept(&*nodes.a, &name, before, SHORT, &rooms).await;
        due.sort_by_key(|(_, deadline)| *deadline);
        due == expected
    })
    .await;
}

async fn create_due(node: &dyn Backplane, room: &Room, deadline: Option<Millis>) -> Epoch {
    let asked = Append {
        deadline,
        ..append(node, None, 0, events(&["a"]))
    };
    must_append(node, room, asked).await
}

pub async fn a_restored_log_has_its_deadline(nodes: Nodes) {
    let room = nodes.room("restored");
    let due = nodes.a.now() - 1_000;
    let restore = Restore {
        epoch: Epoch::new(1, "before"),
        events: events(&["a", "b"]),
        deadline: Some(due),
    };
    nodes.a.restore(&room, restore).await.unwrap();
    must_sweep(&nodes, due + 500, &[(room, due)]).await;
}

pub async fn rooms_are_swept_when_due(nodes: Nodes) {
    let now = nodes.a.now();
    let rooms = [
        nodes.room("past"),
        nodes.room("future"),
        nodes.room("never"),
    ];
    create_due(&*nodes.a, &rooms[0], Some(now - 5_000)).await;
    create_due(&*nodes.b, &rooms[1], Some(now + 50_000)).await;
    create_due(&*nodes.b, &rooms[2], None).await;
    let (past, future) = (
        (rooms[0].clone(), now - 5_000),
        (rooms[1].clone(), now + 50_000),
    );
    must_sweep(&nodes, now, std::slice::from_ref(&past)).await;
    must_sweep(&nodes, now + 60_000, &[past.clone(), future.clone()]).await;
    // Sweeping takes nothing away: who sweeps may die. And a deadline is not before itself.
    must_sweep(&nodes, now + 50_000, std::slice::from_ref(&past)).await;
    must_sweep(&nodes, now + 50_001, &[past, future]).await;
    let due = swept(
        &*nodes.a,
        &nodes.name("sweeper"),
        now - 5_000,
        SHORT,
        &rooms,
    )
    .await;
    assert_eq!(due, []);
}

pub async fn a_deadline_moves_with_each_append(nodes: Nodes) {
    let (node, room) = (&*nodes.a, nodes.room("room"));
    let now = node.now();
    let epoch = create_due(node, &room, Some(now - 9_000)).await;
    for (expected, deadline) in [(1, now - 3_000), (2, now - 6_000), (3, now - 6_000)] {
        let asked = Append {
            deadline: Some(deadline),
            ..append(node, Some(&epoch), expected, events(&["b"]))
        };
        must_append(node, &room, asked).await;
        must_sweep(&nodes, now, &[(room.clone(), deadline)]).await;
    }
    let asked = append(node, Some(&epoch), 4, events(&["c"]));
    must_append(node, &room, asked).await;
    let other = nodes.room("other");
    create_due(node, &other, Some(now - 1_000)).await;
    wait_until("only the other is due", || async {
        let name = nodes.name("sweeper");
        let due = swept(node, &name, now, SHORT, &[room.clone(), other.clone()]).await;
        assert!(due.iter().all(|(due, _)| *due == other), "taken away");
        due.len() == 1
    })
    .await;
}

pub async fn an_append_refused_moves_no_deadline(nodes: Nodes) {
    let (node, room) = (&*nodes.a, nodes.room("room"));
    let now = node.now();
    let epoch = create_due(node, &room, Some(now - 5_000)).await;
    let stranger = Epoch::new(9, "stranger");
    for (epoch, expected, at, text) in [
        (&epoch, 0, now, "x"),
        (&epoch, 0, now, "a"),
        (&epoch, 7, now, "x"),
        (&stranger, 1, now, "x"),
        (&epoch, 1, now + 60_000, "x"),
    ] {
        for deadline in [None, Some(now - 7_000)] {
            let asked = Append {
                deadline,
                at,
                ..append(node, Some(epoch), expected, events(&[text]))
            };
            let told = node.append(&room, asked).await.unwrap();
            assert!(!matches!(told, Appended::Appended { .. }));
        }
    }
    must_sweep(&nodes, now, &[(room, now - 5_000)]).await;
}

pub async fn one_node_sweeps_a_room_at_a_time(nodes: Nodes) {
    let rooms: Vec<Room> = (0..10)
        .map(|index| nodes.room(&format!("room{index}")))
        .collect();
    let now = nodes.a.now();
    for room in &rooms {
        create_due(&*nodes.a, room, Some(now - 1_000)).await;
    }
    let (a, b) = (nodes.name("node-a"), nodes.name("node-b"));
    wait_until("a holds all leases", || async {
        swept(&*nodes.a, &a, now, LONG, &rooms).await.len() == rooms.len()
    })
    .await;
    assert_eq!(swept(&*nodes.b, &b, now, LONG, &rooms).await, []);
    // The holder goes on, and renews by that.
    for _ in 0..3 {
        sleep(LONG / 2).await;
        assert_eq!(swept(&*nodes.b, &b, now, LONG, &rooms).await, []);
        assert_eq!(
            swept(&*nodes.a, &a, now, LONG, &rooms).await.len(),
            rooms.len()
        );
    }
    // He dies; the other takes over, and then has it for himself.
    wait_until("b holds all leases", || async {
        swept(&*nodes.b, &b, now, LONG, &rooms).await.len() == rooms.len()
    })
    .await;
    assert_eq!(swept(&*nodes.a, &a, now, LONG, &rooms).await, []);
}

pub async fn the_earliest_come_first_up_to_a_limit(nodes: Nodes) {
    let rooms: Vec<Room> = (0..30)
        .map(|index| nodes.room(&format!("room{index}")))
        .collect();
    // Earlier than whatever other checks leave due.
    let deadline = |index: usize| 1_000 + (index as Millis * 7) % 30;
    for (index, room) in rooms.iter().enumerate() {
        create_due(&*nodes.a, room, Some(deadline(index))).await;
    }
    let mut expected: Vec<(Room, Millis)> =
        rooms.iter().cloned().zip((0..).map(deadline)).collect();
    expected.sort_by_key(|(_, deadline)| *deadline);
    let name = nodes.name("sweeper");
    for limit in [1, 7, 30] {
        wait_until("the earliest come", || async {
            let due = nodes.b.sweep(&name, 2_000, limit, SHORT).await.unwrap();
            assert!(due.len() <= limit);
            assert!(due.is_sorted_by_key(|(_, deadline)| *deadline));
            due == expected[..limit]
        })
        .await;
    }
}
