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
    pub result: PgnResult,
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

/// The four endings PGN knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PgnResult {
    /// `1-0`
    WhiteWins,
    /// `0-1`
    BlackWins,
    /// `1/2-1/2`
    Draw,
    /// `*`: unfinished, unknown, or without a result.
    Unknown,
}

impl PgnResult {
    /// The text of the ending.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WhiteWins => "1-0",
            Self::BlackWins => "0-1",
            Self::Draw => "1/2-1/2",
            Self::Unknown => "*",
        }
    }

    /// The ending with this text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        [Self::WhiteWins, Self::BlackWins, Self::Draw, Self::Unknown]
            .into_iter()
            .find(|result| result.as_str() == text)
    }
}
