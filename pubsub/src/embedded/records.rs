//! Small records and sets that lapse.

use crate::{Millis, Put};
use bytes::Bytes;
use std::collections::HashMap;

/// Records and sets. What lapsed is forgotten when its key is touched, and all of it each time their number has doubled.
#[derive(Debug, Default)]
pub struct Records {
    records: HashMap<String, Record>,
    sets: HashMap<String, Vec<Member>>,
    purge_at: usize,
}

#[derive(Debug, Clone)]
pub struct Record {
    pub value: Bytes,
    pub until: Millis,
}

#[derive(Debug, Clone)]
pub struct Member {
    pub name: String,
    pub until: Millis,
}

/// Number of keys below which nobody purges.
const PURGE_MIN: usize = 1_024;

impl Records {
    /// The record that would be in the way of such a put.
    pub fn in_the_way(&self, now: Millis, key: &str, put: Put) -> Option<Bytes> {
        match put {
            Put::Replace => None,
            Put::IfAbsent => self.get(now, key),
        }
    }

    pub fn put(&mut self, now: Millis, key: &str, value: Bytes, until: Millis) {
        self.records.insert(key.into(), Record { value, until });
        self.purge_sometimes(now);
    }

    pub fn get(&self, now: Millis, key: &str) -> Option<Bytes> {
        let record = self.records.get(key)?;
        (record.until > now).then(|| record.value.clone())
    }

    pub fn remove(&mut self, key: &str) {
        self.records.remove(key);
    }

    /// A member that is in already keeps its place.
    pub fn join(&mut self, now: Millis, key: &str, name: &str, until: Millis) {
        let members = self.sets.entry(key.into()).or_default();
        members.retain(|member| member.until > now);
        match members.iter_mut().find(|member| member.name == name) {
            Some(member) => member.until = until,
            None => members.push(Member {
                name: name.into(),
                until,
            }),
        }
        self.purge_sometimes(now);
    }

    pub fn leave(&mut self, key: &str, name: &str) {
        let Some(members) = self.sets.get_mut(key) else {
            return;
        };
        members.retain(|member| member.name != name);
        if members.is_empty() {
            self.sets.remove(key);
        }
    }

    pub fn has_member(&self, now: Millis, key: &str, name: &str) -> bool {
        let members = self.sets.get(key).into_iter().flatten();
        members
            .into_iter()
            .any(|member| member.until > now && member.name == name)
    }

    pub fn members(&self, now: Millis, key: &str) -> Vec<String> {
        let members = self.sets.get(key).into_iter().flatten();
        members
            .filter(|member| member.until > now)
            .map(|member| member.name.clone())
            .collect()
    }

    fn purge_sometimes(&mut self, now: Millis) {
        if self.records.len() + self.sets.len() >= self.purge_at.max(PURGE_MIN) {
            self.purge(now);
            self.purge_at = 2 * (self.records.len() + self.sets.len());
        }
    }

    /// Forgets all that lapsed.
    pub fn purge(&mut self, now: Millis) {
        self.records.retain(|_, record| record.until > now);
        self.sets.retain(|_, members| {
            members.retain(|member| member.until > now);
            !members.is_empty()
        });
    }

    /// All records.
    pub fn records(&self) -> impl Iterator<Item = (&String, &Record)> {
        self.records.iter()
    }

    /// All sets.
    pub fn sets(&self) -> impl Iterator<Item = (&String, &Vec<Member>)> {
        self.sets.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lapsed_is_forgotten_without_being_asked_for() {
        let mut records = Records::default();
        for index in 0..100_000 {
            let (now, key) = (index * 10, format!("key{index}"));
            records.put(now, &key, Bytes::from_static(b"x"), now + 100);
            records.join(now, &key, "member", now + 100);
        }
        let kept = records.records.len() + records.sets.len();
        assert!(kept <= PURGE_MIN + 1, "{kept} kept");
    }
}
