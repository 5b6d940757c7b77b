//! What the records of a journal add up to.

use super::{
    super::log::PackedLog,
    super::pool::Pairing,
    super::records::Records,
    record::{Appending, Record},
};
use crate::{Epoch, Millis, Room, Seq};
use std::collections::HashMap;

/// The state after some records.
#[derive(Debug, Default)]
pub struct Image {
    pub logs: HashMap<Room, PackedLog>,
    pub records: Records,
    /// By pool and offer.
    pub pairings: HashMap<(String, String), Pairing>,
    /// Up to where logs are archived.
    pub archived: HashMap<Room, (Epoch, Seq)>,
    /// When somebody was last there; 0 if that is not known.
    pub beat: Millis,
    /// The latest moment any event claims.
    pub latest: Millis,
}

impl Image {
    /// Takes the next record; an error if it cannot follow the ones before.
    pub fn apply(&mut self, record: Record) -> Result<(), String> {
        match record {
            Record::Begin => *self = Image::default(),
            Record::Append(appending) => self.append(appending)?,
            Record::Life { room, epoch } => match self.logs.get_mut(&room) {
                Some(log) => log.epoch = epoch,
                None => return Err(format!("life {epoch} of room {room}, which has no log")),
            },
            Record::Beat { at } => self.beat = at,
            Record::Put { key, value, until } => self.records.put(Millis::MIN, &key, value, until),
            Record::Remove { key } => self.records.remove(&key),
            Record::Join {
                key,
                member,
                at,
                until,
            } => {
                self.records.join(at, &key, &member, until);
            }
            Record::Leave { key, member } => self.records.leave(&key, &member),
            Record::Paired {
                pool,
                offer,
                pairing,
            } => {
                self.pairings.insert((pool, offer), pairing);
            }
            Record::Archived { room, epoch, end } => {
                self.archived.insert(room, (epoch, end));
            }
            Record::Forget { room, .. } => {
                self.logs.remove(&room);
                self.archived.remove(&room);
            }
        }
        Ok(())
    }

    fn append(&mut self, appending: Appending) -> Result<(), String> {
        let Appending {
            room,
            epoch,
            first,
            at,
            deadline,
            events,
        } = appending;
        let log = self
            .logs
            .entry(room.clone())
            .or_insert_with(|| PackedLog::new(epoch.clone()));
        if log.epoch != epoch || log.end() != first || !log.fits(&events) {
            let (is, end) = (&log.epoch, log.end());
            return Err(format!(
                "event {first} of {epoch} in room {room}, which ends at {end} of {is}"
            ));
        }
        log.extend(&events);
        log.deadline = deadline;
        self.latest = self.latest.max(at);
        Ok(())
    }

    /// Logs that are not wholly archived, and from where on.
    pub fn unarchived(&self) -> impl Iterator<Item = (&Room, Seq)> {
        self.logs.iter().filter_map(|(room, log)| {
            let from = match self.archived.get(room) {
                Some((epoch, end)) if *epoch == log.epoch => *end,
                _ => 0,
            };
            (from < log.end()).then_some((room, from))
        })
    }

    /// Forgets what has lapsed.
    pub fn purge(&mut self, now: Millis) {
        self.records.purge(now);
        self.pairings.retain(|_, pairing| pairing.until > now);
    }

    /// Bytes of [`Image::small_records`].
    pub fn small_len(&self) -> u64 {
        self.small_records()
            .map(|record| record.encode().len() as u64)
            .sum()
    }

    /// Records that add up to this image, without the logs.
    pub fn small_records(&self) -> impl Iterator<Item = Record> {
        let records = self.records.records().map(|(key, record)| Record::Put {
            key: key.clone(),
            value: record.value.clone(),
            until: record.until,
        });
        let members = self.records.sets().flat_map(|(key, members)| {
            members.iter().map(|member| Record::Join {
                key: key.clone(),
                member: member.name.clone(),
                // In the order of their places, which none loses.
                at: Millis::MIN,
                until: member.until,
            })
        });
        let pairings = self
            .pairings
            .iter()
            .map(|((pool, offer), pairing)| Record::Paired {
                pool: pool.clone(),
                offer: offer.clone(),
                pairing: pairing.clone(),
            });
        let archived = self
            .archived
            .iter()
            .map(|(room, (epoch, end))| Record::Archived {
                room: room.clone(),
                epoch: epoch.clone(),
                end: *end,
            });
        let beat = (self.beat != 0).then_some(Record::Beat { at: self.beat });
        let records = records.chain(members).chain(pairings);
        records.chain(archived).chain(beat)
    }
}
