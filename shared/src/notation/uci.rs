//! UCI: a move by its squares, `e2e4`, `e7e8q`; castling is the king's move, `e1g1`.

use crate::rules::{Move, Role, Square};
use std::str::FromStr;

/// The text is not a move in UCI.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a move in UCI, such as e2e4 or e7e8q")]
pub struct NotUci;

/// Reads exactly four or five characters. A null move (`0000`) is no move of a game.
///
/// # Errors
/// [`NotUci`] for anything else, also for a move that stays on its square or a promotion to a pawn or king.
pub fn parse(text: &str) -> Result<Move, NotUci> {
    // Whether all is ASCII must be known before the text is cut.
    if !matches!(text.len(), 4 | 5) || !text.is_ascii() {
        return Err(NotUci);
    }
    let square = |part: &str| part.parse::<Square>().map_err(|_| NotUci);
    let mv = Move::new(square(&text[..2])?, square(&text[2..4])?);
    if mv.from == mv.to {
        return Err(NotUci);
    }
    match text[4..].chars().next() {
        None => Ok(mv),
        Some(letter) => match Role::from_letter(letter) {
            Some(role) if Role::PROMOTIONS.contains(&role) => Ok(mv.promoting(role)),
            _ => Err(NotUci),
        },
    }
}

impl FromStr for Move {
    type Err = NotUci;

    fn from_str(text: &str) -> Result<Self, NotUci> {
        parse(text)
    }
}
