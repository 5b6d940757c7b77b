//! From entries of the queue to rows: what a batch adds to the events, and what it changes of the games.

use bytes::Bytes;
use pubsub::{Content, Entry};
use shared::{
    Timestamp,
    game::{Event, EventBody, EventError, GameCreated, GameOver},
};
use std::collections::BTreeMap;

/// A row of `events`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventRow {
    pub game: String,
    pub epoch: String,
    pub generation: i64,
    pub seq: i64,
    pub at: i64,
    pub body: Bytes,
}

/// What a batch says of one life of one game.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GameChange {
    pub id: String,
    pub epoch: String,
    pub generation: i64,
    pub created: Option<(GameCreated, i64)>,
    pub over: Option<(GameOver, i64)>,
    pub last_seq: i64,
    pub last_at: i64,
    /// After the last event that says so.
    pub board: Option<(i64, String)>,
}

/// An entry that cannot be archived, kept for whoever looks into it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Aside {
    pub partition: i64,
    pub place: String,
    pub why: String,
    pub body: Bytes,
}

/// Rows to write in one transaction.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Batch {
    pub events: Vec<EventRow>,
    /// In the order of their ids, so that two writers lock rows in one order.
    pub games: Vec<GameChange>,
    pub aside: Vec<Aside>,
}

impl Batch {
    /// What these entries say.
    pub fn of(entries: &[Entry]) -> Batch {
        let mut batch = Batch::default();
        let mut rows: BTreeMap<(String, String, i64), EventRow> = BTreeMap::new();
        let mut games: BTreeMap<(String, i64, String), GameChange> = BTreeMap::new();
        for entry in entries {
            let (room, log) = match &entry.content {
                Content::Events { room, log } => (room, log),
                Content::Unreadable(body) => {
                    batch
                        .aside
                        .push(aside(entry, "no entry of a queue", body.clone()));
                    continue;
                }
            };
            let generation = i64::try_from(log.epoch.generation()).unwrap_or(i64::MAX);
            let key = (room.to_string(), generation, log.epoch.to_string());
            let change = games.entry(key).or_insert_with(|| GameChange {
                id: room.to_string(),
                epoch: log.epoch.to_string(),
                generation,
                created: None,
                over: None,
                last_seq: -1,
                last_at: 0,
                board: None,
            });
            for (seq, body) in (log.first..).zip(&log.events) {
                let seq = i64::try_from(seq).unwrap_or(i64::MAX);
                let at = change.take(seq, body);
                // An entry that was taken twice is in the batch twice; an upsert may not touch a row twice.
                let row = EventRow {
                    game: change.id.clone(),
                    epoch: change.epoch.clone(),
                    generation,
                    seq,
                    at,
                    body: body.clone(),
                };
                rows.insert((row.game.clone(), row.epoch.clone(), seq), row);
            }
        }
        batch.events = rows.into_values().collect();
        batch.games = games
            .into_values()
            .filter(|game| game.last_seq >= 0)
            .collect();
        batch
    }

    /// An entry that the database refuses.
    pub fn refused(entry: &Entry, why: &str) -> Batch {
        let body = match &entry.content {
            Content::Unreadable(body) => body.clone(),
            Content::Events { room, log } => {
                let mut text = format!("{room} {} {}\n", log.epoch, log.first).into_bytes();
                for event in &log.events {
                    text.extend_from_slice(event);
                    text.push(b'\n');
                }
                text.into()
            }
        };
        Batch {
            aside: vec![aside(entry, why, body)],
            ..Batch::default()
        }
    }
}

fn aside(entry: &Entry, why: &str, body: Bytes) -> Aside {
    Aside {
        partition: i64::from(entry.position.partition),
        place: entry.position.place.to_string(),
        why: why.to_owned(),
        body,
    }
}

impl GameChange {
    /// Takes in what an event says, and answers when it happened. Bytes that are no event of this release are archived all the
    /// same: a later release may understand them.
    fn take(&mut self, seq: i64, body: &Bytes) -> i64 {
        let event = match Event::decode(body) {
            Ok(event) => event,
            Err(error) => {
                if !matches!(error, EventError::UnknownType { .. }) {
                    tracing::warn!(game = self.id, seq, %error, "archived as it is: no event");
                }
                let at = moment(body).unwrap_or(self.last_at);
                self.went_on(seq, at);
                return at;
            }
        };
        let at = event.at.0;
        match event.body {
            EventBody::GameCreated(created) => {
                self.board = Some((0, created.fen.clone()));
                self.created = Some((created, at));
            }
            EventBody::Move(moved) => self.board = Some((i64::from(moved.ply), moved.fen)),
            EventBody::Takeback(back) => self.board = Some((i64::from(back.ply), back.fen)),
            EventBody::GameOver(over) => self.over = Some((over, at)),
            _ => {}
        }
        self.went_on(seq, at);
        at
    }

    fn went_on(&mut self, seq: i64, at: i64) {
        if seq > self.last_seq {
            (self.last_seq, self.last_at) = (seq, at);
        }
    }
}

/// The `at` of an event of a later release.
fn moment(body: &[u8]) -> Option<i64> {
    #[derive(serde::Deserialize)]
    struct At {
        at: Timestamp,
    }
    serde_json::from_slice(body).ok().map(|At { at }| at.0)
}

/// A text as PostgreSQL takes it: NUL is the one character it has no room for.
pub fn plain(text: &str) -> String {
    text.replace('\0', "")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use pubsub::{Epoch, Log, QueuePosition, Room, queue::Place};

    fn entry(first: u64, events: &[&str]) -> Entry {
        Entry {
            position: QueuePosition {
                partition: 3,
                life: 1,
                place: Place {
                    major: 5,
                    minor: first,
                },
            },
            content: Content::Events {
                room: Room::parse("game").unwrap(),
                log: Log {
                    epoch: Epoch::new(2, "x"),
                    first,
                    events: events
                        .iter()
                        .map(|text| Bytes::from(text.to_string()))
                        .collect(),
                },
            },
        }
    }

    #[test]
    fn entries_taken_twice_are_rows_once() {
        let later =
            r#"{"seq":1,"at":70,"type":"draw_offered","payload":{"gameId":"game","by":"white"}}"#;
        let future = r#"{"seq":2,"at":80,"type":"fireworks","payload":{}}"#;
        let batch = Batch::of(&[entry(1, &[later, future]), entry(1, &[later])]);
        assert_eq!(batch.events.len(), 2);
        assert_eq!(batch.events[1].at, 80);
        assert_eq!(batch.games.len(), 1);
        assert_eq!((batch.games[0].last_seq, batch.games[0].last_at), (2, 80));
        assert_eq!(batch.games[0].generation, 2);
    }

    #[test]
    fn what_is_no_entry_is_kept_aside() {
        let mut strange = entry(0, &[]);
        strange.content = Content::Unreadable(Bytes::from_static(b"\xff"));
        let batch = Batch::of(&[strange, entry(0, &["\u{0}no json"])]);
        assert_eq!(batch.aside[0].place, "5-0");
        assert_eq!(
            batch.events.len(),
            1,
            "bytes of a log are archived whatever they are"
        );
    }
}
