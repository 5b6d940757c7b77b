//! Putting back what a log lost. A log that ends early stands here for one that lost its end.

use crate::nodes::*;
use bytes::Bytes;
use pubsub::*;

fn restore(epoch: &Epoch, texts: &[&str]) -> Restore {
    Restore {
        epoch: epoch.clone(),
        events: events(texts),
        deadline: None,
    }
}

async fn restored(node: &dyn Backplane, room: &Room, asked: Restore) -> Restored {
    node.restore(room, asked).await.unwrap()
}

pub async fn a_log_that_is_gone_comes_back(nodes: Nodes) {
    let room = nodes.room("gone");
    let mut ear = Ear::new(&*nodes.c, &room).await;
    let epoch = Epoch::new(3, "before");
    let answer = restored(&*nodes.a, &room, restore(&epoch, &["a", "b", "c"])).await;
    assert_eq!(
        answer,
        Restored::Extended {
            epoch: epoch.clone(),
            from: 0
        }
    );
    assert_eq!(log(&*nodes.b, &room).await, events(&["a", "b", "c"]));
    assert_eq!(nodes.b.end(&room).await.unwrap(), Some((epoch.clone(), 3)));
    assert_eq!(ear.events(&epoch, 0, 3).await, events(&["a", "b", "c"]));
}

pub async fn a_log_that_lost_its_end_gets_it_back(nodes: Nodes) {
    let room = nodes.room("short");
    let epoch = create(&*nodes.a, &room, &["a", "b"]).await;
    let mut ear = Ear::late(&*nodes.c, &room).await;
    let answer = restored(&*nodes.b, &room, restore(&epoch, &["a", "b", "c", "d"])).await;
    assert_eq!(
        answer,
        Restored::Extended {
            epoch: epoch.clone(),
            from: 2
        }
    );
    assert_eq!(ear.events(&epoch, 2, 2).await, events(&["c", "d"]));
    assert_eq!(log(&*nodes.a, &room).await, events(&["a", "b", "c", "d"]));
    // An append whose answer was lost with the end of the log is known again.
    let asked = append(&*nodes.a, Some(&epoch), 2, events(&["c"]));
    assert_eq!(
        nodes.a.append(&room, asked).await.unwrap(),
        Appended::AlreadyAppended { epoch }
    );
}

pub async fn a_log_that_holds_all_is_left_alone(nodes: Nodes) {
    let room = nodes.room("held");
    let epoch = create(&*nodes.a, &room, &["a", "b", "c"]).await;
    let mut ear = Ear::late(&*nodes.c, &room).await;
    for texts in [&["a"][..], &["a", "b", "c"]] {
        let answer = restored(&*nodes.b, &room, restore(&epoch, texts)).await;
        let epoch = epoch.clone();
        assert_eq!(answer, Restored::Held { epoch, end: 3 });
    }
    // Another life of the same generation, and of a lower one, with the same events: nothing is lost, and the log's own holds.
    for other in [Epoch::new(epoch.generation(), "other"), Epoch::new(0, "x")] {
        let answer = restored(&*nodes.b, &room, restore(&other, &["a", "b"])).await;
        let epoch = epoch.clone();
        assert_eq!(answer, Restored::Held { epoch, end: 3 });
    }
    assert_eq!(log(&*nodes.a, &room).await, events(&["a", "b", "c"]));
    nodes
        .a
        .publish(&room, message("mark", "after"))
        .await
        .unwrap();
    ear.nothing_before("mark", |signal| match signal {
        Signal::Events(log) => Some(log.clone()),
        _ => None,
    })
    .await;
}

pub async fn of_two_branches_the_logs_holds_under_a_new_life(nodes: Nodes) {
    let room = nodes.room("forked");
    let epoch = create(&*nodes.a, &room, &["a", "b", "x"]).await;
    let mut ear = Ear::late(&*nodes.c, &room).await;
    let mut lives = Vec::new();
    for (node, texts) in [
        (&nodes.a, &["a", "b", "c", "d"][..]),
        (&nodes.b, &["a", "b", "c"]),
    ] {
        let answer = restored(&**node, &room, restore(&epoch, texts)).await;
        let Restored::Forked { epoch, at, raised } = answer else {
            panic!("{answer:?}")
        };
        assert_eq!((at, raised), (2, lives.is_empty()), "once for all");
        lives.push(epoch);
    }
    assert_eq!(lives[0], lives[1]);
    assert!(lives[0].generation() > epoch.generation());
    let whole = Log {
        epoch: lives[0].clone(),
        first: 0,
        events: events(&["a", "b", "x"]),
    };
    assert_eq!(nodes.c.read(&room, 0).await.unwrap(), Some(whole));
    let heard = soon("the new life is heard of", async {
        loop {
            if let Signal::Events(log) = ear.next().await {
                break log;
            }
        }
    })
    .await;
    assert_eq!((heard.epoch, heard.first), (lives[0].clone(), 3));
    assert!(heard.events.is_empty());
    // Who appends to the life before is told.
    let asked = append(&*nodes.a, Some(&epoch), 3, events(&["y"]));
    let other = Appended::OtherEpoch {
        epoch: lives[0].clone(),
    };
    assert_eq!(nodes.a.append(&room, asked).await.unwrap(), other);
    // Once they know the new life, all agree.
    let answer = restored(&*nodes.b, &room, restore(&lives[0], &["a", "b", "x"])).await;
    let epoch = lives[0].clone();
    assert_eq!(answer, Restored::Held { epoch, end: 3 });
}

