//! A move as it is asked for and stored: from where, to where, and what a pawn becomes.

use super::{Role, Square};
use std::fmt;

/// A move by its squares. Castling is the king's move (e1g1). Whether it is legal only a [`Position`](super::Position) knows.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Move {
    /// Where the piece stands.
    pub from: Square,
    /// Where it goes.
    pub to: Square,
    /// What a pawn becomes on the last rank.
    pub promotion: Option<Role>,
}

impl Move {
    /// A move without promotion.
    #[must_use]
    pub const fn new(from: Square, to: Square) -> Self {
        Self {
            from,
            to,
            promotion: None,
        }
    }

    /// The same squares with a promotion.
    #[must_use]
    pub const fn promoting(self, role: Role) -> Self {
        Self {
            promotion: Some(role),
            ..self
        }
    }

    pub(super) fn to_chess(self) -> chess::ChessMove {
        chess::ChessMove::new(
            self.from.to_chess(),
            self.to.to_chess(),
            self.promotion.map(Role::to_chess),
        )
    }

    pub(super) fn from_chess(mv: chess::ChessMove) -> Self {
        Self {
            from: Square::from_chess(mv.get_source()),
            to: Square::from_chess(mv.get_dest()),
            promotion: mv.get_promotion().map(Role::from_chess),
        }
    }
}

/// UCI text, such as `e2e4` or `e7e8q`.
impl fmt::Display for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.from, self.to)?;
        match self.promotion {
            Some(role) => write!(f, "{}", role.letter()),
            None => Ok(()),
        }
    }
}

impl fmt::Debug for Move {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
