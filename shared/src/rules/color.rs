//! The two sides, as the wire names them.

use serde::{Deserialize, Serialize};
use std::fmt;

/// One side of the board: `"white"` or `"black"` on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Color {
    /// Moves first.
    White,
    /// Moves second.
    Black,
}

impl Color {
    /// Both sides, White first.
    pub const ALL: [Color; 2] = [Color::White, Color::Black];

    /// The opponent.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::White => Self::Black,
            Self::Black => Self::White,
        }
    }

    /// The side that plays half move `ply`, counted from 1, in a game from the normal start.
    #[must_use]
    pub const fn of_ply(ply: u32) -> Self {
        if ply % 2 == 1 {
            Self::White
        } else {
            Self::Black
        }
    }

    /// 0 for White, 1 for Black: an index into `[T; 2]`.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    pub(super) const fn to_chess(self) -> chess::Color {
        match self {
            Self::White => chess::Color::White,
            Self::Black => chess::Color::Black,
        }
    }

    pub(super) const fn from_chess(color: chess::Color) -> Self {
        match color {
            chess::Color::White => Self::White,
            chess::Color::Black => Self::Black,
        }
    }

    /// The name on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::White => "white",
            Self::Black => "black",
        }
    }
}

impl fmt::Display for Color {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
