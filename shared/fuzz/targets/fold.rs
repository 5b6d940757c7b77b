//! Any bytes as a log, and any commands to a game: nothing panics, decided events always apply, and fold the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::game::{Action, Command, Decision, Event, EventBody, Game, MoveInput};
use shared::rules::{Move, Role, Square};
use shared::{Color, GameId, Timestamp};

fuzz_target!(|data: &[u8]| {
    match data.split_first() {
        Some((b'{', _)) => read(data),
        Some((&kind, rest)) => play(kind, rest),
        None => {}
    }
});

/// A log as text, one event a line. Whatever decodes is encoded and decoded again; whatever applies, applies.
fn read(data: &[u8]) {
    let mut game: Option<Game> = None;
    for line in data.split(|&byte| byte == b'\n') {
        let Ok(event) = Event::decode(line) else {
            continue;
        };
        assert_eq!(
            Event::decode(&event.encode()).expect("what we write we read"),
            event
        );
        match &mut game {
            None => game = Game::start(&event).ok(),
            Some(game) => {
                let before = game.clone();
                if game.apply(&event).is_err() {
                    assert_eq!(*game, before);
                }
                let _ = (
                    game.next_deadline(),
                    game.clock(),
                    game.pgn(&Default::default()),
                );
                let _ = game.decide(&Command::CheckDeadline, event.at.plus_ms(1));
                let _ = game.decide(&Command::CreditClock { ms: i64::MAX }, Timestamp(i64::MAX));
            }
        }
    }
}

fn play(kind: u8, data: &[u8]) {
    let control = [
        "null",
        r#"{"initialMs":1000,"incrementMs":0}"#,
        r#"{"initialMs":60000,"incrementMs":2000}"#,
        r#"{"initialMs":10800000,"incrementMs":180000}"#,
    ][usize::from(kind % 4)];
    let first = format!(
        r#"{{"seq":0,"at":1000000,"type":"game_created","payload":{{"gameId":"fuzz",
            "whitePlayer":{{"id":"w","name":"W","isGuest":true}},"blackPlayer":{{"id":"b","name":"B","isGuest":true}},
            "timeControl":{control},"fen":"rnbqkbnr/pppppppp/8/8/8/8/PPPPPPPP/RNBQKBNR w KQkq - 0 1"}}}}"#
    );
    let first = Event::decode(first.as_bytes()).expect("an event");
    let mut game = Game::start(&first).expect("it is sound");
    let mut log = vec![first];
    let mut at = Timestamp(1_000_000);
    for step in data.chunks_exact(4) {
        at = at.plus_ms(i64::from(step[0]) * i64::from(step[0]));
        let command = command(&game, step, at);
        let Ok(Decision::Append { events, .. }) = game.decide(&command, at) else {
            continue;
        };
        assert!(!events.is_empty());
        assert_eq!(events[0].seq, game.next_seq());
        let deadline = game.deadline_after(&events);
        for event in events {
            game.apply(&event).expect("decided events apply");
            log.push(Event::decode(&event.encode()).expect("what we write we read"));
        }
        assert_eq!(game.next_deadline(), deadline);
    }
    let mut again = Game::start(&log[0]).expect("it is sound");
    for event in &log[1..] {
        again.apply(event).expect("a log folds");
        assert!(!matches!(event.body, EventBody::GameCreated(_)));
    }
    assert_eq!(again, game);
}

fn command(game: &Game, step: &[u8], at: Timestamp) -> Command {
    let by = if step[1] & 1 == 0 {
        game.turn()
    } else {
        game.turn().other()
    };
    let new_game_id = GameId::parse("next").expect("an id");
    let seq = (step[3] & 1 == 1).then(|| game.next_seq().saturating_sub(u64::from(step[3] >> 1)));
    let legal = || {
        let moves: Vec<_> = game.position().legal_moves().collect();
        moves
            .get(usize::from(step[2]) % moves.len().max(1))
            .copied()
    };
    let stray = || {
        let square = |byte: u8| Square::from_index(byte & 63).expect("below 64");
        let promotion = Role::ALL.get(usize::from(step[1] >> 5)).copied();
        Move {
            from: square(step[2]),
            to: square(step[3]),
            promotion,
        }
    };
    let action = match step[1] >> 1 & 31 {
        0..=9 => {
            let mv = MoveInput::Squares(legal().unwrap_or_else(stray));
            return Command::Move {
                by,
                mv,
                ply: Some(game.plies() + 1),
                seen: seq,
            };
        }
        10 => {
            return Command::Move {
                by,
                mv: MoveInput::Squares(stray()),
                ply: None,
                seen: seq,
            };
        }
        11 => {
            let text = String::from_utf8_lossy(&step[2..]).into_owned();
            return Command::Move {
                by,
                mv: MoveInput::Text(text),
                ply: Some(u32::from(step[2])),
                seen: seq,
            };
        }
        12 => return Command::CheckDeadline,
        13 => {
            return Command::CreditClock {
                ms: i64::from(step[2]) * 100 - 1000,
            };
        }
        14 if step[2] == 7 => return Command::ServerAbort,
        15 if step[2] == 7 => Action::Resign,
        16 => Action::Abort,
        17 => Action::ClaimVictory {
            absent_since: (step[2] > 0).then(|| at.plus_ms(-i64::from(step[2]) * 500)),
        },
        18 | 19 => Action::OfferDraw,
        20 if step[2] & 3 == 0 => Action::AcceptDraw,
        21 => Action::DeclineDraw,
        22 => Action::ClaimDraw { mv: None },
        23 => Action::ClaimDraw {
            mv: legal().map(MoveInput::Squares),
        },
        24 | 25 => Action::OfferTakeback,
        26 | 27 => Action::AcceptTakeback,
        28 => Action::DeclineTakeback,
        29 => Action::OfferRematch { new_game_id },
        30 => Action::AcceptRematch { new_game_id },
        _ => Action::DeclineRematch,
    };
    let by = if step[2] & 64 == 0 { by } else { Color::White };
    Command::Act {
        by,
        action,
        offer: seq,
    }
}
