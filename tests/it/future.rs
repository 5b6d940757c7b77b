//! Two releases in one cluster: a newer node has written an event that these nodes do not know.

use crate::scenarios;
use bytes::Bytes;
use pubsub::{Append, Appended, Room};
use serde_json::{Value, json};
use tests::{
    cluster::Over,
    http,
    player::{BLITZ, UNTIMED},
    scene::Scene,
};

scenarios![
    an_unknown_event_is_relayed_and_its_room_left_undecided,
    an_unknown_event_is_met_when_a_room_is_opened,
    an_unknown_event_comes_while_a_move_is_made,
];

/// Appends an event as a newer node would; answers its line.
async fn append_of_the_future(scene: &Scene, game: &str, kind: &str) -> String {
    let backplane = scene.cluster.backplane().await;
    let room = Room::parse(game).unwrap();
    loop {
        let (epoch, end) = backplane.end(&room).await.unwrap().unwrap();
        let at = backplane.now();
        let line = json!({"at": at, "type": kind, "payload": {"gameId": game, "new": [1, "é"]}});
        let line = format!("{{\"seq\":{end},{}", &line.to_string()[1..]);
        let append = Append {
            epoch: Some(epoch),
            expected: end,
            events: vec![Bytes::from(line.clone())],
            at,
            deadline: None,
        };
        match backplane.append(&room, append).await.unwrap() {
            Appended::Appended { .. } => return line,
            Appended::Conflict { .. } | Appended::BadTime { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

async fn an_unknown_event_is_relayed_and_its_room_left_undecided(over: Over) {
    let scene = Scene::start(over, 3).await;
    let mut game = scene.game(BLITZ, 0, 1).await;
    let mut other = scene.game(BLITZ, 0, 1).await;
    let mut carol = scene.player("Carol", 2).await;
    let mut tab = game.white.opens_tab("White's tab", scene.door(2)).await;
    carol.watches(&game.id).await;
    tab.watches(&game.id).await;
    game.plays(&["e4", "e5"]).await;
    let mut stream = http::stream(
        scene.door(0),
        &format!("/api/games/{}/stream?after=2", game.id),
    )
    .await;
    let line = append_of_the_future(&scene, &game.id, "castled_sideways").await;
    let relayed = carol.sees("castled_sideways").await;
    assert_eq!(relayed["payload"]["new"], json!([1, "é"]));
    assert_eq!(stream.next().await, Some(line.clone()));
    for player in [&mut game.white, &mut game.black, &mut tab] {
        assert_eq!(player.is_closed().await.code, Some(1012), "{}", player.name);
    }
    // They come back, and are sent on until they meet a newer node.
    game.white.reconnects_to(scene.door(1)).await;
    game.white
        .sends("move", json!({"gameId": game.id, "move": "Nf3", "ply": 3}))
        .await;
    assert_eq!(game.white.is_closed().await.code, Some(1012));
    game.black.reconnects_to(scene.door(2)).await;
    game.black
        .sends("join_room", json!({"gameId": game.id}))
        .await;
    assert_eq!(game.black.is_closed().await.code, Some(1012));
    // A newer one goes on; it is all relayed, known or not.
    append_of_the_future(&scene, &game.id, "draw_offered").await;
    carol.sees("draw_offered").await;
    // Other rooms on the same nodes, and other people in this one, notice nothing.
    other.plays(&["d4", "d5", "c4"]).await;
    let mut dave = scene.player("Dave", 0).await;
    let snapshot = dave.watches(&game.id).await;
    assert_eq!(snapshot["seq"], 2, "as far as this release understands");
    dave.sees("castled_sideways").await;
    dave.sees("draw_offered").await;
    assert_eq!(carol.closed(), None);
    let (_, log) = scene.log(1, &game.id).await;
    assert_eq!(log[3], line);
    let shown: Value = http::get(scene.door(1), &format!("/api/games/{}", game.id))
        .await
        .json();
    assert_eq!(shown["status"], "started");
    scene.ends().await;
}

async fn an_unknown_event_is_met_when_a_room_is_opened(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 0).await;
    game.plays(&["e4"]).await;
    let line = append_of_the_future(&scene, &game.id, "castled_sideways").await;
    // This node has never seen the room.
    let mut carol = scene.player("Carol", 1).await;
    assert_eq!(carol.watches(&game.id).await["seq"], 1);
    carol.sees("castled_sideways").await;
    carol.reconnects_to(scene.door(0)).await;
    assert_eq!(carol.rejoins().await["type"], "resumed");
    carol.chats("strange").await;
    assert!(line.contains("\"seq\":2"));
    game.black.is_closed().await;
    game.black.reconnects_to(scene.door(1)).await;
    game.black.sends("resign", json!({"gameId": game.id})).await;
    assert_eq!(game.black.is_closed().await.code, Some(1012));
    scene.ends().await;
}

async fn an_unknown_event_comes_while_a_move_is_made(over: Over) {
    let scene = Scene::start(over, 2).await;
    for _ in 0..10 {
        let mut game = scene.game(UNTIMED, 0, 1).await;
        let id = game.id.clone();
        // Either the move was first and is acknowledged, or it is not in the log.
        let (_, answer) = tokio::join!(
            append_of_the_future(&scene, &id, "castled_sideways"),
            game.white
                .try_ask("move", json!({"gameId": id, "move": "e4", "ply": 1}))
        );
        let (_, log) = scene.log(1, &game.id).await;
        let moved = log.iter().any(|line| line.contains("\"type\":\"move\""));
        match answer {
            Some(answer) => assert_eq!(answer["type"] == "ack", moved, "{answer}"),
            None => assert_eq!(game.white.closed().unwrap().code, Some(1012)),
        }
        assert_eq!(game.black.is_closed().await.code, Some(1012));
    }
    scene.ends().await;
}
