//! The last few events of a room as hashes: enough to notice that a repeat is not the same event, and so that the log has
//! become another one, without keeping the events.

use crate::Seq;
use bytes::Bytes;
use std::{
    collections::VecDeque,
    hash::{DefaultHasher, Hash, Hasher},
};

/// How many. A failover loses the last moments of a log, and players are slower than that.
pub const TAIL_LEN: usize = 16;

#[derive(Debug, Default)]
pub struct Tail(VecDeque<u64>);

impl Tail {
    /// Adds events at the end.
    pub fn extend(&mut self, events: &[Bytes]) {
        let last = events.len().saturating_sub(TAIL_LEN);
        for event in &events[last..] {
            if self.0.len() == TAIL_LEN {
                self.0.pop_front();
            }
            self.0.push_back(hash(event));
        }
    }

    /// Whether these events are the known ones as far as both reach, in a log whose next event is `next`.
    pub fn agrees(&self, next: Seq, first: Seq, events: &[Bytes]) -> bool {
        let start = next - self.0.len() as Seq;
        (start..next).zip(&self.0).all(|(seq, known)| {
            let index = seq
                .checked_sub(first)
                .and_then(|index| usize::try_from(index).ok());
            let event = index.and_then(|index| events.get(index));
            event.is_none_or(|event| hash(event) == *known)
        })
    }
}

fn hash(event: &Bytes) -> u64 {
    let mut hasher = DefaultHasher::new();
    event.hash(&mut hasher);
    hasher.finish()
}
