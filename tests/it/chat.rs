//! Chat: two channels, a short history, limits.

use crate::scenarios;
use serde_json::{Value, json};
use tests::{
    cluster::{Over, until},
    http,
    player::{Player, UNTIMED},
    scene::Scene,
};

scenarios![
    players_and_spectators_talk_apart_until_the_game_is_over,
    who_comes_later_gets_what_was_said,
    only_the_last_fifty_lines_are_kept,
    five_lines_in_ten_seconds_and_no_more,
    a_room_has_five_lines_a_second_on_all_nodes_together,
    who_is_muted_is_not_heard_on_any_node,
    chat_is_for_those_in_the_room,
];

async fn hears_line(player: &mut Player, text: &str) -> Value {
    let line = player.sees("chat").await;
    assert_eq!(line["payload"]["text"], text, "{}", player.name);
    line["payload"].clone()
}

async fn players_and_spectators_talk_apart_until_the_game_is_over(over: Over) {
    let scene = Scene::start(over, 3).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    let mut carol = scene.player("Carol", 2).await;
    let mut dave = scene.player("Dave", 0).await;
    carol.watches(&game.id).await;
    dave.watches(&game.id).await;
    game.white.chats("good luck").await;
    for player in [&mut game.white, &mut game.black] {
        let line = hears_line(player, "good luck").await;
        assert_eq!(line["channel"], "players");
        assert_eq!(line["role"], "white");
        assert_eq!(line["user"]["name"], "White");
    }
    carol.chats("e4 is best <b>by test</b> 🙂").await;
    for player in [&mut carol, &mut dave] {
        let line = hears_line(player, "e4 is best <b>by test</b> 🙂").await;
        assert_eq!(line["channel"], "spectators");
        assert_eq!(line["role"], "spectator");
    }
    game.black.chats("have fun").await;
    hears_line(&mut game.black, "have fun").await;
    hears_line(&mut game.white, "have fun").await;
    // Neither channel heard the other: all lines went through the same channel in this order.
    for player in [&mut carol, &mut dave] {
        player.pings().await;
        player.has_not_heard("chat");
    }
    game.white.resigns().await;
    for player in [&mut carol, &mut dave, &mut game.white, &mut game.black] {
        player.sees_end("0-1", "resignation").await;
    }
    carol.chats("well played").await;
    for player in [&mut carol, &mut dave, &mut game.white, &mut game.black] {
        hears_line(player, "well played").await;
    }
    scene.ends().await;
}

fn texts(history: &Value) -> Vec<String> {
    let lines = history["payload"]["messages"].as_array().unwrap();
    let text = |line: &Value| line["text"].as_str().unwrap().to_owned();
    lines.iter().map(text).collect()
}

async fn who_comes_later_gets_what_was_said(over: Over) {
    let scene = Scene::start(over, 3).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    let mut carol = scene.player("Carol", 2).await;
    carol.watches(&game.id).await;
    game.white.chats("one").await;
    game.black.chats("two").await;
    carol.chats("three").await;
    carol.chats("four").await;
    let mut dave = scene.player("Dave", 1).await;
    dave.watches(&game.id).await;
    assert_eq!(texts(&dave.sees("chat_history").await), ["three", "four"]);
    game.white.reconnects_to(scene.door(2)).await;
    game.white.watches(&game.id).await;
    assert_eq!(
        texts(&game.white.sees("chat_history").await),
        ["one", "two"]
    );
    // Once it is over the players hear all of it.
    game.white.resigns().await;
    game.black.sees_end("0-1", "resignation").await;
    game.black.watches(&game.id).await;
    let all = texts(&game.black.sees("chat_history").await);
    assert_eq!(all, ["one", "two", "three", "four"]);
    scene.ends().await;
}

async fn only_the_last_fifty_lines_are_kept(over: Over) {
    let flags = ["--chat-per-user", "100", "--chat-per-room", "100"];
    let scene = Scene::with(over, 3, &flags).await;
    let game = scene.game(UNTIMED, 0, 1).await;
    let mut viewers = Vec::new();
    for number in 0..15 {
        let mut viewer = scene.player(&format!("Viewer {number}"), number % 3).await;
        viewer.watches(&game.id).await;
        viewers.push(viewer);
    }
    for number in 0..60 {
        let chat = json!({"gameId": game.id, "text": format!("line {number}")});
        let viewer = &mut viewers[number % 15];
        until("the room's rate allows it", async || {
            viewer.asks("chat", chat.clone()).await["type"] == "ack"
        })
        .await;
    }
    let mut carol = scene.player("Carol", 1).await;
    carol.watches(&game.id).await;
    let lines = texts(&carol.sees("chat_history").await);
    let expected: Vec<String> = (10..60).map(|number| format!("line {number}")).collect();
    assert_eq!(lines, expected);
    scene.ends().await;
}

