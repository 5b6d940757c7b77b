//! FEN in and out.

use crate::data::table;
use shared::notation::FenError;
use shared::rules::{Color, Position};

#[test]
fn fens_are_read_strictly() {
    let rows = table("fen.txt");
    assert!(rows.len() > 50);
    for (line, row) in rows {
        let [text, expected] = &row[..] else {
            panic!("fen.txt:{line}")
        };
        match (Position::from_fen(text), expected.as_str()) {
            (Ok(position), "same") => assert_eq!(&position.fen(), text, "fen.txt:{line}"),
            (Ok(position), fen) => assert_eq!(position.fen(), fen, "fen.txt:{line}"),
            (Err(error), name) => assert_eq!(format!("{error:?}"), name, "fen.txt:{line}: {text}"),
        }
    }
}

#[test]
fn a_long_text_is_refused_unread() {
    assert_eq!(
        Position::from_fen(&"1".repeat(1_000_000)),
        Err(FenError::Fields)
    );
}

/// The answers are python-chess' too: the oracle compares them on random boards.
#[test]
fn material_to_mate_with() {
    for (line, row) in table("material.txt") {
        let position = Position::from_fen(&row[0]).unwrap();
        let bare = |color, letter| {
            if position.has_insufficient_material(color) {
                letter
            } else {
                ""
            }
        };
        let sides = format!("{}{}", bare(Color::White, "W"), bare(Color::Black, "B"));
        assert_eq!(
            if sides.is_empty() { "-" } else { &sides },
            row[1],
            "material.txt:{line}"
        );
        assert_eq!(
            position.is_insufficient_material(),
            sides == "WB",
            "material.txt:{line}"
        );
    }
}
