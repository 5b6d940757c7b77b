//! What one mutex guards: the logs, listeners, attendance and chat of those rooms that hash to it.

use super::{attendance::Board, log::PackedLog};
use crate::{
    AHEAD_MAX_MS, Append, Appended, Attendance, Epoch, HISTORY_LEN, Log, Message, Millis, Room,
    Seq, Signal, SignalSender,
};
use bytes::Bytes;
use std::collections::{BTreeSet, HashMap, VecDeque};

/// How long a topic's lines are kept after the last one, in milliseconds: a day.
const HISTORY_TTL_MS: Millis = 24 * 60 * 60 * 1_000;

/// Number of boards and histories below which nobody purges.
const PURGE_MIN: usize = 256;

/// A part of all rooms.
#[derive(Debug, Default)]
pub struct Partition {
    logs: HashMap<Room, PackedLog>,
    deadlines: BTreeSet<(Millis, Room)>,
    sweeper: Option<(String, Millis)>,
    listeners: HashMap<Room, Vec<(u64, SignalSender)>>,
    boards: HashMap<Room, Board>,
    histories: HashMap<(Room, String), History>,
    purge_at: usize,
}

#[derive(Debug)]
struct History {
    lines: VecDeque<Bytes>,
    until: Millis,
}

/// What an append would do.
#[derive(Debug)]
pub enum Judged {
    /// It stands: write it.
    Fits,
    /// It does not: this is the answer.
    Answer(Appended),
}

impl Partition {
    /// Judges an append without doing anything.
    pub fn judge(&self, room: &Room, append: &Append, now: Millis) -> Judged {
        let Some(log) = self.logs.get(room) else {
            return match append {
                Append {
                    epoch: None,
                    expected: 0,
                    events,
                    ..
                } if !events.is_empty() => Judged::on_time(append, now),
                _ => Judged::Answer(Appended::Gone { end: 0 }),
            };
        };
        let (end, epoch) = (log.end(), log.epoch.clone());
        Judged::Answer(match &append.epoch {
            Some(named) if *named != epoch => Appended::OtherEpoch { epoch },
            _ if append.expected > end => Appended::Gone { end },
            _ if log.holds(append.expected, &append.events) => Appended::AlreadyAppended { epoch },
            _ if append.expected < end => Appended::Conflict {
                missed: log.events(append.expected),
                epoch,
            },
            _ => return Judged::on_time(append, now),
        })
    }

    /// The log an append goes to, or would make.
    pub fn log(&self, room: &Room) -> Option<&PackedLog> {
        self.logs.get(room)
    }

    /// Adds events to a log and publishes them; `make` is asked for a log if there is none.
    pub fn extend(
        &mut self,
        room: &Room,
        events: &[Bytes],
        deadline: Option<Millis>,
        make: impl FnOnce() -> PackedLog,
    ) {
        let log = self.logs.entry(room.clone()).or_insert_with(make);
        let first = log.end();
        log.extend(events);
        let (epoch, before) = (log.epoch.clone(), log.deadline);
        log.deadline = deadline;
        self.move_deadline(room, before, deadline);
        let events = events.to_vec();
        self.publish(
            room,
            Signal::Events(Log {
                epoch,
                first,
                events,
            }),
        );
    }

    /// Gives a log another life.
    pub fn rename(&mut self, room: &Room, epoch: Epoch) {
        if let Some(log) = self.logs.get_mut(room) {
            log.epoch = epoch;
        }
    }

    /// Whether any room has a deadline.
    pub fn has_deadlines(&self) -> bool {
        !self.deadlines.is_empty()
    }

    /// The rooms that have a log, in order of their names.
    pub fn rooms(&self) -> Vec<Room> {
        let mut rooms: Vec<Room> = self.logs.keys().cloned().collect();
        rooms.sort();
        rooms
    }

    /// Puts another log in the place of the present one, and tells nobody.
    pub fn replace(&mut self, room: &Room, log: Option<PackedLog>) {
        let after = log.as_ref().and_then(|log| log.deadline);
        let before = match log {
            Some(log) => self.logs.insert(room.clone(), log),
            None => self.logs.remove(room),
        };
        self.move_deadline(room, before.and_then(|log| log.deadline), after);
    }

    /// Takes away a log and what was said there.
    pub fn forget(&mut self, room: &Room) {
        self.replace(room, None);
        self.histories.retain(|(other, _), _| other != room);
        self.boards.remove(room);
    }

