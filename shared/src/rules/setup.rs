//! A board as somebody describes it, and the strict check that makes a [`Position`] of it.
//!
//! The check is strict for two reasons. A position that cannot arise has no rules to follow; and the `chess` crate is
//! memory-unsafe on some of them: it writes moves into 18 slots without counting, so a side must never have more than
//! 16 pieces (each takes one slot, en passant at most two more).

use super::{Castling, Color, FULLMOVES_MAX, HALFMOVES_MAX, Piece, Position, Role, Square};

/// Everything FEN says, unchecked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setup {
    /// What stands where, by [`Square::index`].
    pub board: [Option<Piece>; 64],
    /// Whose turn it is.
    pub turn: Color,
    /// Castling rights.
    pub castling: Castling,
    /// The square a pawn has just jumped over.
    pub en_passant: Option<Square>,
    /// Half moves since the last capture or pawn move.
    pub halfmoves: u16,
    /// Number of the current full move, from 1.
    pub fullmoves: u16,
}

/// Why a board is no position of a game.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPosition {
    /// A side has no king or several.
    #[error("each side needs exactly one king")]
    Kings,
    /// A side has more than sixteen pieces.
    #[error("a side has more than 16 pieces")]
    TooManyPieces,
    /// A side has more than eight pawns.
    #[error("a side has more than 8 pawns")]
    TooManyPawns,
    /// A pawn on the first or the last rank.
    #[error("a pawn stands on the first or last rank")]
    PawnOnBackRank,
    /// A side has more extra pieces than pawns can have become.
    #[error("a side has more promoted pieces than missing pawns")]
    TooManyPromoted,
    /// King and rook do not stand where a castling right says.
    #[error("castling rights do not fit the board")]
    Castling,
    /// The kings stand beside each other, or the side that has just moved left its king attacked.
    #[error("the side that is not to move is in check")]
    OppositeCheck,
    /// More than two pieces give check.
    #[error("more than two pieces give check")]
    TooManyCheckers,
    /// Two pieces give check along one line, from both sides of the king or one through the other: no move does that.
    #[error("no move can have given this check")]
    ImpossibleCheck,
    /// Half moves over 999, or full moves not from 1 to 9999.
    #[error("the move counters are out of range")]
    Counters,
    /// No pawn can just have jumped over the en passant square.
    #[error("the en passant square does not fit the board")]
    EnPassant,
}

impl Setup {
    /// The material limits that keep the `chess` crate inside its tables, and those of the game.
    fn check_material(&self) -> Result<(), InvalidPosition> {
        for color in Color::ALL {
            let mut count = [0_u32; 6];
            let mut bishops_on = [0_u32; 2];
            for square in Square::all() {
                let Some(piece) = self.at(square).filter(|piece| piece.color == color) else {
                    continue;
                };
                count[piece.role as usize] += 1;
                if piece.role == Role::Bishop {
                    bishops_on[usize::from((square.file() + square.rank()) % 2)] += 1;
                }
                if piece.role == Role::Pawn && matches!(square.rank(), 0 | 7) {
                    return Err(InvalidPosition::PawnOnBackRank);
                }
            }
            if count[Role::King as usize] != 1 {
                return Err(InvalidPosition::Kings);
            }
            if count.iter().sum::<u32>() > 16 {
                return Err(InvalidPosition::TooManyPieces);
            }
            let pawns = count[Role::Pawn as usize];
            if pawns > 8 {
                return Err(InvalidPosition::TooManyPawns);
            }
            let promoted = count[Role::Queen as usize].saturating_sub(1)
                + count[Role::Rook as usize].saturating_sub(2)
                + count[Role::Knight as usize].saturating_sub(2)
                + bishops_on[0].saturating_sub(1)
                + bishops_on[1].saturating_sub(1);
            if promoted > 8 - pawns {
                return Err(InvalidPosition::TooManyPromoted);
            }
        }
        Ok(())
    }

    fn check_castling(&self) -> Result<(), InvalidPosition> {
        for color in Color::ALL {
            let rank = if color == Color::White { 0 } else { 7 };
            for king_side in [true, false] {
                let rook_file = if king_side { 7 } else { 0 };
                let stands = |file, role| {
                    Square::new(file, rank).and_then(|square| self.at(square))
                        == Some(Piece { color, role })
                };
                if self.castling.has(color, king_side)
                    && !(stands(4, Role::King) && stands(rook_file, Role::Rook))
                {
                    return Err(InvalidPosition::Castling);
                }
            }
        }
        Ok(())
    }

