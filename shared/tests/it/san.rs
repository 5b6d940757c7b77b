//! Moves as text, in and out.

use crate::data::table;
use shared::notation::{parse_move, uci};
use shared::rules::{Move, Position};

#[test]
fn moves_are_read_and_written_as_the_table_says() {
    let rows = table("san.txt");
    assert!(rows.len() > 60);
    for (line, row) in rows {
        let [fen, text, expected] = &row[..] else {
            panic!("san.txt:{line}")
        };
        let position =
            Position::from_fen(fen).unwrap_or_else(|error| panic!("san.txt:{line}: {error}"));
        let answer = match parse_move(&position, text) {
            Ok(mv) => format!("{mv} {}", position.san(mv).unwrap()),
            Err(error) => format!("{error:?}"),
        };
        assert_eq!(&answer, expected, "san.txt:{line}: {text}");
    }
}

#[test]
fn an_illegal_move_has_no_san() {
    let mv: Move = "e2e5".parse().unwrap();
    assert!(Position::initial().san(mv).is_err());
    assert!(Position::initial().play(mv).is_err());
}

#[test]
fn every_uci_move_is_its_own_text() {
    let mut read = 0;
    for from in shared::rules::Square::all() {
        for to in shared::rules::Square::all().filter(|&to| to != from) {
            for promotion in ["", "q", "r", "b", "n"] {
                let text = format!("{from}{to}{promotion}");
                assert_eq!(uci::parse(&text).unwrap().to_string(), text);
                read += 1;
            }
        }
    }
    assert_eq!(read, 64 * 63 * 5);
}
