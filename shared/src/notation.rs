//! Chess as text: FEN, UCI, SAN and PGN, read strictly and written as python-chess writes them.
//!
//! Text is judged by the laws in `rules`, never the other way round. Times are clock readings to be printed, no more.

pub mod fen;
pub mod pgn;
pub mod san;
pub mod uci;

pub use fen::FenError;
pub use san::{San, SanError};
pub use uci::NotUci;

use crate::rules::{Move, Position};

/// Reads a move as people type it, UCI (`g1f3`) or SAN (`Nf3`), and finds it among the legal ones.
///
/// # Errors
/// [`SanError`] when the text is neither, or fits no legal move, or several.
pub fn parse_move(position: &Position, text: &str) -> Result<Move, SanError> {
    match uci::parse(text) {
        Ok(mv) if position.is_legal(mv) => Ok(mv),
        Ok(mv) if mv.promotion.is_some() => Err(SanError::Illegal),
        // Squares alone are also SAN, at its most explicit, which knows why a pawn's move fails.
        _ => san::parse(position, text),
    }
}
