//! Kinds of pieces, and pieces with their colour.

use super::Color;

/// A kind of piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Pawn.
    Pawn,
    /// Knight.
    Knight,
    /// Bishop.
    Bishop,
    /// Rook.
    Rook,
    /// Queen.
    Queen,
    /// King.
    King,
}

impl Role {
    /// All six, pawn first.
    pub const ALL: [Role; 6] = [
        Role::Pawn,
        Role::Knight,
        Role::Bishop,
        Role::Rook,
        Role::Queen,
        Role::King,
    ];

    /// What a pawn can become, the usual choice first.
    pub const PROMOTIONS: [Role; 4] = [Role::Queen, Role::Rook, Role::Bishop, Role::Knight];

    /// The English letter in lower case: `p n b r q k`.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Pawn => 'p',
            Self::Knight => 'n',
            Self::Bishop => 'b',
            Self::Rook => 'r',
            Self::Queen => 'q',
            Self::King => 'k',
        }
    }

    /// The English letter as SAN prints it, in upper case.
    #[must_use]
    pub const fn upper_letter(self) -> char {
        self.letter().to_ascii_uppercase()
    }

    /// The role with this lower-case English letter.
    #[must_use]
    pub const fn from_letter(letter: char) -> Option<Self> {
        Some(match letter {
            'p' => Self::Pawn,
            'n' => Self::Knight,
            'b' => Self::Bishop,
            'r' => Self::Rook,
            'q' => Self::Queen,
            'k' => Self::King,
            _ => return None,
        })
    }

    pub(super) const fn to_chess(self) -> chess::Piece {
        match self {
            Self::Pawn => chess::Piece::Pawn,
            Self::Knight => chess::Piece::Knight,
            Self::Bishop => chess::Piece::Bishop,
            Self::Rook => chess::Piece::Rook,
            Self::Queen => chess::Piece::Queen,
            Self::King => chess::Piece::King,
        }
    }

    pub(super) const fn from_chess(piece: chess::Piece) -> Self {
        match piece {
            chess::Piece::Pawn => Self::Pawn,
            chess::Piece::Knight => Self::Knight,
            chess::Piece::Bishop => Self::Bishop,
            chess::Piece::Rook => Self::Rook,
            chess::Piece::Queen => Self::Queen,
            chess::Piece::King => Self::King,
        }
    }
}

/// A piece of one side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Piece {
    /// Whose it is.
    pub color: Color,
    /// What it is.
    pub role: Role,
}

impl Piece {
    /// The letter FEN prints: upper case for White.
    #[must_use]
    pub const fn fen_letter(self) -> char {
        match self.color {
            Color::White => self.role.upper_letter(),
            Color::Black => self.role.letter(),
        }
    }

    /// The piece with this FEN letter.
    #[must_use]
    pub const fn from_fen_letter(letter: char) -> Option<Self> {
        let color = if letter.is_ascii_uppercase() {
            Color::White
        } else {
            Color::Black
        };
        match Role::from_letter(letter.to_ascii_lowercase()) {
            Some(role) => Some(Self { color, role }),
            None => None,
        }
    }
}
