//! Games by invitation.

use crate::scenarios;
use serde_json::json;
use tests::{
    cluster::Over,
    player::{BLITZ, UNTIMED},
    scene::Scene,
};

scenarios![
    an_invitation_seats_both_in_the_colours_wanted,
    the_same_key_gives_the_same_game,
    a_waiting_room_says_who_invites_and_becomes_the_game,
    the_creator_cannot_be_his_own_opponent,
    a_third_finds_the_game_full,
    an_accepted_invitation_can_be_accepted_again,
    two_accept_at_once_and_one_plays,
    an_invitation_outlives_its_creators_node,
    an_unknown_invitation_is_not_found,
    an_invitation_can_be_left,
];

async fn an_invitation_seats_both_in_the_colours_wanted(over: Over) {
    let scene = Scene::start(over, 2).await;
    for (wanted, got) in [("white", "black"), ("black", "white")] {
        let mut alice = scene.player("Alice", 0).await;
        let mut bob = scene.player("Bob", 1).await;
        let game = alice.invites(BLITZ, wanted).await;
        assert_eq!(bob.accepts(&game).await, got);
        assert_eq!(alice.starts().await, wanted);
        assert_eq!(alice.game, game);
    }
    let mut alice = scene.player("Alice", 0).await;
    let mut colors = Vec::new();
    for _ in 0..12 {
        let mut bob = scene.player("Bob", 1).await;
        let game = alice.invites(UNTIMED, "random").await;
        colors.push(bob.accepts(&game).await);
        alice.starts().await;
    }
    // One in 2048 that this fails for no reason would be too often.
    while !["white", "black"]
        .iter()
        .all(|color| colors.iter().any(|got| got == color))
    {
        assert!(colors.len() < 60, "{colors:?}");
        let mut alice = scene.player("Alice", 0).await;
        let mut bob = scene.player("Bob", 1).await;
        let game = alice.invites(UNTIMED, "random").await;
        colors.push(bob.accepts(&game).await);
    }
    scene.ends().await;
}

async fn the_same_key_gives_the_same_game(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut alice = scene.player("Alice", 0).await;
    let mut bob = scene.player("Bob", 1).await;
    let create = json!({"timeControl": null, "color": "white", "key": "a{b}*\r\n:é"});
    let first = alice.asks("create_game", create.clone()).await;
    alice.reconnects_to(scene.door(1)).await;
    let second = alice.asks("create_game", create.clone()).await;
    assert_eq!(first["payload"], second["payload"]);
    let other = bob.asks("create_game", create.clone()).await;
    assert_ne!(
        first["payload"], other["payload"],
        "a key is its user's own"
    );
    let game = first["payload"]["gameId"].as_str().unwrap().to_owned();
    bob.accepts(&game).await;
    assert_eq!(alice.starts().await, "white");
    // Asked again once the game runs, on a node that may not have the room open.
    alice.reconnects_to(scene.door(0)).await;
    let third = alice.asks("create_game", create).await;
    assert_eq!(first["payload"], third["payload"]);
    assert_eq!(alice.starts().await, "white");
    scene.ends().await;
}

async fn a_waiting_room_says_who_invites_and_becomes_the_game(over: Over) {
    let scene = Scene::start(over, 3).await;
    let mut alice = scene.player("Alice", 0).await;
    let mut bob = scene.player("Bob", 1).await;
    let mut carol = scene.player("Carol", 2).await;
    let game = alice.invites(BLITZ, "white").await;
    for waiting in [&mut bob, &mut carol, &mut alice] {
        let invitation = waiting.asks("join_room", json!({"gameId": game})).await;
        let payload = &invitation["payload"];
        assert_eq!(invitation["type"], "invitation");
        assert_eq!(payload["by"]["name"], "Alice");
        assert_eq!(payload["color"], "black", "the free one");
        assert_eq!(payload["timeControl"]["initialMs"], 180_000);
        let hours = (payload["expiresAt"].as_i64().unwrap()
            - waiting.welcome["serverTime"].as_i64().unwrap())
            / 3_600_000;
        assert!((23..=24).contains(&hours), "{hours}");
        waiting.game = game.clone();
    }
    assert_eq!(bob.accepts(&game).await, "black");
    let joined = carol.hears("game_joined").await;
    assert!(joined["payload"]["color"].is_null());
    assert_eq!(alice.starts().await, "white");
    assert_eq!(
        alice.hears("game_joined").await["payload"]["color"],
        "white"
    );
    alice.plays("d2d4").await;
    carol.sees_move("d4").await;
    bob.sees_move("d4").await;
    scene.ends().await;
}

