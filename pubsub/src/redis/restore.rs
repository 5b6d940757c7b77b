//! Putting back what a log lost.

use super::{
    Shared,
    log::{EPOCH_LEN, number, odd, parsed_epoch, random_name, text},
    script,
};
use crate::{Answer, Restore, Restored, Room, Unavailable};
use redis::Value;
use std::sync::Arc;

impl Shared {
    pub async fn restore(self: &Arc<Shared>, room: &Room, restore: Restore) -> Answer<Restored> {
        if restore.events.is_empty() {
            return Err(Unavailable("nothing to restore".to_owned()));
        }
        let partition = self.keys.of_room(room);
        let mut keys = vec![self.keys.log(room), self.keys.deadlines(partition)];
        if self.queue {
            keys.push(self.keys.queue(partition));
            keys.push(self.keys.archived(partition));
        }
        let mut command = script::RESTORE.on(keys.iter().map(String::as_str));
        command
            .arg(restore.epoch.as_str())
            .arg(random_name(EPOCH_LEN))
            .arg(
                restore
                    .deadline
                    .map(|at| at.to_string())
                    .unwrap_or_default(),
            )
            .arg(room.as_str())
            .arg(self.keys.channel(room))
            .arg(rand::random::<u64>());
        for event in &restore.events {
            command.arg(event.as_ref());
        }
        let answered = self.run(partition, &script::RESTORE, &command).await?;
        let Value::Array(items) = answered.value else {
            return Err(odd("restore", &answered.value));
        };
        let mut items = items.into_iter();
        let kind = text(items.next())?;
        let epoch = parsed_epoch(items.next())?;
        Ok(match kind.as_str() {
            "extended" => Restored::Extended {
                epoch,
                from: number(items.next())?,
            },
            "held" => Restored::Held {
                epoch,
                end: number(items.next())?,
            },
            "forked" => Restored::Forked {
                epoch,
                at: number(items.next())?,
                raised: number::<u8>(items.next())? == 1,
            },
            _ => return Err(odd("restore", &kind)),
        })
    }
}
