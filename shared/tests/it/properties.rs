//! Games of random commands: what must hold whatever the players do, and whatever they do twice.

use crate::fold::check_log;
use crate::scenario::{INITIAL_FEN, new_game};
use proptest::prelude::*;
use shared::game::{
    Action, Command, Decision, Event, EventBody, Game, LOG_EVENTS_MAX, LOG_EVENTS_RESERVED,
    MoveInput, Rejection, TimeControl,
};
use shared::rules::Position;
use shared::{Color, GameId, Timestamp};

/// One thing that happens, chosen blindly; what it means depends on the game at that point.
#[derive(Clone, Debug)]
struct Step {
    wait_ms: i64,
    by: Color,
    what: What,
}

#[derive(Clone, Debug)]
enum What {
    /// The legal move with this number, counted round and round, by the side to move.
    Move(usize),
    /// A move of any squares by any side.
    Stray(u8, u8),
    Act(Action),
    Deadline,
    Credit(i64),
    Abort,
}

fn step() -> impl Strategy<Value = Step> {
    let what = prop_oneof![
        // Mostly moves, or nothing would ever come of it. Low numbers repeat positions.
        24 => any::<usize>().prop_map(What::Move),
        8 => (0_usize..2).prop_map(What::Move),
        1 => (0_u8..64, 0_u8..64).prop_map(|(from, to)| What::Stray(from, to)),
        8 => action().prop_map(What::Act),
        1 => Just(What::Deadline),
        1 => (-1000_i64..20_000).prop_map(What::Credit),
        1 => prop_oneof![20 => Just(What::Deadline), 1 => Just(What::Abort)],
    ];
    let wait = prop_oneof![30 => 0_i64..4_000, 1 => -10_000_i64..100_000];
    let by = prop_oneof![Just(Color::White), Just(Color::Black)];
    (wait, by, what).prop_map(|(wait_ms, by, what)| Step { wait_ms, by, what })
}

fn action() -> impl Strategy<Value = Action> {
    let new_game_id = GameId::parse("game2").unwrap();
    prop_oneof![
        1 => Just(Action::Resign),
        2 => Just(Action::Abort),
        6 => Just(Action::OfferDraw),
        1 => Just(Action::AcceptDraw),
        4 => Just(Action::DeclineDraw),
        6 => Just(Action::OfferTakeback),
        6 => Just(Action::AcceptTakeback),
        3 => Just(Action::DeclineTakeback),
        3 => Just(Action::ClaimDraw { mv: None }),
        2 => prop::option::of(0_i64..120_000).prop_map(|ms| Action::ClaimVictory { absent_since: ms.map(Timestamp) }),
        4 => Just(Action::OfferRematch { new_game_id: new_game_id.clone() }),
        4 => Just(Action::AcceptRematch { new_game_id: new_game_id.clone() }),
        4 => Just(Action::DeclineRematch),
    ]
}

fn time_control() -> impl Strategy<Value = Option<TimeControl>> {
    prop::option::weighted(0.7, (1_000_i64..120_000, 0_i64..10_000)).prop_map(|times| {
        times.map(|(initial_ms, increment_ms)| TimeControl {
            initial_ms,
            increment_ms,
        })
    })
}

/// Games from the start, and from positions where the rare rules are near.
fn fen() -> impl Strategy<Value = &'static str> {
    prop_oneof![
        6 => Just(INITIAL_FEN),
        1 => Just("8/P6k/8/8/8/8/7p/K7 b - - 0 1"),
        1 => Just("4k3/8/8/8/8/8/4P3/4K2R w K - 90 80"),
        1 => Just("7k/8/8/8/8/8/6r1/5R1K w - - 0 1"),
        1 => Just("r3k2r/8/8/3pP3/8/8/8/R3K2R w KQkq d6 0 20"),
    ]
}

