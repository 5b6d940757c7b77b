//! What an operator sees and does by the admin port.

use crate::scenarios;
use serde_json::json;
use std::net::SocketAddr;
use tests::{
    cluster::{Over, until},
    http,
    player::{Player, UNTIMED},
    scene::Scene,
};

scenarios![
    the_status_lists_every_node,
    a_node_that_left_is_off_the_list,
    an_operator_disconnects_a_user_on_every_node,
    an_operator_aborts_a_game,
];
scenarios!(only Processes as processes: metrics_tell_what_happens);
scenarios!(only Embedded as one_backplane: the_admin_token_is_asked_for, the_page_holds_no_markup_of_players, what_is_wrong_is_answered);

/// The value of a metric with these labels, as they are written.
async fn metric(admin: SocketAddr, name: &str) -> f64 {
    let text = http::get(admin, "/metrics").await.text();
    let value = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    let value = value.unwrap_or_else(|| panic!("{name} is not told:\n{text}"));
    value.parse().unwrap()
}

/// Two people who seek a game at these nodes; it is listed, unlike one by invitation.
async fn paired(scene: &Scene, names: [&str; 2], nodes: [usize; 2]) -> [Player; 2] {
    let mut first = scene.player(names[0], nodes[0]).await;
    let mut second = scene.player(names[1], nodes[1]).await;
    first.seeks(UNTIMED).await;
    second.seeks(UNTIMED).await;
    first.starts().await;
    second.starts().await;
    [first, second]
}

/// Everything is counted once: a process of its own has counted nothing else.
async fn metrics_tell_what_happens(over: Over) {
    let scene = Scene::start(over, 2).await;
    let (near, far) = (scene.node(0).admin, scene.node(1).admin);
    let mut game = scene.game(UNTIMED, 0, 0).await;
    let mut carol = scene.player("Carol", 1).await;
    carol.watches(&game.id).await;
    game.plays(&["e4", "e5", "Nf3"]).await;
    carol
        .sees_until("all", |view| (view.board.plies() == 3).then_some(()))
        .await;
    assert_eq!(
        metric(near, "rookery_appends_total{outcome=\"appended\"}").await,
        3.0
    );
    assert_eq!(
        metric(near, "rookery_appends_total{outcome=\"conflict\"}").await,
        0.0
    );
    assert_eq!(metric(near, "rookery_games_created_total").await, 1.0);
    assert_eq!(metric(near, "rookery_append_seconds_count").await, 3.0);
    assert_eq!(metric(far, "rookery_append_seconds_count").await, 0.0);
    for (admin, role, count) in [
        (near, "player", 2.0),
        (near, "spectator", 0.0),
        (far, "player", 0.0),
        (far, "spectator", 1.0),
    ] {
        let name = format!("rookery_connections{{role=\"{role}\"}}");
        until(&format!("{name} is {count}"), async || {
            metric(admin, &name).await == count
        })
        .await;
    }
    assert_eq!(metric(near, "rookery_rooms").await, 1.0);
    assert_eq!(metric(near, "rookery_ready").await, 1.0);
    until("the moves were delivered", async || {
        metric(far, "rookery_fanout_delay_seconds_count").await >= 3.0
    })
    .await;
    // The spectator got a welcome, a snapshot and three moves at least.
    assert!(metric(far, "rookery_deliveries_total").await >= 5.0);
    assert!(metric(far, "rookery_sent_bytes_total").await > 500.0);
    assert!(metric(far, "rookery_messages_received_total").await >= 1.0);
    assert!(metric(near, "process_resident_memory_bytes").await > 1e6);
    assert!(metric(near, "process_start_time_seconds").await > 1e9);
    assert!(metric(near, "process_open_fds").await > 3.0);
    game.white.hangs_up().await;
    until("it is gone", async || {
        metric(near, "rookery_connections{role=\"player\"}").await == 1.0
    })
    .await;
    assert_eq!(metric(near, "rookery_connections_opened_total").await, 2.0);
    assert_eq!(metric(near, "rookery_connections_closed_total").await, 1.0);
    scene.ends().await;
}

async fn the_status_lists_every_node(over: Over) {
    let scene = Scene::start(over, 3).await;
    let game = paired(&scene, ["Alice", "Bob"], [0, 1]).await;
    let mut carol = scene.player("Carol", 2).await;
    carol.watches(&game[0].game).await;
    // Whichever node is asked, it knows of all.
    for asked in 0..3 {
        let admin = scene.node(asked).admin;
        until("all nodes told of their people", async || {
            let status = http::get(admin, "/status").await.json();
            let told = |name: &str| -> Vec<i64> {
                let nodes = status["nodes"].as_array().unwrap().iter();
                nodes.map(|node| node[name].as_i64().unwrap()).collect()
            };
            let listed = status["busiest"]
                .as_array()
                .unwrap()
                .iter()
                .any(|room| room["gameId"] == game[0].game.as_str());
            told("players") == [1, 1, 0]
                && told("spectators") == [0, 0, 1]
                && told("rooms") == [1, 1, 1]
                && listed
        })
        .await;
        let status = http::get(admin, "/status").await.json();
        assert_eq!(status["asked"], scene.node(asked).name.as_str());
        assert_eq!(status["backplane"]["reachable"], true);
        assert_eq!(status["backplane"]["partitions"], 256);
        let servers = status["backplane"]["servers"].as_array().unwrap();
        match over {
            Over::Redis => assert_eq!((servers.len(), &servers[0]["partitions"]), (1, &json!(256))),
            _ => assert!(servers.is_empty()),
        }
        for node in status["nodes"].as_array().unwrap() {
            assert_eq!(node["version"], env!("CARGO_PKG_VERSION"));
            assert_eq!(
                (&node["ready"], &node["draining"]),
                (&json!(true), &json!(false))
            );
        }
    }
    scene.ends().await;
}

