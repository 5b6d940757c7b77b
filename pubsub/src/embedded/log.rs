//! One room's log in memory, packed: one buffer and four bytes an event, so that an idle game costs little more than
//! its text. A `Vec<Bytes>` would cost 32 bytes and an allocation for each event.

use crate::{Epoch, Seq};
use bytes::Bytes;

/// Bytes a log may hold, because offsets have 32 bits. A room of 10,000 events of 64 KiB stays far below.
const LOG_BYTES_MAX: usize = u32::MAX as usize;

/// A log and its deadline.
#[derive(Debug, Clone)]
pub struct PackedLog {
    pub epoch: Epoch,
    pub deadline: Option<i64>,
    text: Vec<u8>,
    // Where each event ends in `text`.
    ends: Vec<u32>,
}

impl PackedLog {
    pub fn new(epoch: Epoch) -> PackedLog {
        PackedLog {
            epoch,
            deadline: None,
            text: Vec::new(),
            ends: Vec::new(),
        }
    }

    /// Number of the next event.
    pub fn end(&self) -> Seq {
        self.ends.len() as Seq
    }

    /// Bytes of its events.
    pub fn len(&self) -> usize {
        self.text.len()
    }

    /// Whether these events still fit.
    pub fn fits(&self, events: &[Bytes]) -> bool {
        let more: usize = events.iter().map(Bytes::len).sum();
        more <= LOG_BYTES_MAX - self.text.len()
    }

    /// Adds events at the end; the caller asked [`PackedLog::fits`].
    pub fn extend(&mut self, events: &[Bytes]) {
        let more: usize = events.iter().map(Bytes::len).sum();
        // A quarter more than needed, not twice as much: most logs end soon after they were last touched.
        if self.text.capacity() - self.text.len() < more {
            self.text.reserve_exact(more + self.text.len() / 4);
        }
        for event in events {
            self.text.extend_from_slice(event);
            let end = u32::try_from(self.text.len()).expect("the caller asked whether it fits");
            self.ends.push(end);
        }
    }

    /// The events from `from` to the end, sharing one copy of the text.
    pub fn events(&self, from: Seq) -> Vec<Bytes> {
        let from = usize::try_from(from)
            .unwrap_or(usize::MAX)
            .min(self.ends.len());
        let start = self.start(from);
        let text = Bytes::copy_from_slice(&self.text[start..]);
        (from..self.ends.len())
            .map(|index| text.slice(self.start(index) - start..self.ends[index] as usize - start))
            .collect()
    }

    /// Whether exactly these bytes stand from `from` on.
    pub fn holds(&self, from: Seq, events: &[Bytes]) -> bool {
        let Ok(from) = usize::try_from(from) else {
            return false;
        };
        let Some(to) = from
            .checked_add(events.len())
            .filter(|to| *to <= self.ends.len())
        else {
            return false;
        };
        (from..to).zip(events).all(|(index, event)| {
            self.text[self.start(index)..self.ends[index] as usize] == event[..]
        })
    }

    fn start(&self, index: usize) -> usize {
        index
            .checked_sub(1)
            .map_or(0, |before| self.ends[before] as usize)
    }
}
