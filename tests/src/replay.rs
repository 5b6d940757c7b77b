//! Real games played through real gateways, for the `replay` tool: lean players, figures, and the comparison.

mod figures;
mod game;
mod seat;

pub use figures::{Cpu, Figures, ping, watched_cpu};
pub use game::{Played, Table, play};
