//! Every game of `tests/data` through `decide` and `apply`, with the thinking times of the file where it has some.

use crate::corpus::first_draws;
use crate::data::file;
use crate::fold::check_log;
use crate::scenario::new_game;
use shared::Timestamp;
use shared::game::{Command, Decision, Event, Game, GameResult, MoveInput, Reason, TimeControl};
use shared::notation::pgn::{self, Pgn, Tags};
use shared::rules::Status;

/// `300+5` in the tag, if it is one.
fn control(game: &Pgn) -> Option<TimeControl> {
    let (initial, increment) = game.tags.get("TimeControl")?.split_once('+')?;
    let ms = |seconds: &str| seconds.parse::<i64>().ok().map(|seconds| seconds * 1000);
    Some(TimeControl {
        initial_ms: ms(initial)?,
        increment_ms: ms(increment)?,
    })
}

/// How long the mover thought, by the file's clocks. Its site gives time back for a slow line, which we do not, so a move
/// may have taken less than nothing; and it cuts readings to seconds, so one may be zero. Such games are played untimed.
fn thought_ms(game: &Pgn, control: TimeControl, index: usize) -> Option<i64> {
    let clock = |index: usize| game.moves[index].clock_ms.map(|ms| ms as i64);
    match index {
        0 | 1 => (clock(index)? == control.initial_ms).then_some(500),
        _ => {
            let left = clock(index - 2)?;
            Some(left + control.increment_ms - clock(index)?).filter(|ms| (0..left).contains(ms))
        }
    }
}

struct Replayed {
    log: Vec<Event>,
    game: Game,
}

fn replay(
    original: &Pgn,
    control: Option<TimeControl>,
    thought_ms: impl Fn(usize) -> i64,
) -> Replayed {
    let first = new_game(control, &original.start.fen());
    let mut at = first.at;
    let mut game = Game::start(&first).unwrap();
    let mut log = vec![first];
    let id = original.tags.get("GameId").unwrap();
    for (index, mv) in original.moves.iter().enumerate() {
        at = at.plus_ms(thought_ms(index));
        // Three ways to say the same, in turns.
        let input = match index % 3 {
            0 => MoveInput::Squares(mv.mv),
            1 => MoveInput::Text(mv.san.to_string()),
            _ => MoveInput::Text(mv.mv.to_string()),
        };
        let command = Command::Move {
            by: game.turn(),
            mv: input,
            ply: Some(index as u32 + 1),
            seen: None,
        };
        match game
            .decide(&command, at)
            .unwrap_or_else(|error| panic!("{id}: {}: {error}", mv.san))
        {
            Decision::Append {
                events,
                refused: None,
            } => {
                for event in events {
                    game.apply(&event).unwrap();
                    log.push(event);
                }
            }
            other => panic!("{id}: {}: {other:?}", mv.san),
        }
        if game.over().is_some() {
            break;
        }
    }
    Replayed { log, game }
}

#[test]
fn every_game_is_played_to_its_end_and_written_as_it_was() {
    let text = file("tests/data/games.pgn") + &file("tests/data/constructed.pgn");
    let mut with_clocks = 0;
    let mut ended_at_once = 0;
    for original in pgn::games(&text).map(Result::unwrap) {
        let id = original.tags.get("GameId").unwrap();
        // In a few games people played on; here they end where the rules say.
        let first = first_draws(&original);
        let automatic = ["insufficient", "fivefold", "seventyfive"]
            .iter()
            .filter_map(|rule| first.get(rule));
        let plies = automatic
            .copied()
            .chain([original.moves.len()])
            .min()
            .unwrap();
        let timed = control(&original).filter(|&control| {
            (0..plies).all(|index| thought_ms(&original, control, index).is_some())
        });
        let replayed = match timed {
            Some(control) => replay(&original, timed, |index| {
                thought_ms(&original, control, index).unwrap()
            }),
            None => replay(&original, None, |_| 1000),
        };
        check_log(&replayed.log);

        let game = &replayed.game;
        let written = game.pgn(&Tags::new());
        if let Some(over) = game.over() {
            ended_at_once += 1;
            // Only what ends at once can have ended it: nobody claimed anything.
            match over.reason {
                Reason::Checkmate => {
                    assert_eq!(game.position().status(), Status::Checkmate, "{id}")
                }
                Reason::Stalemate => {
                    assert_eq!(game.position().status(), Status::Stalemate, "{id}")
                }
                Reason::InsufficientMaterial
                | Reason::FivefoldRepetition
                | Reason::SeventyfiveMoves => {
                    assert_eq!(over.result, GameResult::Draw, "{id}");
                }
                reason => panic!("{id}: {reason:?}"),
            }
            assert_eq!(written.result, original.result, "{id}");
        }
        assert_eq!(game.moves().len(), plies, "{id}: {:?}", game.over());
        if timed.is_some() {
            with_clocks += 1;
            assert_eq!(written.moves, original.moves[..plies], "{id}");
            assert_eq!(
                written.tags.get("TimeControl"),
                original.tags.get("TimeControl")
            );
        } else {
            assert!(
                written
                    .moves
                    .iter()
                    .zip(&original.moves)
                    .all(|(a, b)| (a.mv, a.san) == (b.mv, b.san)),
                "{id}"
            );
        }
        // What was written is read again.
        let again = pgn::games(&pgn::write(&written)).next().unwrap().unwrap();
        assert_eq!(
            (again.moves, again.result),
            (written.moves, written.result),
            "{id}"
        );
        assert!(game.started_at() < Timestamp(i64::MAX));
    }
    println!("{with_clocks} with clocks, {ended_at_once} ended at once");
    assert!(
        with_clocks >= 200 && ended_at_once >= 140,
        "{with_clocks} with clocks, {ended_at_once} ended at once"
    );
}
