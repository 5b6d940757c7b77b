//! How games end.

use super::clock::Expiry;
use super::{GameResult, Reason};
use crate::Color;
use crate::rules::{Position, Status};

/// A position that has stood so often ends the game at once (FIDE 9.6.1).
pub const FIVEFOLD: u32 = 5;
/// A position that has stood so often may be claimed as a draw (FIDE 9.2).
pub const THREEFOLD: u32 = 3;
/// So many half moves without capture or pawn move end the game at once (FIDE 9.6.2).
pub const SEVENTYFIVE_MOVES: u16 = 150;
/// So many half moves without capture or pawn move may be claimed as a draw (FIDE 9.3).
pub const FIFTY_MOVES: u16 = 100;

/// The end of a game.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// As PGN spells it.
    pub result: GameResult,
    /// Who won, if anybody.
    pub winner: Option<Color>,
    /// Why.
    pub reason: Reason,
}

impl GameResult {
    /// All four.
    pub const ALL: [GameResult; 4] = [Self::WhiteWins, Self::BlackWins, Self::Draw, Self::Unknown];

    /// The result of a game that this side won.
    #[must_use]
    pub const fn won_by(color: Color) -> Self {
        match color {
            Color::White => Self::WhiteWins,
            Color::Black => Self::BlackWins,
        }
    }

    /// The text in PGN and on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::WhiteWins => "1-0",
            Self::BlackWins => "0-1",
            Self::Draw => "1/2-1/2",
            Self::Unknown => "*",
        }
    }

    /// The result with this text.
    #[must_use]
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|result| result.as_str() == text)
    }
}

impl Outcome {
    pub(super) const fn win(color: Color, reason: Reason) -> Self {
        Self {
            result: GameResult::won_by(color),
            winner: Some(color),
            reason,
        }
    }

    pub(super) const fn draw(reason: Reason) -> Self {
        Self {
            result: GameResult::Draw,
            winner: None,
            reason,
        }
    }

    pub(super) const fn unknown(reason: Reason) -> Self {
        Self {
            result: GameResult::Unknown,
            winner: None,
            reason,
        }
    }

    /// The end that a position brings by itself, with nobody claiming it. Mate goes before all draws (FIDE 9.6.2).
    pub(super) fn automatic(position: &Position, times_stood: u32) -> Option<Self> {
        match position.status() {
            Status::Checkmate => {
                return Some(Self::win(position.turn().other(), Reason::Checkmate));
            }
            Status::Stalemate => return Some(Self::draw(Reason::Stalemate)),
            Status::Ongoing => {}
        }
        let reason = if position.is_insufficient_material() {
            Reason::InsufficientMaterial
        } else if times_stood >= FIVEFOLD {
            Reason::FivefoldRepetition
        } else if position.halfmoves() >= SEVENTYFIVE_MOVES {
            Reason::SeventyfiveMoves
        } else {
            return None;
        };
        Some(Self::draw(reason))
    }

    /// The draw that the side to move may claim in a position.
    pub(super) fn claimable(position: &Position, times_stood: u32) -> Option<Self> {
        if times_stood >= THREEFOLD {
            Some(Self::draw(Reason::ThreefoldRepetition))
        } else if position.halfmoves() >= FIFTY_MOVES {
            Some(Self::draw(Reason::FiftyMoves))
        } else {
            None
        }
    }

    /// The end that running out of time brings. A flag is a draw when the opponent has nothing to mate with (FIDE 6.9).
    pub(super) fn expired(position: &Position, expiry: Expiry) -> Self {
        let opponent = position.turn().other();
        match expiry {
            Expiry::FirstMove => Self::unknown(Reason::Aborted),
            Expiry::Abandoned => Self::unknown(Reason::Abandonment),
            Expiry::Flag if position.has_insufficient_material(opponent) => {
                Self::draw(Reason::TimeoutInsufficientMaterial)
            }
            Expiry::Flag => Self::win(opponent, Reason::Timeout),
        }
    }

    /// The end when the opponent of this side has gone: won, but not with nothing to mate with.
    pub(super) fn deserted(position: &Position, claimant: Color) -> Self {
        if position.has_insufficient_material(claimant) {
            Self::draw(Reason::Abandonment)
        } else {
            Self::win(claimant, Reason::Abandonment)
        }
    }
}
