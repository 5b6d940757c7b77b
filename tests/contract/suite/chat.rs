//! Lines that are kept a while.

use crate::nodes::*;
use bytes::Bytes;
use pubsub::*;

pub async fn lines_are_kept_in_order_up_to_a_cap(nodes: Nodes) {
    let room = nodes.room("room");
    let mut ear = Ear::new(&*nodes.b, &room).await;
    assert_eq!(
        nodes.a.history(&room, "chat").await.unwrap(),
        Vec::<Bytes>::new()
    );
    let all: Vec<Bytes> = (0..HISTORY_LEN + 10)
        .map(|line| Bytes::from(format!("line {line}")))
        .collect();
    for (index, line) in all.iter().enumerate() {
        let node = &nodes.all()[index % 3];
        node.say(&room, message("chat", line.clone()))
            .await
            .unwrap();
        assert_eq!(ear.message().await, message("chat", line.clone()));
        if index == 2 {
            assert_eq!(nodes.c.history(&room, "chat").await.unwrap(), all[..3]);
        }
    }
    assert_eq!(nodes.c.history(&room, "chat").await.unwrap(), all[10..]);
}

pub async fn only_what_is_said_is_kept(nodes: Nodes) {
    let (room, other) = (nodes.room("room"), nodes.room("other"));
    nodes.a.say(&room, message("players", "one")).await.unwrap();
    nodes
        .a
        .say(&room, message("spectators", "two"))
        .await
        .unwrap();
    nodes
        .a
        .publish(&room, message("players", "three"))
        .await
        .unwrap();
    nodes
        .a
        .say(&other, message("players", "four"))
        .await
        .unwrap();
    assert_eq!(
        nodes.b.history(&room, "players").await.unwrap(),
        events(&["one"])
    );
    assert_eq!(
        nodes.b.history(&room, "spectators").await.unwrap(),
        events(&["two"])
    );
    assert_eq!(
        nodes.b.history(&other, "players").await.unwrap(),
        events(&["four"])
    );
    assert_eq!(
        nodes.b.history(&other, "nobody").await.unwrap(),
        events(&[])
    );
    assert_eq!(nodes.b.end(&room).await.unwrap(), None, "beside the log");
}

pub async fn hostile_lines_are_kept_unchanged(nodes: Nodes) {
    let room = nodes.room("room");
    let mut ear = Ear::new(&*nodes.b, &room).await;
    for line in hostile_bytes() {
        nodes
            .a
            .say(&room, message("chat", line.clone()))
            .await
            .unwrap();
        assert_eq!(ear.message().await.body, line);
    }
    assert_eq!(
        nodes.c.history(&room, "chat").await.unwrap(),
        hostile_bytes()
    );
}
