//! FEN, strict both ways.
//!
//! The en passant square is written only when a capture there is legal, as `board.fen()` of python-chess does, so that
//! positions equal for repetition have equal text (their counters apart). It is accepted after every jump of a pawn,
//! as the FEN standard writes it, if a pawn can just have jumped over it.

use crate::rules::{
    Castling, Color, FULLMOVES_MAX, HALFMOVES_MAX, InvalidPosition, Piece, Position, Role, Setup,
    Square,
};

/// The longest text read. A legal FEN has at most 92 bytes; the limit keeps error paths cheap.
pub const FEN_LEN_MAX: usize = 128;

/// Why a text is no FEN of a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FenError {
    /// Not six fields with one space between each two.
    #[error("a FEN has six fields separated by single spaces")]
    Fields,
    /// The field of pieces does not describe eight ranks of eight squares.
    #[error("the board needs eight ranks of eight squares")]
    Board,
    /// The turn is neither `w` nor `b`.
    #[error("the side to move must be w or b")]
    Turn,
    /// The castling field is neither `-` nor some of `KQkq` in that order.
    #[error("castling must be - or some of KQkq in that order")]
    Castling,
    /// The en passant field is neither `-` nor a square.
    #[error("en passant must be - or a square")]
    EnPassant,
    /// A counter is no plain number in range.
    #[error("the counters must be plain numbers: halfmoves 0–999, fullmoves 1–9999")]
    Counter,
    /// Well written, but such a position cannot stand in a game.
    #[error(transparent)]
    Position(#[from] InvalidPosition),
}

impl Position {
    /// The position as FEN.
    #[must_use]
    pub fn fen(&self) -> String {
        let mut out = String::with_capacity(92);
        let letters = self.letters();
        for rank in (0..8).rev() {
            let mut empty = 0_u8;
            for &letter in &letters[rank * 8..][..8] {
                if letter == 0 {
                    empty += 1;
                } else {
                    push_digit(&mut out, empty);
                    empty = 0;
                    out.push(char::from(letter));
                }
            }
            push_digit(&mut out, empty);
            out.push(if rank > 0 { '/' } else { ' ' });
        }
        out.push(if self.turn() == Color::White {
            'w'
        } else {
            'b'
        });
        out.push(' ');
        self.castling().push_fen_field(&mut out);
        out.push(' ');
        match self.en_passant() {
            None => out.push('-'),
            Some(square) => {
                out.push(square.file_char());
                out.push(square.rank_char());
            }
        }
        for counter in [self.halfmoves(), self.fullmoves()] {
            out.push(' ');
            push_number(&mut out, counter);
        }
        out
    }

    /// Reads a FEN strictly.
    ///
    /// # Errors
    /// [`FenError`] names the field that is wrong, or why no game has such a position.
    pub fn from_fen(text: &str) -> Result<Self, FenError> {
        if text.len() > FEN_LEN_MAX {
            return Err(FenError::Fields);
        }
        let mut fields = text.split(' ');
        let mut field = || fields.next().ok_or(FenError::Fields);
        let setup = Setup {
            board: parse_board(field()?)?,
            turn: match field()? {
                "w" => Color::White,
                "b" => Color::Black,
                _ => return Err(FenError::Turn),
            },
            castling: Castling::from_fen_field(field()?).ok_or(FenError::Castling)?,
            en_passant: match field()? {
                "-" => None,
                square => Some(square.parse().map_err(|_| FenError::EnPassant)?),
            },
            halfmoves: parse_counter(field()?, 0, HALFMOVES_MAX)?,
            fullmoves: parse_counter(field()?, 1, FULLMOVES_MAX)?,
        };
        if fields.next().is_some() {
            return Err(FenError::Fields);
        }
        Ok(Position::from_setup(&setup)?)
    }
}

impl Position {
    /// The FEN letter of each square, zero where it is empty. Filled piece by piece: to ask what stands on each of the 64
    /// squares takes twice as long.
    fn letters(&self) -> [u8; 64] {
        let mut letters = [0; 64];
        for role in Role::ALL {
            for color in Color::ALL {
                let letter = Piece { color, role }.fen_letter() as u8;
                let mut squares = self.role(role) & self.of(color);
                while squares != 0 {
                    letters[squares.trailing_zeros() as usize] = letter;
                    squares &= squares - 1;
                }
            }
        }
        letters
    }
}

fn push_digit(out: &mut String, digit: u8) {
    if digit > 0 {
        out.push(char::from(b'0' + digit));
    }
}

/// `write!` costs some 30 ns more, twice a move.
fn push_number(out: &mut String, number: u16) {
    if number >= 10 {
        push_number(out, number / 10);
    }
    out.push(char::from(b'0' + (number % 10) as u8));
}

fn parse_board(text: &str) -> Result<[Option<Piece>; 64], FenError> {
    let mut board = [None; 64];
    let mut ranks = text.split('/');
    for rank in (0..8).rev() {
        let mut file = 0_u8;
        let mut after_digit = false;
        for letter in ranks.next().ok_or(FenError::Board)?.chars() {
            if let '1'..='8' = letter {
                // Two digits in a row are another spelling of one; only one spelling is FEN.
                if after_digit {
                    return Err(FenError::Board);
                }
                file += letter as u8 - b'0';
                after_digit = true;
            } else {
                let piece = Piece::from_fen_letter(letter).ok_or(FenError::Board)?;
                let square = Square::new(file, rank).ok_or(FenError::Board)?;
                board[usize::from(square.index())] = Some(piece);
                file += 1;
                after_digit = false;
            }
            if file > 8 {
                return Err(FenError::Board);
            }
        }
        if file != 8 {
            return Err(FenError::Board);
        }
    }
    if ranks.next().is_some() {
        return Err(FenError::Board);
    }
    Ok(board)
}

fn parse_counter(text: &str, min: u16, max: u16) -> Result<u16, FenError> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    match text.parse::<u16>() {
        Ok(number) if plain && (min..=max).contains(&number) => Ok(number),
        _ => Err(FenError::Counter),
    }
}