    /// Whether anybody is in the room.
    pub fn is_attended(&self, room: &Room, now: Millis) -> bool {
        self.boards
            .get(room)
            .is_some_and(|board| !board.is_idle(now))
    }

    fn move_deadline(&mut self, room: &Room, before: Option<Millis>, after: Option<Millis>) {
        if before == after {
            return;
        }
        if let Some(before) = before {
            self.deadlines.remove(&(before, room.clone()));
        }
        if let Some(after) = after {
            self.deadlines.insert((after, room.clone()));
        }
    }

    /// The log from `from` on.
    pub fn read(&self, room: &Room, from: Seq) -> Option<Log> {
        let log = self.logs.get(room)?;
        Some(Log {
            epoch: log.epoch.clone(),
            first: from,
            events: log.events(from),
        })
    }

    /// Adds a listener, whose first signal is a resynchronisation.
    pub fn listen(&mut self, room: &Room, id: u64, sender: SignalSender) {
        sender.send(Signal::Resync);
        self.listeners
            .entry(room.clone())
            .or_default()
            .push((id, sender));
    }

    /// Forgets a listener.
    pub fn unlisten(&mut self, room: &Room, id: u64) {
        let Some(listeners) = self.listeners.get_mut(room) else {
            return;
        };
        listeners.retain(|(listener, _)| *listener != id);
        if listeners.is_empty() {
            self.listeners.remove(room);
        }
    }

    /// Rings at all who listen to the room.
    pub fn publish(&self, room: &Room, signal: Signal) {
        for (_, sender) in self.listeners.get(room).into_iter().flatten() {
            sender.send(signal.clone());
        }
    }

    /// Publishes and keeps.
    pub fn say(&mut self, room: &Room, message: Message, now: Millis) {
        self.purge_sometimes(now);
        let key = (room.clone(), message.topic.clone());
        let history = self.histories.entry(key).or_insert(History {
            lines: VecDeque::new(),
            until: now,
        });
        if history.until <= now {
            history.lines.clear();
        }
        if history.lines.len() == HISTORY_LEN {
            history.lines.pop_front();
        }
        history.lines.push_back(message.body.clone());
        history.until = now + HISTORY_TTL_MS;
        self.publish(room, Signal::Message(message));
    }

    /// What was kept.
    pub fn history(&self, room: &Room, topic: &str, now: Millis) -> Vec<Bytes> {
        let history = self.histories.get(&(room.clone(), topic.into()));
        let live = history.filter(|history| history.until > now);
        live.into_iter()
            .flat_map(|history| history.lines.iter().cloned())
            .collect()
    }

    /// Takes a report of who is there.
    pub fn attend(
        &mut self,
        room: &Room,
        now: Millis,
        node: &str,
        counts: &[u32],
        ttl: Millis,
    ) -> Attendance {
        self.purge_sometimes(now);
        let board = self.boards.entry(room.clone()).or_default();
        let reported = board.report(now, node, counts, ttl);
        if board.is_idle(now) {
            self.boards.remove(room);
        }
        if reported.tell {
            self.publish(room, Signal::Attendance(reported.attendance.clone()));
        }
        reported.attendance
    }

    /// Rooms whose deadline lies before `before`, if `node` holds the lease for sweeping or could take it.
    pub fn sweep(
        &mut self,
        now: Millis,
        node: &str,
        before: Millis,
        limit: usize,
        ttl: Millis,
    ) -> Vec<(Millis, Room)> {
        let held_by_other = |(holder, until): &(String, Millis)| holder != node && *until > now;
        if self.sweeper.as_ref().is_some_and(held_by_other) {
            return Vec::new();
        }
        self.sweeper = Some((node.into(), now.saturating_add(ttl)));
        let due = self
            .deadlines
            .iter()
            .take_while(|(deadline, _)| *deadline < before);
        due.take(limit).cloned().collect()
    }

    fn purge_sometimes(&mut self, now: Millis) {
        if self.boards.len() + self.histories.len() < self.purge_at.max(PURGE_MIN) {
            return;
        }
        self.boards.retain(|_, board| !board.is_idle(now));
        self.histories.retain(|_, history| history.until > now);
        self.purge_at = 2 * (self.boards.len() + self.histories.len());
    }
}

impl Judged {
    fn on_time(append: &Append, now: Millis) -> Judged {
        if append.at > now.saturating_add(AHEAD_MAX_MS) {
            return Judged::Answer(Appended::BadTime { now });
        }
        Judged::Fits
    }
}
