//! The queue between logs and the archive: what its entries are, where they stand, and how far they are archived.
//!
//! Each append puts its events into the queue of its room's partition, in the same atomic step. An archiver takes entries,
//! commits them to its database, and acknowledges them; only then are they trimmed. Everything here is delivered at least
//! once, so an archive is idempotent on (room, epoch, seq).

use crate::{Log, Millis, Room};
use bytes::Bytes;
use std::{fmt, time::Duration};

/// Where an entry stands in the queue. Positions of one partition and one life are ordered: whatever was appended later stands
/// higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct QueuePosition {
    /// Which partition's queue.
    pub partition: u16,
    /// Name of the queue's life: another one after its data were lost, when positions of before say nothing any more.
    pub life: u64,
    /// Place in it.
    pub place: Place,
}

/// Place in one queue: on Redis the id of a stream's entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct Place {
    /// The higher half; on Redis, milliseconds of its clock.
    pub major: u64,
    /// The lower half.
    pub minor: u64,
}

impl Place {
    /// The lowest place above this one.
    pub fn next(self) -> Place {
        match self.minor.checked_add(1) {
            Some(minor) => Place { minor, ..self },
            None => Place {
                major: self.major.saturating_add(1),
                minor: 0,
            },
        }
    }

    /// Reads what [`Place`] shows itself as, `<major>-<minor>`.
    pub fn parse(text: &str) -> Option<Place> {
        let (major, minor) = text.split_once('-')?;
        Some(Place {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
        })
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.major, self.minor)
    }
}

/// How far a partition's queue is archived: every entry below `below` is committed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Watermark {
    /// Which partition's queue.
    pub partition: u16,
    /// Which life of it.
    pub life: u64,
    /// The lowest place that may not be committed.
    pub below: Place,
}

impl Watermark {
    /// Whether it says that this entry is committed.
    pub fn covers(&self, position: &QueuePosition) -> bool {
        (self.partition, self.life) == (position.partition, position.life)
            && position.place < self.below
    }
}

/// What [`crate::Backplane::take`] is asked for.
#[derive(Debug, Clone)]
pub struct Take {
    /// About how many entries at most.
    pub limit: usize,
    /// How long a partition that this consumer reads is left to it alone, if it does not read again.
    pub lease: Duration,
    /// Only these partitions, and whoever holds their leases: for a consumer who knows that something is there. `None` for all
    /// whose lease it holds or can get.
    pub only: Option<Vec<u16>>,
}

/// An entry of the queue, taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// What to acknowledge it by. Where appends were merged into one entry, the last one's.
    pub position: QueuePosition,
    /// What it holds.
    pub content: Content,
}

/// What an entry holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Events of a room, as they stood in its log. One entry may hold those of several appends.
    Events {
        /// Which room.
        room: Room,
        /// The events.
        log: Log,
    },
    /// Something that no version of this program put there, or that broke. It is for the consumer to keep aside: to
    /// acknowledge nothing else behind it would stop the archive for ever.
    Unreadable(Bytes),
}

/// How much waits for the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Backlog {
    /// Entries not yet trimmed; some of them may be committed already.
    pub entries: u64,
    /// When the oldest of them was put there, on the backplane's clock.
    pub oldest: Option<Millis>,
}

impl Backlog {
    /// How old the oldest of them is at this moment of the backplane's clock, in milliseconds; 0 if none waits.
    pub fn age_ms(&self, now: Millis) -> Millis {
        self.oldest
            .map_or(0, |oldest| now.saturating_sub(oldest).max(0))
    }
}

/// The room by which archivers and those who wait for them hear of each other: topics [`QUEUED`] and [`ARCHIVED`].
pub fn queue_room() -> Room {
    Room::parse("archive_queue").expect("a harmless name")
}

/// Published by whoever wants his append archived at once; the body is the partition's number.
pub const QUEUED: &str = "queued";

/// Published by [`crate::Backplane::acknowledge`]; the body is read by [`decode_watermarks`].
pub const ARCHIVED: &str = "archived";

/// Watermarks as they travel: one a line.
pub fn encode_watermarks(watermarks: &[Watermark]) -> Bytes {
    let lines: Vec<String> = watermarks
        .iter()
        .map(|mark| format!("{} {} {}", mark.partition, mark.life, mark.below))
        .collect();
    Bytes::from(lines.join("\n"))
}

/// Reads what [`encode_watermarks`] made, as far as it can be read.
pub fn decode_watermarks(body: &[u8]) -> Vec<Watermark> {
    let text = std::str::from_utf8(body).unwrap_or_default();
    let read = |line: &str| {
        let mut words = line.split(' ');
        Some(Watermark {
            partition: words.next()?.parse().ok()?,
            life: words.next()?.parse().ok()?,
            below: Place::parse(words.next()?)?,
        })
    };
    text.lines().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn places_are_ordered_and_come_back() {
        let place = |major, minor| Place { major, minor };
        assert!(place(1, 9) < place(2, 0));
        assert!(place(2, 9) < place(2, 10));
        assert_eq!(place(2, u64::MAX).next(), place(3, 0));
        assert_eq!(Place::parse("1700000000000-12").unwrap().minor, 12);
        for nonsense in ["", "1", "1-", "-1", "a-1", "1-1-1"] {
            assert_eq!(Place::parse(nonsense), None, "{nonsense:?}");
        }
    }

    #[test]
    fn a_watermark_speaks_for_its_own_partition_and_life() {
        let mark = Watermark {
            partition: 7,
            life: u64::MAX,
            below: Place { major: 5, minor: 0 },
        };
        let position = |partition, life, major, minor| QueuePosition {
            partition,
            life,
            place: Place { major, minor },
        };
        assert!(mark.covers(&position(7, u64::MAX, 4, 99)));
        assert!(!mark.covers(&position(7, u64::MAX, 5, 0)));
        assert!(!mark.covers(&position(8, u64::MAX, 4, 0)));
        assert!(!mark.covers(&position(7, 1, 4, 0)));
        assert_eq!(
            decode_watermarks(&encode_watermarks(&[mark, mark])),
            [mark, mark]
        );
        assert_eq!(decode_watermarks(b"7 x 5-0\n\xff"), []);
    }
}
