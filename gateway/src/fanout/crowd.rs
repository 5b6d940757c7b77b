//! The spectators of one group on one shard, and what they have yet to get: gathered while much comes, written in walks from
//! the first to the last that can be interrupted after any step. No IO, no clock.
//!
//! Each spectator knows the number of the next frame that is meant for him. So whoever comes or goes while a walk is under
//! way, and wherever he stands, nobody gets a frame twice, none is left out, and the newest frames never overtake.

use crate::{metrics::Delivery, websocket::Frame};
use std::{
    collections::VecDeque,
    sync::Arc,
    time::{Duration, Instant},
};

/// A walk costs so much time for each spectator, with all that the kernel does for him (measured: 5 to 10 µs), and is to
/// take no more than a quarter of the time while frames come thick. So the window grows with the crowd: a handful has none.
const WINDOW_PER_SPECTATOR: Duration = Duration::from_micros(25);

/// The longest window: a tenth of a second late is still now for somebody who watches. At 50 frames a second five go into
/// one system call.
pub const WINDOW_MAX: Duration = Duration::from_millis(100);

/// A walk through a quiet crowd is put off for a millisecond for each so many spectators: a walk through thousands takes every core
/// there is, and the players on other nodes, to whom the event is on its way just then, are to have it first.
const SPECTATORS_PER_HEAD_START_MS: usize = 1_000;

/// The longest head start, in milliseconds. The walk through such a crowd takes ten times as long.
const HEAD_START_MS_MAX: usize = 5;

/// Bytes that may wait for a walk: a minute of the busiest game. If it is more, whoever has not got it is skipped forward.
const WAITING_LEN_MAX: usize = 256 * 1024;

/// How long frames are gathered after a walk has begun, with so many spectators on this node.
pub fn window(spectators: usize) -> Duration {
    let spectators = u32::try_from(spectators).unwrap_or(u32::MAX);
    WINDOW_PER_SPECTATOR
        .saturating_mul(spectators)
        .min(WINDOW_MAX)
}

/// How long the walk through a quiet crowd is put off, with so many spectators on this node.
pub fn head_start(spectators: usize) -> Duration {
    let ms = (spectators / SPECTATORS_PER_HEAD_START_MS).min(HEAD_START_MS_MAX);
    Duration::from_millis(ms as u64)
}

#[derive(Debug)]
struct Spectator {
    slot: u32,
    /// The next frame he gets.
    next: u64,
}

/// What not everybody has got.
#[derive(Debug)]
struct Waiting {
    frame: Frame,
    /// Dropped with it, when the walk that hands it out is through.
    _delivery: Option<Arc<Delivery>>,
}

/// One round to everybody.
#[derive(Debug)]
struct Walk {
    /// Everybody before it was reached.
    place: usize,
    /// Frames up to this number are handed out.
    to: u64,
    /// The frames from this number to the end of the walk as one: what nearly everybody gets.
    joined: Option<(u64, Frame)>,
}

/// When a walk is to begin.
#[derive(Debug, PartialEq, Eq)]
pub enum Start {
    /// Now.
    Now,
    /// Then.
    At(Instant),
    /// It is known already.
    Known,
}

/// A step of a walk.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Give the socket in this slot that.
    Give {
        /// Its slot.
        slot: u32,
        /// One frame, or several as one.
        frame: Frame,
        /// How many.
        messages: u64,
    },
    /// What was meant for the socket in this slot is gone.
    Missed(u32),
}

/// A spectator who stands in another place now.
#[derive(Debug, PartialEq, Eq)]
pub struct Moved {
    /// His slot.
    pub slot: u32,
    /// Where he stands.
    pub place: u32,
}

/// The crowd.
#[derive(Debug, Default)]
pub struct Crowd {
    spectators: Vec<Spectator>,
    /// What not everybody has got, the first with the number `first`.
    frames: VecDeque<Waiting>,
    first: u64,
    waiting_len: usize,
    walk: Option<Walk>,
    begun_at: Option<Instant>,
    /// A walk is to begin at a known time.
    is_due: bool,
}

impl Crowd {
    /// Everybody's slot.
    pub fn slots(&self) -> impl Iterator<Item = u32> {
        self.spectators.iter().map(|spectator| spectator.slot)
    }

    /// Whether nobody is here.
    pub fn is_empty(&self) -> bool {
        self.spectators.is_empty()
    }

    /// Somebody comes, who gets what comes from now on. Answers his place.
    pub fn enter(&mut self, slot: u32) -> u32 {
        let next = self.end();
        self.spectators.push(Spectator { slot, next });
        u32::try_from(self.spectators.len() - 1).expect("there are fewer sockets than that")
    }

