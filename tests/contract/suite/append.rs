//! Appending and reading.

use crate::nodes::*;
use bytes::Bytes;
use pubsub::*;
use std::{sync::Arc, time::Duration};

pub async fn the_first_append_creates_the_log(nodes: Nodes) {
    let room = nodes.room("room");
    assert_eq!(nodes.b.read(&room, 0).await.unwrap(), None);
    assert_eq!(nodes.b.end(&room).await.unwrap(), None);
    let epoch = create(&*nodes.a, &room, &["a", "b"]).await;
    assert!(epoch.generation() >= 1);
    assert_eq!(epoch.as_str().parse(), Ok(epoch.clone()));
    let log = Log {
        epoch: epoch.clone(),
        first: 0,
        events: events(&["a", "b"]),
    };
    assert_eq!(nodes.b.read(&room, 0).await.unwrap(), Some(log));
    assert_eq!(nodes.c.end(&room).await.unwrap(), Some((epoch.clone(), 2)));
    let other = create(&*nodes.a, &nodes.room("other"), &["a"]).await;
    assert_ne!(other, epoch, "each log has a life of its own");
}

pub async fn answers_are_told_apart(nodes: Nodes) {
    let (node, room) = (&*nodes.a, nodes.room("room"));
    let epoch = create(node, &room, &["a", "b", "c"]).await;
    let stranger = Epoch::new(epoch.generation(), "stranger");
    let elder = Epoch::new(epoch.generation() + 1, "elder");
    let already = || Appended::AlreadyAppended {
        epoch: epoch.clone(),
    };
    let conflict = |texts: &[&str]| Appended::Conflict {
        epoch: epoch.clone(),
        missed: events(texts),
    };
    let other = || Appended::OtherEpoch {
        epoch: epoch.clone(),
    };
    let table = [
        (Some(&epoch), 0, vec!["a"], already()),
        (Some(&epoch), 0, vec!["a", "b", "c"], already()),
        (Some(&epoch), 1, vec!["b"], already()),
        (Some(&epoch), 2, vec!["c"], already()),
        (None, 0, vec!["a", "b"], already()),
        (Some(&epoch), 0, vec!["x"], conflict(&["a", "b", "c"])),
        (Some(&epoch), 1, vec!["x"], conflict(&["b", "c"])),
        (Some(&epoch), 2, vec!["x"], conflict(&["c"])),
        (Some(&epoch), 2, vec!["c\0"], conflict(&["c"])),
        (None, 0, vec!["x"], conflict(&["a", "b", "c"])),
        (Some(&epoch), 4, vec!["x"], Appended::Gone { end: 3 }),
        (
            Some(&epoch),
            1_000_000,
            vec!["x"],
            Appended::Gone { end: 3 },
        ),
        (Some(&stranger), 3, vec!["x"], other()),
        (Some(&stranger), 1, vec!["b"], other()),
        (Some(&stranger), 9, vec!["x"], other()),
        (Some(&elder), 3, vec!["x"], other()),
    ];
    for (named, expected, texts, answer) in table {
        let asked = append(node, named, expected, events(&texts));
        let told = node.append(&room, asked).await.unwrap();
        assert_eq!(told, answer, "{named:?} {expected} {texts:?}");
        assert_eq!(log(&*nodes.b, &room).await, events(&["a", "b", "c"]));
    }
    let nowhere = nodes.room("nowhere");
    for expected in [0, 3] {
        let asked = append(node, Some(&epoch), expected, events(&["x"]));
        let told = node.append(&nowhere, asked).await.unwrap();
        assert_eq!(told, Appended::Gone { end: 0 });
        assert_eq!(nodes.b.end(&nowhere).await.unwrap(), None);
    }
}

