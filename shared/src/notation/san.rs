//! SAN, the notation of score sheets: `e4`, `Nbd7`, `exd8=Q#`, `O-O-O+`.
//!
//! Written exactly as the PGN standard wants it. Read with the tolerance score sheets need (missing or surplus `+ # ! ?`,
//! zeros in castling, `a8Q`, more disambiguation than necessary), but never by guessing between two legal moves.

use crate::rules::{Move, Piece, Position, Role, Square, Status};
use std::fmt;

/// Longest text read: `Qa1xb2=Q+` with a few marks. The rest is refused unread.
pub const SAN_LEN_MAX: usize = 16;

/// A move in SAN, at most seven bytes (`Qa1xb2#`, `axb8=Q+`), kept without a heap.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct San {
    bytes: [u8; 7],
    len: u8,
}

/// Why a text names no move.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SanError {
    /// Not a move in any notation read here.
    #[error("not a move")]
    Syntax,
    /// No legal move fits.
    #[error("illegal move")]
    Illegal,
    /// Several legal moves fit.
    #[error("ambiguous move: several pieces can go there")]
    Ambiguous,
    /// A pawn reaches the last rank, and the text does not say what it becomes.
    #[error("the promotion piece is missing")]
    PromotionMissing,
}

impl San {
    /// Writes a legal move: `mv` must be legal in `before` and lead to `after`.
    #[must_use]
    pub fn of(before: &Position, mv: Move, after: &Position) -> Self {
        let mut san = Self {
            bytes: [0; 7],
            len: 0,
        };
        match before.piece_at(mv.from).map(|piece| piece.role) {
            Some(Role::King) if mv.from.file().abs_diff(mv.to.file()) == 2 => {
                san.push_str(if mv.to.file() == 6 { "O-O" } else { "O-O-O" });
            }
            Some(Role::Pawn) => {
                if mv.from.file() != mv.to.file() {
                    san.push(mv.from.file_char());
                    san.push('x');
                }
                san.push_square(mv.to);
                if let Some(role) = mv.promotion {
                    san.push('=');
                    san.push(role.upper_letter());
                }
            }
            Some(role) => {
                san.push(role.upper_letter());
                san.push_disambiguation(before, mv);
                if before.piece_at(mv.to).is_some() {
                    san.push('x');
                }
                san.push_square(mv.to);
            }
            None => {}
        }
        if after.is_check() {
            san.push(if after.status() == Status::Checkmate {
                '#'
            } else {
                '+'
            });
        }
        san
    }

    /// Takes SAN that was written here before: ASCII, at most seven bytes. Whether it is a move is not asked.
    pub(crate) fn from_stored(text: &str) -> Option<Self> {
        if text.is_empty() || text.len() > 7 || !text.is_ascii() {
            return None;
        }
        let mut san = Self {
            bytes: [0; 7],
            len: 0,
        };
        san.push_str(text);
        Some(san)
    }

    /// File, else rank, else both: the first that no other piece of the kind, able to go there, shares.
    fn push_disambiguation(&mut self, before: &Position, mv: Move) {
        if !before.has_twin(mv.from) {
            return;
        }
        let piece = before.piece_at(mv.from);
        let (mut others, mut same_file, mut same_rank) = (false, false, false);
        for other in before.legal_moves_to(mv.to) {
            if other.from != mv.from && before.piece_at(other.from) == piece {
                others = true;
                same_file |= other.from.file() == mv.from.file();
                same_rank |= other.from.rank() == mv.from.rank();
            }
        }
        if others && (same_rank || !same_file) {
            self.push(mv.from.file_char());
        }
        if same_file {
            self.push(mv.from.rank_char());
        }
    }

    fn push_square(&mut self, square: Square) {
        self.push(square.file_char());
        self.push(square.rank_char());
    }

    fn push_str(&mut self, text: &str) {
        text.chars().for_each(|c| self.push(c));
    }

    fn push(&mut self, c: char) {
        self.bytes[usize::from(self.len)] = c as u8;
        self.len += 1;
    }

    /// The text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        // Only ASCII was pushed.
        std::str::from_utf8(&self.bytes[..usize::from(self.len)]).unwrap_or_default()
    }
}

