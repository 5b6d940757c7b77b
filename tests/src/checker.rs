//! Whether a cluster kept its promises, judged from outside: from the logs as they stand at the end, from every client's
//! frames, and from what was asked and how it was answered. Nothing here shares code with what it judges: logs and frames
//! are read as JSON, and the clocks and ends of games are worked out anew.
//!
//! - [`Record`] reads one log and objects to whatever a log must not hold.
//! - [`Witness`] follows one client's frames and objects to gaps, repeats and forks.
//! - [`Ledger`] keeps what was asked and answered.
//! - [`verdict`] compares the three.

mod ledger;
mod record;
mod verdict;
mod witness;

pub use ledger::{Ledger, Request};
pub use record::Record;
pub use verdict::{Evidence, verdict};
pub use witness::{Seen, Witness};

/// What is wrong, in words.
pub type Objection = String;
