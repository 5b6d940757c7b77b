//! The archive's queue within one process. It holds no events, only which part of which log is not archived: however long the
//! database is away, it costs some hundred bytes a game, and the logs are in memory and in the journal anyway.

use crate::{Backlog, Epoch, Millis, QueuePosition, Room, Seq, Take, Watermark, queue::Place};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// What is not archived.
#[derive(Debug, Default)]
pub struct Queue {
    life: u64,
    /// The last position given.
    last: u64,
    /// First positions of all spans.
    firsts: BTreeSet<u64>,
    /// Rooms that wait, by the first position of their span.
    waiting: BTreeMap<u64, Room>,
    /// Spans under way, by their last position.
    taken: BTreeMap<u64, Taken>,
    rooms: HashMap<Room, Rest>,
    lease: Option<(String, Millis)>,
}

/// What of one room is not archived.
#[derive(Debug, Default)]
struct Rest {
    waiting: Option<Waiting>,
    /// Last positions of its spans under way.
    taken: Vec<u64>,
}

/// Events that nobody has taken: from some number to the end of the log.
#[derive(Debug)]
struct Waiting {
    first: u64,
    last: u64,
    from: Seq,
    since: Millis,
}

/// Events that somebody has taken and not acknowledged.
#[derive(Debug, Clone)]
pub struct Taken {
    pub room: Room,
    pub epoch: Epoch,
    pub from: Seq,
    pub end: Seq,
    first: u64,
    since: Millis,
    at: Millis,
}

/// Up to where a room is archived.
#[derive(Debug, PartialEq, Eq)]
pub struct Archived {
    pub room: Room,
    pub epoch: Epoch,
    pub end: Seq,
}

impl Queue {
    pub fn new(life: u64) -> Queue {
        Queue {
            life,
            ..Queue::default()
        }
    }

    /// The log of that room has new events from `from` on.
    pub fn enqueue(&mut self, room: &Room, from: Seq, now: Millis) -> QueuePosition {
        self.last += 1;
        let last = self.last;
        let rest = self.rooms.entry(room.clone()).or_default();
        match &mut rest.waiting {
            Some(waiting) => {
                waiting.last = last;
                waiting.from = waiting.from.min(from);
            }
            None => {
                rest.waiting = Some(Waiting {
                    first: last,
                    last,
                    from,
                    since: now,
                });
                self.waiting.insert(last, room.clone());
                self.firsts.insert(last);
            }
        }
        self.position(last)
    }

    /// The last position given; `None` if none ever was.
    pub fn end(&self) -> Option<QueuePosition> {
        (self.last > 0).then(|| self.position(self.last))
    }

    /// Rooms to take from, oldest first; none if another consumer reads.
    pub fn candidates(&mut self, consumer: &str, take: &Take, now: Millis) -> Vec<Room> {
        if take.only.is_none() {
            let held = |(holder, until): &(String, Millis)| holder != consumer && *until > now;
            if self.lease.as_ref().is_some_and(held) {
                return Vec::new();
            }
            let until = now.saturating_add(super::millis(take.lease));
            self.lease = Some((consumer.into(), until));
        }
        self.waiting.values().take(take.limit).cloned().collect()
    }

    /// Takes what waits of a room whose log has that life and end.
    pub fn take(
        &mut self,
        room: &Room,
        epoch: &Epoch,
        end: Seq,
        now: Millis,
    ) -> Option<(QueuePosition, Taken)> {
        let rest = self.rooms.get_mut(room)?;
        let waiting = rest.waiting.take()?;
        self.waiting.remove(&waiting.first);
        let taken = Taken {
            room: room.clone(),
            epoch: epoch.clone(),
            from: waiting.from.min(end),
            end,
            first: waiting.first,
            since: waiting.since,
            at: now,
        };
        rest.taken.push(waiting.last);
        self.taken.insert(waiting.last, taken.clone());
        Some((self.position(waiting.last), taken))
    }

