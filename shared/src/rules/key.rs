//! What the rule of repetition compares.
//!
//! FIDE 9.2.3: positions are the same when the same side has the move, pieces of the same kind and colour stand on the
//! same squares, and the possible moves are the same; so en passant counts only where a capture is legal, and castling
//! rights count whether or not castling is possible at once.

use super::{Castling, Color, Piece, Position, Role, Setup, Square};

/// A position without its counters in 32 bytes: exact, so two different positions never share one.
///
/// Four bits a square, as four bit boards: the role in three, the colour in the fourth. The role's spare value 7 is a
/// rook that may still castle, and a black nothing is the en passant square. With Black to move all bits are inverted:
/// that turns the empty squares, at least 31 of them, into black rooks that may castle, of which no board has three.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PositionKey([u64; 4]);

/// The role value of a rook with its castling right.
const CASTLING_ROOK: u64 = 7;

/// Corner squares and the right that a rook there may carry.
const CORNERS: [(Color, bool, u8); 4] = [
    (Color::White, true, 7),
    (Color::White, false, 0),
    (Color::Black, true, 63),
    (Color::Black, false, 56),
];

impl PositionKey {
    pub(super) fn of(position: &Position) -> Self {
        let castling = position.castling();
        let mut castling_rooks = 0_u64;
        if !castling.is_empty() {
            for (color, king_side, corner) in CORNERS {
                castling_rooks |= u64::from(castling.has(color, king_side)) << corner;
            }
        }
        let [pawns, knights, bishops, rooks, queens, kings] =
            Role::ALL.map(|role| position.role(role));
        let en_passant = position.en_passant().map_or(0, Square::bit);
        let planes = [
            pawns | bishops | queens | castling_rooks,
            knights | bishops | kings | castling_rooks,
            rooks | queens | kings,
            position.of(Color::Black) | en_passant,
        ];
        match position.turn() {
            Color::White => Self(planes),
            Color::Black => Self(planes.map(|plane| !plane)),
        }
    }

    /// The position again, given the counters that a key leaves out.
    #[must_use]
    pub fn setup(&self, halfmoves: u16, fullmoves: u16) -> Setup {
        let [a, b, c, d] = self.0;
        let (turn, planes) = if (a & b & c & d).count_ones() > 2 {
            (Color::Black, self.0.map(|plane| !plane))
        } else {
            (Color::White, self.0)
        };
        let mut setup = Setup {
            board: [None; 64],
            turn,
            castling: Castling::NONE,
            en_passant: None,
            halfmoves,
            fullmoves,
        };
        for square in Square::all() {
            let [a, b, c, black] = planes.map(|plane| plane >> square.index() & 1);
            let color = if black == 1 {
                Color::Black
            } else {
                Color::White
            };
            let role = match c << 2 | b << 1 | a {
                0 => {
                    if black == 1 {
                        setup.en_passant = Some(square);
                    }
                    continue;
                }
                CASTLING_ROOK => {
                    setup.castling = setup.castling.with(color, square.file() == 7);
                    Role::Rook
                }
                value => Role::ALL[value as usize - 1],
            };
            setup.board[usize::from(square.index())] = Some(Piece { color, role });
        }
        setup
    }
}
