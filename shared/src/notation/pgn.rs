//! PGN: whole games as text, written in export format and read strictly enough to trust the moves.
//!
//! One kind of comment carries meaning here, `[%clk H:MM:SS]`, what the mover has left after the move. Other comments,
//! numeric annotations and variations are read over.

mod clk;
mod reader;
mod tags;
mod writer;

pub use clk::{format_clk, parse_clk};
pub use reader::{Games, PgnError, PgnProblem, games};
pub use tags::Tags;
pub use writer::write;

use super::San;
use crate::game::GameResult;
use crate::rules::{Move, Position};

/// A game as PGN holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pgn {
    /// Tag pairs in order.
    pub tags: Tags,
    /// Where the moves start; the initial position unless a `FEN` tag says otherwise.
    pub start: Position,
    /// The main line.
    pub moves: Vec<PgnMove>,
    /// How the text ends.
    pub result: GameResult,
}

/// One move of the main line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PgnMove {
    /// The move.
    pub mv: Move,
    /// The move as it should be written, whatever the file had.
    pub san: San,
    /// What the mover had left after it, in milliseconds.
    pub clock_ms: Option<u64>,
}
