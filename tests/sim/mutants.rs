//! Promises broken on purpose: a checker that lets one of these pass checks nothing.

use pubsub::{Append, Appended};
use rand::{RngExt, rngs::StdRng};

/// What is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Some appends are answered and never done: the node acknowledges before its event is in the log.
    AnswersInsteadOfAppending,
    /// Some events come to a client twice.
    RepeatsEvents,
    /// Some events do not come to a client.
    LosesEvents,
    /// Some acknowledgements name another event than the request's effect.
    MisnumbersAcks,
}

/// One append in so many is lied about.
const LIE_EVERY: u64 = 10;

impl Mutant {
    /// A lie in the place of an append.
    pub fn instead_of(self, count: u64, append: &Append) -> Option<Appended> {
        let epoch = append.epoch.clone()?;
        let lies = self == Mutant::AnswersInsteadOfAppending && count % LIE_EVERY == LIE_EVERY - 1;
        lies.then_some(Appended::Appended {
            epoch,
            queued: None,
        })
    }

    /// A frame on its way to a client.
    pub fn on_the_way(self, rng: &mut StdRng, text: String) -> Vec<String> {
        let is_event = text.starts_with("{\"seq\":");
        let is_ack = text.starts_with("{\"type\":\"ack\"") && text.contains("\"ply\":");
        match self {
            Mutant::RepeatsEvents if is_event && rng.random_bool(0.05) => vec![text.clone(), text],
            Mutant::LosesEvents if is_event && rng.random_bool(0.05) => Vec::new(),
            Mutant::MisnumbersAcks if is_ack => vec![text.replace("\"seq\":", "\"seq\":1")],
            _ => vec![text],
        }
    }
}
