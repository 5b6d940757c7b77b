//! Counts what comes to sockets, and how late.

use crate::{
    meter,
    orders::{Seen, Tally, Window},
};
use hdrhistogram::Histogram;
use std::{
    collections::{HashMap, HashSet},
    fs::File,
    os::unix::fs::FileExt,
    path::Path,
};

/// Longest delay told apart, in microseconds: ten minutes.
const DELAY_MAX_US: u64 = 600_000_000;

/// Significant digits of delays.
const DIGITS: u8 = 3;

/// An empty histogram of delays in microseconds.
pub fn delays() -> Histogram<u64> {
    Histogram::new_with_bounds(1, DELAY_MAX_US, DIGITS).expect("bounds that are in order")
}

/// Its values and counts.
pub fn pairs(histogram: &Histogram<u64>) -> Vec<(u64, u64)> {
    histogram
        .iter_recorded()
        .map(|value| (value.value_iterated_to(), value.count_at_value()))
        .collect()
}

/// When each event was sent: a file that publishers write and all workers read, so that the publisher's own clock can be
/// compared with the receivers' (the machine's monotonic clock is one for all processes).
#[derive(Debug)]
pub struct Stamps {
    file: File,
    per_room: u32,
}

impl Stamps {
    pub fn open(path: &Path, per_room: u32) -> std::io::Result<Stamps> {
        let file = File::options().read(true).write(true).open(path)?;
        Ok(Stamps { file, per_room })
    }

    fn place(&self, room: u32, seq: u32) -> u64 {
        16 * (u64::from(room) * u64::from(self.per_room) + u64::from(seq % self.per_room))
    }

    /// Notes that this event is sent now. Written before the event is, so whoever receives it finds it.
    pub fn write(&self, room: u32, seq: u32, at: u64) -> std::io::Result<()> {
        let mut bytes = [0; 16];
        bytes[..8].copy_from_slice(&u64::from(seq).to_ne_bytes());
        bytes[8..].copy_from_slice(&at.to_ne_bytes());
        self.file.write_all_at(&bytes, self.place(room, seq))
    }

    /// When this event was sent; `None` for one that no publisher of ours sent.
    pub fn read(&self, room: u32, seq: u32) -> Option<u64> {
        let mut bytes = [0; 16];
        self.file
            .read_exact_at(&mut bytes, self.place(room, seq))
            .ok()?;
        let (stored, at) = bytes.split_at(8);
        let at = u64::from_ne_bytes(at.try_into().ok()?);
        (stored == u64::from(seq).to_ne_bytes() && at > 0).then_some(at)
    }
}

/// What this worker counts.
pub struct Counts {
    pub tally: Tally,
    stamps: Stamps,
    window: Window,
    events: HashMap<(u32, u32), Event>,
    /// Holes of sockets, to tell a late event from a repeated one.
    holes: HashSet<(u32, u32)>,
    spectators: Histogram<u64>,
    players: Histogram<u64>,
    pub chat: Histogram<u64>,
    pub returns: Histogram<u64>,
    troubles: HashMap<String, u64>,
    cpu_before: f64,
}

#[derive(Debug, Clone, Copy)]
struct Event {
    sent: Option<u64>,
    last: u64,
    count: u32,
}

impl Counts {
    pub fn new(stamps: Stamps) -> Counts {
        Counts {
            tally: Tally::default(),
            stamps,
            window: Window::default(),
            events: HashMap::new(),
            holes: HashSet::new(),
            spectators: delays(),
            players: delays(),
            chat: delays(),
            returns: delays(),
            troubles: HashMap::new(),
            cpu_before: 0.0,
        }
    }

    pub fn stamps(&self) -> &Stamps {
        &self.stamps
    }

    /// Begins anew.
    pub fn measure(&mut self, window: Window) {
        self.tally = Tally::default();
        self.window = window;
        self.events.clear();
        for histogram in [
            &mut self.spectators,
            &mut self.players,
            &mut self.chat,
            &mut self.returns,
        ] {
            histogram.reset();
        }
        self.troubles.clear();
        self.cpu_before = own_cpu();
    }

    /// An event came to a socket that awaited the one with the number `next`; answers which it awaits now. A socket that
    /// awaits any (`None`) takes this one as its first.
    pub fn event(
        &mut self,
        (socket, is_player): (u32, bool),
        room: u32,
        seq: u32,
        next: Option<u32>,
        len: usize,
    ) -> u32 {
        let at = meter::now();
        self.tally.delivered += 1;
        self.tally.bytes += len as u64;
        let next = next.unwrap_or(seq);
        if seq < next {
            if self.holes.remove(&(socket, seq)) {
                self.tally.lost -= 1;
                self.tally.reordered += 1;
            } else {
                self.tally.repeated += 1;
            }
            return next;
        }
        for hole in next..seq {
            self.tally.lost += 1;
            self.holes.insert((socket, hole));
        }
        let stamps = &self.stamps;
        let event = self.events.entry((room, seq)).or_insert_with(|| Event {
            sent: stamps.read(room, seq),
            last: at,
            count: 0,
        });
        event.last = at;
        event.count += 1;
        if let Some(sent) = event.sent
            && self.window.contains(sent)
        {
            let histogram = if is_player {
                &mut self.players
            } else {
                &mut self.spectators
            };
            histogram.saturating_record(micros(at, sent));
        }
        seq + 1
    }

