//! What the journal remembers, and its bytes: numbers are little-endian, texts and bytes have their length before them.

use super::super::pool::Pairing;
use crate::{Epoch, Millis, Room, Seq};
use bytes::{Buf, Bytes};

/// Something that happened and must be known after a restart.
#[derive(Debug, Clone, PartialEq)]
pub enum Record {
    /// Whatever stands in older files is in this one too.
    Begin,
    /// Events were appended, and the deadline set.
    Append(Appending),
    /// A log was given another life.
    Life { room: Room, epoch: Epoch },
    /// Somebody was there.
    Beat { at: Millis },
    /// A record was put.
    Put {
        key: String,
        value: Bytes,
        until: Millis,
    },
    /// A record was taken away.
    Remove { key: String },
    /// A member joined a set. Who had lapsed by `at` lost his place.
    Join {
        key: String,
        member: String,
        at: Millis,
        until: Millis,
    },
    /// A member left a set.
    Leave { key: String, member: String },
    /// An offer was accepted.
    Paired {
        pool: String,
        offer: String,
        pairing: Pairing,
    },
    /// A log is archived up to this end.
    Archived { room: Room, epoch: Epoch, end: Seq },
    /// A log of so many bytes was archived, and forgotten: what stands of it before this is outdated.
    Forget { room: Room, bytes: u64 },
}

/// Events as they were appended.
#[derive(Debug, Clone, PartialEq)]
pub struct Appending {
    pub room: Room,
    pub epoch: Epoch,
    pub first: Seq,
    pub at: Millis,
    pub deadline: Option<Millis>,
    pub events: Vec<Bytes>,
}

const BEGIN: u8 = 0;
const APPEND: u8 = 1;
const PUT: u8 = 2;
const REMOVE: u8 = 3;
const JOIN: u8 = 4;
const LEAVE: u8 = 5;
const PAIRED: u8 = 6;
const ARCHIVED: u8 = 7;
const FORGET: u8 = 8;
const LIFE: u8 = 9;
const BEAT: u8 = 10;

impl Record {
    /// Its bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut to = Writer(Vec::with_capacity(512));
        match self {
            Record::Begin => to.byte(BEGIN),
            Record::Append(appending) => {
                to.byte(APPEND);
                to.text(appending.room.as_str());
                to.text(appending.epoch.as_str());
                to.number(appending.first);
                to.millis(appending.at);
                to.byte(u8::from(appending.deadline.is_some()));
                to.millis(appending.deadline.unwrap_or(0));
                to.number(appending.events.len() as u64);
                appending.events.iter().for_each(|event| to.bytes(event));
            }
            Record::Life { room, epoch } => {
                to.byte(LIFE);
                to.text(room.as_str());
                to.text(epoch.as_str());
            }
            Record::Beat { at } => {
                to.byte(BEAT);
                to.millis(*at);
            }
            Record::Put { key, value, until } => {
                to.byte(PUT);
                to.text(key);
                to.bytes(value);
                to.millis(*until);
            }
            Record::Remove { key } => {
                to.byte(REMOVE);
                to.text(key);
            }
            Record::Join {
                key,
                member,
                at,
                until,
            } => {
                to.byte(JOIN);
                to.text(key);
                to.text(member);
                to.millis(*at);
                to.millis(*until);
            }
            Record::Leave { key, member } => {
                to.byte(LEAVE);
                to.text(key);
                to.text(member);
            }
            Record::Paired {
                pool,
                offer,
                pairing,
            } => {
                to.byte(PAIRED);
                to.text(pool);
                to.text(offer);
                to.text(&pairing.waiting);
                to.text(&pairing.other);
                to.text(pairing.mailbox.as_str());
                to.bytes(&pairing.value);
                to.millis(pairing.until);
            }
            Record::Archived { room, epoch, end } => {
                to.byte(ARCHIVED);
                to.text(room.as_str());
                to.text(epoch.as_str());
                to.number(*end);
            }
            Record::Forget { room, bytes } => {
                to.byte(FORGET);
                to.text(room.as_str());
                to.number(*bytes);
            }
        }
        to.0
    }

    /// Reads what [`Record::encode`] made; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Record> {
        let mut from = Reader(bytes);
        let record = match from.byte()? {
            BEGIN => Record::Begin,
            APPEND => Record::Append(from.appending()?),
            LIFE => Record::Life {
                room: from.room()?,
                epoch: from.text()?.parse().ok()?,
            },
            BEAT => Record::Beat { at: from.millis()? },
            PUT => Record::Put {
                key: from.text()?,
                value: from.bytes()?,
                until: from.millis()?,
            },
            REMOVE => Record::Remove { key: from.text()? },
            JOIN => Record::Join {
                key: from.text()?,
                member: from.text()?,
                at: from.millis()?,
                until: from.millis()?,
            },
            LEAVE => Record::Leave {
                key: from.text()?,
                member: from.text()?,
            },
            PAIRED => Record::Paired {
                pool: from.text()?,
                offer: from.text()?,
                pairing: Pairing {
                    waiting: from.text()?,
                    other: from.text()?,
                    mailbox: from.room()?,
                    value: from.bytes()?,
                    until: from.millis()?,
                },
            },
            ARCHIVED => Record::Archived {
                room: from.room()?,
                epoch: from.text()?.parse().ok()?,
                end: from.number()?,
            },
            FORGET => Record::Forget {
                room: from.room()?,
                bytes: from.number()?,
            },
            _ => return None,
        };
        from.0.is_empty().then_some(record)
    }

    /// Whether it is held in memory while the journal is compacted. Events are copied, or left out when they were forgotten.
    pub fn is_small(&self) -> bool {
        !matches!(self, Record::Append(_) | Record::Life { .. })
    }

    /// The same of a record's bytes.
    pub fn bytes_are_small(bytes: &[u8]) -> bool {
        !matches!(bytes.first(), Some(&(APPEND | LIFE)))
    }

    /// The room whose log such bytes are about, if they are not small.
    pub fn room_of_log(bytes: &[u8]) -> Option<Room> {
        let mut from = Reader(bytes);
        matches!(from.byte()?, APPEND | LIFE).then(|| from.room())?
    }

    /// Bytes of other records that are outdated by it, besides about as many as it has itself.
    pub fn outdates(&self) -> u64 {
        match self {
            Record::Forget { bytes, .. } => *bytes,
            _ => 0,
        }
    }
}