pub async fn the_higher_generation_is_the_true_one(nodes: Nodes) {
    let room = nodes.room("generations");
    let epoch = create(&*nodes.a, &room, &["a", "b"]).await;
    let newer = Epoch::new(epoch.generation() + 4, "newer");
    // The end of the log and the beginning of its new life were lost.
    let answer = restored(&*nodes.b, &room, restore(&newer, &["a", "b", "c"])).await;
    assert_eq!(
        answer,
        Restored::Extended {
            epoch: newer.clone(),
            from: 2
        }
    );
    // An older one extends it under the newer.
    let answer = restored(&*nodes.b, &room, restore(&epoch, &["a", "b", "c", "d"])).await;
    assert_eq!(
        answer,
        Restored::Extended {
            epoch: newer.clone(),
            from: 3
        }
    );
    // A branch of an older life does not begin another.
    let answer = restored(&*nodes.b, &room, restore(&epoch, &["a", "z"])).await;
    assert_eq!(
        answer,
        Restored::Forked {
            epoch: newer.clone(),
            at: 1,
            raised: false
        }
    );
    assert_eq!(log(&*nodes.a, &room).await, events(&["a", "b", "c", "d"]));
    assert_eq!(nodes.c.end(&room).await.unwrap(), Some((newer, 4)));
}

pub async fn a_restored_log_goes_on(nodes: Nodes) {
    let room = nodes.room("goes-on");
    let epoch = Epoch::new(1, "before");
    restored(&*nodes.a, &room, restore(&epoch, &["a", "b"])).await;
    let asked = append(&*nodes.b, Some(&epoch), 2, events(&["c"]));
    must_append(&*nodes.b, &room, asked).await;
    let asked = append(&*nodes.c, Some(&epoch), 1, events(&["x"]));
    assert_eq!(
        nodes.c.append(&room, asked).await.unwrap(),
        Appended::Conflict {
            epoch: epoch.clone(),
            missed: events(&["b", "c"])
        }
    );
    // Whoever makes the game anew finds it made.
    let asked = append(&*nodes.c, None, 0, events(&["a"]));
    assert_eq!(
        nodes.c.append(&room, asked).await.unwrap(),
        Appended::AlreadyAppended { epoch }
    );
}

pub async fn many_restore_at_once(nodes: Nodes) {
    let room = nodes.room("many");
    let epoch = Epoch::new(1, "before");
    let texts: Vec<String> = (0..40).map(|number| format!("event {number}")).collect();
    let all: Vec<Bytes> = texts.iter().cloned().map(Bytes::from).collect();
    // Each holds another beginning of it.
    let tasks: Vec<_> = (1..=all.len())
        .map(|held| {
            let (node, room) = (nodes.all()[held % 3].clone(), room.clone());
            let asked = Restore {
                epoch: epoch.clone(),
                events: all[..(held * 7 % 41).max(1)].to_vec(),
                deadline: None,
            };
            tokio::spawn(async move { node.restore(&room, asked).await.unwrap() })
        })
        .collect();
    for task in tasks {
        let answer = task.await.unwrap();
        assert!(!matches!(answer, Restored::Forked { .. }), "{answer:?}");
    }
    assert_eq!(log(&*nodes.a, &room).await, all);
}

pub async fn hostile_and_long_logs_come_back(nodes: Nodes) {
    let room = nodes.room("hostile");
    let mut ear = Ear::new(&*nodes.b, &room).await;
    let mut all = hostile_bytes();
    all.extend((0..2_500).map(|number| Bytes::from(format!("event {number}"))));
    let epoch = Epoch::new(1, "long");
    for held in [9, all.len()] {
        let asked = Restore {
            epoch: epoch.clone(),
            events: all[..held].to_vec(),
            deadline: None,
        };
        restored(&*nodes.a, &room, asked).await;
    }
    assert_eq!(log(&*nodes.c, &room).await, all);
    assert_eq!(ear.events(&epoch, 0, all.len()).await, all);
}