    /// A snapshot that holds all up to `seq` came to such a socket; it replaces what was to come.
    pub fn snapshot(&mut self, seq: u32, next: Option<u32>) -> u32 {
        if let Some(next) = next {
            self.tally.snapshots += 1;
            if seq + 1 < next {
                // The epoch of a load's rooms does not change, so this goes back.
                self.trouble("snapshot older than what was shown before");
                self.tally.reordered += 1;
            }
            self.tally.skipped += u64::from((seq + 1).saturating_sub(next));
        }
        seq + 1
    }

    pub fn trouble(&mut self, what: &str) {
        match self.troubles.get_mut(what) {
            Some(count) => *count += 1,
            None => drop(self.troubles.insert(what.to_owned(), 1)),
        }
    }

    /// All of it, to be told; events only if they were sent from that moment on.
    pub fn report(&mut self, from: u64) -> Tally {
        let mut tally = std::mem::take(&mut self.tally);
        tally.spectators = pairs(&self.spectators);
        tally.players = pairs(&self.players);
        tally.chat = pairs(&self.chat);
        tally.returns = pairs(&self.returns);
        tally.troubles = self.troubles.drain().collect();
        tally.cpu = own_cpu() - self.cpu_before;
        let window = self.window;
        tally.events = self
            .events
            .iter()
            .filter_map(|(&(room, seq), event)| {
                let sent = event
                    .sent
                    .filter(|sent| from <= *sent && window.contains(*sent))?;
                Some(Seen {
                    room,
                    seq,
                    sent,
                    last: event.last,
                    count: event.count,
                })
            })
            .collect();
        tally
    }
}

/// Microseconds between two moments.
pub fn micros(at: u64, since: u64) -> u64 {
    at.saturating_sub(since) / 1_000
}

fn own_cpu() -> f64 {
    meter::cpu(std::process::id()).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts() -> Counts {
        let file = tempfile::NamedTempFile::new().expect("a file");
        Counts::new(Stamps::open(file.path(), 16).expect("it opens"))
    }

    #[test]
    fn every_kind_of_disorder_is_counted() {
        // What a socket hears, and what of it is lost, repeated, reordered.
        let cases: [(&[u32], [u64; 3]); 5] = [
            (&[4, 5, 6], [0, 0, 0]),
            (&[4, 6], [1, 0, 0]),
            (&[4, 5, 5], [0, 1, 0]),
            (&[4, 6, 5], [0, 0, 1]),
            (&[4, 7, 5, 5], [1, 1, 1]),
        ];
        for (heard, expected) in cases {
            let mut counts = counts();
            let mut next = None;
            for seq in heard {
                next = Some(counts.event((0, false), 0, *seq, next, 10));
            }
            let Tally {
                lost,
                repeated,
                reordered,
                ..
            } = counts.tally;
            assert_eq!([lost, repeated, reordered], expected, "{heard:?}");
        }
    }

    #[test]
    fn a_snapshot_replaces_what_was_to_come() {
        let mut counts = counts();
        assert_eq!(
            counts.snapshot(3, None),
            4,
            "the first one replaces nothing"
        );
        assert_eq!(counts.tally.snapshots, 0);
        assert_eq!(counts.snapshot(9, Some(4)), 10);
        assert_eq!((counts.tally.snapshots, counts.tally.skipped), (1, 6));
        assert_eq!(counts.tally.lost, 0);
        counts.snapshot(5, Some(10));
        assert_eq!(counts.tally.reordered, 1, "it went back");
    }

    #[test]
    fn delays_are_taken_from_what_the_publisher_noted() {
        let mut counts = counts();
        let now = meter::now();
        counts.measure(Window {
            from: now - 1_000,
            to: now + 1_000_000,
        });
        counts.stamps().write(2, 7, now).expect("a place");
        // The same place of the ring, another number.
        counts.event((0, false), 2, 7 + 16, None, 10);
        counts.event((0, true), 2, 7, None, 10);
        counts.event((1, false), 2, 7, None, 10);
        let tally = counts.report(now);
        assert_eq!(counts.report(now + 1).events.len(), 0, "sent before");
        assert_eq!(tally.delivered, 3);
        assert_eq!(tally.players.iter().map(|(_, n)| n).sum::<u64>(), 1);
        assert_eq!(tally.spectators.iter().map(|(_, n)| n).sum::<u64>(), 1);
        assert_eq!(tally.events.len(), 1);
        assert_eq!((tally.events[0].sent, tally.events[0].count), (now, 2));
    }
}