async fn five_lines_in_ten_seconds_and_no_more(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    let begun = std::time::Instant::now();
    let mut said = 0;
    let refusal = loop {
        let chat = json!({"gameId": game.id, "text": format!("line {said}")});
        let answer = game.white.asks("chat", chat).await;
        if answer["type"] != "ack" {
            break answer;
        }
        said += 1;
    };
    assert_eq!(refusal["payload"]["code"], "rate_limited", "{refusal}");
    assert_eq!(refusal["payload"]["retryable"], true);
    // Another one every two seconds, which a slow machine may take for the five.
    let more = begun.elapsed().as_secs() / 2 + 1;
    assert!((5..=5 + more).contains(&said), "{said} lines");
    // The other one may still speak, and moves are no chat.
    game.white.plays("e4").await;
    until("the room's rate allows it", async || {
        let chat = json!({"gameId": game.id, "text": "mine"});
        game.black.asks("chat", chat).await["type"] == "ack"
    })
    .await;
    scene.ends().await;
}

/// Everybody is within his own rate; the room is not, wherever they are.
async fn a_room_has_five_lines_a_second_on_all_nodes_together(over: Over) {
    let scene = Scene::with(over, 2, &["--chat-per-user", "1000"]).await;
    let game = scene.game(UNTIMED, 0, 1).await;
    let mut viewers = Vec::new();
    for node in [0, 1] {
        let mut viewer = scene.player(&format!("Viewer {node}"), node).await;
        viewer.watches(&game.id).await;
        viewers.push(viewer);
    }
    let began = std::time::Instant::now();
    let mut said = 0;
    for number in 0..100 {
        let viewer = &mut viewers[number % 2];
        let chat = json!({"gameId": game.id, "text": format!("line {number}")});
        if viewer.asks("chat", chat).await["type"] == "ack" {
            said += 1;
            // So that the other node has counted it before somebody speaks there.
            for viewer in &mut viewers {
                hears_line(viewer, &format!("line {number}")).await;
            }
        }
    }
    let most = 5 + 5 * (began.elapsed().as_secs() as usize + 1);
    assert!((5..=most).contains(&said), "{said} lines, {most} at most");
    scene.ends().await;
}

async fn who_is_muted_is_not_heard_on_any_node(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    game.white.chats("hello").await;
    for player in [&mut game.white, &mut game.black] {
        hears_line(player, "hello").await;
    }
    // Asked of the other node.
    let admin = scene.node(1).admin;
    let user = game.white.id.clone();
    let mute = async |seconds: u64| {
        let body = json!({"user": user, "seconds": seconds});
        let reply = http::post(admin, "/mute", &[], body.clone()).await;
        assert_eq!((reply.status.as_u16(), reply.json()), (200, body));
    };
    mute(3_600).await;
    let chat = json!({"gameId": game.id, "text": "hello again"});
    game.white.is_refused("forbidden", "chat", chat).await;
    // He may still play, and others may speak.
    game.plays(&["e4", "e5"]).await;
    game.black.chats("now what").await;
    for player in [&mut game.white, &mut game.black] {
        hears_line(player, "now what").await;
    }
    mute(0).await;
    game.white.chats("sorry").await;
    hears_line(&mut game.black, "sorry").await;
    scene.ends().await;
}

async fn chat_is_for_those_in_the_room(over: Over) {
    let scene = Scene::start(over, 2).await;
    let game = scene.game(UNTIMED, 0, 1).await;
    let mut carol = scene.player("Carol", 0).await;
    let chat = json!({"gameId": game.id, "text": "hello"});
    carol.is_refused("forbidden", "chat", chat.clone()).await;
    carol.watches(&game.id).await;
    carol.chats("hello").await;
    carol.does("leave_room").await;
    carol.is_refused("forbidden", "chat", chat).await;
    scene.ends().await;
}
