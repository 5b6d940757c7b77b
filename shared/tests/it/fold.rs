//! What must hold of every game's log.

use shared::Color;
use shared::game::{ClockReading, Event, EventBody, Game};

/// Folds a log from its beginning.
pub fn fold(log: &[Event]) -> Game {
    let mut game = Game::start(&log[0]).unwrap();
    for event in &log[1..] {
        game.apply(event).unwrap();
    }
    game
}

/// Events survive their encoding; numbers are dense and time never runs back; a part of the log and then the rest give the
/// same game; clocks never grow but by increment, takeback or credit.
pub fn check_log(log: &[Event]) {
    let decoded: Vec<Event> = log
        .iter()
        .map(|event| Event::decode(&event.encode()).unwrap())
        .collect();
    assert_eq!(decoded, log);

    let whole = fold(log);
    // Every cut of a short log, some thirty of a long one.
    for cut in (1..=log.len()).step_by(1 + log.len() / 30) {
        let mut game = fold(&log[..cut]);
        for event in &decoded[cut..] {
            game.apply(event).unwrap();
        }
        assert_eq!(game, whole, "cut at {cut}");
    }

    for (before, after) in log.iter().zip(&log[1..]) {
        assert_eq!(after.seq, before.seq + 1);
        assert!(after.at >= before.at);
    }
    check_clocks(log);
}

fn check_clocks(log: &[Event]) {
    let mut game = Game::start(&log[0]).unwrap();
    for event in &log[1..] {
        let (before, turn, plies) = (game.clock(), game.turn(), game.plies());
        game.apply(event).unwrap();
        let (Some(before), Some(after), Some(control)) =
            (before, game.clock(), game.time_control())
        else {
            assert_eq!(game.clock(), None);
            continue;
        };
        let grew = |color: Color| after.of(color) - before.of(color);
        match &event.body {
            EventBody::Takeback(_) => {
                let earlier = game
                    .moves()
                    .last()
                    .map_or(Some(control.start()), |played| played.clock);
                assert_eq!(Some(after), earlier, "a takeback restores the clocks");
            }
            EventBody::ClockCredited(credited) => {
                assert!(
                    credited.ms > 0 && grew(turn) <= 0 && grew(turn.other()) == 0,
                    "{event:?}"
                );
            }
            EventBody::Move(_) => {
                assert!(
                    grew(turn) <= if plies < 2 { 0 } else { control.increment_ms },
                    "{event:?}"
                );
                assert_eq!(grew(turn.other()), 0);
            }
            _ => assert!(
                grew(Color::White) <= 0 && grew(Color::Black) <= 0,
                "{event:?}"
            ),
        }
        let ClockReading { white_ms, black_ms } = after;
        assert!(white_ms >= 0 && black_ms >= 0, "{event:?}");
    }
}
