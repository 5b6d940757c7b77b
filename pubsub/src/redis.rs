//! The backplane on Redis 7+ or Valkey, for many processes: one server, Sentinel, or Redis Cluster.
//!
//! Every call concerns one partition, so one path serves all three arrangements: `topology` says which server is the
//! partition's primary, `link` is the one connection to it, `call` follows redirections and waits out failovers. What must be
//! atomic is a Lua script of its own name. `subscriber` hears what is published.

use crate::{
    Ack, Answer, Append, Appended, Attendance, Backlog, Backplane, CALL_TIMEOUT, Entry, Epoch,
    Health, Log, Message, Millis, Outages, Put, QueuePosition, Restore, Restored, Room, Seeker,
    Seq, Sought, Subscription, Take, Watermark,
};
use async_trait::async_trait;
use bytes::Bytes;
use keys::{Keys, Partition};
use std::{sync::Arc, time::Duration};
use subscriber::Subscriber;
use tokio::{sync::watch, time::Instant};
use tokio_util::sync::CancellationToken;
use topology::Topology;

mod acl;
mod beat;
mod call;
mod clock;
mod every;
mod inspect;
mod keys;
mod link;
mod log;
mod matchmaking;
mod message;
mod options;
mod queue;
mod records;
mod replication;
mod restore;
mod rooms;
mod script;
mod server;
mod start;
mod subscriber;
mod sweep;
mod topology;

pub use acl::ACL_RULE;
pub use inspect::{Facts, inspect};
pub use options::{Mode, PARTITIONS, PARTITIONS_MAX, REPLICAS, RedisOptions, StartError};

/// What gateways share, kept in Redis. Dropping it ends its connections and subscriptions.
#[derive(Debug)]
pub struct Redis {
    shared: Arc<Shared>,
    subscriber: Arc<Subscriber>,
}

/// What every call needs.
#[derive(Debug)]
struct Shared {
    keys: Keys,
    topology: Arc<Topology>,
    queue: bool,
    archivers: queue::Leases,
    pulse: beat::Pulse,
    /// Where a replica must have an append before it is answered.
    replication: Option<replication::Replication>,
}

impl Shared {
    async fn call(
        self: &Arc<Shared>,
        partition: Partition,
        command: &::redis::Cmd,
    ) -> Answer<::redis::Value> {
        let until = Instant::now() + CALL_TIMEOUT;
        self.topology.call(partition, command, until).await
    }

    async fn insist(
        self: &Arc<Shared>,
        partition: Partition,
        command: &::redis::Cmd,
    ) -> Answer<call::Answered> {
        let until = Instant::now() + CALL_TIMEOUT;
        self.topology.insist(partition, command, None, until).await
    }

    async fn run(
        self: &Arc<Shared>,
        partition: Partition,
        script: &script::Script,
        command: &::redis::Cmd,
    ) -> Answer<call::Answered> {
        let until = Instant::now() + CALL_TIMEOUT;
        self.topology
            .run_script(partition, script, command, until)
            .await
    }
}

impl Shared {
    /// Not while others may be about to restore what servers lost.
    async fn run_settled(
        self: &Arc<Shared>,
        partition: Partition,
        script: &script::Script,
        command: &::redis::Cmd,
        until: Instant,
    ) -> Answer<call::Answered> {
        self.topology
            .run_settled(partition, script, command, until)
            .await
    }
}

impl Redis {
    /// Connects, and checks that the servers are what the options say. Fails within some seconds; afterwards, whatever
    /// happens to the servers, the calls try again and the subscriptions come back.
    pub async fn connect(options: RedisOptions) -> Result<Redis, StartError> {
        let plan = options.plan()?;
        start::check_servers(&plan).await?;
        let keys = Keys::new(plan.dialer.database(), plan.partitions);
        let closed = CancellationToken::new();
        let guard = closed.clone().drop_guard();
        let topology = Topology::discover(&plan, &keys, closed).await?;
        start::check_partitions(&topology, &keys).await?;
        tokio::spawn(topology.clone().run());
        tokio::spawn(start::keep_partitions(topology.clone(), keys.clone()));
        let subscriber = Subscriber::start(keys.clone(), topology.clone(), plan.listen, plan.node);
        guard.disarm();
        let shared = Arc::new(Shared {
            pulse: beat::Pulse::new(keys.partitions()),
            replication: (plan.ack == Ack::Replica)
                .then(|| replication::Replication::new(&topology, &keys)),
            keys,
            topology,
            queue: plan.queue,
            archivers: queue::Leases::default(),
        });
        Ok(Redis { shared, subscriber })
    }

    /// Sends a PING over the connection that appends use, to the server of the first partition: how far away it is.
    pub async fn ping(&self) -> Answer<Duration> {
        let begun = Instant::now();
        let ping = ::redis::cmd("PING");
        self.shared.call(Partition(0), &ping).await?;
        Ok(begun.elapsed())
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        self.shared.topology.closed.cancel();
        self.subscriber.close();
    }
}

#[async_trait]
impl Backplane for Redis {
    fn now(&self) -> Millis {
        self.shared.topology.now()
    }

