//! The laws of chess: the only door to the `chess` crate, with our own types in front of it.
//!
//! Knows boards, legal moves and material; leaves clocks, claims and offers to `game` and text to `notation`.

mod color;

pub use color::Color;
