//! What a move costs the game itself: reading real games of `tests/data/games.pgn`, no network, no storage.
//!
//! `decide+apply` is the whole of a move on the node that makes it (the promise is under 3 µs); `apply` and `decode+apply`
//! are what every other node pays per event, and what reading a log of some length costs.
#![allow(clippy::unwrap_used, missing_docs)]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use shared::game::{Command, Decision, Event, Game, GameCreated, MoveInput, Player, TimeControl};
use shared::notation::pgn::{self, Pgn};
use shared::rules::Position;
use shared::{Color, GameId, Timestamp, UserId};
use std::hint::black_box;

const GAMES: usize = 100;

fn corpus() -> Vec<Pgn> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/data/games.pgn");
    let text = std::fs::read_to_string(path).unwrap();
    // Every fifth game, so that all sources are in it.
    pgn::games(&text)
        .map(Result::unwrap)
        .step_by(5)
        .take(GAMES)
        .collect()
}

fn created() -> GameCreated {
    let player = |id: &str| Player {
        id: UserId::parse(id).unwrap(),
        name: id.to_owned(),
        is_guest: true,
    };
    GameCreated {
        game_id: GameId::parse("abcdefghijkl0123").unwrap(),
        white_player: player("white-user-id"),
        black_player: player("black-user-id"),
        time_control: Some(TimeControl {
            initial_ms: 10_800_000,
            increment_ms: 1_000,
        }),
        fen: Position::initial().fen(),
        unlisted: false,
    }
}

fn commands(game: &Pgn) -> Vec<Command> {
    (0..)
        .zip(&game.moves)
        .map(|(index, mv)| Command::Move {
            by: Color::of_ply(index + 1),
            mv: MoveInput::Squares(mv.mv),
            ply: Some(index + 1),
            seen: Some(u64::from(index)),
        })
        .collect()
}

/// Plays a game move by move; a second passes with each.
fn play(first: &Event, commands: &[Command], mut each: impl FnMut(&Event)) -> Game {
    let mut game = Game::start(first).unwrap();
    for (second, command) in (1..).zip(commands) {
        let Ok(Decision::Append { events, .. }) = game.decide(command, Timestamp(second * 1000))
        else {
            break;
        };
        for event in &events {
            game.apply(event).unwrap();
            each(event);
        }
    }
    game
}

fn fold(criterion: &mut Criterion) {
    let first = Game::create(created(), Timestamp(0));
    let games: Vec<Vec<Command>> = corpus().iter().map(commands).collect();
    let logs: Vec<Vec<Event>> = games
        .iter()
        .map(|commands| {
            let mut log = vec![first.clone()];
            play(&first, commands, |event| log.push(event.clone()));
            log
        })
        .collect();
    let bytes: Vec<Vec<Vec<u8>>> = logs
        .iter()
        .map(|log| log.iter().map(Event::encode).collect())
        .collect();
    let events: usize = logs.iter().map(Vec::len).sum();

    let mut group = criterion.benchmark_group("move");
    group.throughput(Throughput::Elements(events as u64));
    group.bench_function("decide+apply", |bencher| {
        bencher.iter(|| {
            for commands in &games {
                black_box(play(&first, commands, |_| ()));
            }
        });
    });
    group.bench_function("decide+encode+apply", |bencher| {
        bencher.iter(|| {
            for commands in &games {
                play(&first, commands, |event| {
                    black_box(event.encode());
                });
            }
        });
    });
    group.bench_function("apply", |bencher| {
        bencher.iter(|| {
            for log in &logs {
                let mut game = Game::start(&log[0]).unwrap();
                log[1..].iter().for_each(|event| game.apply(event).unwrap());
                black_box(game);
            }
        });
    });
    group.bench_function("decode+apply", |bencher| {
        bencher.iter(|| {
            for log in &bytes {
                let mut game = Game::start(&Event::decode(&log[0]).unwrap()).unwrap();
                log[1..]
                    .iter()
                    .for_each(|bytes| game.apply(&Event::decode(bytes).unwrap()).unwrap());
                black_box(game);
            }
        });
    });
    group.finish();

    // The worst case for counting repetitions: 149 half moves since the last pawn move, rooks and knights all over.
    let mut long = Game::start(&first).unwrap();
    let shuffle = [
        "g1f3", "g8f6", "b1c3", "b8c6", "a1b1", "a8b8", "h1g1", "h8g8", "b1a1", "b8a8", "g1h1",
        "g8h8",
    ];
    let mut at = 0;
    for text in shuffle.iter().cycle().take(48) {
        at += 1000;
        let command = Command::Move {
            by: long.turn(),
            mv: MoveInput::Text((*text).to_owned()),
            ply: None,
            seen: None,
        };
        if let Ok(Decision::Append { events, .. }) = long.decide(&command, Timestamp(at)) {
            events.iter().for_each(|event| long.apply(event).unwrap());
        }
    }
    criterion.bench_function("move/decide, many reversible moves before", |bencher| {
        let mv = long.position().legal_moves().next().unwrap();
        let command = Command::Move {
            by: long.turn(),
            mv: MoveInput::Squares(mv),
            ply: None,
            seen: None,
        };
        bencher.iter(|| black_box(long.decide(&command, Timestamp(at + 1)).unwrap()));
    });

    criterion.bench_function("clone of a game of 80 plies", |bencher| {
        let commands = games.iter().find(|commands| commands.len() >= 80).unwrap();
        let game = play(&first, &commands[..80], |_| ());
        bencher.iter_batched(|| (), |()| black_box(game.clone()), BatchSize::SmallInput);
    });
}

criterion_group!(benches, fold);
criterion_main!(benches);
