//! Bad input: whatever comes, there is an error of the contract or a close with the right code, and nobody else notices.

use crate::scenarios;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Value, json};
use tests::{
    cluster::Over,
    player::{BLITZ, Player, UNTIMED},
    scene::{Game, Scene},
};
use tokio_tungstenite::tungstenite::Message;

scenarios![
    bad_messages_get_their_codes,
    ids_that_are_no_ids,
    a_request_id_comes_back_or_is_refused,
    bad_time_controls,
    other_peoples_seats,
];
scenarios![only Embedded as flood: any_json_is_answered, any_bytes_are_answered];

async fn bad_messages_get_their_codes(over: Over) {
    let scene = Scene::with(over, 1, &["--messages-per-second", "1000"]).await;
    let mut canary = scene.game(UNTIMED, 0, 0).await;
    let mut alice = scene.player("Alice", 0).await;
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let nested = format!(r#"{{"type":"ping","payload":{{"t":{}}}}}"#, deep(7));
    let game = &canary.id;
    let cases: Vec<(String, &str)> = vec![
        (String::new(), "bad_json"),
        ("e2e4".into(), "bad_json"),
        ("{".into(), "bad_json"),
        (r#"{"type":"ping"} x"#.into(), "bad_json"),
        (r#"{"type":"ping",}"#.into(), "bad_json"),
        ("\u{0}".into(), "bad_json"),
        ("NaN".into(), "bad_json"),
        (deep(9), "bad_json"),
        (deep(2_000), "bad_json"),
        (nested, "bad_json"),
        ("null".into(), "bad_message"),
        ("[]".into(), "bad_message"),
        ("{}".into(), "bad_message"),
        (deep(8), "bad_message"),
        (r#""ping""#.into(), "bad_message"),
        (r#"{"type":1}"#.into(), "bad_message"),
        (r#"{"type":null}"#.into(), "bad_message"),
        (r#"{"type":["ping"]}"#.into(), "bad_message"),
        (r#"{"type":"ping","type":"ping"}"#.into(), "bad_message"),
        (r#"{"type":"nonsense"}"#.into(), "unknown_type"),
        (r#"{"type":""}"#.into(), "unknown_type"),
        (r#"{"type":"PING"}"#.into(), "unknown_type"),
        (r#"{"type":"move"}"#.into(), "bad_message"),
        (r#"{"type":"move","payload":[]}"#.into(), "bad_message"),
        (r#"["ping"]"#.into(), "bad_message"),
        (r#"{"type":"ping","payload":[1]}"#.into(), "bad_message"),
        (
            r#"{"type":"leave_room","payload":["a"]}"#.into(),
            "bad_message",
        ),
        (r#"{"type":"move","payload":"e4"}"#.into(), "bad_message"),
        (r#"{"type":"join_room","payload":{}}"#.into(), "bad_message"),
        (
            r#"{"type":"join_room","payload":{"gameId":null}}"#.into(),
            "bad_message",
        ),
        (
            format!(r#"{{"type":"move","payload":{{"gameId":"{game}","move":7}}}}"#),
            "bad_message",
        ),
        (
            format!(r#"{{"type":"move","payload":{{"gameId":"{game}","move":{{"from":"e2"}}}}}}"#),
            "bad_message",
        ),
        (
            format!(
                r#"{{"type":"move","payload":{{"gameId":"{game}","move":{{"from":"e2","to":"e9"}}}}}}"#
            ),
            "bad_message",
        ),
        (
            format!(r#"{{"type":"move","payload":{{"gameId":"{game}","move":"e4","ply":-1}}}}"#),
            "bad_message",
        ),
        (
            format!(r#"{{"type":"move","payload":{{"gameId":"{game}","move":"e4","ply":1.5}}}}"#),
            "bad_message",
        ),
        (
            format!(
                r#"{{"type":"move","payload":{{"gameId":"{game}","move":"e4","ply":99999999999999999999}}}}"#
            ),
            "bad_message",
        ),
        (
            format!(r#"{{"type":"move","payload":{{"gameId":"{game}","move":"e4","seq":1e400}}}}"#),
            "bad_message",
        ),
        (
            format!(
                r#"{{"type":"move","payload":{{"gameId":"{game}","move":"{}"}}}}"#,
                "e".repeat(500)
            ),
            "bad_message",
        ),
        (
            format!(r#"{{"type":"chat","payload":{{"gameId":"{game}"}}}}"#),
            "bad_message",
        ),
        (
            format!(r#"{{"type":"chat","payload":{{"gameId":"{game}","text":"  "}}}}"#),
            "bad_message",
        ),
        (
            format!(
                r#"{{"type":"chat","payload":{{"gameId":"{game}","text":"{}"}}}}"#,
                "x".repeat(501)
            ),
            "bad_message",
        ),
        (
            format!(r#"{{"type":"chat","payload":{{"gameId":"{game}","text":"a\u0000b"}}}}"#),
            "bad_message",
        ),
        (
            r#"{"type":"init_game","payload":{"name":"a\nb"}}"#.into(),
            "bad_message",
        ),
        (
            format!(
                r#"{{"type":"init_game","payload":{{"name":"{}"}}}}"#,
                "é".repeat(33)
            ),
            "bad_message",
        ),
        (
            r#"{"type":"create_game","payload":{"color":"green"}}"#.into(),
            "bad_message",
        ),
        (
            r#"{"type":"create_game","payload":{"key":""}}"#.into(),
            "bad_message",
        ),
        (
            format!(
                r#"{{"type":"create_game","payload":{{"key":"{}"}}}}"#,
                "k".repeat(65)
            ),
            "bad_message",
        ),
    ];
    for (text, code) in cases {
        alice.says(&text).await;
        let error = alice.hears("error").await;
        assert_eq!(error["payload"]["code"], code, "{text:.200} got {error}");
        assert_eq!(error["payload"]["retryable"], false);
        assert!(!error.to_string().contains("rust") && error.to_string().len() < 1_000);
    }
    alice.pings().await;
    alice.has_not_heard("error");
    // What nobody knows is ignored where it may stand.
    let unknown =
        json!({"type": "ping", "id": 7, "payload": {"t": [1, {"a": null}], "x": 1}, "y": {}});
    alice.says(&unknown.to_string()).await;
    let pong = alice.answer_to(7).await;
    assert_eq!(pong["payload"]["t"], json!([1, {"a": null}]));
    assert!(pong["payload"]["serverTime"].is_i64());
    canary.plays(&["e4", "e5"]).await;
    scene.ends().await;
}

async fn ids_that_are_no_ids(over: Over) {
    let scene = Scene::with(over, 1, &["--messages-per-second", "1000"]).await;
    let mut alice = scene.player("Alice", 0).await;
    let long = "x".repeat(33);
    let ids = [
        "", " ", "*", "?", "[a-z]", "{tag}", "a{b}c", "a\r\nb", "a\nGET x", "a b", "../x", "a/b",
        "a:b", "é", "\u{0}", "%00", &long, "a'; --", "🂡",
    ];
    for id in ids {
        for kind in [
            "join_room",
            "join_game",
            "leave_room",
            "exit_game",
            "resign",
            "offer_draw",
        ] {
            alice
                .is_refused("bad_message", kind, json!({"gameId": id}))
                .await;
        }
        let mv = json!({"gameId": id, "move": "e4"});
        alice.is_refused("bad_message", "move", mv).await;
        let chat = json!({"gameId": id, "text": "hello"});
        alice.is_refused("bad_message", "chat", chat).await;
    }
    for id in [
        json!(7),
        json!(null),
        json!(["a"]),
        json!({}),
        json!(true),
        json!(1e300),
    ] {
        alice
            .is_refused("bad_message", "join_room", json!({"gameId": id}))
            .await;
    }
    // Ids that could be, of games that are not.
    for id in ["a", "0", "AbC123", &"z".repeat(32)] {
        let answer = alice.asks("join_room", json!({"gameId": id})).await;
        assert_eq!(answer["type"], "game_not_found", "{id}");
        let requests = [
            "resign",
            "abort",
            "offer_draw",
            "claim_draw",
            "claim_victory",
        ];
        for kind in requests {
            alice
                .is_refused("game_not_found", kind, json!({"gameId": id}))
                .await;
        }
        let chat = json!({"gameId": id, "text": "hello"});
        alice.is_refused("game_not_found", "chat", chat).await;
    }
    scene.ends().await;
}

async fn a_request_id_comes_back_or_is_refused(over: Over) {
    let scene = Scene::start(over, 1).await;
    let mut alice = scene.player("Alice", 0).await;
    for id in [
        json!(0),
        json!(-5),
        json!(1.5),
        json!(u64::MAX),
        json!("x"),
        json!(""),
        json!("a\"b\\é"),
    ] {
        alice
            .says(&json!({"type": "ping", "id": id}).to_string())
            .await;
        assert_eq!(alice.hears("pong").await["id"], id);
        alice
            .says(&json!({"type": "nonsense", "id": id}).to_string())
            .await;
        assert_eq!(alice.hears("error").await["id"], id);
    }
    for id in [json!(true), json!([1]), json!({}), json!("x".repeat(65))] {
        alice
            .says(&json!({"type": "ping", "id": id}).to_string())
            .await;
        let error = alice.hears("error").await;
        assert_eq!(error["payload"]["code"], "bad_message");
        assert!(error.get("id").is_none());
    }
    alice.says(r#"{"type":"ping","id":null}"#).await;
    assert!(alice.hears("pong").await.get("id").is_none());
    scene.ends().await;
}

async fn bad_time_controls(over: Over) {
    let scene = Scene::with(over, 1, &["--messages-per-second", "1000"]).await;
    let mut alice = scene.player("Alice", 0).await;
    for (initial, increment) in [
        (0, 0),
        (999, 0),
        (-1, 0),
        (10_800_001, 0),
        (i64::MAX, 0),
        (i64::MIN, 0),
        (60_000, -1),
        (60_000, 180_001),
        (60_000, i64::MAX),
    ] {
        let control = json!({"timeControl": {"initialMs": initial, "incrementMs": increment}});
        for kind in ["init_game", "create_game"] {
            alice
                .is_refused("bad_time_control", kind, control.clone())
                .await;
        }
    }
    for control in [
        json!({"initialMs": 60_000}),
        json!({}),
        json!(5),
        json!("5+0"),
    ] {
        let payload = json!({"timeControl": control});
        alice
            .is_refused("bad_message", "create_game", payload)
            .await;
    }
    for (initial, increment) in [(1_000, 0), (10_800_000, 180_000)] {
        let control = json!({"timeControl": {"initialMs": initial, "incrementMs": increment}});
        assert_eq!(
            alice.asks("create_game", control).await["type"],
            "game_added"
        );
    }
    scene.ends().await;
}

async fn other_peoples_seats(over: Over) {
    let scene = Scene::with(over, 2, &["--messages-per-second", "1000"]).await;
    let mut game = scene.game(BLITZ, 0, 1).await;
    let mut mallory = scene.player("Mallory", 0).await;
    game.plays(&["e4"]).await;
    game.white.does("offer_draw").await;
    mallory.watches(&game.id).await;
    for kind in [
        "resign",
        "abort",
        "offer_draw",
        "accept_draw",
        "decline_draw",
        "claim_draw",
        "claim_victory",
        "offer_takeback",
        "accept_takeback",
        "decline_takeback",
        "offer_rematch",
        "accept_rematch",
        "decline_rematch",
    ] {
        mallory.may_not(kind, "not_a_player").await;
    }
    // Names and ids in a payload are nobody's.
    let pretended = json!({
        "gameId": game.id, "move": "e5", "color": "black", "by": "black", "user": game.black.id,
        "userId": game.black.id, "token": "x", "name": "Black"
    });
    mallory.is_refused("not_a_player", "move", pretended).await;
    let same_name = json!({"gameId": game.id, "name": "Black"});
    mallory
        .is_refused("game_full", "join_game", same_name)
        .await;
    let (_, log) = scene.log(1, &game.id).await;
    assert_eq!(log.len(), 3);
    game.plays(&["e5"]).await;
    scene.ends().await;
}

/// Texts of one kind or another, thrown at a gateway while a game goes on there.
const TEXTS: usize = 3_000;

/// Connections they come from: some get closed, as they should.
async fn throw(scene: &Scene, canary: &mut Game, texts: impl Iterator<Item = Message>) {
    let mut mallory: Option<Player> = None;
    let moves = ["Nf3", "Nf6", "Ng1", "Ng8"];
    for (number, text) in texts.enumerate() {
        if mallory
            .as_ref()
            .is_none_or(|mallory| mallory.closed().is_some())
        {
            if let Some(closed) = mallory.and_then(|mallory| mallory.closed()) {
                let code = closed.code.unwrap_or(0);
                assert!(
                    matches!(code, 1002 | 1003 | 1007 | 1008 | 1009),
                    "{closed:?}"
                );
            }
            mallory = Some(scene.player(&format!("Mallory {number}"), 0).await);
        }
        let mallory = mallory.as_mut().unwrap();
        mallory.sends_frame(text.clone()).await;
        // Each is answered: by something, or a close.
        let id = mallory.sends("ping", json!({})).await;
        println!("{number}: {text:.300}");
        mallory.is_answered_besides(id).await;
        if number.is_multiple_of(250) {
            let place = number / 250;
            if place.is_multiple_of(12) && place > 0 {
                *canary = scene.game(UNTIMED, 0, 0).await;
            }
            canary.plays(&[moves[place % 4]]).await;
        }
    }
}

/// Texts that are nearly right: the right names with values of any kind.
fn nearly_right(game: String) -> impl Strategy<Value = String> {
    let kinds = prop::sample::select(vec![
        "init_game",
        "cancel_seek",
        "create_game",
        "join_game",
        "join_room",
        "leave_room",
        "move",
        "resign",
        "abort",
        "offer_draw",
        "accept_draw",
        "claim_victory",
        "offer_rematch",
        "accept_takeback",
        "claim_draw",
        "exit_game",
        "chat",
        "ping",
        "welcome",
        "ack",
    ]);
    let keys = prop::sample::select(vec![
        "gameId",
        "move",
        "ply",
        "seq",
        "epoch",
        "timeControl",
        "initialMs",
        "incrementMs",
        "name",
        "color",
        "key",
        "text",
        "from",
        "to",
        "promotion",
        "t",
    ]);
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,40}".prop_map(Value::from),
        "[a-h][1-8][a-h][1-8]".prop_map(Value::from),
        "(O-O|[KQRBN]?[a-h]?x?[a-h][1-8](=[QRBN])?[+#]?)".prop_map(Value::from),
        Just(Value::from(game)),
    ];
    let value = leaf.prop_recursive(4, 20, 5, |inner| {
        let keys = prop::sample::select(vec!["initialMs", "incrementMs", "from", "to", "x"]);
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            prop::collection::vec((keys, inner), 0..4).prop_map(|entries| {
                let entries = entries
                    .into_iter()
                    .map(|(key, value)| (key.to_owned(), value));
                Value::Object(entries.collect())
            }),
        ]
    });
    (
        kinds,
        prop::collection::vec((keys, value.clone()), 0..6),
        prop::option::of(value),
    )
        .prop_map(|(kind, entries, id)| {
            let entries = entries
                .into_iter()
                .map(|(key, value)| (key.to_owned(), value));
            let mut message = json!({"type": kind, "payload": Value::Object(entries.collect())});
            if let Some(id) = id {
                message["id"] = id;
            }
            message.to_string()
        })
}

fn samples<T>(strategy: impl Strategy<Value = T>, count: usize) -> impl Iterator<Item = T> {
    let mut runner = TestRunner::deterministic();
    (0..count).map(move |_| strategy.new_tree(&mut runner).unwrap().current())
}

async fn any_json_is_answered(over: Over) {
    let scene = Scene::with(over, 1, &["--messages-per-second", "100000"]).await;
    let mut canary = scene.game(UNTIMED, 0, 0).await;
    let texts = samples(nearly_right(canary.id.clone()), TEXTS);
    throw(&scene, &mut canary, texts.map(Message::text)).await;
    scene.ends().await;
}

async fn any_bytes_are_answered(over: Over) {
    let scene = Scene::with(over, 1, &["--messages-per-second", "100000"]).await;
    let mut canary = scene.game(UNTIMED, 0, 0).await;
    let bytes = prop_oneof![
        4 => ".{0,300}".prop_map(Message::text),
        4 => "[\\[\\]{}\",:0-9a-z\\\\]{0,200}".prop_map(Message::text),
        1 => prop::collection::vec(any::<u8>(), 0..200).prop_map(Message::binary),
    ];
    throw(&scene, &mut canary, samples(bytes, TEXTS)).await;
    scene.ends().await;
}
