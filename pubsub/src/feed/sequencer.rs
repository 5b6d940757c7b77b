//! Order out of hearsay: signals may be lost, repeated, delayed or late from another life of the log; what comes out is the
//! log. No IO, no clock: [`Sequencer::wants`] says what must be read, [`Sequencer::answer`] takes it.

use super::tail::Tail;
use crate::{Epoch, FeedItem, Log, Seq};
use bytes::Bytes;
use std::collections::{BTreeMap, VecDeque};

/// Events kept that were heard before those in front of them, while these are read. When more come, they are read too.
pub const AHEAD_LEN_MAX: usize = 256;

/// How often in a row the log must be found gone, shorter or in an older life than is known before that is believed. After a
/// failover somebody may still hold what was lost, and restore it; the driver waits [`super::DOUBT_PAUSE`] between looks.
pub const DOUBTS_MAX: u32 = 4;

/// What must be read of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Read {
    /// From where to its end.
    pub from: Seq,
    // Which wishes this fulfils, and what was known when it began.
    wish: u64,
    known: Option<Seq>,
}

/// Puts one room in order.
#[derive(Debug, Default)]
pub struct Sequencer {
    at: Option<At>,
    told_missing: bool,
    items: VecDeque<FeedItem>,
    given: Option<(Epoch, Seq)>,
    ahead: Ahead,
    // Wishes to read the log's end are counted; a reading fulfils those that came before it began.
    wished: u64,
    fulfilled: u64,
    // Something contradicts what is known, so all must be read.
    suspicious: bool,
    doubts: u32,
}

#[derive(Debug)]
struct At {
    epoch: Epoch,
    next: Seq,
    tail: Tail,
}

#[derive(Debug, Default)]
struct Ahead {
    runs: BTreeMap<Seq, Vec<Bytes>>,
    len: usize,
    // Whether any was heard since the last reading began.
    news: bool,
}

impl Sequencer {
    /// The next item in order.
    pub fn pop(&mut self) -> Option<FeedItem> {
        let item = self.items.pop_front()?;
        match &item {
            FeedItem::Reset { epoch, events } => {
                self.given = Some((epoch.clone(), events.len() as Seq));
            }
            FeedItem::Events { first, events } => {
                if let Some((_, next)) = &mut self.given {
                    *next = first + events.len() as Seq;
                }
            }
            FeedItem::Missing => self.given = None,
            FeedItem::Message(_) | FeedItem::Attendance(_) | FeedItem::Short => {}
        }
        Some(item)
    }

    /// The log's life and the number of the event after the last one given by [`Sequencer::pop`].
    pub fn position(&self) -> Option<(Epoch, Seq)> {
        self.given.clone()
    }

    /// Whether the log was last found to hold less than is known. Another look should wait a little.
    pub fn doubts(&self) -> bool {
        self.doubts > 0
    }

    /// Whether events were heard that lie behind a hole.
    pub fn has_gap(&self) -> bool {
        !self.ahead.is_empty()
    }

    /// Signals may have been missed: the end must be read. Answers the number of the wish, for [`Sequencer::has_read`].
    pub fn resync(&mut self) -> u64 {
        self.wished += 1;
        self.wished
    }

    /// Whether a reading that began after that wish has been answered, and led to certainty.
    pub fn has_read(&self, wish: u64) -> bool {
        self.fulfilled >= wish && self.wants().is_none()
    }

    /// What must be read now, if anything.
    pub fn wants(&self) -> Option<Read> {
        if self.fulfilled == self.wished && self.ahead.is_empty() {
            return None;
        }
        let known = self.at.as_ref().map(|at| at.next);
        let certain = known.filter(|_| !self.suspicious && self.doubts == 0);
        Some(Read {
            // One event more than needed: that it is the same one proves that the log goes on where this one stopped.
            from: certain.map_or(0, |next| next.saturating_sub(1)),
            wish: self.wished,
            known,
        })
    }

    /// What [`Sequencer::wants`] begins to be read: whatever is heard from now on may not be in it.
    pub fn begin(&mut self) {
        self.ahead.news = false;
    }

    /// Events heard from the channel: hints, believed only where they continue what is known.
    pub fn heard(&mut self, log: Log) {
        let Some(at) = &self.at else {
            self.wished += 1;
            return;
        };
        if log.epoch.generation() < at.epoch.generation() {
            return;
        }
        if log.epoch != at.epoch {
            self.suspect();
            return;
        }
        if self.doubts > 0 {
            self.wished += 1;
            return;
        }
        self.take(log.first, log.events);
    }

    /// Events this node knows to be in the log: it appended them, or was told of them by a conflict.
    pub fn appended(&mut self, epoch: Epoch, first: Seq, events: Vec<Bytes>) {
        if self.at.is_none() && first == 0 && !events.is_empty() {
            self.reset(epoch, events);
            return;
        }
        self.heard(Log {
            epoch,
            first,
            events,
        });
    }

