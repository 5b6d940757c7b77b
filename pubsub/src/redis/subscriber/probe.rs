//! Whether one subscriber connection hears: numbers published through the primary, on a channel of its own, must come back.

use std::time::Duration;
use tokio::time::Instant;

/// Time between two probes.
pub(super) const PROBE_EVERY: Duration = Duration::from_millis(500);

/// How long a probe that the primary took may stay unheard before the connection counts as deaf. With the time between two
/// probes and a new connection, a deaf node hears again within 5 s.
pub(super) const PATIENCE: Duration = Duration::from_millis(2500);

/// Numbers sent and heard. A number is used again until the primary has answered for it, so that a missing one is a loss.
#[derive(Debug)]
pub(super) struct Probe {
    next: u64,
    heard: Option<u64>,
    /// The oldest number that the primary took and that has not come back, and since when.
    missing: Option<(u64, Instant)>,
}

impl Default for Probe {
    fn default() -> Probe {
        Probe {
            next: 1,
            heard: None,
            missing: None,
        }
    }
}

impl Probe {
    /// What to publish now.
    pub fn number(&self) -> u64 {
        self.next
    }

    /// The primary took this number.
    pub fn published(&mut self, number: u64) {
        if number < self.next {
            return;
        }
        self.next = number + 1;
        if self.heard.is_none_or(|heard| heard < number) {
            self.missing.get_or_insert((number, Instant::now()));
        }
    }

    /// This number came back. True if others were lost before it.
    pub fn heard(&mut self, number: u64) -> bool {
        let lost = self.heard.is_some_and(|heard| number > heard + 1);
        self.heard = Some(self.heard.map_or(number, |heard| heard.max(number)));
        if self.missing.is_some_and(|(missing, _)| missing <= number) {
            self.missing = None;
        }
        lost
    }

    /// Since when something has been missing.
    pub fn missing_since(&self) -> Option<Instant> {
        self.missing.map(|(_, since)| since)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_number_taken_and_not_heard_is_missing() {
        let mut probe = Probe::default();
        assert_eq!(probe.number(), 1);
        probe.published(1);
        assert!(probe.missing_since().is_some());
        assert!(!probe.heard(1));
        assert!(probe.missing_since().is_none());
        // The answer to the publisher may be slower than the message.
        assert!(!probe.heard(2));
        probe.published(2);
        assert!(probe.missing_since().is_none());
        // Not taken: asked again, not missing.
        assert_eq!(probe.number(), 3);
        probe.published(3);
        let since = probe.missing_since();
        tokio::time::advance(PROBE_EVERY).await;
        probe.published(4);
        assert_eq!(probe.missing_since(), since);
        assert!(probe.heard(4), "3 was lost");
        assert!(probe.missing_since().is_none());
    }
}