fn command(step: &Step, game: &Game, at: Timestamp) -> Command {
    let stray = |from: u8, to: u8| {
        let square = |index| shared::rules::Square::from_index(index).unwrap();
        MoveInput::Squares(shared::rules::Move::new(square(from), square(to)))
    };
    match &step.what {
        What::Move(number) => {
            let moves: Vec<_> = game.position().legal_moves().collect();
            let mv = match moves.get(number % moves.len().max(1)) {
                Some(mv) => MoveInput::Squares(*mv),
                None => stray(0, 1),
            };
            let (ply, seen) = (Some(game.plies() + 1), Some(game.next_seq() - 1));
            Command::Move {
                by: game.turn(),
                mv,
                ply,
                seen,
            }
        }
        What::Stray(from, to) => Command::Move {
            by: step.by,
            mv: stray(*from, *to),
            ply: None,
            seen: None,
        },
        What::Act(Action::ClaimVictory { absent_since }) => {
            let absent_since = absent_since.map(|ago| Timestamp(at.0 - ago.0));
            Command::Act {
                by: step.by,
                action: Action::ClaimVictory { absent_since },
                offer: None,
            }
        }
        What::Act(action) => Command::Act {
            by: step.by,
            action: action.clone(),
            offer: Some(game.next_seq() - 1),
        },
        What::Deadline => Command::CheckDeadline,
        What::Credit(ms) => Command::CreditClock { ms: *ms },
        What::Abort => Command::ServerAbort,
    }
}

/// Does this command carry what it takes to know it again?
fn is_repeatable(command: &Command) -> bool {
    match command {
        Command::Move { ply, .. } => ply.is_some(),
        // An answer names the offer it means; here it names whatever came last.
        Command::Act { .. } | Command::ServerAbort => true,
        Command::CheckDeadline | Command::CreditClock { .. } => false,
    }
}

fn check_repeats(told: &[(Command, u64)], game: &Game, at: Timestamp) {
    for (command, first) in told {
        // A takeback withdraws the moves it takes back, for those who had not seen it.
        if let Command::Move { ply: Some(ply), .. } = command
            && game
                .moves()
                .get(*ply as usize - 1)
                .is_none_or(|played| played.seq != *first)
        {
            let answer = game.decide(command, at);
            assert!(
                matches!(answer, Err(Rejection::StalePly(_))),
                "{command:?}: {answer:?}"
            );
        } else {
            assert_eq!(
                game.decide(command, at),
                Ok(Decision::Already { seq: *first }),
                "{command:?}"
            );
        }
    }
}

proptest! {
    #[test]
    fn random_games_keep_all_promises(
        time_control in time_control(),
        fen in fen(),
        steps in prop::collection::vec(step(), 1..160),
    ) {
        let first = new_game(time_control, fen);
        let mut game = Game::start(&first).unwrap();
        let mut log: Vec<Event> = vec![first];
        let mut told: Vec<(Command, u64)> = Vec::new();
        let mut now = log[0].at;
        for step in &steps {
            now = now.plus_ms(step.wait_ms);
            let command = command(step, &game, now);
            let overdue = game.next_deadline().is_some_and(|deadline| now.max(game.last_at()) >= deadline);
            let decision = game.decide(&command, now);
            if game.over().is_none() && overdue && !matches!(command, Command::CreditClock { .. } | Command::ServerAbort) {
                let ends = matches!(&decision, Ok(Decision::Append { events, .. })
                    if matches!(events[..], [Event { body: EventBody::GameOver(_), .. }]));
                let repeats = matches!(decision, Ok(Decision::Already { .. }) | Err(Rejection::NotYourTurn | Rejection::StalePly(_)));
                prop_assert!(ends || repeats, "overdue, but {command:?} gives {decision:?}");
            }
            if let Ok(Decision::Append { events, refused }) = decision {
                let deadline = game.deadline_after(&events);
                if refused.is_none() && is_repeatable(&command) {
                    told.push((command, events[0].seq));
                }
                for event in events {
                    prop_assert_eq!(game.apply(&event), Ok(()));
                    log.push(event);
                }
                prop_assert_eq!(game.next_deadline(), deadline);
            }
            prop_assert_eq!(Position::from_fen(&game.fen()), Ok(*game.position()));
            prop_assert!(game.over().is_none() || game.next_deadline().is_none());
        }
        check_log(&log);
        check_repeats(&told, &game, now);
    }
}