    /// The log as it was read.
    pub fn answer(&mut self, read: Read, log: Option<Log>) {
        self.fulfilled = self.fulfilled.max(read.wish);
        match log {
            None => self.found_none(read),
            Some(log) if read.from == 0 => self.found_all(read, log.epoch, log.events),
            Some(log) => self.found_end(read, log),
        }
        // What was heard before the reading began and still has a hole before it is not in the log.
        if !self.ahead.news {
            self.ahead.clear();
        }
    }

    fn found_none(&mut self, read: Read) {
        // Created by this very node since the reading began.
        let is_new = self.at.is_some() && read.known.is_none();
        if !is_new && (self.at.is_none() || self.believe_less()) {
            self.believe_missing();
        }
    }

    fn found_all(&mut self, read: Read, epoch: Epoch, events: Vec<Bytes>) {
        let Some(at) = &self.at else {
            return self.reset(epoch, events);
        };
        let less = epoch.generation() < at.epoch.generation()
            || epoch == at.epoch && (events.len() as Seq) < read.known.unwrap_or(0);
        let same = epoch == at.epoch && self.doubts == 0 && at.tail.agrees(at.next, 0, &events);
        if same && !less {
            self.suspicious = false;
            self.take(0, events);
        } else if !less || self.believe_less() {
            self.reset(epoch, events);
        }
    }

    fn found_end(&mut self, read: Read, log: Log) {
        let Some(at) = &self.at else { return };
        let end = log.first + log.events.len() as Seq;
        if log.epoch != at.epoch || read.known.is_some_and(|known| end < known) {
            // Whatever happened, the whole log tells it.
            return self.suspect();
        }
        self.take(log.first, log.events);
    }

    /// Takes events of the present life, if they agree with what is known.
    fn take(&mut self, first: Seq, events: Vec<Bytes>) {
        let mut run = Some((first, events));
        while let (Some((first, mut events)), Some(at)) = (run, &mut self.at) {
            if first > at.next {
                if !self.ahead.keep(first, events) {
                    self.wished += 1;
                }
                return;
            }
            if !at.tail.agrees(at.next, first, &events) {
                return self.suspect();
            }
            let repeated = usize::try_from(at.next - first).unwrap_or(usize::MAX);
            if repeated < events.len() {
                let (first, events) = (at.next, events.split_off(repeated));
                at.tail.extend(&events);
                at.next += events.len() as Seq;
                self.items.push_back(FeedItem::Events { first, events });
            }
            run = self.ahead.take_until(at.next);
        }
    }

    /// What is known may not be the log: all must be read.
    fn suspect(&mut self) {
        self.suspicious = true;
        self.wished += 1;
    }

    /// The log was found to hold less than is known: whether that was so often enough to be believed.
    fn believe_less(&mut self) -> bool {
        self.doubts += 1;
        self.ahead.clear();
        let believed = self.doubts >= DOUBTS_MAX;
        if !believed {
            self.wished += 1;
        }
        believed
    }

    #[cfg(test)]
    fn next(&self) -> Seq {
        self.at.as_ref().map_or(0, |at| at.next)
    }

    fn reset(&mut self, epoch: Epoch, events: Vec<Bytes>) {
        let mut tail = Tail::default();
        tail.extend(&events);
        let next = events.len() as Seq;
        self.forget();
        self.at = Some(At {
            epoch: epoch.clone(),
            next,
            tail,
        });
        self.items.push_back(FeedItem::Reset { epoch, events });
    }

    fn believe_missing(&mut self) {
        if !self.told_missing {
            self.forget();
            self.told_missing = true;
            self.items.push_back(FeedItem::Missing);
        }
    }

    fn forget(&mut self) {
        self.at = None;
        self.told_missing = false;
        self.ahead.clear();
        self.suspicious = false;
        self.doubts = 0;
    }
}

impl Ahead {
    fn is_empty(&self) -> bool {
        self.runs.is_empty()
    }

    /// False if there is no room for it.
    fn keep(&mut self, first: Seq, events: Vec<Bytes>) -> bool {
        self.news = true;
        let known = self.runs.get(&first).map_or(0, Vec::len);
        if events.len() <= known {
            return true;
        }
        let len = self.len - known + events.len();
        if len > AHEAD_LEN_MAX {
            return false;
        }
        self.len = len;
        self.runs.insert(first, events);
        true
    }

    /// The first run, if it begins at `next` or before.
    fn take_until(&mut self, next: Seq) -> Option<(Seq, Vec<Bytes>)> {
        let run = self.runs.first_entry().filter(|run| *run.key() <= next)?;
        let (first, events) = run.remove_entry();
        self.len -= events.len();
        Some((first, events))
    }

    fn clear(&mut self) {
        *self = Ahead::default();
    }
}

#[cfg(test)]
mod tests;
