//! What goes over a room's channel, and into the queue of the archive: a line of text, then bytes.
//!
//! ```text
//! e <epoch> <first> <length> <length> …     events of these lengths follow
//! m <topic>                                  the body follows
//! a <count> <since> <count> <since> …        attendance, a pair for each group; 0 for "not absent"
//! p <number>                                 a probe
//! ```
//!
//! A line of another kind is ignored, so that a later version may add some.

use crate::{Attendance, Epoch, Group, Log, Message, Seq};
use bytes::{BufMut, Bytes};
use std::fmt::Write;

/// A message, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Heard {
    Events(Log),
    Message(Message),
    Attendance(Attendance),
    Probe(u64),
}

/// The first line of a message with events.
pub(super) fn events_head(epoch: &str, first: Seq, events: &[Bytes]) -> String {
    let mut head = format!("e {epoch} {first}");
    for event in events {
        // Writing to a string cannot fail.
        let _ = write!(head, " {}", event.len());
    }
    head.push('\n');
    head
}

/// A whole message with events.
pub(super) fn events(epoch: &str, first: Seq, events: &[Bytes]) -> Vec<u8> {
    let mut bytes = events_head(epoch, first, events).into_bytes();
    for event in events {
        bytes.put_slice(event);
    }
    bytes
}

/// The first line of a message beside the log.
pub(super) fn message_head(topic: &str) -> String {
    format!("m {topic}\n")
}

pub(super) fn message(message: &Message) -> Vec<u8> {
    let mut bytes = message_head(&message.topic).into_bytes();
    bytes.put_slice(&message.body);
    bytes
}

pub(super) fn probe(number: u64) -> String {
    format!("p {number}\n")
}

/// Understands a message; `None` for anything else. Anyone who may publish may have sent it, so nothing in it is trusted.
pub(super) fn hear(bytes: Bytes) -> Option<Heard> {
    let line_len = bytes.iter().position(|byte| *byte == b'\n')?;
    let body = bytes.slice(line_len + 1..);
    let line = std::str::from_utf8(bytes.get(..line_len)?).ok()?;
    let (kind, rest) = line.split_once(' ')?;
    let mut words = rest.split(' ');
    match kind {
        "e" => {
            let epoch: Epoch = words.next()?.parse().ok()?;
            let first = words.next()?.parse().ok()?;
            let mut events = Vec::with_capacity(1);
            let mut left = body;
            for word in words {
                let len: usize = word.parse().ok()?;
                if len > left.len() {
                    return None;
                }
                events.push(left.split_to(len));
            }
            left.is_empty().then_some(Heard::Events(Log {
                epoch,
                first,
                events,
            }))
        }
        "m" => Some(Heard::Message(Message {
            topic: rest.to_owned(),
            body,
        })),
        "a" => Some(Heard::Attendance(attendance(words)?)),
        "p" => Some(Heard::Probe(words.next()?.parse().ok()?)),
        _ => None,
    }
}

/// Pairs of count and since-when.
pub(super) fn attendance<'a>(mut words: impl Iterator<Item = &'a str>) -> Option<Attendance> {
    let mut groups = Vec::new();
    while let Some(count) = words.next() {
        let since: i64 = words.next()?.parse().ok()?;
        groups.push(Group {
            count: count.parse().ok()?,
            absent_since: (since > 0).then_some(since),
        });
    }
    Some(Attendance { groups })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn bytes(parts: &[&[u8]]) -> Vec<Bytes> {
        parts
            .iter()
            .map(|part| Bytes::copy_from_slice(part))
            .collect()
    }

    #[test]
    fn events_come_back_whatever_their_bytes() {
        let parts = bytes(&[b"", b"\n e 1.a 2\n", &[0, 255, 13, 10], &[7; 70_000]]);
        let heard = hear(events("3.xY9", 41, &parts).into()).unwrap();
        assert_eq!(
            heard,
            Heard::Events(Log {
                epoch: "3.xY9".parse().unwrap(),
                first: 41,
                events: parts
            })
        );
    }

    #[test]
    fn messages_come_back() {
        let said = Message {
            topic: "chat".to_owned(),
            body: Bytes::from_static(b"a\nb\0"),
        };
        assert_eq!(hear(message(&said).into()), Some(Heard::Message(said)));
        assert_eq!(hear(probe(7).into()), Some(Heard::Probe(7)));
        let heard = hear(Bytes::from_static(b"a 2 0 0 1700\n")).unwrap();
        let Heard::Attendance(attendance) = heard else {
            unreachable!()
        };
        assert_eq!(attendance.groups.len(), 2);
        assert_eq!(attendance.groups[1].absent_since, Some(1700));
    }

    #[test]
    fn nonsense_is_ignored() {
        let table: &[&[u8]] = &[
            b"",
            b"\n",
            b"e",
            b"e \n",
            b"e 1.a\n",
            b"e 1.a x\n",
            b"e 1.a 0 5\nabcd",
            b"e 1.a 0 3\nabcd",
            b"e 1.a 0 18446744073709551616\n",
            b"e a 0 1\nx",
            b"a 1\n",
            b"p -1\n",
            b"z future\n",
            b"\xff\xfe\n",
        ];
        for input in table {
            assert_eq!(hear(Bytes::copy_from_slice(input)), None, "{input:?}");
        }
    }
}