    /// There is no such log any more: nothing of it can be archived.
    pub fn drop_room(&mut self, room: &Room) {
        let Some(rest) = self.rooms.remove(room) else {
            return;
        };
        if let Some(waiting) = rest.waiting {
            self.waiting.remove(&waiting.first);
            self.firsts.remove(&waiting.first);
        }
        for last in rest.taken {
            if let Some(taken) = self.taken.remove(&last) {
                self.firsts.remove(&taken.first);
            }
        }
    }

    /// Spans taken at least `idle` ago; they count as taken now.
    pub fn reclaim(
        &mut self,
        idle: Millis,
        limit: usize,
        now: Millis,
    ) -> Vec<(QueuePosition, Taken)> {
        let life = self.life;
        let stale = self
            .taken
            .iter_mut()
            .filter(|(_, taken)| taken.at.saturating_add(idle) <= now);
        let mut reclaimed = Vec::new();
        for (last, taken) in stale.take(limit) {
            taken.at = now;
            reclaimed.push((position(life, *last), taken.clone()));
        }
        reclaimed
    }

    /// Up to where each room will be archived when these are acknowledged.
    pub fn archived_with(&self, positions: &[QueuePosition]) -> Vec<Archived> {
        let done: BTreeSet<u64> = positions.iter().filter_map(|at| self.number(at)).collect();
        let mut ends: HashMap<&Room, (&Epoch, Seq)> = HashMap::new();
        for taken in done.iter().filter_map(|last| self.taken.get(last)) {
            let end = ends.entry(&taken.room).or_insert((&taken.epoch, taken.end));
            if taken.end >= end.1 {
                *end = (&taken.epoch, taken.end);
            }
        }
        let held_back = |room: &Room, end: Seq| {
            let under_way = self
                .rooms
                .get(room)
                .into_iter()
                .flat_map(|rest| &rest.taken);
            under_way
                .filter(|last| !done.contains(last))
                .filter_map(|last| self.taken.get(last))
                .fold(end, |end, taken| end.min(taken.from))
        };
        ends.into_iter()
            .map(|(room, (epoch, end))| Archived {
                end: held_back(room, end),
                room: room.clone(),
                epoch: epoch.clone(),
            })
            .collect()
    }

    /// These are archived.
    pub fn acknowledge(&mut self, positions: &[QueuePosition]) {
        for at in positions {
            let Some((last, taken)) = self
                .number(at)
                .and_then(|last| Some((last, self.taken.remove(&last)?)))
            else {
                continue;
            };
            self.firsts.remove(&taken.first);
            if let Some(rest) = self.rooms.get_mut(&taken.room) {
                rest.taken.retain(|other| *other != last);
                if rest.taken.is_empty() && rest.waiting.is_none() {
                    self.rooms.remove(&taken.room);
                }
            }
        }
    }

    /// How far all is archived; `None` if there never was anything.
    pub fn watermark(&self) -> Option<Watermark> {
        (self.last > 0).then(|| Watermark {
            partition: 0,
            life: self.life,
            below: place(self.firsts.first().copied().unwrap_or(self.last + 1)),
        })
    }

    /// Whether all of a room is archived.
    pub fn is_archived(&self, room: &Room) -> bool {
        !self.rooms.contains_key(room)
    }

    pub fn backlog(&self) -> Backlog {
        let waiting = self.waiting.first_key_value();
        let waiting = waiting.and_then(|(_, room)| self.rooms.get(room)?.waiting.as_ref());
        let oldest = self.taken.values().map(|taken| taken.since);
        Backlog {
            entries: self.firsts.len() as u64,
            oldest: oldest.chain(waiting.map(|waiting| waiting.since)).min(),
        }
    }

    fn position(&self, number: u64) -> QueuePosition {
        position(self.life, number)
    }

    /// The number of a position of this life.
    fn number(&self, position: &QueuePosition) -> Option<u64> {
        let ours = (position.partition, position.life) == (0, self.life);
        ours.then_some(position.place.minor)
    }
}

fn place(number: u64) -> Place {
    Place {
        major: 0,
        minor: number,
    }
}

fn position(life: u64, number: u64) -> QueuePosition {
    QueuePosition {
        partition: 0,
        life,
        place: place(number),
    }
}
