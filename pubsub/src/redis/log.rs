//! Append, read, end: the calls on a room's log.

use super::{Shared, link::Link, message, queue, replication::Waited, script};
use crate::{
    AHEAD_MAX_MS, Answer, Append, Appended, CALL_TIMEOUT, Epoch, Log, Room, Seq, Unavailable,
};
use bytes::Bytes;
use rand::{RngExt, distr::Alphanumeric};
use redis::Value;
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// Random part of a new epoch: 60 bits, so that no two lives of a log are mistaken for each other.
pub(super) const EPOCH_LEN: usize = 10;

/// Before it is looked again whether an append still stands, when the connection over which replicas are waited for broke.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// Numbers beyond this are not exact in Lua. No log comes near.
const SEQ_MAX: Seq = 1 << 53;

impl Shared {
    pub async fn append(self: &Arc<Shared>, room: &Room, append: Append) -> Answer<Appended> {
        if append.events.is_empty() {
            return self.append_nothing(room, append).await;
        }
        let until = Instant::now() + CALL_TIMEOUT;
        // The same on every attempt, so that an attempt whose answer was lost is known again.
        let created = Epoch::new(1, &random_name(EPOCH_LEN));
        let mut first: Option<Appended> = None;
        loop {
            let (appended, by) = self.append_once(room, &append, &created, until).await?;
            let stands = matches!(
                appended,
                Appended::Appended { .. } | Appended::AlreadyAppended { .. }
            );
            let Some(replication) = self.replication.as_ref().filter(|_| stands) else {
                return Ok(appended);
            };
            let partition = self.keys.of_room(room);
            let waited = replication.wait(&by.address, partition, until).await;
            match (waited, first) {
                (Waited::Copied, Some(first)) if life_of(&first) == life_of(&appended) => {
                    return Ok(first);
                }
                (Waited::Copied, _) => return Ok(appended),
                // It must be looked at whether it stands there still.
                (Waited::Broken, before) if Instant::now() < until => {
                    first = before.or(Some(appended));
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
                (Waited::Broken | Waited::NotYet, _) => return Err(not_copied()),
            }
        }
    }

    /// Answers also who did it.
    async fn append_once(
        self: &Arc<Shared>,
        room: &Room,
        append: &Append,
        created: &Epoch,
        until: Instant,
    ) -> Answer<(Appended, Arc<Link>)> {
        let partition = self.keys.of_room(room);
        let epoch = append.epoch.as_ref().unwrap_or(created);
        let head = message::events_head(epoch.as_str(), append.expected, &append.events);
        let channel = self.keys.channel(room);
        let mut keys = vec![self.keys.log(room), self.keys.deadlines(partition)];
        if self.queue {
            keys.push(self.keys.queue(partition));
            keys.push(self.keys.archived(partition));
        }
        let mut command = script::APPEND.on(keys.iter().map(String::as_str));
        command
            .arg(append.epoch.as_ref().map_or("", Epoch::as_str))
            .arg(created.as_str())
            .arg(append.expected.min(SEQ_MAX))
            .arg(AHEAD_MAX_MS.saturating_sub(append.at))
            .arg(append.deadline.map(|at| at.to_string()).unwrap_or_default())
            .arg(room.as_str())
            .arg(&channel)
            .arg(head)
            .arg(rand::random::<u64>());
        for event in &append.events {
            command.arg(event.as_ref());
        }
        let answered = self
            .run_settled(partition, &script::APPEND, &command, until)
            .await?;
        let by = answered.by.clone();
        let mut items = match answered.value {
            Value::Int(_) => Vec::new().into_iter(),
            Value::Array(items) => items.into_iter(),
            other => return Err(odd("append", &other)),
        };
        let kind = match items.next() {
            None => "appended".to_owned(),
            kind => text(kind)?,
        };
        let next = items.next();
        let appended = match kind.as_str() {
            "appended" | "queued" => {
                if answered.while_moving {
                    self.ring_at_the_old_place(partition, channel, epoch, append);
                }
                Appended::Appended {
                    epoch: epoch.clone(),
                    queued: match next {
                        None => None,
                        life => Some(queue::position(partition, number(life)?, items.next())?),
                    },
                }
            }
            "gone" => Appended::Gone { end: number(next)? },
            "other" => Appended::OtherEpoch {
                epoch: parsed_epoch(next)?,
            },
            "already" => Appended::AlreadyAppended {
                epoch: parsed_epoch(next)?,
            },
            "conflict" => Appended::Conflict {
                epoch: parsed_epoch(next)?,
                missed: byte_strings(items.next())?,
            },
            "time" => {
                let now = number(next)?;
                answered.by.correct_clock(now * 1000, answered.sent_us);
                self.topology.clock_learnt();
                Appended::BadTime { now }
            }
            _ => return Err(odd("append", &kind)),
        };
        Ok((appended, by))
    }

    /// As the embedded backplane answers it, and without a log of no events coming to be.
    async fn append_nothing(self: &Arc<Shared>, room: &Room, append: Append) -> Answer<Appended> {
        Ok(match (self.end(room).await?, append.epoch) {
            (None, _) => Appended::Gone { end: 0 },
            (Some((epoch, _)), Some(named)) if named != epoch => Appended::OtherEpoch { epoch },
            (Some((_, end)), _) if append.expected > end => Appended::Gone { end },
            (Some((epoch, _)), _) => Appended::AlreadyAppended { epoch },
        })
    }

    /// While a slot moves, its new server takes appends, but those who listen are still at the old one, until the move is over
    /// and they are told to look at the log. That may take a while, so they are told of this append by a message of its own.
    fn ring_at_the_old_place(
        self: &Arc<Shared>,
        partition: super::keys::Partition,
        channel: String,
        epoch: &Epoch,
        append: &Append,
    ) {
        let message = message::events(epoch.as_str(), append.expected, &append.events);
        let shared = self.clone();
        tokio::spawn(async move {
            let mut command = redis::cmd("SPUBLISH");
            command.arg(channel).arg(message);
            // A doorbell may be lost: the new subscription will ring again.
            let _ = shared.call(partition, &command).await;
        });
    }

    pub async fn read(self: &Arc<Shared>, room: &Room, from: Seq) -> Answer<Option<Log>> {
        let mut command = script::READ.on([self.keys.log(room).as_str()].into_iter());
        command.arg(from.min(SEQ_MAX));
        let partition = self.keys.of_room(room);
        let answered = self.run(partition, &script::READ, &command).await?;
        let mut items = match answered.value {
            Value::Nil => return Ok(None),
            Value::Array(items) => items.into_iter(),
            other => return Err(odd("read", &other)),
        };
        let epoch = parsed_epoch(items.next())?;
        Ok(Some(Log {
            epoch,
            first: from,
            events: byte_strings(items.next())?,
        }))
    }

    pub async fn confirm(self: &Arc<Shared>, room: &Room, epoch: &Epoch, end: Seq) -> Answer<()> {
        let Some(replication) = &self.replication else {
            return Ok(());
        };
        let until = Instant::now() + CALL_TIMEOUT;
        let partition = self.keys.of_room(room);
        loop {
            let (there, by) = self.end_by(room).await?;
            if there.is_none_or(|(life, at)| life != *epoch || at < end) {
                return Err(Unavailable("it is not in the log any more".to_owned()));
            }
            match replication.wait(&by.address, partition, until).await {
                Waited::Copied => return Ok(()),
                Waited::Broken if Instant::now() < until => tokio::time::sleep(AGAIN_AFTER).await,
                Waited::Broken | Waited::NotYet => return Err(not_copied()),
            }
        }
    }

    pub async fn end(self: &Arc<Shared>, room: &Room) -> Answer<Option<(Epoch, Seq)>> {
        Ok(self.end_by(room).await?.0)
    }

    async fn end_by(self: &Arc<Shared>, room: &Room) -> Answer<(Option<(Epoch, Seq)>, Arc<Link>)> {
        let command = script::END.on([self.keys.log(room).as_str()].into_iter());
        let partition = self.keys.of_room(room);
        let answered = self.run(partition, &script::END, &command).await?;
        let end = match answered.value {
            Value::Nil => None,
            Value::Array(items) => {
                let mut items = items.into_iter();
                Some((parsed_epoch(items.next())?, number(items.next())?))
            }
            other => return Err(odd("end", &other)),
        };
        Ok((end, answered.by))
    }
}

fn life_of(appended: &Appended) -> Option<&Epoch> {
    match appended {
        Appended::Appended { epoch, .. } | Appended::AlreadyAppended { epoch } => Some(epoch),
        _ => None,
    }
}

fn not_copied() -> Unavailable {
    Unavailable("no replica has it yet".to_owned())
}

/// Letters and digits, by chance.
pub(super) fn random_name(len: usize) -> String {
    let letters = rand::rng().sample_iter(Alphanumeric).take(len);
    letters.map(char::from).collect()
}

/// Redis answered what our scripts never answer: somebody else writes to these keys.
pub(super) fn odd(what: &str, answer: &dyn std::fmt::Debug) -> Unavailable {
    tracing::error!(what, ?answer, "redis answered something strange");
    Unavailable(format!("a strange answer to {what}"))
}

fn parse<T: redis::FromRedisValue>(value: Option<Value>) -> Answer<T> {
    let value = value.unwrap_or(Value::Nil);
    redis::from_redis_value(value).map_err(|error| odd("a call", &error))
}

pub(super) fn text(value: Option<Value>) -> Answer<String> {
    parse(value)
}

pub(super) fn number<T: redis::FromRedisValue>(value: Option<Value>) -> Answer<T> {
    parse(value)
}

pub(super) fn parsed_epoch(value: Option<Value>) -> Answer<Epoch> {
    let text = text(value)?;
    text.parse().map_err(|_| odd("a call", &text))
}

/// A list of byte strings.
pub(super) fn byte_strings(value: Option<Value>) -> Answer<Vec<Bytes>> {
    let Some(Value::Array(items)) = value else {
        return Err(odd("a call", &value));
    };
    let bytes = items.into_iter().map(|item| match item {
        Value::BulkString(bytes) => Ok(Bytes::from(bytes)),
        other => Err(odd("a call", &other)),
    });
    bytes.collect()
}
