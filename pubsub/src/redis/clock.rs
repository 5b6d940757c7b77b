//! The clock of a Redis server as seen from here: local time plus an offset learnt from timed answers.

use crate::Millis;
use std::{
    collections::VecDeque,
    sync::LazyLock,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

/// Timed answers kept. The one with the shortest round trip counts: its error is at most half of that trip. At one a second
/// the clocks drift apart less than a millisecond meanwhile.
const SAMPLES: usize = 16;

/// What two samples may differ by beyond their round trips before the server's clock must have been set, in microseconds.
const DRIFT_MAX_US: i64 = 5_000;

/// Microseconds since the Unix epoch on a clock that nobody sets: the wall clock at start plus the time since.
pub(super) fn local_us() -> i64 {
    static START: LazyLock<(Instant, i64)> = LazyLock::new(|| {
        let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
        let us = since_epoch.map_or(0, |duration| duration.as_micros());
        (Instant::now(), i64::try_from(us).unwrap_or(i64::MAX / 2))
    });
    let (start, us) = &*START;
    us.saturating_add(i64::try_from(start.elapsed().as_micros()).unwrap_or(i64::MAX / 2))
}

/// Local time and an offset, as milliseconds.
pub(super) fn at_offset(offset_us: i64) -> Millis {
    local_us().saturating_add(offset_us).div_euclid(1000)
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    offset_us: i64,
    round_trip_us: i64,
}

/// Estimate of one server's clock.
#[derive(Debug, Default)]
pub(super) struct Clock {
    samples: VecDeque<Sample>,
}

impl Clock {
    /// A server said `server_us` in an answer asked at `sent_us` and received at `received_us`, both by [`local_us`].
    pub fn learn(&mut self, server_us: i64, sent_us: i64, received_us: i64) {
        let round_trip_us = received_us.saturating_sub(sent_us).max(0);
        let midpoint_us = sent_us.saturating_add(round_trip_us / 2);
        let sample = Sample {
            offset_us: server_us.saturating_sub(midpoint_us),
            round_trip_us,
        };
        if self.best().is_some_and(|best| contradict(best, sample)) {
            self.samples.clear();
        }
        self.samples.push_back(sample);
        if self.samples.len() > SAMPLES {
            self.samples.pop_front();
        }
    }

    /// Forgets all, because the server disagrees.
    pub fn reset(&mut self) {
        self.samples.clear();
    }

    /// The server's clock minus the local one, in microseconds.
    pub fn offset_us(&self) -> Option<i64> {
        self.best().map(|sample| sample.offset_us)
    }

    fn best(&self) -> Option<Sample> {
        self.samples
            .iter()
            .copied()
            .min_by_key(|sample| sample.round_trip_us)
    }
}

fn contradict(one: Sample, other: Sample) -> bool {
    let doubt = (one.round_trip_us + other.round_trip_us) / 2 + DRIFT_MAX_US;
    (one.offset_us - other.offset_us).abs() > doubt
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shortest_round_trip_counts() {
        let mut clock = Clock::default();
        clock.learn(1_050_000, 0, 100_000); // offset 1 s, seen slowly
        assert_eq!(clock.offset_us(), Some(1_000_000));
        clock.learn(1_200_400, 200_000, 200_600); // offset 1.0001 s, seen fast
        assert_eq!(clock.offset_us(), Some(1_000_100));
        clock.learn(1_340_000, 300_000, 400_000); // slow again
        assert_eq!(clock.offset_us(), Some(1_000_100));
    }

    #[test]
    fn a_clock_that_was_set_is_believed_at_once() {
        let mut clock = Clock::default();
        clock.learn(1_000_100, 0, 200);
        clock.learn(5_000_000 - 60_000, 0, 4_000); // a slower answer, but a minute cannot be explained by it
        assert_eq!(clock.offset_us(), Some(4_938_000));
    }

    #[test]
    fn old_samples_go() {
        let mut clock = Clock::default();
        clock.learn(100, 0, 0);
        for _ in 0..SAMPLES {
            clock.learn(1_000 + 50, 0, 100);
        }
        assert_eq!(clock.offset_us(), Some(1_000));
    }
}