async fn the_creator_cannot_be_his_own_opponent(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut alice = scene.player("Alice", 0).await;
    let mut tab = alice.opens_tab("Alice's tab", scene.door(1)).await;
    let game = alice.invites(BLITZ, "random").await;
    for player in [&mut alice, &mut tab] {
        player
            .is_refused("forbidden", "join_game", json!({"gameId": game}))
            .await;
    }
    let mut bob = scene.player("Bob", 1).await;
    bob.accepts(&game).await;
    scene.ends().await;
}

async fn a_third_finds_the_game_full(over: Over) {
    let scene = Scene::start(over, 3).await;
    let mut game = scene.game(BLITZ, 0, 1).await;
    let mut carol = scene.player("Carol", 2).await;
    let join = json!({"gameId": game.id});
    carol
        .is_refused("game_full", "join_game", join.clone())
        .await;
    assert!(carol.watches(&game.id).await["color"].is_null());
    game.white.resigns().await;
    carol.sees_end("0-1", "resignation").await;
    carol.is_refused("game_full", "join_game", join).await;
    scene.ends().await;
}

async fn an_accepted_invitation_can_be_accepted_again(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(BLITZ, 0, 1).await;
    game.black.accepts(&game.id).await;
    game.black.reconnects_to(scene.door(0)).await;
    assert_eq!(game.black.accepts(&game.id).await, "black");
    // The creator, too, is a player by now.
    game.white.reconnects_to(scene.door(1)).await;
    assert_eq!(game.white.accepts(&game.id).await, "white");
    game.white.plays("e2e4").await;
    game.black.sees_move("e4").await;
    scene.ends().await;
}

async fn two_accept_at_once_and_one_plays(over: Over) {
    let scene = Scene::start(over, 3).await;
    for _ in 0..5 {
        let mut alice = scene.player("Alice", 0).await;
        let mut bob = scene.player("Bob", 1).await;
        let mut carol = scene.player("Carol", 2).await;
        let game = alice.invites(BLITZ, "white").await;
        let join = json!({"gameId": game});
        let (one, other) = tokio::join!(
            bob.asks("join_game", join.clone()),
            carol.asks("join_game", join.clone())
        );
        let mut kinds = [&one, &other].map(|answer| match answer["type"].as_str().unwrap() {
            "error" => answer["payload"]["code"].as_str().unwrap(),
            kind => kind,
        });
        kinds.sort_unstable();
        assert_eq!(kinds, ["game_full", "init_game"]);
        alice.starts().await;
    }
    scene.ends().await;
}

async fn an_invitation_outlives_its_creators_node(over: Over) {
    let mut scene = Scene::start(over, 2).await;
    let mut alice = scene.player("Alice", 0).await;
    let game = alice.invites(BLITZ, "white").await;
    scene.cluster.kill(0);
    let mut bob = scene.player("Bob", 1).await;
    bob.accepts(&game).await;
    alice.reconnects_to(scene.door(1)).await;
    assert_eq!(alice.welcome["activeGames"], json!([game]));
    assert_eq!(alice.watches(&game).await["color"], "white");
    alice.plays("e2e4").await;
    bob.sees_move("e4").await;
    scene.ends().await;
}

async fn an_unknown_invitation_is_not_found(over: Over) {
    let scene = Scene::start(over, 1).await;
    let mut bob = scene.player("Bob", 0).await;
    for kind in ["join_game", "join_room"] {
        let answer = bob.asks(kind, json!({"gameId": "nosuchgame"})).await;
        assert_eq!(answer["type"], "game_not_found", "{kind}");
        assert_eq!(answer["payload"], json!({"gameId": "nosuchgame"}));
    }
    scene.ends().await;
}

async fn an_invitation_can_be_left(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut alice = scene.player("Alice", 0).await;
    let mut carol = scene.player("Carol", 0).await;
    let mut bob = scene.player("Bob", 1).await;
    let game = alice.invites(BLITZ, "white").await;
    carol.asks("join_room", json!({"gameId": game})).await;
    carol.game = game.clone();
    carol.does("leave_room").await;
    bob.accepts(&game).await;
    alice.starts().await;
    carol.pings().await;
    carol.has_not_heard("game_joined");
    scene.ends().await;
}
