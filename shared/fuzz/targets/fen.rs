//! Any text as FEN, and any board as a position: what is accepted is sound, plays on, and comes back as it was.
#![no_main]

use libfuzzer_sys::fuzz_target;
use shared::notation::parse_move;
use shared::rules::{Castling, Color, Piece, Position, Role, Setup, Square};

fuzz_target!(|data: &[u8]| {
    let position = match std::str::from_utf8(data) {
        Ok(text) if data.contains(&b'/') => Position::from_fen(text).ok(),
        // Random text is hardly ever a board, so other bytes are taken for one: a rule every board must pass.
        _ => setup(data).and_then(|setup| Position::from_setup(&setup).ok()),
    };
    if let Some(position) = position {
        check(&position);
    }
});

/// Half a byte a square, then turn, rights, en passant and counters.
fn setup(data: &[u8]) -> Option<Setup> {
    let (squares, rest) = data.split_at_checked(32)?;
    let mut board = [None; 64];
    for (index, slot) in board.iter_mut().enumerate() {
        let half = squares[index / 2] >> (4 * (index % 2)) & 15;
        let color = if half & 8 == 0 {
            Color::White
        } else {
            Color::Black
        };
        *slot = Role::ALL
            .get(usize::from(half & 7))
            .map(|&role| Piece { color, role });
    }
    let byte = |at: usize| rest.get(at).copied().unwrap_or(0);
    let mut castling = Castling::NONE;
    for (bit, (color, king_side)) in [
        (Color::White, true),
        (Color::White, false),
        (Color::Black, true),
        (Color::Black, false),
    ]
    .into_iter()
    .enumerate()
    {
        if byte(0) >> bit & 1 == 1 {
            castling = castling.with(color, king_side);
        }
    }
    Some(Setup {
        board,
        turn: if byte(0) & 16 == 0 {
            Color::White
        } else {
            Color::Black
        },
        castling,
        en_passant: Square::from_index(byte(1)),
        halfmoves: u16::from(byte(2)),
        fullmoves: u16::from(byte(3)).max(1),
    })
}

fn check(position: &Position) {
    let fen = position.fen();
    assert_eq!(Position::from_fen(&fen).as_ref(), Ok(position), "{fen}");
    assert_eq!(
        Position::from_setup(&position.setup()).as_ref(),
        Ok(position),
        "{fen}"
    );
    let setup = position
        .key()
        .setup(position.halfmoves(), position.fullmoves());
    assert_eq!(setup, position.setup(), "{fen}");
    let _ = (position.status(), position.is_insufficient_material());
    let moves = position.legal_moves();
    let mut counted = 0;
    for mv in position.legal_moves() {
        counted += 1;
        let san = position.san(mv).expect("legal moves have SAN");
        assert_eq!(parse_move(position, san.as_str()), Ok(mv), "{fen} {san}");
        assert_eq!(parse_move(position, &mv.to_string()), Ok(mv), "{fen} {mv}");
        let after = position.play(mv).expect("legal moves can be played");
        assert_eq!(Position::from_fen(&after.fen()), Ok(after), "{fen} {mv}");
    }
    assert_eq!(moves.len(), counted);
}