struct Writer(Vec<u8>);

impl Writer {
    fn byte(&mut self, byte: u8) {
        self.0.push(byte);
    }

    fn number(&mut self, number: u64) {
        self.0.extend_from_slice(&number.to_le_bytes());
    }

    fn millis(&mut self, millis: Millis) {
        self.0.extend_from_slice(&millis.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }
}

struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn byte(&mut self) -> Option<u8> {
        self.0.try_get_u8().ok()
    }

    fn number(&mut self) -> Option<u64> {
        self.0.try_get_u64_le().ok()
    }

    fn millis(&mut self) -> Option<Millis> {
        self.0.try_get_i64_le().ok()
    }

    fn bytes(&mut self) -> Option<Bytes> {
        let len = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(Bytes::copy_from_slice(bytes))
    }

    fn text(&mut self) -> Option<String> {
        String::from_utf8(self.bytes()?.into()).ok()
    }

    fn room(&mut self) -> Option<Room> {
        Room::parse(&self.text()?).ok()
    }

    fn appending(&mut self) -> Option<Appending> {
        let room = self.room()?;
        let epoch = self.text()?.parse().ok()?;
        let (first, at) = (self.number()?, self.millis()?);
        let (is_set, deadline) = (self.byte()?, self.millis()?);
        let count = self.number()?;
        Some(Appending {
            room,
            epoch,
            first,
            at,
            deadline: (is_set == 1).then_some(deadline),
            events: (0..count).map(|_| self.bytes()).collect::<Option<_>>()?,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn every_record_comes_back_and_no_part_of_one_does() {
        let room = Room::parse("room").unwrap();
        let key = String::from("key");
        let appending = Appending {
            room: room.clone(),
            epoch: Epoch::new(3, "abc"),
            first: 7,
            at: -1,
            deadline: Some(i64::MAX),
            events: vec![Bytes::new(), Bytes::from_static(b"\0\xff\n")],
        };
        let pairing = Pairing {
            waiting: "a".into(),
            other: "b".into(),
            mailbox: room,
            value: Bytes::from_static(b"{}"),
            until: 5,
        };
        let records = [
            Record::Begin,
            Record::Append(Appending {
                deadline: None,
                ..appending.clone()
            }),
            Record::Append(appending),
            Record::Put {
                key: key.clone(),
                value: Bytes::from_static(b"value"),
                until: 1,
            },
            Record::Remove { key: key.clone() },
            Record::Beat { at: 7 },
            Record::Life {
                room: pairing.mailbox.clone(),
                epoch: Epoch::new(4, "xyz"),
            },
            Record::Join {
                key: key.clone(),
                member: "m".into(),
                at: 1,
                until: 2,
            },
            Record::Leave {
                key,
                member: "m".into(),
            },
            Record::Paired {
                pool: "p".into(),
                offer: "o".into(),
                pairing,
            },
            Record::Archived {
                room: Room::parse("room").unwrap(),
                epoch: Epoch::new(3, "abc"),
                end: 9,
            },
            Record::Forget {
                room: Room::parse("room").unwrap(),
                bytes: 1_000,
            },
        ];
        for record in records {
            let bytes = record.encode();
            assert_eq!(Record::decode(&bytes), Some(record));
            for len in 0..bytes.len() {
                assert_eq!(Record::decode(&bytes[..len]), None);
            }
            assert_eq!(Record::decode(&[bytes, vec![0]].concat()), None);
        }
    }
}
