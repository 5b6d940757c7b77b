//! Stored events are a promise: logs that releases wrote are kept in `shared/tests/data/logs`, and still fold.
//!
//! A file is a log, one event a line, written by the release it is named after. When what is written changes, a new file
//! is added (`cargo test -p shared --test it write_a_log -- --ignored`), and the old ones stay.

use crate::data::file;
use crate::fold::fold;
use crate::scenario::{INITIAL_FEN, new_game};
use shared::game::{
    Action, Command, Decision, Event, EventBody, EventError, Game, MoveInput, TimeControl,
};
use shared::{Color, GameId, Timestamp};

/// Each log, with the position and the end it leads to.
const LOGS: [(&str, &str, &str); 1] = [(
    "0.1.0",
    "5Q2/8/8/8/3k4/8/4r3/6K1 b - - 4 62",
    "1/2-1/2 agreement",
)];

#[test]
fn stored_logs_still_fold() {
    for (release, fen, end) in LOGS {
        let text = file(&format!("shared/tests/data/logs/{release}.jsonl"));
        let log: Vec<Event> = text
            .lines()
            .map(|line| Event::decode(line.as_bytes()).unwrap())
            .collect();
        let game = fold(&log);
        let over = game.over().unwrap();
        assert_eq!(game.fen(), fen, "{release}");
        assert_eq!(
            format!(
                "{} {}",
                over.result.as_str(),
                serde_json::to_value(over.reason).unwrap().as_str().unwrap()
            ),
            end
        );
        for (line, event) in text.lines().zip(&log) {
            assert_eq!(
                std::str::from_utf8(&event.encode()).unwrap(),
                line,
                "{release}: written as it was"
            );
        }
        // Every kind of event is in it.
        let mut kinds: Vec<String> = log
            .iter()
            .map(|event| serde_json::to_value(&event.body).unwrap()["type"].to_string())
            .collect();
        kinds.sort();
        kinds.dedup();
        assert_eq!(kinds.len(), 12, "{kinds:?}");
    }
}

#[test]
fn an_unknown_event_is_told_from_a_damaged_one() {
    let unknown = br#"{"seq":7,"at":1,"type":"knighted","payload":{"gameId":"g","by":["x"]}}"#;
    assert!(matches!(
        Event::decode(unknown),
        Err(EventError::UnknownType { seq: 7, .. })
    ));
    for damaged in [
        &b""[..],
        b"{}",
        b"null",
        br#"{"seq":-1,"at":1,"type":"move","payload":{}}"#,
        br#"{"seq":1,"at":1,"type":"move","payload":{}}"#,
        b"\xff",
    ] {
        assert!(matches!(
            Event::decode(damaged),
            Err(EventError::Malformed(_))
        ));
    }
}

#[test]
fn fields_of_later_releases_are_ignored() {
    let mut value = serde_json::to_value(new_game(None, INITIAL_FEN)).unwrap();
    value["later"] = true.into();
    value["payload"]["later"] = true.into();
    let event = Event::decode(value.to_string().as_bytes()).unwrap();
    assert_eq!(event, new_game(None, INITIAL_FEN));
}

#[test]
#[ignore = "writes a file: run by hand when what is written changes"]
fn write_a_log() {
    let fen = "8/P7/8/8/8/4k3/4r3/6K1 w - - 0 60";
    let first = new_game(
        Some(TimeControl {
            initial_ms: 300_000,
            increment_ms: 2_000,
        }),
        fen,
    );
    let mut game = Game::start(&first).unwrap();
    let mut at = first.at;
    let mut log = vec![first];
    let new_game_id = || GameId::parse("game2").unwrap();
    let mv = |text: &str| Command::Move {
        by: Color::White,
        mv: MoveInput::Text(text.into()),
        ply: None,
        seen: None,
    };
    let act = |by, action| Command::Act {
        by,
        action,
        offer: None,
    };
    use Action::*;
    use Color::{Black, White};
    for command in [
        mv("a8=Q"),
        mv("Kd3"),
        mv("Qa3+"),
        mv("Kd4"),
        act(Black, OfferTakeback),
        act(White, DeclineTakeback),
        act(White, OfferDraw),
        act(Black, DeclineDraw),
        Command::CreditClock { ms: 700 },
        mv("Qb3"),
        act(White, OfferTakeback),
        act(Black, AcceptTakeback),
        mv("Qf8"),
        act(Black, OfferDraw),
        act(White, AcceptDraw),
        act(
            White,
            OfferRematch {
                new_game_id: new_game_id(),
            },
        ),
        act(Black, DeclineRematch),
        act(
            Black,
            OfferRematch {
                new_game_id: new_game_id(),
            },
        ),
        act(
            White,
            AcceptRematch {
                new_game_id: new_game_id(),
            },
        ),
    ] {
        at = at.plus_ms(1_234);
        let command = match command {
            Command::Move { mv, ply, seen, .. } => Command::Move {
                by: game.turn(),
                mv,
                ply,
                seen,
            },
            other => other,
        };
        let Ok(Decision::Append { events, .. }) = game.decide(&command, at) else {
            panic!("{command:?}")
        };
        for event in events {
            game.apply(&event).unwrap();
            log.push(event);
        }
    }
    assert!(matches!(log.last().unwrap().body, EventBody::Rematch(_)) && at > Timestamp(0));
    let lines: Vec<u8> = log
        .iter()
        .flat_map(|event| [event.encode(), b"\n".to_vec()].concat())
        .collect();
    let path = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/data/logs/",
        env!("CARGO_PKG_VERSION"),
        ".jsonl"
    );
    std::fs::write(path, lines).unwrap();
    println!("{path}: {}", game.fen());
}
