//! When to look at which socket again: a coarse list of buckets for all sockets of a shard. Deadlines mostly move away, so
//! an entry is only a reminder to look; nothing is done when something was read or written.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// Width of a bucket. Deadlines are 2 to 30 seconds away; nobody misses 50 ms.
const TICK: Duration = Duration::from_millis(50);

/// Number of a bucket; 0 is none.
pub type Tick = u64;

#[derive(Debug)]
pub struct Timers {
    begin: Instant,
    buckets: BTreeMap<Tick, Vec<u32>>,
}

impl Timers {
    pub fn new(now: Instant) -> Timers {
        Timers {
            begin: now,
            buckets: BTreeMap::new(),
        }
    }

    /// The bucket that is due at that time, or up to a [`TICK`] later.
    pub fn tick_of(&self, at: Instant) -> Tick {
        let since = at.saturating_duration_since(self.begin).as_nanos();
        let tick = since.div_ceil(TICK.as_nanos());
        Tick::try_from(tick).unwrap_or(Tick::MAX).max(1)
    }

    /// Reminds of that slot when the bucket is due.
    pub fn add(&mut self, tick: Tick, slot: u32) {
        self.buckets.entry(tick).or_default().push(slot);
    }

    /// When the next bucket is due.
    pub fn next_at(&self) -> Option<Instant> {
        let (tick, _) = self.buckets.first_key_value()?;
        Some(self.at(*tick))
    }

    /// Takes the next bucket, if it is due.
    pub fn take_due(&mut self, now: Instant) -> Option<(Tick, Vec<u32>)> {
        let first = self.buckets.first_entry()?;
        let tick = *first.key();
        let at = self.begin + TICK * u32::try_from(tick).unwrap_or(u32::MAX);
        (at <= now).then(|| (tick, first.remove()))
    }

    fn at(&self, tick: Tick) -> Instant {
        self.begin + TICK * u32::try_from(tick).unwrap_or(u32::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buckets_come_due_in_order_and_never_early() {
        let begin = Instant::now();
        let ms = |ms| begin + Duration::from_millis(ms);
        let mut timers = Timers::new(begin);
        for (slot, at) in [(1, 120), (2, 20), (3, 150), (4, 101), (5, 0)] {
            let tick = timers.tick_of(ms(at));
            timers.add(tick, slot);
        }
        assert_eq!(timers.next_at(), Some(ms(50)));
        assert_eq!(timers.take_due(ms(49)), None);
        assert_eq!(timers.take_due(ms(50)), Some((1, vec![2, 5])));
        assert_eq!(timers.take_due(ms(149)), None);
        assert_eq!(timers.take_due(ms(400)), Some((3, vec![1, 3, 4])));
        assert_eq!((timers.take_due(ms(400)), timers.next_at()), (None, None));
    }
}
