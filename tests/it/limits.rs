//! Limits: how much, how often, how many; and that one who passes them is nobody else's trouble.

use crate::scenarios;
use serde_json::{Value, json};
use tests::{
    cluster::{Over, until},
    player::{BLITZ, UNTIMED},
    scene::Scene,
};
use tokio_tungstenite::tungstenite::Message;

scenarios![
    a_burst_is_let_through_and_a_flood_is_closed_with_1008,
    a_flood_of_large_messages_is_closed_too,
    a_long_message_is_too_large_and_a_huge_one_closes_with_1009,
    binary_closes_with_1003,
    so_many_rooms_a_connection,
    so_many_running_games_a_user,
    so_many_seeks_a_minute,
    so_many_joins_and_no_end_of_pings,
    a_slow_reader_of_answers_is_closed_with_4008,
    a_full_node_says_try_again_later,
];

/// One node is enough here, and rates are of interest, so no room for them is made by other settings.
async fn a_burst_is_let_through_and_a_flood_is_closed_with_1008(over: Over) {
    let scene = Scene::start(over, 1).await;
    let mut canary = scene.game(BLITZ, 0, 0).await;
    let mut flooder = scene.player("Flooder", 0).await;
    for number in 0..40 {
        flooder
            .says(&json!({"type": "ping", "id": number}).to_string())
            .await;
    }
    for number in 0..40 {
        assert_eq!(flooder.answer_to(number).await["type"], "pong");
    }
    let mut limited = 0;
    for number in 40..2_000 {
        if !flooder
            .says(&json!({"type": "ping", "id": number}).to_string())
            .await
        {
            break;
        }
    }
    assert_eq!(flooder.is_closed().await.code, Some(1008));
    while let Some(error) = flooder.has_heard(|message| message["type"] == "error") {
        assert_eq!(error["payload"]["code"], "rate_limited");
        assert_eq!(error["payload"]["retryable"], true);
        assert!(error["payload"]["retryAfterMs"].is_u64());
        assert!(error["id"].is_u64());
        limited += 1;
    }
    assert!(limited >= 50, "{limited}");
    canary.plays(&["e4", "e5"]).await;
    scene.ends().await;
}

async fn a_flood_of_large_messages_is_closed_too(over: Over) {
    let scene = Scene::start(over, 1).await;
    let mut flooder = scene.player("Flooder", 0).await;
    let large = "x".repeat(5_000);
    for _ in 0..2_000 {
        if !flooder.says(&large).await {
            break;
        }
    }
    assert_eq!(flooder.is_closed().await.code, Some(1008));
    scene.ends().await;
}

async fn a_long_message_is_too_large_and_a_huge_one_closes_with_1009(over: Over) {
    let scene = Scene::start(over, 1).await;
    let mut alice = scene.player("Alice", 0).await;
    let padded = |len: usize| {
        let head = r#"{"type":"ping","id":"mine","payload":{"pad":""#;
        format!("{head}{}\"}}}}", "x".repeat(len - head.len() - 3))
    };
    assert_eq!(padded(4096).len(), 4096);
    alice.says(&padded(4096)).await;
    let pong = alice.hears("pong").await;
    assert_eq!(pong["id"], "mine");
    for len in [4097, 65_536] {
        alice.says(&padded(len)).await;
        let error = alice.hears("error").await;
        assert_eq!(error["payload"]["code"], "too_large");
        assert!(error.get("id").is_none(), "it was not read");
    }
    alice.pings().await;
    alice.says(&padded(65_537)).await;
    assert_eq!(alice.is_closed().await.code, Some(1009));
    scene.ends().await;
}

async fn binary_closes_with_1003(over: Over) {
    let scene = Scene::start(over, 1).await;
    let mut alice = scene.player("Alice", 0).await;
    let text = br#"{"type":"ping"}"#.to_vec();
    alice.sends_frame(Message::binary(text)).await;
    assert_eq!(alice.is_closed().await.code, Some(1003));
    scene.ends().await;
}

async fn so_many_rooms_a_connection(over: Over) {
    let scene = Scene::with(over, 1, &["--messages-per-second", "1000"]).await;
    let mut alice = scene.player("Alice", 0).await;
    let mut games = Vec::new();
    for number in 0..33 {
        let mut host = scene.player(&format!("Host {number}"), 0).await;
        games.push(host.invites(UNTIMED, "white").await);
        host.hangs_up().await;
    }
    for game in &games[..32] {
        let answer = alice.asks("join_room", json!({"gameId": game})).await;
        assert_eq!(answer["type"], "invitation");
    }
    let last = json!({"gameId": games[32]});
    for kind in ["join_room", "join_game"] {
        alice.is_refused("too_many_games", kind, last.clone()).await;
    }
    // Those she is in are not counted again, and leaving one makes room; also said in one breath.
    alice.asks("join_room", json!({"gameId": games[0]})).await;
    alice.sends("leave_room", json!({"gameId": games[0]})).await;
    let answer = alice.asks("join_room", last).await;
    assert_eq!(answer["type"], "invitation");
    // A room that is not found takes no place.
    for _ in 0..40 {
        alice.asks("leave_room", json!({"gameId": games[1]})).await;
        let answer = alice
            .asks("join_room", json!({"gameId": "nosuchgame"}))
            .await;
        assert_eq!(answer["type"], "game_not_found");
    }
    scene.ends().await;
}