    /// Somebody goes. Others may have to take his place.
    pub fn leave(&mut self, place: u32) -> impl Iterator<Item = Moved> + use<> {
        let mut hole = place as usize;
        let mut moved = [None, None];
        // Those who were reached stay before those who were not.
        if let Some(walk) = &mut self.walk
            && hole < walk.place
        {
            walk.place -= 1;
            let last = walk.place;
            self.spectators.swap(hole, last);
            if hole != last {
                moved[0] = self.moved(hole);
            }
            hole = last;
        }
        self.spectators.swap_remove(hole);
        if hole < self.spectators.len() {
            moved[1] = self.moved(hole);
        }
        moved.into_iter().flatten()
    }

    fn moved(&self, place: usize) -> Option<Moved> {
        Some(Moved {
            slot: self.spectators[place].slot,
            place: u32::try_from(place).ok()?,
        })
    }

    /// What he has yet to get before anything else can be said to him.
    pub fn catch_up(&mut self, place: u32) -> Option<Step> {
        let end = self.end();
        let spectator = &mut self.spectators[place as usize];
        let (slot, next) = (spectator.slot, std::mem::replace(&mut spectator.next, end));
        match next {
            _ if next == end => None,
            _ if next < self.first => Some(Step::Missed(slot)),
            _ => Some(Step::Give {
                slot,
                frame: self.joined(next, end),
                messages: end - next,
            }),
        }
    }

    /// A frame for everybody, and what notes that all have got it. So many spectators are on this node.
    pub fn push(
        &mut self,
        frame: Frame,
        delivery: Option<Arc<Delivery>>,
        spectators: usize,
        now: Instant,
    ) -> Start {
        if self.is_empty() {
            return Start::Known;
        }
        self.waiting_len += frame.queued_len();
        self.frames.push_back(Waiting {
            frame,
            _delivery: delivery,
        });
        if self.waiting_len > WAITING_LEN_MAX {
            self.first = self.end();
            self.frames.clear();
            self.waiting_len = 0;
        }
        if self.walk.is_some() || self.is_due {
            return Start::Known;
        }
        self.is_due = true;
        let soonest = now + head_start(spectators);
        let gathered = self.begun_at.map(|at| at + window(spectators));
        let at = gathered.map_or(soonest, |at| at.max(soonest));
        if at > now { Start::At(at) } else { Start::Now }
    }

    /// A walk begins, unless one is under way.
    pub fn begin(&mut self, now: Instant) -> bool {
        self.is_due = false;
        if self.walk.is_some() {
            return false;
        }
        self.begun_at = Some(now);
        self.walk = Some(Walk {
            place: 0,
            to: self.end(),
            joined: None,
        });
        true
    }

    /// The next step of the walk; `None` when all have got what there was as it began.
    pub fn step(&mut self) -> Option<Step> {
        let walk = self.walk.as_mut()?;
        let (to, first) = (walk.to, self.first);
        while let Some(spectator) = self.spectators.get_mut(walk.place) {
            walk.place += 1;
            if spectator.next >= to {
                continue;
            }
            let (slot, next) = (spectator.slot, std::mem::replace(&mut spectator.next, to));
            if next < first {
                spectator.next = to.max(first);
                return Some(Step::Missed(slot));
            }
            if let Some((from, frame)) = &walk.joined
                && *from == next
            {
                return Some(Step::Give {
                    slot,
                    frame: frame.clone(),
                    messages: to - next,
                });
            }
            let frame = self.joined(next, to);
            if let Some(walk) = &mut self.walk {
                walk.joined = Some((next, frame.clone()));
            }
            return Some(Step::Give {
                slot,
                frame,
                messages: to - next,
            });
        }
        None
    }

    /// The walk is through. When the next one is to begin, if something came meanwhile.
    pub fn end_walk(&mut self, spectators: usize, now: Instant) -> Option<Start> {
        let walk = self.walk.take()?;
        // Who was reached in time missed what came later.
        let missed = self.first > walk.to;
        while self.first < walk.to {
            self.first += 1;
            let gone = self.frames.pop_front();
            self.waiting_len -= gone.map_or(0, |waiting| waiting.frame.queued_len());
        }
        if self.frames.is_empty() {
            // A quiet crowd holds no buffer.
            self.frames = VecDeque::new();
            if !missed {
                return None;
            }
        }
        self.is_due = true;
        let at = self.begun_at.map_or(now, |at| at + window(spectators));
        Some(if at > now { Start::At(at) } else { Start::Now })
    }

    /// Number the next frame will have.
    fn end(&self) -> u64 {
        self.first + self.frames.len() as u64
    }

    fn joined(&self, from: u64, to: u64) -> Frame {
        let index = |number: u64| usize::try_from(number - self.first).unwrap_or(usize::MAX);
        let frames = self.frames.range(index(from)..index(to));
        Frame::joined(frames.map(|waiting| &waiting.frame))
    }
}

#[cfg(test)]
mod tests;
