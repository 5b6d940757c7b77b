//! Who somebody is: guests, their tokens, several tabs, operators' own tokens, and tokens that are none.

use crate::scenarios;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use std::time::{SystemTime, UNIX_EPOCH};
use tests::{
    cluster::{Over, SECRET},
    player::{BLITZ, Dial, Player},
    scene::Scene,
};

scenarios![
    a_first_connection_is_welcomed_as_a_guest,
    a_token_is_the_same_user_on_every_node_and_in_every_tab,
    the_subprotocol_carries_a_token_too,
    an_operators_token_is_an_account,
    bad_tokens_are_closed_with_4501,
    a_guest_chooses_his_name_and_an_account_does_not,
    active_games_are_told_at_the_door,
];

fn now_seconds() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.unwrap().as_secs()
}

fn signed(claims: &Value, secret: &str) -> String {
    let key = EncodingKey::from_secret(secret.as_bytes());
    encode(&Header::new(Algorithm::HS256), claims, &key).unwrap()
}

fn bearing(token: String) -> Dial {
    Dial {
        token: Some(token),
        ..Dial::default()
    }
}

async fn a_first_connection_is_welcomed_as_a_guest(over: Over) {
    let scene = Scene::start(over, 1).await;
    let alice = scene.player("Alice", 0).await;
    let bob = scene.player("Bob", 0).await;
    let welcome = &alice.welcome;
    assert_eq!(welcome["user"]["isGuest"], true);
    assert_eq!(welcome["protocol"], 1);
    assert_eq!(welcome["heartbeatMs"], 30_000);
    assert_eq!(welcome["node"], scene.node(0).name.as_str());
    assert_eq!(welcome["activeGames"], json!([]));
    let server_ms = welcome["serverTime"].as_i64().unwrap();
    assert!((server_ms / 1000).abs_diff(now_seconds() as i64) < 60);
    assert_ne!(alice.id, bob.id);
    scene.ends().await;
}

async fn a_token_is_the_same_user_on_every_node_and_in_every_tab(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut alice = scene.player("Alice", 0).await;
    let mut bob = scene.player("Bob", 1).await;
    let mut tab = alice.opens_tab("Alice's tab", scene.door(1)).await;
    let game = scene.seats(&mut alice, &mut bob, BLITZ).await;
    // The other tab, on the other node, sits on the same seat.
    let snapshot = tab.watches(&game).await;
    assert_eq!(snapshot["color"], "white");
    tab.plays("e2e4").await;
    alice.sees_move("e4").await;
    bob.sees_move("e4").await;
    tab.sees_move("e4").await;
    bob.plays("e7e5").await;
    alice.plays("g1f3").await;
    tab.sees_move("e5").await;
    tab.sees_move("Nf3").await;
    let id = alice.id.clone();
    alice.reconnects_to(scene.door(1)).await;
    assert_eq!(alice.id, id);
    scene.ends().await;
}

async fn the_subprotocol_carries_a_token_too(over: Over) {
    let scene = Scene::start(over, 2).await;
    let alice = scene.player("Alice", 0).await;
    let offered = format!("rookery, {}", alice.token());
    let dial = Dial {
        headers: vec![("sec-websocket-protocol", offered)],
        ..Dial::default()
    };
    let tab = scene.dials("Alice's tab", 1, dial).await;
    assert_eq!(tab.id, alice.id);
    scene.ends().await;
}

async fn an_operators_token_is_an_account(over: Over) {
    let scene = Scene::start(over, 1).await;
    let claims = json!({"sub": "user|42", "name": "Magda", "exp": now_seconds() + 600});
    let player = scene
        .dials("Magda", 0, bearing(signed(&claims, SECRET)))
        .await;
    let expected = json!({"id": "user|42", "name": "Magda", "isGuest": false});
    assert_eq!(player.welcome["user"], expected);
    scene.ends().await;
}

async fn bad_tokens_are_closed_with_4501(over: Over) {
    let scene = Scene::start(over, 1).await;
    let alice = scene.player("Alice", 0).await;
    let soon = now_seconds() + 600;
    let mut forged: Vec<&str> = alice.token().split('.').collect();
    let root = "eyJzdWIiOiJyb290IiwiZXhwIjo5OTk5OTk5OTk5OX0";
    forged[1] = root;
    let bad = [
        ("not a token", "abc".to_owned()),
        ("forged", forged.join(".")),
        ("unsigned", format!("eyJhbGciOiJub25lIn0.{root}.")),
        (
            "another secret",
            signed(
                &json!({"sub": "u", "exp": soon}),
                "another secret of more than 32 bytes",
            ),
        ),
        (
            "expired",
            signed(&json!({"sub": "u", "exp": now_seconds() - 3600}), SECRET),
        ),
        ("never expires", signed(&json!({"sub": "u"}), SECRET)),
        ("nobody", signed(&json!({"exp": soon}), SECRET)),
        (
            "an empty user",
            signed(&json!({"sub": "", "exp": soon}), SECRET),
        ),
        (
            "a user with line breaks",
            signed(&json!({"sub": "a\r\nb", "exp": soon}), SECRET),
        ),
        (
            "not yet good",
            signed(&json!({"sub": "u", "exp": soon, "nbf": soon - 60}), SECRET),
        ),
        ("very long", "x".repeat(6000)),
    ];
    for (what, token) in bad {
        let came =
            Player::try_dial(what, scene.door(0), scene.witness.clone(), bearing(token)).await;
        let why = came.err().unwrap_or_else(|| panic!("{what} was let in"));
        assert!(why.contains("Some(4501)"), "{what}: {why}");
    }
    scene.ends().await;
}

async fn a_guest_chooses_his_name_and_an_account_does_not(over: Over) {
    let scene = Scene::start(over, 1).await;
    let claims = json!({"sub": "magda", "name": "Magda", "exp": now_seconds() + 600});
    let mut magda = scene
        .dials("Somebody", 0, bearing(signed(&claims, SECRET)))
        .await;
    let mut guest = scene.player("Ünï 漢字", 0).await;
    let game = magda.invites(BLITZ, "white").await;
    guest.accepts(&game).await;
    let start = magda.hears("init_game").await;
    let name = |color: &str| start["payload"][format!("{color}Player")]["name"].clone();
    assert_eq!(name("white"), "Magda");
    assert_eq!(name("black"), "Ünï 漢字");
    scene.ends().await;
}

async fn active_games_are_told_at_the_door(over: Over) {
    let scene = Scene::start(over, 2).await;
    let game = scene.game(BLITZ, 0, 1).await;
    let mut white = game.white;
    white.reconnects_to(scene.door(1)).await;
    assert_eq!(white.welcome["activeGames"], json!([game.id]));
    white.resigns().await;
    // The list is tidied a moment after the end.
    tests::cluster::until("the game is off the list", async || {
        white.reconnects_to(scene.door(0)).await;
        white.welcome["activeGames"] == json!([])
    })
    .await;
    scene.ends().await;
}
