//! What happens in a room beside its log: messages, chat, attendance.

use super::{
    Shared,
    log::{byte_strings, odd, text},
    message, script,
};
use crate::{Answer, Attendance, GROUPS_MAX, HISTORY_LEN, Message, Room};
use bytes::Bytes;
use std::{sync::Arc, time::Duration};

/// How long lines are kept after the last one: a day.
const HISTORY_TTL: Duration = Duration::from_secs(24 * 60 * 60);

/// How often a mere change of numbers is published: a busy room must not ring at every arrival.
const COALESCE: Duration = Duration::from_secs(1);

/// Whole milliseconds, at least one: Redis refuses a time to live of nothing.
pub(super) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).map_or(u64::MAX >> 11, |ms| ms.clamp(1, u64::MAX >> 11))
}

impl Shared {
    pub async fn publish(self: &Arc<Shared>, room: &Room, message: Message) -> Answer<()> {
        let mut command = redis::cmd("SPUBLISH");
        command
            .arg(self.keys.channel(room))
            .arg(message::message(&message));
        self.call(self.keys.of_room(room), &command).await?;
        Ok(())
    }

    pub async fn say(self: &Arc<Shared>, room: &Room, message: Message) -> Answer<()> {
        let key = self.keys.said(room, &message.topic);
        let mut command = script::SAY.on([key.as_str()].into_iter());
        command
            .arg(self.keys.channel(room))
            .arg(message::message_head(&message.topic))
            .arg(message.body.as_ref())
            .arg(HISTORY_LEN)
            .arg(millis(HISTORY_TTL));
        self.run(self.keys.of_room(room), &script::SAY, &command)
            .await?;
        Ok(())
    }

    pub async fn history(self: &Arc<Shared>, room: &Room, topic: &str) -> Answer<Vec<Bytes>> {
        let mut command = redis::cmd("LRANGE");
        command.arg(self.keys.said(room, topic)).arg(0).arg(-1);
        let value = self.call(self.keys.of_room(room), &command).await?;
        byte_strings(Some(value))
    }

    pub async fn attend(
        self: &Arc<Shared>,
        room: &Room,
        node: &str,
        counts: &[u32],
        ttl: Duration,
    ) -> Answer<Attendance> {
        let keys = [
            self.keys.attendance(room),
            self.keys.attendance_leases(room),
        ];
        let mut command = script::ATTEND.on(keys.iter().map(String::as_str));
        command
            .arg(self.keys.channel(room))
            .arg(node)
            .arg(millis(ttl))
            .arg(millis(COALESCE));
        for count in counts.iter().take(GROUPS_MAX) {
            command.arg(count);
        }
        let partition = self.keys.of_room(room);
        let answered = self.run(partition, &script::ATTEND, &command).await?;
        let line = text(Some(answered.value))?;
        let words = line.trim_end().split(' ').skip(1);
        message::attendance(words).ok_or_else(|| odd("attend", &line))
    }

    /// Publishes without waiting: a doorbell, whose loss is made up for by whoever waits for it.
    pub fn tell(self: &Arc<Shared>, mailbox: Room, topic: &str, body: Bytes) {
        let shared = self.clone();
        let topic = topic.to_owned();
        tokio::spawn(async move {
            let message = Message { topic, body };
            if let Err(unavailable) = shared.publish(&mailbox, message).await {
                tracing::debug!(room = %mailbox, %unavailable, "could not tell");
            }
        });
    }
}
