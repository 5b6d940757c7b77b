//! How much of what goes wrong.

use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::time::Duration;

/// From 0 for never to 1 for always.
pub type Share = f64;

/// What a network does to a node; all of it drawn from `seed`, node by node.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Of all chances.
    pub seed: u64,
    /// Signals that never come.
    pub lost_signals: Share,
    /// Signals that come again later.
    pub repeated_signals: Share,
    /// How late a signal comes at most. Each is late for itself, so that they overtake each other.
    pub signal_delay: Duration,
    /// Signals before which the node is told to resynchronise, for no reason.
    pub stray_resyncs: Share,
    /// How long a call, and its answer, takes at most.
    pub call_delay: Duration,
    /// Calls that never arrive: `Unavailable`, without effect.
    pub lost_calls: Share,
    /// Calls whose answer never arrives: `Unavailable`, with their effect.
    pub lost_answers: Share,
    /// Calls that arrive twice; the second answer is the one that counts, as when the first was lost and the link tried again.
    pub sent_twice: Share,
    /// Calls that take effect only after they were given up as `Unavailable`.
    pub late_calls: Share,
    /// How wrong the node's clock is at most until it is told, in milliseconds.
    pub clock_error_ms: i64,
    /// How long it is calm between storms and how long a storm lasts, at most. In a storm the node is deaf or cut off.
    pub storms: Option<(Duration, Duration)>,
}

impl Plan {
    /// Nothing goes wrong.
    pub fn calm(seed: u64) -> Plan {
        Plan {
            seed,
            lost_signals: 0.0,
            repeated_signals: 0.0,
            signal_delay: Duration::ZERO,
            stray_resyncs: 0.0,
            call_delay: Duration::ZERO,
            lost_calls: 0.0,
            lost_answers: 0.0,
            sent_twice: 0.0,
            late_calls: 0.0,
            clock_error_ms: 0,
            storms: None,
        }
    }

    /// Everything goes wrong, far more often than anywhere outside.
    pub fn rough(seed: u64) -> Plan {
        Plan {
            seed,
            lost_signals: 0.1,
            repeated_signals: 0.1,
            signal_delay: Duration::from_millis(300),
            stray_resyncs: 0.02,
            call_delay: Duration::from_millis(200),
            lost_calls: 0.02,
            lost_answers: 0.02,
            sent_twice: 0.05,
            late_calls: 0.01,
            clock_error_ms: 300,
            storms: Some((Duration::from_secs(40), Duration::from_secs(10))),
        }
    }

    /// Some of it goes wrong, each seed in its own way: some kinds not at all, some worse than [`Plan::rough`].
    pub fn any(seed: u64) -> Plan {
        let mut random = StdRng::seed_from_u64(seed);
        let rough = Plan::rough(seed);
        let mut factor = || {
            if random.random_bool(0.4) {
                0.0
            } else {
                random.random_range(0.0..2.0)
            }
        };
        Plan {
            seed,
            lost_signals: rough.lost_signals * factor(),
            repeated_signals: rough.repeated_signals * factor(),
            signal_delay: rough.signal_delay.mul_f64(factor()),
            stray_resyncs: rough.stray_resyncs * factor(),
            call_delay: rough.call_delay.mul_f64(factor()),
            lost_calls: rough.lost_calls * factor(),
            lost_answers: rough.lost_answers * factor(),
            sent_twice: rough.sent_twice * factor(),
            late_calls: rough.late_calls * factor(),
            clock_error_ms: (rough.clock_error_ms as f64 * factor()) as i64,
            storms: rough.storms.filter(|_| factor() > 0.0),
        }
    }

    /// Ends all faults to come.
    pub(super) fn make_peace(&mut self) {
        *self = Plan::calm(self.seed);
    }
}

/// What went wrong so far: how often.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[allow(missing_docs, reason = "named as in the plan")]
pub struct Faults {
    /// All calls, whatever became of them.
    pub calls: u64,
    pub lost_signals: u64,
    pub repeated_signals: u64,
    pub stray_resyncs: u64,
    pub lost_calls: u64,
    pub lost_answers: u64,
    pub sent_twice: u64,
    pub late_calls: u64,
    pub timed_out: u64,
    pub deafened: u64,
    pub cut: u64,
}
