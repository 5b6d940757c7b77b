//! Any text as a move, in any position that a game can reach: an answer, never a panic, and never two readings.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::notation::{SanError, parse_move, san};
use shared::rules::Position;

fuzz_target!(|data: &[u8]| {
    let Some((&plies, rest)) = data.split_first() else {
        return;
    };
    let (choices, text) = rest.split_at(usize::from(plies).min(rest.len()));
    let mut position = Position::initial();
    for &choice in choices {
        let moves: Vec<_> = position.legal_moves().collect();
        let Some(&mv) = moves.get(usize::from(choice) % moves.len().max(1)) else {
            break;
        };
        let san = position.san(mv).expect("legal moves have SAN");
        assert_eq!(
            san::parse(&position, san.as_str()),
            Ok(mv),
            "{} {san}",
            position.fen()
        );
        position = position.play(mv).expect("legal moves can be played");
    }
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    match parse_move(&position, text) {
        Ok(mv) => assert!(position.is_legal(mv), "{} {text:?}", position.fen()),
        Err(SanError::Ambiguous) => assert!(position.legal_moves().len() > 1),
        Err(_) => {}
    }
});