async fn a_node_that_left_is_off_the_list(over: Over) {
    let mut scene = Scene::with(over, 3, &["--drain-seconds", "1"]).await;
    let admin = scene.node(0).admin;
    let names = async || -> Vec<String> {
        let status = http::get(admin, "/status").await.json();
        let nodes = status["nodes"].as_array().unwrap().iter();
        nodes
            .map(|node| node["node"].as_str().unwrap().to_owned())
            .collect()
    };
    until("all are there", async || names().await.len() == 3).await;
    scene.cluster.stop(1).await;
    until("one says that it left", async || {
        names().await == ["node-0", "node-2"]
    })
    .await;
    // One that is killed says nothing; its report lapses.
    scene.cluster.kill(2);
    until("one lapsed", async || names().await == ["node-0"]).await;
    scene.ends().await;
}

async fn an_operator_disconnects_a_user_on_every_node(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut alice = scene.player("Alice", 0).await;
    let mut elsewhere = alice.opens_tab("Alice's tab", scene.door(1)).await;
    let mut bob = scene.player("Bob", 0).await;
    let reply = http::post(
        scene.node(0).admin,
        "/disconnect",
        &[],
        json!({"user": alice.id}),
    )
    .await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()["closedHere"].clone()),
        (200, json!(1))
    );
    assert_eq!(alice.is_closed().await.code, Some(1008));
    assert_eq!(elsewhere.is_closed().await.code, Some(1008));
    bob.pings().await;
    scene.ends().await;
}

async fn an_operator_aborts_a_game(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 0).await;
    game.plays(&["e4", "e5"]).await;
    // Asked of a node that has nobody in the room.
    let path = format!("/games/{}/abort", game.id);
    let reply = http::post(scene.node(1).admin, &path, &[], json!({})).await;
    assert_eq!(reply.status, 202, "{}", reply.text());
    game.white.sees_end("*", "aborted").await;
    game.black.sees_end("*", "aborted").await;
    let reply = http::post(
        scene.node(1).admin,
        "/games/AAAAAAAAAAAAAAAA/abort",
        &[],
        json!({}),
    )
    .await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()["error"]["code"].clone()),
        (404, json!("game_not_found"))
    );
    scene.ends().await;
}

async fn the_admin_token_is_asked_for(over: Over) {
    const TOKEN: &str = "an admin token of the tests";
    let scene = Scene::with(over, 1, &["--admin-token", TOKEN]).await;
    let admin = scene.node(0).admin;
    let bearer = format!("Bearer {TOKEN}");
    let wrong = format!("{bearer}!");
    for (method, path) in [
        ("GET", "/metrics"),
        ("GET", "/status"),
        ("POST", "/drain"),
        ("POST", "/disconnect"),
        ("POST", "/mute"),
        ("POST", "/games/x/abort"),
        ("GET", "/nothing"),
    ] {
        for headers in [
            &[][..],
            &[("authorization", wrong.as_str())],
            &[("authorization", "Bearer ")],
            &[("authorization", TOKEN)],
        ] {
            let reply = http::send(admin, method, path, headers).await;
            assert_eq!(
                (reply.status.as_u16(), reply.json()["error"]["code"].clone()),
                (401, json!("unauthorized")),
                "{path}"
            );
        }
    }
    for path in ["/livez", "/readyz"] {
        assert_eq!(http::get(admin, path).await.status, 200);
    }
    let reply = http::send(admin, "GET", "/metrics", &[("authorization", &bearer)]).await;
    assert_eq!(reply.status, 200);
    assert!(!reply.text().contains(TOKEN));
    scene.ends().await;
}

async fn what_is_wrong_is_answered(over: Over) {
    let scene = Scene::start(over, 1).await;
    let admin = scene.node(0).admin;
    for path in ["/disconnect", "/mute"] {
        for body in [
            json!({}),
            json!({"user": 3, "seconds": 1}),
            json!({"user": "x", "seconds": -1}),
            json!({"user": "x", "seconds": 100_000_000}),
            json!({"user": "x".repeat(10_000), "seconds": 1}),
        ] {
            let reply = http::post(admin, path, &[], body).await;
            assert_eq!(
                (reply.status.as_u16(), reply.json()["error"]["code"].clone()),
                (400, json!("bad_message")),
                "{path}"
            );
        }
    }
    let reply = http::get(admin, "/nothing").await;
    assert_eq!(
        (reply.status.as_u16(), reply.json()["error"]["code"].clone()),
        (404, json!("not_found"))
    );
    scene.ends().await;
}

async fn the_page_holds_no_markup_of_players(over: Over) {
    let scene = Scene::start(over, 1).await;
    let _game = paired(&scene, ["<script>alert(1)</script>", "Bob"], [0, 0]).await;
    let admin = scene.node(0).admin;
    let page = async || http::send(admin, "GET", "/status", &[("accept", "text/html,*/*")]).await;
    until("the game is listed", async || {
        page().await.text().contains("&lt;script&gt;")
    })
    .await;
    let page = page().await;
    assert_eq!(
        page.header("content-type"),
        Some("text/html; charset=utf-8")
    );
    assert!(
        page.header("content-security-policy")
            .unwrap()
            .starts_with("default-src 'none'")
    );
    assert!(!page.text().contains("<script"), "{}", page.text());
    assert!(page.text().contains("node-0"));
    scene.ends().await;
}
