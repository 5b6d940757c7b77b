//! The laws of chess: the only door to the `chess` crate, with our own types in front of it.
//!
//! Knows boards, legal moves, material and what makes two positions the same; leaves clocks, claims and offers to
//! `game` and text to `notation`. The crate is trusted for move generation, which is exact, and for nothing else: it
//! is unsound on boards that cannot arise, so every board is checked here first ([`Setup`]), and its hash, draw logic
//! and notation are not used at all.

mod castling;
mod color;
mod key;
mod material;
mod mv;
mod position;
mod role;
mod setup;
mod square;

pub use castling::Castling;
pub use color::Color;
pub use key::PositionKey;
pub use mv::Move;
pub use position::{FULLMOVES_MAX, HALFMOVES_MAX, IllegalMove, LegalMoves, Position, Status};
pub use role::{Piece, Role};
pub use setup::{InvalidPosition, Setup};
pub use square::Square;
