//! Which rooms this node listens to, for whom, and whether a server has confirmed it.

use super::super::{keys::Partition, message::Heard};
use crate::{Signal, SignalSender, Subscription};
use dashmap::DashMap;
use std::{
    collections::VecDeque,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;

/// Rooms by the name of their channel.
#[derive(Debug, Default)]
pub(super) struct Table {
    rooms: DashMap<String, Entry>,
    names: AtomicU64,
    leaving: Arc<Mutex<VecDeque<(Instant, String)>>>,
}

#[derive(Debug)]
struct Entry {
    partition: Partition,
    subscribers: Vec<Subscribed>,
    /// The connection whose server confirmed the subscription.
    confirmed_by: Option<u64>,
}

#[derive(Debug)]
struct Subscribed {
    name: u64,
    sender: SignalSender,
    /// Whether it has had its first signal, which is always to look at the log.
    begun: bool,
}

impl Entry {
    fn resync(&mut self) {
        for subscriber in &mut self.subscribers {
            subscriber.begun = true;
            subscriber.sender.send(Signal::Resync);
        }
    }
}

/// Dropped with a subscription.
#[derive(Debug)]
struct Leave {
    table: std::sync::Weak<Table>,
    channel: String,
    name: u64,
}

impl Drop for Leave {
    fn drop(&mut self) {
        if let Some(table) = self.table.upgrade() {
            table.leave(&self.channel, self.name);
        }
    }
}

impl Table {
    /// Adds a subscriber. The flag says whether the room is subscribed already; it has been told to look at the log then.
    pub fn join(self: &Arc<Table>, channel: &str, partition: Partition) -> (Subscription, bool) {
        let name = self.names.fetch_add(1, Ordering::Relaxed);
        let (sender, subscription) = Subscription::new(Leave {
            table: Arc::downgrade(self),
            channel: channel.to_owned(),
            name,
        });
        let mut entry = self
            .rooms
            .entry(channel.to_owned())
            .or_insert_with(|| Entry {
                partition,
                subscribers: Vec::with_capacity(1),
                confirmed_by: None,
            });
        let confirmed = entry.confirmed_by.is_some();
        if confirmed {
            sender.send(Signal::Resync);
        }
        entry.subscribers.push(Subscribed {
            name,
            sender,
            begun: confirmed,
        });
        (subscription, confirmed)
    }

    fn leave(&self, channel: &str, name: u64) {
        let Some(mut entry) = self.rooms.get_mut(channel) else {
            return;
        };
        entry
            .subscribers
            .retain(|subscriber| subscriber.name != name);
        let empty = entry.subscribers.is_empty();
        drop(entry);
        if empty {
            let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
            leaving.push_back((Instant::now(), channel.to_owned()));
        }
    }

    /// Forgets rooms that nobody has come back to for this long; answers those, to be unsubscribed.
    pub fn reap(&self, linger: Duration) -> Vec<(String, Partition)> {
        let mut due = Vec::new();
        {
            let mut leaving = self.leaving.lock().unwrap_or_else(PoisonError::into_inner);
            while leaving
                .front()
                .is_some_and(|(left, _)| left.elapsed() >= linger)
            {
                due.extend(leaving.pop_front().map(|(_, channel)| channel));
            }
        }
        let reaped = due.into_iter().filter_map(|channel| {
            let unwanted = |_: &String, entry: &Entry| entry.subscribers.is_empty();
            let (channel, entry) = self.rooms.remove_if(&channel, unwanted)?;
            Some((channel, entry.partition))
        });
        reaped.collect()
    }

    /// A server confirmed a subscription.
    pub fn confirm(&self, channel: &str, connection: u64) {
        if let Some(mut entry) = self.rooms.get_mut(channel) {
            entry.confirmed_by = Some(connection);
            entry.resync();
        }
    }

    /// A subscription ended. True if that was not wanted.
    pub fn lose(&self, channel: &str, connection: u64) -> bool {
        let Some(mut entry) = self.rooms.get_mut(channel) else {
            return false;
        };
        let lost = entry.confirmed_by == Some(connection);
        if lost {
            entry.confirmed_by = None;
        }
        lost
    }

    /// A connection ended, and all its subscriptions with it.
    pub fn lose_all(&self, connection: u64) {
        for mut entry in self.rooms.iter_mut() {
            if entry.confirmed_by == Some(connection) {
                entry.confirmed_by = None;
            }
        }
    }

    /// A connection may have missed something.
    pub fn resync_all(&self, connection: u64) {
        for mut entry in self.rooms.iter_mut() {
            if entry.confirmed_by == Some(connection) {
                entry.resync();
            }
        }
    }

    /// Hands over what was heard on a channel.
    pub fn deliver(&self, channel: &str, heard: Heard) {
        let signal = match heard {
            Heard::Events(log) => Signal::Events(log),
            Heard::Message(message) => Signal::Message(message),
            Heard::Attendance(attendance) => Signal::Attendance(attendance),
            Heard::Probe(_) => return,
        };
        let Some(entry) = self.rooms.get(channel) else {
            return;
        };
        let begun = || entry.subscribers.iter().filter(|s| s.begun);
        let mut left = begun().count();
        let mut signal = Some(signal);
        for subscriber in begun() {
            left -= 1;
            let own = if left == 0 {
                signal.take()
            } else {
                signal.clone()
            };
            if let Some(own) = own {
                subscriber.sender.send(own);
            }
        }
    }

    /// Partition of a room that is wanted.
    pub fn partition(&self, channel: &str) -> Option<Partition> {
        self.rooms.get(channel).map(|entry| entry.partition)
    }

    /// Partition of a room that is wanted, and the connection that has it.
    pub fn state(&self, channel: &str) -> Option<(Partition, Option<u64>)> {
        let entry = self.rooms.get(channel)?;
        Some((entry.partition, entry.confirmed_by))
    }

    /// All that is wanted.
    pub fn all(&self) -> Vec<(String, Partition)> {
        let all = self.rooms.iter();
        all.map(|entry| (entry.key().clone(), entry.partition))
            .collect()
    }

    pub fn clear(&self) {
        self.rooms.clear();
    }
}
