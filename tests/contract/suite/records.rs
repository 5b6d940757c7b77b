//! Small records and sets.

use crate::nodes::*;
use bytes::Bytes;
use pubsub::*;
use std::time::Duration;
use tokio::time::sleep;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(400);

pub async fn a_record_is_the_same_on_every_node(nodes: Nodes) {
    let key = nodes.name("invitation:A_z.0%20");
    assert_eq!(nodes.a.get(&key).await.unwrap(), None);
    let put = nodes.a.put(&key, "one".into(), LONG, Put::IfAbsent).await;
    assert_eq!(put.unwrap(), None);
    assert_eq!(nodes.b.get(&key).await.unwrap(), Some("one".into()));
    let put = nodes.b.put(&key, "two".into(), LONG, Put::IfAbsent).await;
    assert_eq!(put.unwrap(), Some("one".into()), "what was in the way");
    assert_eq!(nodes.c.get(&key).await.unwrap(), Some("one".into()));
    let put = nodes.b.put(&key, "three".into(), LONG, Put::Replace).await;
    assert_eq!(put.unwrap(), None);
    assert_eq!(nodes.a.get(&key).await.unwrap(), Some("three".into()));
    for _ in 0..2 {
        nodes.c.remove(&key).await.unwrap();
        assert_eq!(nodes.a.get(&key).await.unwrap(), None);
    }
    let longest = format!("{key}{}", "k".repeat(200 - key.len()));
    nodes
        .a
        .put(&longest, "long".into(), LONG, Put::Replace)
        .await
        .unwrap();
    assert_eq!(nodes.b.get(&longest).await.unwrap(), Some("long".into()));
    assert_eq!(nodes.b.get(&key).await.unwrap(), None);
}

pub async fn a_record_lapses(nodes: Nodes) {
    let (key, lasting) = (nodes.name("key"), nodes.name("lasting"));
    nodes
        .a
        .put(&key, "one".into(), SHORT, Put::Replace)
        .await
        .unwrap();
    nodes
        .a
        .put(&lasting, "one".into(), SHORT, Put::Replace)
        .await
        .unwrap();
    nodes
        .a
        .put(&lasting, "two".into(), LONG, Put::Replace)
        .await
        .unwrap();
    wait_until("the record lapsed", || async {
        nodes.b.get(&key).await.unwrap().is_none()
    })
    .await;
    let put = nodes.b.put(&key, "two".into(), LONG, Put::IfAbsent).await;
    assert_eq!(put.unwrap(), None, "it is not in the way any more");
    assert_eq!(nodes.a.get(&key).await.unwrap(), Some("two".into()));
    assert_eq!(nodes.b.get(&lasting).await.unwrap(), Some("two".into()));
    // One that was in the way does not live longer for it.
    let mut in_the_way = None;
    let mut key = String::new();
    // It may have lapsed before, on a machine that has other things to do.
    for time in 0..10 {
        key = nodes.name(&format!("unrenewed{time}"));
        nodes
            .a
            .put(&key, "one".into(), SHORT, Put::Replace)
            .await
            .unwrap();
        let put = nodes.a.put(&key, "two".into(), LONG, Put::IfAbsent).await;
        in_the_way = put.unwrap();
        if in_the_way.is_some() {
            break;
        }
    }
    assert_eq!(in_the_way, Some("one".into()));
    wait_until("it lapsed", || async {
        nodes.b.get(&key).await.unwrap().is_none()
    })
    .await;
}

pub async fn one_of_many_puts_wins(nodes: Nodes) {
    for round in 0..20 {
        let key = nodes.name(&format!("key{round}"));
        let tasks: Vec<_> = (0..9)
            .map(|who| {
                let (node, key) = (nodes.all()[who % 3].clone(), key.clone());
                tokio::spawn(async move {
                    let value = Bytes::from(format!("{who}"));
                    let in_the_way = node.put(&key, value.clone(), LONG, Put::IfAbsent).await;
                    (value, in_the_way.unwrap())
                })
            })
            .collect();
        let (mut winners, mut told) = (Vec::new(), Vec::new());
        for task in tasks {
            match task.await.unwrap() {
                (value, None) => winners.push(value),
                (_, Some(value)) => told.push(value),
            }
        }
        assert_eq!(winners.len(), 1);
        assert!(told.iter().all(|value| *value == winners[0]));
        assert_eq!(nodes.a.get(&key).await.unwrap().as_ref(), winners.first());
    }
}

pub async fn hostile_values_come_back_unchanged(nodes: Nodes) {
    for (index, value) in hostile_bytes().into_iter().enumerate() {
        let key = nodes.name(&format!("key{index}"));
        nodes
            .a
            .put(&key, value.clone(), LONG, Put::IfAbsent)
            .await
            .unwrap();
        assert_eq!(nodes.b.get(&key).await.unwrap().as_ref(), Some(&value));
        let put = nodes.b.put(&key, "x".into(), LONG, Put::IfAbsent).await;
        assert_eq!(put.unwrap(), Some(value));
    }
}

pub async fn a_set_knows_its_members_in_order(nodes: Nodes) {
    let key = nodes.name("games:of.user");
    assert_eq!(nodes.a.set(&key).await.unwrap(), Vec::<String>::new());
    let names = ["zebra", "aardvark", "Mole_9", "mole-9", "ibex"];
    for (index, name) in names.iter().enumerate() {
        let node = &nodes.all()[index % 3];
        node.join_set(&key, name, LONG).await.unwrap();
        // So that an implementation may order them by the clock.
        sleep(Duration::from_millis(3)).await;
    }
    assert_eq!(nodes.b.set(&key).await.unwrap(), names);
    nodes.a.join_set(&key, "ibex", LONG).await.unwrap();
    assert_eq!(nodes.b.set(&key).await.unwrap(), names, "in once");
    for _ in 0..2 {
        nodes.a.leave_set(&key, "aardvark").await.unwrap();
        assert_eq!(
            nodes.b.set(&key).await.unwrap(),
            ["zebra", "Mole_9", "mole-9", "ibex"]
        );
    }
    assert_eq!(
        nodes.a.set(&nodes.name("other")).await.unwrap(),
        Vec::<String>::new()
    );
}

pub async fn members_lapse_each_for_himself(nodes: Nodes) {
    let key = nodes.name("key");
    nodes.a.join_set(&key, "renewed", SHORT).await.unwrap();
    nodes.a.join_set(&key, "short", SHORT).await.unwrap();
    nodes.a.join_set(&key, "long", LONG).await.unwrap();
    nodes.b.join_set(&key, "renewed", LONG).await.unwrap();
    wait_until("one lapsed", || async {
        let mut members = nodes.c.set(&key).await.unwrap();
        members.sort();
        members == ["long", "renewed"]
    })
    .await;
    sleep(SHORT).await;
    assert_eq!(nodes.c.set(&key).await.unwrap().len(), 2);
}
