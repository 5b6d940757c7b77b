//! Small records and sets that lapse.

use super::{
    Shared,
    log::{odd, text},
    rooms::millis,
    script,
};
use crate::{Answer, Put};
use bytes::Bytes;
use redis::Value;
use std::{sync::Arc, time::Duration};

fn record(value: Value) -> Answer<Option<Bytes>> {
    match value {
        Value::Nil | Value::Okay => Ok(None),
        Value::BulkString(bytes) => Ok(Some(Bytes::from(bytes))),
        other => Err(odd("a record", &other)),
    }
}

impl Shared {
    pub async fn put(
        self: &Arc<Shared>,
        key: &str,
        value: Bytes,
        ttl: Duration,
        put: Put,
    ) -> Answer<Option<Bytes>> {
        let mut command = redis::cmd("SET");
        command.arg(self.keys.record(key)).arg(value.as_ref());
        if put == Put::IfAbsent {
            command.arg("NX").arg("GET");
        }
        command.arg("PX").arg(millis(ttl));
        let answered = self.insist(self.keys.of_key(key), &command).await?;
        let in_the_way = record(answered.value)?;
        // After an attempt whose answer was lost, what is in the way may be what that attempt wrote.
        Ok(in_the_way.filter(|found| !(answered.asked_before && *found == value)))
    }

    pub async fn get(self: &Arc<Shared>, key: &str) -> Answer<Option<Bytes>> {
        let mut command = redis::cmd("GET");
        command.arg(self.keys.record(key));
        record(self.call(self.keys.of_key(key), &command).await?)
    }

    pub async fn remove(self: &Arc<Shared>, key: &str) -> Answer<()> {
        let mut command = redis::cmd("DEL");
        command.arg(self.keys.record(key));
        self.call(self.keys.of_key(key), &command).await?;
        Ok(())
    }

    async fn on_set(
        self: &Arc<Shared>,
        script: &script::Script,
        key: &str,
        arguments: &[&str],
    ) -> Answer<Value> {
        let keys = self.keys.set(key);
        let mut command = script.on(keys.iter().map(String::as_str));
        for argument in arguments {
            command.arg(*argument);
        }
        let partition = self.keys.of_key(key);
        Ok(self.run(partition, script, &command).await?.value)
    }

    pub async fn join_set(
        self: &Arc<Shared>,
        key: &str,
        member: &str,
        ttl: Duration,
    ) -> Answer<()> {
        let ttl = millis(ttl).to_string();
        self.on_set(&script::JOIN_SET, key, &[member, &ttl]).await?;
        Ok(())
    }

    pub async fn leave_set(self: &Arc<Shared>, key: &str, member: &str) -> Answer<()> {
        self.on_set(&script::LEAVE_SET, key, &[member]).await?;
        Ok(())
    }

    pub async fn set(self: &Arc<Shared>, key: &str) -> Answer<Vec<String>> {
        match self.on_set(&script::SET, key, &[]).await? {
            Value::Array(members) => members.into_iter().map(|m| text(Some(m))).collect(),
            other => Err(odd("a set", &other)),
        }
    }
}