pub async fn already_appended_needs_all_the_bytes(nodes: Nodes) {
    let (node, room) = (&*nodes.a, nodes.room("room"));
    let epoch = create(node, &room, &["a", "b"]).await;
    let longer = append(node, Some(&epoch), 1, events(&["b", "c"]));
    let conflict = Appended::Conflict {
        epoch: epoch.clone(),
        missed: events(&["b"]),
    };
    assert_eq!(node.append(&room, longer).await.unwrap(), conflict);
    // The same text cut elsewhere is not the same events.
    let cut = append(node, Some(&epoch), 0, events(&["ab"]));
    assert!(matches!(
        node.append(&room, cut).await.unwrap(),
        Appended::Conflict { .. }
    ));
    // A repeat is known when others have gone on since.
    let asked = append(node, Some(&epoch), 2, events(&["c", "d"]));
    must_append(node, &room, asked.clone()).await;
    must_append(
        &*nodes.b,
        &room,
        append(node, Some(&epoch), 4, events(&["e"])),
    )
    .await;
    for node in nodes.all() {
        let told = node.append(&room, asked.clone()).await.unwrap();
        let epoch = epoch.clone();
        assert_eq!(told, Appended::AlreadyAppended { epoch });
    }
    assert_eq!(log(node, &room).await, events(&["a", "b", "c", "d", "e"]));
}

pub async fn a_time_too_far_ahead_is_refused(nodes: Nodes) {
    let (node, room) = (&*nodes.a, nodes.room("room"));
    let early = Append {
        at: node.now() + AHEAD_MAX_MS + 10_000,
        ..append(node, None, 0, events(&["a"]))
    };
    let (told, asked) = nodes.timed(node.append(&room, early)).await;
    let Appended::BadTime { now } = told.unwrap() else {
        panic!("taken");
    };
    assert_within(&nodes, now, asked);
    assert_eq!(node.end(&room).await.unwrap(), None);
    let epoch = create(node, &room, &["a"]).await;
    let early = Append {
        at: node.now() + AHEAD_MAX_MS + 10_000,
        ..append(node, Some(&epoch), 1, events(&["b"]))
    };
    assert!(matches!(
        node.append(&room, early.clone()).await.unwrap(),
        Appended::BadTime { .. }
    ));
    assert_eq!(node.end(&room).await.unwrap(), Some((epoch.clone(), 1)));
    let past = Append { at: 0, ..early };
    must_append(node, &room, past).await;
}

pub async fn one_of_many_appenders_wins_each_number(nodes: Nodes) {
    const APPENDERS: usize = 9;
    const EACH: usize = 15;
    let room = nodes.room("room");
    let tasks: Vec<_> = (0..APPENDERS)
        .map(|who| {
            tokio::spawn(keep_appending(
                nodes.all()[who % 3].clone(),
                room.clone(),
                who,
                EACH,
            ))
        })
        .collect();
    let mut acknowledged = Vec::new();
    for task in tasks {
        acknowledged.extend(task.await.unwrap());
    }
    acknowledged.sort();
    let numbers: Vec<Seq> = acknowledged.iter().map(|(seq, _)| *seq).collect();
    let dense: Vec<Seq> = (0..numbers.len() as Seq).collect();
    assert_eq!(numbers, dense, "each number is won once");
    let acknowledged: Vec<Bytes> = acknowledged.into_iter().map(|(_, event)| event).collect();
    assert_eq!(acknowledged.len(), log(&*nodes.c, &room).await.len());
    assert_eq!(
        acknowledged,
        log(&*nodes.c, &room).await,
        "the log is what was acknowledged"
    );
}

/// Appends one to three events at a time wherever the log ends, and answers what was acknowledged.
async fn keep_appending(
    node: Arc<dyn Backplane>,
    room: Room,
    who: usize,
    times: usize,
) -> Vec<(Seq, Bytes)> {
    let (mut epoch, mut known, mut acknowledged) = (None, Vec::new(), Vec::new());
    for time in 0..times {
        let own: Vec<Bytes> = (0..1 + (who + time) % 3)
            .map(|part| Bytes::from(format!("{who}/{time}/{part}")))
            .collect();
        loop {
            let expected = known.len() as Seq;
            let asked = append(&*node, epoch.as_ref(), expected, own.clone());
            match node.append(&room, asked).await.unwrap() {
                Appended::Appended { epoch: named, .. } => {
                    epoch = Some(named);
                    acknowledged.extend((expected..).zip(own.clone()));
                    known.extend(own);
                    break;
                }
                Appended::Conflict {
                    epoch: named,
                    missed,
                } => {
                    epoch = Some(named);
                    assert!(!missed.is_empty());
                    known.extend(missed);
                }
                other => panic!("{other:?}"),
            }
            tokio::task::yield_now().await;
        }
    }
    let end = known.len();
    assert_eq!(
        known,
        log(&*node, &room).await[..end],
        "conflicts told the truth"
    );
    acknowledged
}

