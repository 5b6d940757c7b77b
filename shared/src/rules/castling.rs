//! Who may still castle, and where.

use super::Color;

/// The castling rights of both sides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Castling {
    /// Bit 0 White's king side, 1 White's queen side, 2 and 3 Black's.
    bits: u8,
}

impl Castling {
    /// Nobody may castle.
    pub const NONE: Castling = Castling { bits: 0 };

    /// In the order FEN prints them: side, king side or not, letter.
    const IN_FEN_ORDER: [(Color, bool, char); 4] = [
        (Color::White, true, 'K'),
        (Color::White, false, 'Q'),
        (Color::Black, true, 'k'),
        (Color::Black, false, 'q'),
    ];

    const fn bit(color: Color, king_side: bool) -> u8 {
        1 << (color.index() * 2 + if king_side { 0 } else { 1 })
    }

    /// May this side still castle on the king's side (or, with `false`, on the queen's)?
    #[must_use]
    pub const fn has(self, color: Color, king_side: bool) -> bool {
        self.bits & Self::bit(color, king_side) != 0
    }

    /// The same rights and one more.
    #[must_use]
    pub const fn with(self, color: Color, king_side: bool) -> Self {
        Self {
            bits: self.bits | Self::bit(color, king_side),
        }
    }

    /// Nobody may castle.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.bits == 0
    }

    /// Reads FEN's field: `-`, or some of `KQkq` in that order.
    #[must_use]
    pub fn from_fen_field(text: &str) -> Option<Self> {
        if text == "-" {
            return Some(Self::NONE);
        }
        let mut rest = text;
        let mut rights = Self::NONE;
        for (color, king_side, letter) in Self::IN_FEN_ORDER {
            if let Some(after) = rest.strip_prefix(letter) {
                rights = rights.with(color, king_side);
                rest = after;
            }
        }
        (rest.is_empty() && !rights.is_empty()).then_some(rights)
    }

    /// Writes FEN's field: `KQkq`, `Kq`, `-` …
    pub(crate) fn push_fen_field(self, out: &mut String) {
        if self.is_empty() {
            out.push('-');
        }
        for (color, king_side, letter) in Self::IN_FEN_ORDER {
            if self.has(color, king_side) {
                out.push(letter);
            }
        }
    }

    pub(super) fn to_chess(self, color: Color) -> chess::CastleRights {
        match (self.has(color, true), self.has(color, false)) {
            (false, false) => chess::CastleRights::NoRights,
            (true, false) => chess::CastleRights::KingSide,
            (false, true) => chess::CastleRights::QueenSide,
            (true, true) => chess::CastleRights::Both,
        }
    }

    pub(super) fn from_board(board: &chess::Board) -> Self {
        let mut rights = Self::NONE;
        for color in Color::ALL {
            let theirs = board.castle_rights(color.to_chess());
            if theirs.has_kingside() {
                rights = rights.with(color, true);
            }
            if theirs.has_queenside() {
                rights = rights.with(color, false);
            }
        }
        rights
    }
}
