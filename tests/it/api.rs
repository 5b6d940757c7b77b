//! The HTTP ports.

use crate::scenarios;
use serde_json::{Value, json};
use tests::{
    cluster::{Over, until},
    http::{self, Reply},
    player::{BLITZ, Dial, Player},
    scene::Scene,
};

scenarios![
    a_game_as_json_pgn_and_events_on_every_node,
    a_live_stream_of_events,
    a_stream_ends_when_its_node_leaves,
    errors_have_one_form,
    a_session_without_a_socket,
    pages_of_other_sites_may_not_connect,
    health_is_told_on_the_admin_port,
];

async fn a_game_as_json_pgn_and_events_on_every_node(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(BLITZ, 0, 1).await;
    let path = format!("/api/games/{}", game.id);
    let moves = ["f3", "e5", "g4", "Qh4#"];
    for (number, mv) in moves.iter().enumerate() {
        game.plays(&[mv]).await;
        // Exact on every node as soon as it was acknowledged.
        for node in [1, 0] {
            let events = http::get(scene.door(node), &format!("{path}/events")).await;
            let lines = events.lines();
            assert!(lines.len() >= number + 2, "{mv}");
            assert!(lines[number + 1].contains(&format!("\"san\":\"{mv}\"")));
            assert_eq!(events.header("content-type"), Some("application/x-ndjson"));
        }
    }
    for node in [0, 1] {
        let shown = http::get(scene.door(node), &path).await;
        assert_eq!(shown.header("cache-control"), Some("no-store"));
        let shown = shown.json();
        assert_eq!(shown["result"], "0-1");
        assert_eq!(shown["reason"], "checkmate");
        assert_eq!(shown["moves"].as_array().unwrap().len(), 4);
        assert!(shown.get("color").is_none());
        let pgn = http::get(scene.door(node), &format!("{path}/pgn")).await;
        assert!(
            pgn.header("content-type")
                .unwrap()
                .starts_with("application/x-chess-pgn")
        );
        let text = pgn.text();
        for part in [
            "[White \"White\"]",
            "[Black \"Black\"]",
            "[Result \"0-1\"]",
            "[TimeControl \"180+2\"]",
            "1. f3 { [%clk 0:03:00] } 1... e5",
            "2... Qh4#",
        ] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
    scene.ends().await;
}

async fn a_live_stream_of_events(over: Over) {
    let scene = Scene::start(over, 3).await;
    let mut game = scene.game(BLITZ, 0, 1).await;
    game.plays(&["e4"]).await;
    let path = format!("/api/games/{}/stream", game.id);
    let mut whole = http::stream(scene.door(2), &path).await;
    let mut after = http::stream(scene.door(1), &format!("{path}?after=1")).await;
    let mut far = http::stream(scene.door(1), &format!("{path}?after=3")).await;
    game.plays(&["e5", "Nf3", "Nc6"]).await;
    let (epoch, log) = scene.log(0, &game.id).await;
    for (stream, first) in [(&mut whole, 0), (&mut after, 2), (&mut far, 4)] {
        assert_eq!(stream.headers["x-rookery-epoch"].to_str().unwrap(), epoch);
        for line in &log[first..] {
            assert_eq!(stream.next().await.as_ref(), Some(line));
        }
    }
    game.white.resigns().await;
    for stream in [&mut whole, &mut after, &mut far] {
        let end: Value = serde_json::from_str(&stream.next().await.unwrap()).unwrap();
        assert_eq!(
            (&end["seq"], &end["type"]),
            (&json!(5), &json!("game_over"))
        );
    }
    scene.ends().await;
}

async fn a_stream_ends_when_its_node_leaves(over: Over) {
    let mut scene = Scene::with(over, 2, &["--drain-seconds", "5"]).await;
    let game = scene.game(BLITZ, 1, 1).await;
    let path = format!("/api/games/{}/stream", game.id);
    let mut stream = http::stream(scene.door(0), &path).await;
    stream.next().await.unwrap();
    scene.cluster.stop(0).await;
    assert_eq!(stream.next().await, None);
    scene.ends().await;
}

fn assert_error(reply: &Reply, status: u16, code: &str) {
    assert_eq!(reply.status, status, "{}", reply.text());
    let body = reply.json();
    assert_eq!(body["error"]["code"], code, "{body}");
    assert!(!body["error"]["message"].as_str().unwrap().is_empty());
}

async fn errors_have_one_form(over: Over) {
    let scene = Scene::start(over, 1).await;
    let game = scene.game(BLITZ, 0, 0).await;
    let door = scene.door(0);
    let long = "x".repeat(300);
    for id in [
        "nosuchgame",
        "a%20b",
        "%2A",
        "..",
        "%7Btag%7D",
        "a%0D%0Ab",
        &long,
        "%ff",
    ] {
        for part in ["", "/pgn", "/events", "/stream"] {
            let reply = http::get(door, &format!("/api/games/{id}{part}")).await;
            assert!(
                matches!(reply.status.as_u16(), 400 | 404),
                "{id}{part}: {}",
                reply.status
            );
            assert!(reply.json()["error"]["code"].is_string(), "{id}{part}");
        }
    }
    let reply = http::get(door, "/api/games/nosuchgame").await;
    assert_error(&reply, 404, "game_not_found");
    let path = format!("/api/games/{}/stream?after=minus", game.id);
    assert_error(&http::get(door, &path).await, 400, "bad_message");
    for path in ["/api/nonsense", "/api/", "/api/games/a/b/c"] {
        let reply = http::get(door, path).await;
        assert_eq!(reply.status, 404, "{path}");
        assert!(reply.json()["error"]["message"].is_string(), "{path}");
    }
    // A method that a path does not have, and a door that needs a WebSocket.
    let reply = http::send(door, "DELETE", &format!("/api/games/{}", game.id), &[]).await;
    assert_eq!(reply.status, 405);
    let reply = http::get(door, "/ws").await;
    assert!(reply.status.is_client_error(), "{}", reply.status);
    let reply = http::get(door, "/ws?token=%zz&token=a").await;
    assert!(reply.status.is_client_error(), "{}", reply.status);
    scene.ends().await;
}

async fn a_session_without_a_socket(over: Over) {
    let scene = Scene::start(over, 2).await;
    let reply = http::send(scene.door(0), "POST", "/api/session", &[]).await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    let session = reply.json();
    let token = session["token"].as_str().unwrap().to_owned();
    let dial = Dial {
        token: Some(token.clone()),
        ..Dial::default()
    };
    let player = scene.dials("Guest", 1, dial).await;
    assert_eq!(player.welcome["user"], session["user"]);
    // Shown again, it is renewed.
    let bearer = format!("Bearer {token}");
    let header = [("authorization", bearer.as_str())];
    let again = http::send(scene.door(1), "POST", "/api/session", &header)
        .await
        .json();
    assert_eq!(again["user"], session["user"]);
    let forged = [("authorization", "Bearer nonsense")];
    let reply = http::send(scene.door(1), "POST", "/api/session", &forged).await;
    assert_error(&reply, 401, "unauthorized");
    scene.ends().await;
}

async fn pages_of_other_sites_may_not_connect(over: Over) {
    let flags = ["--allowed-origin", "https://chess.example"];
    let scene = Scene::with(over, 1, &flags).await;
    let from = |origin: &str| Dial {
        headers: vec![("origin", origin.to_owned())],
        ..Dial::default()
    };
    let own = format!("http://{}", scene.door(0));
    for origin in ["https://chess.example", &own] {
        scene.dials("Friend", 0, from(origin)).await;
    }
    for origin in [
        "https://evil.example",
        "null",
        "https://chess.example.evil.example",
    ] {
        let door = scene.door(0);
        let came = Player::try_dial("Evil", door, scene.witness.clone(), from(origin)).await;
        let why = came.err().unwrap();
        assert!(why.contains("403"), "{origin}: {why}");
        let header = [("origin", origin)];
        let reply = http::send(scene.door(0), "POST", "/api/session", &header).await;
        assert_error(&reply, 403, "forbidden");
    }
    scene.ends().await;
}

async fn health_is_told_on_the_admin_port(over: Over) {
    let scene = Scene::start(over, 1).await;
    let _game = scene.game(BLITZ, 0, 0).await;
    let admin = scene.node(0).admin;
    assert_eq!(http::get(admin, "/livez").await.status, 200);
    until("the node is ready", async || {
        http::get(admin, "/readyz").await.status == 200
    })
    .await;
    let ready = http::get(admin, "/readyz").await.json();
    assert_eq!(ready["ready"], true);
    assert_eq!(ready["connections"], 2);
    assert_eq!(ready["rooms"], 1);
    // The two ports have nothing in common.
    assert_ne!(
        http::get(scene.door(0), "/readyz")
            .await
            .header("content-type"),
        Some("application/json")
    );
    assert_eq!(http::get(admin, "/api/games/x").await.status, 404);
    scene.ends().await;
}