/// A log does not grow without end, and what ends a game, and agrees on the next, always finds room.
#[test]
fn a_full_log_can_only_be_ended() {
    let control = TimeControl {
        initial_ms: 10_800_000,
        increment_ms: 0,
    };
    let first = new_game(Some(control), "7k/8/6K1/8/8/8/8/R7 w - - 0 1");
    let mut at = first.at;
    let mut game = Game::start(&first).unwrap();
    let append = |game: &mut Game, command: &Command, at| {
        let Ok(Decision::Append { events, .. }) = game.decide(command, at) else {
            return false;
        };
        events.iter().for_each(|event| game.apply(event).unwrap());
        true
    };
    let mv = |game: &Game, text: &str| Command::Move {
        by: game.turn(),
        mv: MoveInput::Text(text.into()),
        ply: None,
        seen: None,
    };
    for text in ["Ra2", "Kg8"] {
        let command = mv(&game, text);
        assert!(append(&mut game, &command, at));
    }
    loop {
        at = at.plus_ms(100);
        if !append(&mut game, &Command::CreditClock { ms: 100 }, at) {
            break;
        }
    }
    assert_eq!(game.next_seq(), LOG_EVENTS_MAX - LOG_EVENTS_RESERVED);
    let act = |by, action| Command::Act {
        by,
        action,
        offer: None,
    };
    let quiet = mv(&game, "Rb2");
    for command in [
        quiet,
        act(Color::White, Action::OfferDraw),
        act(Color::Black, Action::OfferTakeback),
    ] {
        assert!(
            matches!(game.decide(&command, at), Err(Rejection::TooLate(_))),
            "{command:?}"
        );
    }
    let mate = mv(&game, "Ra8");
    assert!(append(&mut game, &mate, at));
    assert!(game.over().is_some());
    let new_game_id = GameId::parse("game2").unwrap();
    for by in Color::ALL {
        for _ in 0..3 {
            assert!(append(
                &mut game,
                &act(
                    by,
                    Action::OfferRematch {
                        new_game_id: new_game_id.clone()
                    }
                ),
                at
            ));
            if game.next_seq() < LOG_EVENTS_MAX - 2 {
                assert!(append(
                    &mut game,
                    &act(by.other(), Action::DeclineRematch),
                    at
                ));
            }
        }
    }
    assert!(game.next_seq() <= LOG_EVENTS_MAX);
}

/// What no node would write does not fit, and leaves the game as it was.
#[test]
fn damaged_logs_do_not_fold() {
    let first = new_game(None, INITIAL_FEN);
    let mut game = Game::start(&first).unwrap();
    let command = Command::Move {
        by: Color::White,
        mv: MoveInput::Text("e4".into()),
        ply: None,
        seen: None,
    };
    let Ok(Decision::Append { events, .. }) = game.decide(&command, first.at) else {
        panic!()
    };
    let good = events[0].clone();
    assert!(
        Game::start(&good).is_err(),
        "a log does not begin with a move"
    );

    let moved = |change: fn(&mut shared::game::Moved)| {
        let EventBody::Move(mut moved) = good.body.clone() else {
            panic!()
        };
        change(&mut moved);
        Event {
            body: EventBody::Move(moved),
            ..good.clone()
        }
    };
    let mut damaged = vec![
        Event {
            seq: 2,
            ..good.clone()
        },
        Event {
            seq: 0,
            ..good.clone()
        },
        Event {
            at: first.at.plus_ms(-1),
            ..good.clone()
        },
        Event {
            body: first.body.clone(),
            ..good.clone()
        },
        moved(|moved| moved.ply = 2),
        moved(|moved| moved.mv.uci = "e2e5".into()),
        moved(|moved| moved.mv.uci = "♔".into()),
        moved(|moved| moved.mv.san = "a very long move".into()),
        moved(|moved| {
            moved.clock = Some(shared::game::ClockReading {
                white_ms: 1,
                black_ms: 1,
            })
        }),
    ];
    let by = shared::game::By {
        game_id: game.id().clone(),
        by: Color::White,
    };
    for body in [
        EventBody::DrawDeclined(by.clone()),
        EventBody::TakebackDeclined(by.clone()),
        EventBody::RematchOffered(by.clone()),
        EventBody::RematchDeclined(by),
    ] {
        damaged.push(Event {
            body,
            ..good.clone()
        });
    }
    let before = game.clone();
    for event in damaged {
        assert!(game.apply(&event).is_err(), "{event:?}");
        assert_eq!(game, before);
    }
    assert_eq!(game.apply(&good), Ok(()));
}