pub async fn every_node_reads_what_any_has_written(nodes: Nodes) {
    let room = nodes.room("room");
    let mut epoch = None;
    for seq in 0..60 {
        let (writer, reader) = (&nodes.all()[seq % 3], &nodes.all()[(seq + 1) % 3]);
        let event = Bytes::from(format!("event {seq}"));
        let asked = append(&**writer, epoch.as_ref(), seq as Seq, vec![event.clone()]);
        epoch = Some(must_append(&**writer, &room, asked).await);
        let end = reader.end(&room).await.unwrap();
        assert_eq!(end, epoch.clone().map(|epoch| (epoch, seq as Seq + 1)));
        let read = reader.read(&room, seq as Seq).await.unwrap().unwrap();
        assert_eq!((read.first, read.events), (seq as Seq, vec![event]));
    }
}

pub async fn hostile_bytes_come_back_unchanged(nodes: Nodes) {
    let (node, room) = (&*nodes.a, nodes.room("room"));
    let all = hostile_bytes();
    let epoch = must_append(node, &room, append(node, None, 0, all.clone())).await;
    assert_eq!(log(&*nodes.b, &room).await, all);
    for (seq, event) in (0..).zip(&all) {
        let same = append(node, Some(&epoch), seq, vec![event.clone()]);
        let told = node.append(&room, same).await.unwrap();
        let epoch = epoch.clone();
        assert_eq!(told, Appended::AlreadyAppended { epoch }, "event {seq}");
    }
    let other = append(node, Some(&epoch), 0, events(&["other"]));
    let told = node.append(&room, other).await.unwrap();
    let missed = all.clone();
    assert_eq!(
        told,
        Appended::Conflict {
            epoch: epoch.clone(),
            missed
        }
    );
    // Each alone, as the last of a log.
    for (seq, event) in (all.len() as Seq..).zip(&all) {
        let alone = append(node, Some(&epoch), seq, vec![event.clone()]);
        must_append(node, &room, alone).await;
    }
    assert_eq!(log(&*nodes.b, &room).await, [all.clone(), all].concat());
}

pub async fn hostile_names_are_refused(_: Nodes) {
    let long = "a".repeat(65);
    let hostile = [
        "",
        " ",
        "a b",
        "a\n",
        "\r\n",
        "a\0",
        "{a}",
        "a}b",
        "a{b",
        "*",
        "?",
        "[a]",
        "a:b",
        "a/b",
        "../a",
        "a.b",
        "ä",
        "♜",
        "a,b",
        "a'b",
        "a\"b",
        "$(a)",
        "a%20b",
        "__proto__ ",
        &long,
    ];
    for name in hostile {
        assert_eq!(Room::parse(name), Err(BadRoom), "{name:?}");
    }
    let longest = "a".repeat(64);
    for name in ["a", "A-z_09", "-", "_", "nil", "__proto__", &longest] {
        assert_eq!(Room::parse(name).unwrap().as_str(), name);
    }
    for text in [
        "",
        ".",
        "1.",
        ".a",
        "1",
        "01.a",
        "+1.a",
        "-1.a",
        "1.a.b",
        "1.a b",
        "1.ä",
        "99999999999999999999.a",
    ] {
        assert!(text.parse::<Epoch>().is_err(), "{text:?}");
    }
}

pub async fn a_long_log_is_read_from_anywhere(nodes: Nodes) {
    let (node, room) = (&*nodes.a, nodes.room("room"));
    let all: Vec<Bytes> = (0..2_000)
        .map(|seq| Bytes::from(format!("event {seq}")))
        .collect();
    let mut epoch = None;
    for (index, portion) in all.chunks(200).enumerate() {
        let asked = append(node, epoch.as_ref(), 200 * index as Seq, portion.to_vec());
        epoch = Some(must_append(node, &room, asked).await);
    }
    for from in [0, 1, 199, 200, 1_000, 1_999, 2_000, 2_001, 1_000_000] {
        let read = nodes.b.read(&room, from).await.unwrap().unwrap();
        let rest = all.get(from as usize..).unwrap_or_default();
        assert_eq!(Some(read.epoch), epoch);
        assert_eq!(read.events, rest, "from {from}");
        if !rest.is_empty() {
            assert_eq!(read.first, from);
        }
    }
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(log(node, &room).await.len(), 2_000);
}
