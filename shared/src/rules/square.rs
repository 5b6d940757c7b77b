//! The 64 squares.

use std::fmt;
use std::str::FromStr;

/// One square of the board. Its index runs a1, b1 … h1, a2 … h8.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Square(u8);

impl Square {
    /// All squares, a1 first.
    pub fn all() -> impl DoubleEndedIterator<Item = Square> + ExactSizeIterator {
        (0..64).map(Square)
    }

    /// The square with this index (0 is a1, 63 is h8).
    #[must_use]
    pub const fn from_index(index: u8) -> Option<Self> {
        if index < 64 { Some(Self(index)) } else { None }
    }

    /// The square on this file and rank, both counted from 0.
    #[must_use]
    pub const fn new(file: u8, rank: u8) -> Option<Self> {
        if file < 8 && rank < 8 {
            Some(Self(rank * 8 + file))
        } else {
            None
        }
    }

    /// 0 for a1, 63 for h8.
    #[must_use]
    pub const fn index(self) -> u8 {
        self.0
    }

    /// 0 for the a-file.
    #[must_use]
    pub const fn file(self) -> u8 {
        self.0 % 8
    }

    /// 0 for the first rank.
    #[must_use]
    pub const fn rank(self) -> u8 {
        self.0 / 8
    }

    /// `a` to `h`.
    #[must_use]
    pub const fn file_char(self) -> char {
        (b'a' + self.file()) as char
    }

    /// `1` to `8`.
    #[must_use]
    pub const fn rank_char(self) -> char {
        (b'1' + self.rank()) as char
    }

    /// The square `ranks` further up the board (towards Black), if there is one.
    #[must_use]
    pub const fn up(self, ranks: i8) -> Option<Self> {
        let rank = self.rank() as i8 + ranks;
        if rank < 0 {
            None
        } else {
            Self::new(self.file(), rank as u8)
        }
    }

    /// A bit board with this square alone.
    pub(crate) const fn bit(self) -> u64 {
        1 << self.0
    }

    pub(super) fn to_chess(self) -> chess::Square {
        chess::ALL_SQUARES[usize::from(self.0)]
    }

    pub(super) fn from_chess(square: chess::Square) -> Self {
        Self(square.to_int())
    }
}

impl fmt::Display for Square {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.file_char(), self.rank_char())
    }
}

impl fmt::Debug for Square {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not the name of a square.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a square")]
pub struct NotASquare;

impl FromStr for Square {
    type Err = NotASquare;

    /// Reads exactly two characters, `a1` to `h8`.
    fn from_str(text: &str) -> Result<Self, NotASquare> {
        match *text.as_bytes() {
            [file @ b'a'..=b'h', rank @ b'1'..=b'8'] => Ok(Self((rank - b'1') * 8 + (file - b'a'))),
            _ => Err(NotASquare),
        }
    }
}