async fn so_many_running_games_a_user(over: Over) {
    let flags = ["--messages-per-second", "1000", "--games-per-user", "3"];
    let scene = Scene::with(over, 2, &flags).await;
    let mut alice = scene.player("Alice", 0).await;
    let mut opponents = Vec::new();
    for number in 0..3 {
        let mut bob = scene.player(&format!("Bob {number}"), 1).await;
        scene.seats(&mut alice, &mut bob, UNTIMED).await;
        opponents.push(bob);
    }
    let seek = json!({"timeControl": null});
    alice
        .is_refused("too_many_games", "init_game", seek.clone())
        .await;
    alice
        .is_refused("too_many_games", "create_game", seek.clone())
        .await;
    let invited = opponents[0].invites(UNTIMED, "white").await;
    let mut tab = alice.opens_tab("Alice's tab", scene.door(1)).await;
    let join = json!({"gameId": invited});
    tab.is_refused("too_many_games", "join_game", join.clone())
        .await;
    // With one game over there is room for another.
    alice.resigns().await;
    tests::cluster::until("a place is free", async || {
        tab.asks("join_game", join.clone()).await["type"] == "init_game"
    })
    .await;
    scene.ends().await;
}

/// Somebody who asks and does not listen.
async fn a_slow_reader_of_answers_is_closed_with_4008(over: Over) {
    let scene = Scene::with(over, 1, &["--messages-per-second", "100000"]).await;
    let mut canary = scene.game(BLITZ, 0, 0).await;
    let dial = tests::player::Dial {
        receive_buffer_len: Some(4_096),
        ..Default::default()
    };
    let mut deaf = scene.dials("Deaf", 0, dial).await;
    deaf.stops_reading();
    let payload: Value = json!({"t": "x".repeat(3_000)});
    let mut taken = true;
    for _ in 0..5_000 {
        taken = deaf
            .says(&json!({"type": "ping", "payload": payload}).to_string())
            .await;
        if !taken {
            break;
        }
    }
    canary.plays(&["e4", "e5"]).await;
    deaf.reads_on();
    let closed = deaf.is_closed().await;
    // What was on its way is dropped with the connection, the Close frame too if the kernel took no more.
    assert!(
        closed.code == Some(4008) || (closed.code.is_none() && !taken),
        "{closed:?}"
    );
    scene.ends().await;
}

async fn a_full_node_says_try_again_later(over: Over) {
    let scene = Scene::with(over, 1, &["--max-connections", "2"]).await;
    let first = scene.player("First", 0).await;
    let _second = scene.player("Second", 0).await;
    let third = tests::player::Player::try_dial(
        "Third",
        scene.door(0),
        scene.witness.clone(),
        Default::default(),
    )
    .await;
    let why = third.err().unwrap();
    assert!(why.contains("Some(1013)"), "{why}");
    first.goes().await;
    tests::cluster::until("there is room", async || {
        tests::player::Player::try_dial(
            "Fourth",
            scene.door(0),
            scene.witness.clone(),
            Default::default(),
        )
        .await
        .is_ok()
    })
    .await;
    scene.ends().await;
}

async fn so_many_seeks_a_minute(over: Over) {
    // Half of a minute's at once: one, and the next in half a minute.
    let scene = Scene::with(over, 1, &["--seeks-per-minute", "2"]).await;
    let mut seeker = scene.player("Seeker", 0).await;
    let mut tab = seeker.opens_tab("Seeker's tab", scene.door(0)).await;
    let mut other = scene.player("Other", 0).await;
    seeker.invites(BLITZ, "white").await;
    // Over all his tabs.
    for (player, kind) in [(&mut seeker, "init_game"), (&mut tab, "create_game")] {
        player.is_refused("rate_limited", kind, json!({})).await;
        // What is no seek is not counted, and one may always stop.
        player.does("cancel_seek").await;
        player.pings().await;
    }
    other.invites(BLITZ, "white").await;
    scene.ends().await;
}

/// Of the kinds that ask more of the backplane there are fewer: a quarter a second, and as many at once as there may be rooms.
async fn so_many_joins_and_no_end_of_pings(over: Over) {
    let flags = ["--messages-per-second", "100"];
    let scene = Scene::with(over, 1, &flags).await;
    let game = scene.game(UNTIMED, 0, 0).await;
    until("joins are too many", async || {
        let mut viewer = scene.player("Viewer", 0).await;
        for _ in 0..120 {
            viewer.sends("join_room", json!({"gameId": game.id})).await;
        }
        // Within the rate of all kinds together.
        viewer.pings().await;
        let refused = viewer.has_heard(|message| message["type"] == "error");
        if let Some(error) = &refused {
            assert_eq!(error["payload"]["code"], "rate_limited");
        }
        refused.is_some()
    })
    .await;
    scene.ends().await;
}
