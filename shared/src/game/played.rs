//! The moves on the board, with all that a takeback, a repetition and a snapshot ask of them.

use super::ClockReading;
use crate::notation::San;
use crate::rules::{FULLMOVES_MAX, Move, Position, PositionKey};
use crate::{Seq, Timestamp};

/// A move that stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Played {
    /// The move; prints as UCI.
    pub uci: Move,
    /// The move in SAN.
    pub san: San,
    /// When it was made.
    pub at: Timestamp,
    /// The event that made it.
    pub seq: Seq,
    /// Both clocks after it; none if untimed.
    pub clock: Option<ClockReading>,
    /// The position after it, without counters.
    pub(super) key: PositionKey,
    /// Half moves without capture or pawn move, after it.
    pub(super) halfmoves: u16,
}

/// Start and moves, and the position they lead to.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Line {
    start: Position,
    played: Vec<Played>,
    position: Position,
}

impl Line {
    pub const fn new(start: Position) -> Self {
        Self {
            start,
            played: Vec::new(),
            position: start,
        }
    }

    pub fn start(&self) -> &Position {
        &self.start
    }

    pub fn position(&self) -> &Position {
        &self.position
    }

    pub fn played(&self) -> &[Played] {
        &self.played
    }

    pub fn push(&mut self, played: Played, position: Position) {
        self.played.push(played);
        self.position = position;
    }

    /// Takes back all moves after this many.
    pub fn truncate(&mut self, plies: usize) {
        self.position = self.position_after(plies);
        self.played.truncate(plies);
    }

    /// The position after this many moves.
    pub fn position_after(&self, plies: usize) -> Position {
        if plies == self.played.len() {
            return self.position;
        }
        let Some(played) = plies.checked_sub(1).and_then(|last| self.played.get(last)) else {
            return self.start;
        };
        let black_first = usize::from(self.start.turn() == crate::Color::Black);
        let moves = u16::try_from((plies + black_first) / 2).unwrap_or(u16::MAX);
        let fullmoves = self
            .start
            .fullmoves()
            .saturating_add(moves)
            .min(FULLMOVES_MAX);
        let setup = played.key.setup(played.halfmoves, fullmoves);
        Position::from_setup(&setup).expect("a position that was played is sound")
    }

    /// How often the current position has stood, itself included.
    pub fn times_stood(&self) -> u32 {
        let earlier = self.played.len().saturating_sub(1);
        1 + self.count(&self.position, &self.played[..earlier])
    }

    /// How often a position that follows the current one has stood, itself included.
    pub fn times_stood_after(&self, next: &Position) -> u32 {
        1 + self.count(next, &self.played)
    }

    /// How often a position stood among these moves or at the start. Nothing before the last capture or pawn move can be
    /// the same, and neither can every other position, where the other side is to move; so this takes 75 comparisons of
    /// 32 bytes at most, and no table to keep.
    fn count(&self, position: &Position, earlier: &[Played]) -> u32 {
        let key = position.key();
        let reach = usize::from(position.halfmoves());
        // The positions before `position`, latest first; the start is the last of them.
        let before = earlier
            .iter()
            .rev()
            .map(|played| played.key)
            .chain(std::iter::once(self.start.key()));
        let same = before
            .take(reach)
            .skip(1)
            .step_by(2)
            .filter(|other| *other == key);
        u32::try_from(same.count()).unwrap_or(u32::MAX)
    }
}
