//! Time in which nobody could write: every node says each second that it is there, on the backplane's clock; where nobody did
//! for long, nobody could. Whoever measures people's time can give them back what they lost.

use crate::Millis;
use std::time::Duration;

/// How often each node says that it is there.
pub const BEAT_EVERY: Duration = Duration::from_secs(1);

/// Silence that counts as an outage, in milliseconds. A node under load may be late by a second or two; it is for the last
/// moments of a game that this is short.
pub const OUTAGE_MIN_MS: Millis = 3_000;

/// Outages remembered of each part of the backplane. More within [`OUTAGES_FOR`] is a state, not an outage.
pub const OUTAGES_LEN: usize = 32;

/// How long an outage is remembered: longer than any turn with a running clock.
pub const OUTAGES_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// A stretch of time in which nobody could write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outage {
    /// When somebody was last there.
    pub from: Millis,
    /// When somebody was there again.
    pub to: Millis,
}

/// What is known of outages in one part of the backplane.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outages {
    /// Each of them, in order, apart from each other.
    pub known: Vec<Outage>,
    /// There was no other until then.
    pub until: Millis,
}

impl Outages {
    /// Whether all outages that ended before this moment are known: none of them is shorter than [`OUTAGE_MIN_MS`].
    pub fn are_known_at(&self, at: Millis) -> bool {
        at.saturating_sub(self.until) < OUTAGE_MIN_MS
    }

    /// How much of the time between two moments was lost, in milliseconds.
    pub fn lost_between(&self, from: Millis, to: Millis) -> Millis {
        let lost = self.known.iter().map(|outage| {
            let (from, to) = (outage.from.max(from), outage.to.min(to));
            to.saturating_sub(from).max(0)
        });
        lost.sum()
    }

    /// Somebody is there now. Answers the outage that this ends.
    pub fn beat(&mut self, now: Millis) -> Option<Outage> {
        let from = std::mem::replace(&mut self.until, now);
        if from == 0 || now.saturating_sub(from) < OUTAGE_MIN_MS {
            return None;
        }
        let outage = Outage { from, to: now };
        self.known.push(outage);
        let more = self.known.len().saturating_sub(OUTAGES_LEN);
        self.known.drain(..more);
        Some(outage)
    }

    /// Takes in what others know, in the place of what is known here of the same time. Answers whether it was new.
    pub fn learn(&mut self, heard: Outages) -> bool {
        let news = heard
            .known
            .iter()
            .any(|outage| !self.known.contains(outage));
        // What is known here and there no longer was lost with the data.
        let first = heard
            .known
            .first()
            .map_or(Millis::MAX, |outage| outage.from);
        self.known.retain(|outage| outage.to <= first);
        self.known.extend(heard.known);
        let more = self.known.len().saturating_sub(OUTAGES_LEN);
        self.known.drain(..more);
        self.until = heard.until;
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outages(known: &[(Millis, Millis)], until: Millis) -> Outages {
        let known = known.iter().map(|(from, to)| Outage {
            from: *from,
            to: *to,
        });
        Outages {
            known: known.collect(),
            until,
        }
    }

    #[test]
    fn a_silence_is_an_outage() {
        let mut known = Outages::default();
        for (now, ended) in [
            (5_000, None),
            (6_000, None),
            (8_999, None),
            (11_999, Some((8_999, 11_999))),
            // The clock was set back.
            (10_000, None),
            (12_000, None),
            (60_000, Some((12_000, 60_000))),
        ] {
            let ended = ended.map(|(from, to)| Outage { from, to });
            assert_eq!(known.beat(now), ended, "{now}");
            assert_eq!(known.until, now);
        }
    }

    #[test]
    fn lost_time_is_what_lies_between() {
        let known = outages(&[(10, 20), (50, 60)], 100);
        for (from, to, lost) in [
            (0, 10, 0),
            (0, 100, 20),
            (12, 15, 3),
            (15, 55, 10),
            (60, 90, 0),
            (70, 5, 0),
        ] {
            assert_eq!(known.lost_between(from, to), lost, "{from} {to}");
        }
        assert!(known.are_known_at(100 + OUTAGE_MIN_MS - 1));
        assert!(!known.are_known_at(100 + OUTAGE_MIN_MS));
    }

    #[test]
    fn what_others_know_is_learnt_once_and_what_was_lost_is_kept() {
        let mut known = outages(&[(10, 20)], 30);
        assert!(known.learn(outages(&[(10, 20), (50, 60)], 70)));
        assert!(!known.learn(outages(&[(10, 20), (50, 60)], 71)));
        assert!(
            known.learn(outages(&[(80, 90)], 95)),
            "all else was lost there"
        );
        assert_eq!(known, outages(&[(10, 20), (50, 60), (80, 90)], 95));
        assert!(!known.learn(outages(&[], 96)));
        assert_eq!(known.known.len(), 3);
    }
}
