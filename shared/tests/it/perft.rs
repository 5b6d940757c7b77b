//! Counts of all move sequences to a depth, against published figures.

use crate::data::table;
use shared::rules::Position;

fn perft(position: &Position, depth: u32) -> u64 {
    let moves = position.legal_moves();
    if depth == 1 {
        return moves.len() as u64;
    }
    moves
        .map(|mv| perft(&position.play(mv).unwrap(), depth - 1))
        .sum()
}

fn check(nodes_max: u64) {
    let mut checked = 0;
    for (line, row) in table("perft.txt") {
        let position = Position::from_fen(&row[1]).unwrap();
        for (depth, expected) in (1..).zip(row[2].split(' ').map(|n| n.parse::<u64>().unwrap())) {
            if expected <= nodes_max {
                assert_eq!(
                    perft(&position, depth),
                    expected,
                    "line {line}: {} at depth {depth}",
                    row[0]
                );
                checked += 1;
            }
        }
    }
    assert!(checked >= 6 * 3, "{checked} counts checked");
}

#[test]
fn perft_in_seconds() {
    check(if cfg!(debug_assertions) {
        500_000
    } else {
        5_000_000
    });
}

/// Two thirds of a billion nodes: under a minute in a release build, `cargo test --release -- --ignored perft`.
#[test]
#[ignore = "a minute in a release build"]
fn perft_in_a_minute() {
    check(u64::MAX);
}
