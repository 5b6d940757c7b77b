//! A position: board, side to move, rights, and the two counters.

use super::{Castling, Color, Move, Piece, PositionKey, Role, Square};
use std::fmt;

/// More half moves without capture or pawn move than any rule lets happen, with room for studies.
pub const HALFMOVES_MAX: u16 = 999;

/// No game comes near: a log holds 10,000 events.
pub const FULLMOVES_MAX: u16 = 9_999;

/// A position that can stand in a game. Made by [`Position::initial`], [`Position::from_setup`] and
/// [`Position::play`] only, so it is always sound.
#[derive(Clone, Copy)]
pub struct Position {
    board: chess::Board,
    /// Where an en passant capture is legal now. The board's own field is set whenever a pawn stands beside.
    en_passant: Option<Square>,
    halfmoves: u16,
    fullmoves: u16,
}

/// The move is not legal in this position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("illegal move")]
pub struct IllegalMove;

/// Whether the side to move can move.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It can.
    Ongoing,
    /// It cannot, and is in check.
    Checkmate,
    /// It cannot, and is not in check.
    Stalemate,
}

impl Position {
    /// The position every normal game starts from.
    #[must_use]
    pub fn initial() -> Self {
        Self {
            board: chess::Board::default(),
            en_passant: None,
            halfmoves: 0,
            fullmoves: 1,
        }
    }

    pub(super) fn from_board(board: chess::Board, halfmoves: u16, fullmoves: u16) -> Self {
        Self {
            board,
            en_passant: legal_en_passant(&board),
            halfmoves,
            fullmoves,
        }
    }

    /// Whose turn it is.
    #[must_use]
    pub fn turn(&self) -> Color {
        Color::from_chess(self.board.side_to_move())
    }

    /// What stands on this square.
    #[must_use]
    pub fn piece_at(&self, square: Square) -> Option<Piece> {
        let role = Role::from_chess(self.board.piece_on(square.to_chess())?);
        let white = self.of(Color::White) & square.bit() != 0;
        Some(Piece {
            color: if white { Color::White } else { Color::Black },
            role,
        })
    }

    /// Castling rights, as FEN prints them.
    #[must_use]
    pub fn castling(&self) -> Castling {
        Castling::from_board(&self.board)
    }

    /// The square where an en passant capture is legal now; none if a pawn has jumped but cannot be captured.
    #[must_use]
    pub const fn en_passant(&self) -> Option<Square> {
        self.en_passant
    }

    /// Half moves since the last capture or pawn move.
    #[must_use]
    pub const fn halfmoves(&self) -> u16 {
        self.halfmoves
    }

    /// Number of the current full move.
    #[must_use]
    pub const fn fullmoves(&self) -> u16 {
        self.fullmoves
    }

    /// All legal moves, each promotion apart, in no promised order.
    #[must_use]
    pub fn legal_moves(&self) -> LegalMoves {
        LegalMoves(chess::MoveGen::new_legal(&self.board))
    }

    /// The legal moves to one square. To look at all moves for them costs a third of the time of a move.
    pub(crate) fn legal_moves_to(&self, square: Square) -> LegalMoves {
        moves_to(&self.board, square)
    }

    /// May this move be played?
    #[must_use]
    pub fn is_legal(&self, mv: Move) -> bool {
        self.legal_moves_to(mv.to).any(|legal| legal == mv)
    }

    /// The position after a move.
    ///
    /// # Errors
    /// [`IllegalMove`] when it may not be played.
    pub fn play(&self, mv: Move) -> Result<Self, IllegalMove> {
        if self.is_legal(mv) {
            Ok(self.play_legal(mv))
        } else {
            Err(IllegalMove)
        }
    }

    /// The position after a move that [`is_legal`](Self::is_legal) or that came from [`legal_moves`](Self::legal_moves).
    ///
    /// The `chess` crate is undefined on others, so this stays in the crate.
    pub(crate) fn play_legal(&self, mv: Move) -> Self {
        let resets =
            self.role(Role::Pawn) & mv.from.bit() != 0 || self.occupied() & mv.to.bit() != 0;
        // The counters stop where FEN ends.
        let halfmoves = if resets {
            0
        } else {
            HALFMOVES_MAX.min(self.halfmoves + 1)
        };
        let fullmoves = FULLMOVES_MAX.min(self.fullmoves + u16::from(self.turn() == Color::Black));
        Self::from_board(
            self.board.make_move_new(mv.to_chess()),
            halfmoves,
            fullmoves,
        )
    }

    /// Has the side to move another piece of the kind that stands on this square?
    pub(crate) fn has_twin(&self, square: Square) -> bool {
        self.piece_at(square).is_some_and(|Piece { color, role }| {
            (self.role(role) & self.of(color)).count_ones() > 1
        })
    }

    /// Is the side to move in check?
    #[must_use]
    pub fn is_check(&self) -> bool {
        self.board.checkers().0 != 0
    }

    /// Has the side to move any move, and if not, is it mate?
    #[must_use]
    pub fn status(&self) -> Status {
        if chess::MoveGen::new_legal(&self.board).len() > 0 {
            Status::Ongoing
        } else if self.is_check() {
            Status::Checkmate
        } else {
            Status::Stalemate
        }
    }

    /// What makes this position the same as another for the rule of repetition.
    #[must_use]
    pub fn key(&self) -> PositionKey {
        PositionKey::of(self)
    }

    /// Squares of this role, both sides, as a bit board (bit 0 is a1).
    pub(crate) fn role(&self, role: Role) -> u64 {
        self.board.pieces(role.to_chess()).0
    }

    /// Squares of this side.
    pub(crate) fn of(&self, color: Color) -> u64 {
        self.board.color_combined(color.to_chess()).0
    }

    fn occupied(&self) -> u64 {
        self.board.combined().0
    }
}

fn moves_to(board: &chess::Board, square: Square) -> LegalMoves {
    let mut moves = chess::MoveGen::new_legal(board);
    moves.set_iterator_mask(chess::BitBoard(square.bit()));
    LegalMoves(moves)
}

/// The target of a legal en passant capture. The board remembers the pawn that jumped, when a pawn stands beside it,
/// even if that one is pinned.
fn legal_en_passant(board: &chess::Board) -> Option<Square> {
    let target = Square::from_chess(board.en_passant()?.uforward(board.side_to_move()));
    moves_to(board, target)
        .any(|mv| board.piece_on(mv.from.to_chess()) == Some(chess::Piece::Pawn))
        .then_some(target)
}

/// Equal in everything that FEN prints.
impl PartialEq for Position {
    fn eq(&self, other: &Self) -> bool {
        self.halfmoves == other.halfmoves
            && self.fullmoves == other.fullmoves
            && self.key() == other.key()
    }
}

impl Eq for Position {}

impl fmt::Debug for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Position({})", self.fen())
    }
}

/// The legal moves of a position.
pub struct LegalMoves(chess::MoveGen);

impl Iterator for LegalMoves {
    type Item = Move;

    fn next(&mut self) -> Option<Move> {
        self.0.next().map(Move::from_chess)
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl ExactSizeIterator for LegalMoves {}
