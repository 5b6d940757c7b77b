//! What a game of chess is: rules, clocks, events, notation, and the words browsers and gateways say to each other.
//!
//! Nothing here does IO, asks a clock or draws a random number: time, ids and random colours are arguments.
//! `clippy.toml` beside this crate enforces it.

pub mod game;
pub mod id;
pub mod notation;
pub mod protocol;
pub mod rules;
pub mod time;

pub use id::{GameId, Ply, Seq, UserId};
pub use rules::Color;
pub use time::Timestamp;
