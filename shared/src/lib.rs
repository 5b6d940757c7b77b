//! What a game of chess is: rules, clocks, events, notation and the words on the wire. No IO, no clock, no randomness.

pub mod notation;
pub mod protocol;
pub mod rules;

pub use rules::Color;