    /// The board one half move earlier, with the pawn back on its first square.
    ///
    /// Called only after the material check. Its being legal shows that a check now standing comes from the jump.
    fn before_jump(&self, target: Square) -> Result<Setup, InvalidPosition> {
        let jumper = self.turn.other();
        let (rank, up) = if jumper == Color::White {
            (2, 1)
        } else {
            (5, -1)
        };
        let (Some(origin), Some(landing)) = (target.up(-up), target.up(up)) else {
            return Err(InvalidPosition::EnPassant);
        };
        let pawn = Some(Piece {
            color: jumper,
            role: Role::Pawn,
        });
        if target.rank() != rank
            || self.at(target).is_some()
            || self.at(origin).is_some()
            || self.at(landing) != pawn
            || self.halfmoves != 0
        {
            return Err(InvalidPosition::EnPassant);
        }
        let mut before = Setup {
            turn: jumper,
            en_passant: None,
            ..self.clone()
        };
        before.board[usize::from(landing.index())] = None;
        before.board[usize::from(origin.index())] = pawn;
        Ok(before)
    }

    fn at(&self, square: Square) -> Option<Piece> {
        self.board[usize::from(square.index())]
    }

    /// Hands a board of checked material to the `chess` crate, which tells whether the wrong king is attacked.
    fn to_board(&self) -> Result<chess::Board, InvalidPosition> {
        let mut builder = chess::BoardBuilder::new();
        for square in Square::all() {
            if let Some(piece) = self.at(square) {
                builder.piece(
                    square.to_chess(),
                    piece.role.to_chess(),
                    piece.color.to_chess(),
                );
            }
        }
        for color in Color::ALL {
            builder.castle_rights(color.to_chess(), self.castling.to_chess(color));
        }
        builder.side_to_move(self.turn.to_chess()).en_passant(
            self.en_passant
                .map(|square| chess::File::from_index(usize::from(square.file()))),
        );
        chess::Board::try_from(&builder).map_err(|_| InvalidPosition::OppositeCheck)
    }
}

impl Position {
    /// Checks a described board strictly and makes a position of it.
    ///
    /// An en passant square is accepted after every jump of a pawn, and forgotten when no capture there is legal.
    ///
    /// # Errors
    /// The first reason why the board cannot stand in a game.
    pub fn from_setup(setup: &Setup) -> Result<Self, InvalidPosition> {
        setup.check_material()?;
        if setup.halfmoves > HALFMOVES_MAX || !(1..=FULLMOVES_MAX).contains(&setup.fullmoves) {
            return Err(InvalidPosition::Counters);
        }
        setup.check_castling()?;
        if let Some(target) = setup.en_passant {
            setup
                .before_jump(target)?
                .to_board()
                .map_err(|_| InvalidPosition::EnPassant)?;
        }
        let board = setup.to_board()?;
        if board.checkers().popcnt() > 2 {
            return Err(InvalidPosition::TooManyCheckers);
        }
        if has_aligned_checkers(&board) {
            return Err(InvalidPosition::ImpossibleCheck);
        }
        Ok(Self::from_board(board, setup.halfmoves, setup.fullmoves))
    }

    /// Describes this position. [`Position::from_setup`] makes an equal one of it.
    #[must_use]
    pub fn setup(&self) -> Setup {
        let mut board = [None; 64];
        for square in Square::all() {
            board[usize::from(square.index())] = self.piece_at(square);
        }
        Setup {
            board,
            turn: self.turn(),
            castling: self.castling(),
            en_passant: self.en_passant(),
            halfmoves: self.halfmoves(),
            fullmoves: self.fullmoves(),
        }
    }
}

fn has_aligned_checkers(board: &chess::Board) -> bool {
    let mut checkers = *board.checkers();
    match (checkers.next(), checkers.next()) {
        (Some(one), Some(other)) => {
            let king = chess::BitBoard::from_square(board.king_square(board.side_to_move()));
            chess::line(one, other) & king != chess::EMPTY
        }
        _ => false,
    }
}