    fn health(&self) -> Health {
        Health {
            reachable: self.shared.topology.reachable(),
            hears: self.subscriber.hears(),
        }
    }

    fn servers(&self) -> Vec<crate::ServerStatus> {
        self.shared.topology.servers()
    }

    async fn append(&self, room: &Room, append: Append) -> Answer<Appended> {
        self.shared.append(room, append).await
    }

    async fn confirm(&self, room: &Room, epoch: &Epoch, end: Seq) -> Answer<()> {
        self.shared.confirm(room, epoch, end).await
    }

    async fn restore(&self, room: &Room, restore: Restore) -> Answer<Restored> {
        self.shared.restore(room, restore).await
    }

    fn upheavals(&self) -> watch::Receiver<u64> {
        self.shared.topology.upheavals.subscribe()
    }

    async fn read(&self, room: &Room, from: Seq) -> Answer<Option<Log>> {
        self.shared.read(room, from).await
    }

    async fn end(&self, room: &Room) -> Answer<Option<(Epoch, Seq)>> {
        self.shared.end(room).await
    }

    fn subscribe(&self, room: &Room) -> Subscription {
        self.subscriber.subscribe(room)
    }

    async fn publish(&self, room: &Room, message: Message) -> Answer<()> {
        self.shared.publish(room, message).await
    }

    async fn say(&self, room: &Room, message: Message) -> Answer<()> {
        self.shared.say(room, message).await
    }

    async fn history(&self, room: &Room, topic: &str) -> Answer<Vec<Bytes>> {
        self.shared.history(room, topic).await
    }

    async fn attend(
        &self,
        room: &Room,
        node: &str,
        counts: &[u32],
        ttl: Duration,
    ) -> Answer<Attendance> {
        self.shared.attend(room, node, counts, ttl).await
    }

    async fn sweep(
        &self,
        node: &str,
        before: Millis,
        limit: usize,
        ttl: Duration,
    ) -> Answer<Vec<(Room, Millis)>> {
        self.shared.sweep(node, before, limit, ttl).await
    }

    async fn beat(&self) -> Answer<bool> {
        self.shared.beat().await
    }

    async fn outages(&self, room: &Room) -> Answer<Outages> {
        self.shared.outages(room).await
    }

    fn outages_known(&self, room: &Room) -> Outages {
        self.shared.outages_known(room)
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration, put: Put) -> Answer<Option<Bytes>> {
        self.shared.put(key, value, ttl, put).await
    }

    async fn get(&self, key: &str) -> Answer<Option<Bytes>> {
        self.shared.get(key).await
    }

    async fn remove(&self, key: &str) -> Answer<()> {
        self.shared.remove(key).await
    }

    async fn join_set(&self, key: &str, member: &str, ttl: Duration) -> Answer<()> {
        self.shared.join_set(key, member, ttl).await
    }

    async fn leave_set(&self, key: &str, member: &str) -> Answer<()> {
        self.shared.leave_set(key, member).await
    }

    async fn set(&self, key: &str) -> Answer<Vec<String>> {
        self.shared.set(key).await
    }

    async fn seek(&self, pool: &str, seeker: &Seeker) -> Answer<Sought> {
        self.shared.seek(pool, seeker).await
    }

    async fn renew_seeks(&self, pool: &str, ids: &[String]) -> Answer<Vec<String>> {
        self.shared.renew_seeks(pool, ids).await
    }

    async fn cancel_seek(&self, pool: &str, id: &str) -> Answer<bool> {
        self.shared.cancel_seek(pool, id).await
    }

    async fn accept_offer(&self, pool: &str, offer: &str, pairing: Bytes) -> Answer<Option<Bytes>> {
        self.shared.accept_offer(pool, offer, pairing).await
    }

    async fn refuse_offer(&self, pool: &str, offer: &str) -> Answer<()> {
        self.shared.refuse_offer(pool, offer).await
    }

    async fn settle_offer(&self, pool: &str, offer: &str) -> Answer<Option<Bytes>> {
        self.shared.settle_offer(pool, offer).await
    }

    async fn take(&self, consumer: &str, take: &Take) -> Answer<Vec<Entry>> {
        self.shared.take(consumer, take).await
    }

    async fn reclaim(&self, consumer: &str, idle: Duration, limit: usize) -> Answer<Vec<Entry>> {
        self.shared.reclaim(consumer, idle, limit).await
    }

    async fn acknowledge(&self, positions: &[QueuePosition]) -> Answer<()> {
        self.shared.acknowledge(positions).await
    }

    async fn watermarks(&self) -> Answer<Vec<Watermark>> {
        self.shared.watermarks().await
    }

    async fn queue_end(&self, room: &Room) -> Answer<Option<QueuePosition>> {
        self.shared.queue_end(room).await
    }

    async fn backlog(&self) -> Answer<Backlog> {
        self.shared.backlog().await
    }

    async fn forget(&self, room: &Room, epoch: &Epoch, end: Seq) -> Answer<bool> {
        self.shared.forget(room, epoch, end).await
    }
}
