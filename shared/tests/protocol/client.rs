//! What a client may say. Each row: a text, and what is understood.

use proptest::prelude::*;
use shared::{
    game::MoveInput,
    protocol::{ClientMessage, ErrorCode, Request, RequestId},
};

fn refused(text: &str) -> (ErrorCode, String) {
    let error = Request::decode(text).expect_err(text);
    (error.code, error.message)
}

#[test]
fn every_type_is_understood() {
    // One a line, of every type, with and without what may be left out; unknown fields, wherever they are, are ignored.
    for text in include_str!("../data/wire/requests.jsonl").lines() {
        Request::decode(text).expect(text);
    }
}

#[test]
fn a_move_is_squares_or_text() {
    let mv = |text: &str| match Request::decode(text).unwrap().message {
        ClientMessage::Move(request) => request.mv,
        other => panic!("{other:?}"),
    };
    assert_eq!(
        mv(r#"{"type":"move","payload":{"move":"Nf3"}}"#),
        MoveInput::Text("Nf3".into())
    );
    let MoveInput::Squares(squares) =
        mv(r#"{"type":"move","payload":{"move":{"from":"e7","to":"e8","promotion":"n"}}}"#)
    else {
        panic!("squares")
    };
    assert_eq!(squares.to_string(), "e7e8n");
}

#[test]
fn left_out_is_ten_minutes_and_null_is_untimed() {
    let control = |text: &str| match Request::decode(text).unwrap().message {
        ClientMessage::InitGame(seek) => seek.time_control.map(|control| control.initial_ms),
        other => panic!("{other:?}"),
    };
    assert_eq!(
        control(r#"{"type":"init_game","payload":{}}"#),
        Some(600_000)
    );
    assert_eq!(
        control(r#"{"type":"init_game","payload":{"timeControl":null}}"#),
        None
    );
}

#[test]
fn an_id_is_a_number_or_a_short_string_and_comes_back_with_errors_too() {
    let id = |text: &str| match Request::decode(text) {
        Ok(request) => request.id,
        Err(error) => error.id,
    };
    assert_eq!(
        id(r#"{"type":"ping","id":7}"#),
        Some(RequestId::Number(7.into()))
    );
    assert_eq!(
        id(r#"{"type":"ping","id":"a"}"#),
        Some(RequestId::Text("a".into()))
    );
    assert_eq!(
        id(r#"{"type":"nonsense","id":"a"}"#),
        Some(RequestId::Text("a".into()))
    );
    assert_eq!(
        id(r#"{"type":"move","payload":{},"id":3}"#),
        Some(RequestId::Number(3.into()))
    );
    assert_eq!(id(r#"{"type":"ping"}"#), None);
    for bad in [
        r#"{"type":"ping","id":{}}"#,
        r#"{"type":"ping","id":[1]}"#,
        r#"{"type":"ping","id":true}"#,
    ] {
        assert_eq!(refused(bad).0, ErrorCode::BadMessage, "{bad}");
    }
    let long = format!(r#"{{"type":"ping","id":"{}"}}"#, "x".repeat(65));
    assert_eq!(refused(&long).0, ErrorCode::BadMessage);
}

#[test]
fn what_is_wrong_is_named() {
    use ErrorCode::{BadJson, BadMessage, BadTimeControl, UnknownType};
    let long_name = format!(
        r#"{{"type":"init_game","payload":{{"name":"{}"}}}}"#,
        "x".repeat(33)
    );
    let long_text = format!(
        r#"{{"type":"chat","payload":{{"gameId":"A","text":"{}"}}}}"#,
        "x".repeat(501)
    );
    let deep = format!(
        r#"{{"type":"ping","payload":{{"t":{}1{}}}}}"#,
        "[".repeat(8),
        "]".repeat(8)
    );
    let rows: &[(&str, ErrorCode, &str)] = &[
        ("", BadJson, "not JSON"),
        ("hello", BadJson, "not JSON"),
        ("{", BadJson, "not JSON"),
        (r#"{"type":"ping"} x"#, BadJson, "not JSON"),
        (
            r#"{"type":"ping","payload":{"t":1e999}}"#,
            BadMessage,
            "ping",
        ),
        ("\u{0}", BadJson, "not JSON"),
        (&deep, BadJson, "nested deeper than 8"),
        ("[]", BadMessage, "a message is"),
        ("null", BadMessage, "a message is"),
        ("1", BadMessage, "a message is"),
        ("{}", BadMessage, "type"),
        (r#"{"type":1}"#, BadMessage, "`type` is text"),
        (r#"{"type":"fly"}"#, UnknownType, "fly"),
        (r#"{"type":"move"}"#, BadMessage, "move"),
        (r#"{"type":"move","payload":[]}"#, BadMessage, "move"),
        (
            r#"{"type":"move","payload":{"move":7}}"#,
            BadMessage,
            "`move` is {from, to",
        ),
        (
            r#"{"type":"move","payload":{"move":{"from":"z9","to":"e4"}}}"#,
            BadMessage,
            "z9",
        ),
        (
            r#"{"type":"move","payload":{"move":{"from":"e7","to":"e8","promotion":"k"}}}"#,
            BadMessage,
            "`promotion`",
        ),
        (
            r#"{"type":"move","payload":{"move":"e2e4","ply":-1}}"#,
            BadMessage,
            "-1",
        ),
        (
            r#"{"type":"move","payload":{"move":"e2e4","ply":1e30}}"#,
            BadMessage,
            "move",
        ),
        (
            r#"{"type":"move","payload":{"move":"e2e4","seq":99999999999999999999999}}"#,
            BadMessage,
            "move",
        ),
        (
            r#"{"type":"move","payload":{"move":"e2e4e2e4e2e4e2e4e2e4"}}"#,
            BadMessage,
            "longer than any move",
        ),
        (r#"{"type":"join_room","payload":{}}"#, BadMessage, "gameId"),
        (
            r#"{"type":"join_room","payload":{"gameId":"a{b}*"}}"#,
            BadMessage,
            "letters",
        ),
        (
            r#"{"type":"join_room","payload":{"gameId":"a\r\nDEL b"}}"#,
            BadMessage,
            "letters",
        ),
        (
            r#"{"type":"join_room","payload":{"gameId":""}}"#,
            BadMessage,
            "1 to 32",
        ),
        (
            r#"{"type":"init_game","payload":{"timeControl":{"initialMs":999,"incrementMs":0}}}"#,
            BadTimeControl,
            "initialMs",
        ),
        (
            r#"{"type":"init_game","payload":{"timeControl":{"initialMs":10800001,"incrementMs":0}}}"#,
            BadTimeControl,
            "initialMs",
        ),
        (
            r#"{"type":"init_game","payload":{"timeControl":{"initialMs":60000,"incrementMs":180001}}}"#,
            BadTimeControl,
            "incrementMs",
        ),
        (
            r#"{"type":"init_game","payload":{"timeControl":{"initialMs":60000,"incrementMs":-1}}}"#,
            BadTimeControl,
            "incrementMs",
        ),
        (
            r#"{"type":"init_game","payload":{"timeControl":"blitz"}}"#,
            BadMessage,
            "init_game",
        ),
        (&long_name, BadMessage, "32"),
        (
            r#"{"type":"init_game","payload":{"name":"a\u0000b"}}"#,
            BadMessage,
            "control",
        ),
        (
            r#"{"type":"chat","payload":{"gameId":"A","text":"  "}}"#,
            BadMessage,
            "empty",
        ),
        (&long_text, BadMessage, "500"),
        (
            r#"{"type":"chat","payload":{"gameId":"A","text":"a\u202eb"}}"#,
            BadMessage,
            "control",
        ),
        (
            r#"{"type":"create_game","payload":{"color":"green"}}"#,
            BadMessage,
            "green",
        ),
        (
            r#"{"type":"create_game","payload":{"key":""}}"#,
            BadMessage,
            "`key`",
        ),
    ];
    for (text, code, words) in rows {
        let (found, message) = refused(text);
        assert_eq!(found, *code, "{text}: {message}");
        assert!(
            message.contains(words),
            "{text}: {message:?} lacks {words:?}"
        );
    }
}

proptest! {
    #[test]
    fn any_text_is_answered(text in ".{0,200}") {
        let _ = Request::decode(&text);
    }

    #[test]
    fn any_payload_is_answered(kind in "[a-z_]{1,16}|move|join_room|init_game|create_game|chat|claim_draw", payload in any_json()) {
        let _ = Request::decode(&format!(r#"{{"type":"{kind}","payload":{payload},"id":1}}"#));
    }
}

fn any_json() -> impl Strategy<Value = String> {
    let keys = prop::sample::select(vec![
        "gameId",
        "move",
        "from",
        "to",
        "promotion",
        "ply",
        "seq",
        "epoch",
        "timeControl",
        "initialMs",
        "incrementMs",
        "name",
        "key",
        "color",
        "text",
        "t",
    ]);
    let leaf = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|value| value.to_string()),
        any::<i64>().prop_map(|value| value.to_string()),
        any::<f64>()
            .prop_filter("finite", |value| value.is_finite())
            .prop_map(|value| format!("{value:e}")),
        "[a-h][1-8][a-h][1-8]".prop_map(|text| format!("{text:?}")),
        "\\PC{0,12}".prop_map(|text| serde_json::to_string(&text).unwrap()),
    ];
    leaf.prop_recursive(4, 24, 6, move |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4)
                .prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec((keys.clone(), inner), 0..6).prop_map(|fields| {
                let fields: Vec<String> = fields
                    .into_iter()
                    .map(|(key, value)| format!("\"{key}\":{value}"))
                    .collect();
                format!("{{{}}}", fields.join(","))
            }),
        ]
    })
}
