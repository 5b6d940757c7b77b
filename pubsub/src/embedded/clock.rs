//! The embedded backplane's clock: the wall's time at the start, and monotonic time since.

use crate::Millis;
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// Never jumps and never runs backwards, whatever becomes of the wall clock; stands still and leaps with a paused tokio clock.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    start: Millis,
    started: Instant,
}

impl Clock {
    /// A clock that shows `start` now.
    pub fn starting_at(start: Millis) -> Clock {
        Clock {
            start,
            started: Instant::now(),
        }
    }

    /// What it shows.
    pub fn now(&self) -> Millis {
        let elapsed = self.started.elapsed().as_millis();
        self.start
            .saturating_add(Millis::try_from(elapsed).unwrap_or(Millis::MAX))
    }
}

/// The wall's time; 0 if it stands before 1970.
pub fn wall() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        Millis::try_from(since.as_millis()).unwrap_or(Millis::MAX)
    })
}