impl fmt::Display for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for San {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What SAN says of a move: less than a [`Move`], enough to find one.
struct Pattern {
    role: Role,
    from_file: Option<u8>,
    from_rank: Option<u8>,
    capture: bool,
    to: Square,
    promotion: Option<Role>,
}

/// Finds the one legal move that the text names.
///
/// # Errors
/// [`SanError`] tells nonsense, an illegal move, an ambiguous one and a missing promotion piece apart.
pub fn parse(position: &Position, text: &str) -> Result<Move, SanError> {
    if text.len() > SAN_LEN_MAX || !text.is_ascii() {
        return Err(SanError::Syntax);
    }
    let text = text.trim_end_matches(['+', '#', '!', '?']);
    if let Some(mv) = castling(position, text) {
        let king = position
            .piece_at(mv.from)
            .is_some_and(|piece| piece.role == Role::King);
        return if king && position.is_legal(mv) {
            Ok(mv)
        } else {
            Err(SanError::Illegal)
        };
    }
    find(position, &Pattern::read(text)?)
}

/// The king's move, if the text means castling.
fn castling(position: &Position, text: &str) -> Option<Move> {
    let to_file = match text {
        "O-O" | "0-0" => 6,
        "O-O-O" | "0-0-0" => 2,
        _ => return None,
    };
    let rank = if position.turn() == crate::rules::Color::White {
        0
    } else {
        7
    };
    Some(Move::new(
        Square::new(4, rank)?,
        Square::new(to_file, rank)?,
    ))
}

impl Pattern {
    fn read(text: &str) -> Result<Self, SanError> {
        let (role, rest) = match text.chars().next() {
            Some(letter @ ('N' | 'B' | 'R' | 'Q' | 'K')) => (
                Role::from_letter(letter.to_ascii_lowercase()).ok_or(SanError::Syntax)?,
                &text[1..],
            ),
            _ => (Role::Pawn, text),
        };
        let (rest, promotion) = match rest.chars().next_back() {
            Some(letter @ ('N' | 'B' | 'R' | 'Q')) if role == Role::Pawn => {
                let rest = &rest[..rest.len() - 1];
                (
                    rest.strip_suffix('=').unwrap_or(rest),
                    Role::from_letter(letter.to_ascii_lowercase()),
                )
            }
            _ => (rest, None),
        };
        // What is left ends in the target square; before it stand file, rank and the mark of a capture, each if needed.
        let split = rest.len().checked_sub(2).ok_or(SanError::Syntax)?;
        let to = rest[split..].parse().map_err(|_| SanError::Syntax)?;
        let origin = rest[..split].strip_suffix('x');
        let capture = origin.is_some();
        let (from_file, from_rank) = match *origin.unwrap_or(&rest[..split]).as_bytes() {
            [] => (None, None),
            [file @ b'a'..=b'h'] => (Some(file - b'a'), None),
            [rank @ b'1'..=b'8'] => (None, Some(rank - b'1')),
            [file @ b'a'..=b'h', rank @ b'1'..=b'8'] => (Some(file - b'a'), Some(rank - b'1')),
            _ => return Err(SanError::Syntax),
        };
        Ok(Self {
            role,
            from_file,
            from_rank,
            capture,
            to,
            promotion,
        })
    }

    /// Does this legal move fit, leaving the promotion aside?
    fn fits(&self, position: &Position, mv: Move) -> bool {
        let role = position.piece_at(mv.from).map(|Piece { role, .. }| role);
        let pawn_captures = role == Some(Role::Pawn) && mv.from.file() != mv.to.file();
        let captures = pawn_captures || position.piece_at(mv.to).is_some();
        role == Some(self.role)
            && self.from_file.is_none_or(|file| file == mv.from.file())
            && self.from_rank.is_none_or(|rank| rank == mv.from.rank())
            // A capture may be written without its mark, but a pawn's not without its file: d5 is never exd5.
            && (captures || !self.capture)
            && (!pawn_captures || self.from_file.is_some())
            // Castling has its own notation.
            && !(self.role == Role::King && mv.from.file().abs_diff(mv.to.file()) == 2)
    }
}

fn find(position: &Position, pattern: &Pattern) -> Result<Move, SanError> {
    let mut found: Option<Move> = None;
    let mut promotion_missing = false;
    for mv in position
        .legal_moves_to(pattern.to)
        .filter(|&mv| pattern.fits(position, mv))
    {
        if mv.promotion != pattern.promotion {
            promotion_missing |= pattern.promotion.is_none();
        } else if found.replace(mv).is_some() {
            return Err(SanError::Ambiguous);
        }
    }
    match found {
        Some(mv) => Ok(mv),
        None if promotion_missing => Err(SanError::PromotionMissing),
        None => Err(SanError::Illegal),
    }
}

impl Position {
    /// A legal move in SAN.
    ///
    /// # Errors
    /// [`IllegalMove`](crate::rules::IllegalMove) when the move may not be played.
    pub fn san(&self, mv: Move) -> Result<San, crate::rules::IllegalMove> {
        Ok(San::of(self, mv, &self.play(mv)?))
    }
}
