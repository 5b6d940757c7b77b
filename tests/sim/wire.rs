//! A node's way to the backplane, which ends when the node is killed: what it asks from then on is never answered and does
//! nothing, so whatever is left of its tasks cannot touch the world. Mutants lie here.

use crate::mutants::Mutant;
use async_trait::async_trait;
use bytes::Bytes;
use pubsub::*;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tests::faulty::Faulty;

/// See the module.
#[derive(Debug)]
pub struct Wire {
    pub faulty: Arc<Faulty<Embedded>>,
    is_dead: AtomicBool,
    mutant: Option<Mutant>,
    appends: AtomicU64,
}

impl Wire {
    pub fn new(faulty: Faulty<Embedded>, mutant: Option<Mutant>) -> Wire {
        Wire {
            faulty: Arc::new(faulty),
            is_dead: AtomicBool::new(false),
            mutant,
            appends: AtomicU64::new(0),
        }
    }

    /// The node is killed.
    pub fn kill(&self) {
        self.is_dead.store(true, Ordering::Relaxed);
        self.faulty.set_link(tests::faulty::Link::Cut);
    }

    /// A call to the network and back; of a node that is dead by then, nothing comes back.
    async fn pass<T>(&self, call: impl Future<Output = T>) -> T {
        if !self.is_dead.load(Ordering::Relaxed) {
            let answer = call.await;
            if !self.is_dead.load(Ordering::Relaxed) {
                return answer;
            }
        }
        std::future::pending().await
    }
}

#[async_trait]
impl Backplane for Wire {
    fn now(&self) -> Millis {
        self.faulty.now()
    }

    fn health(&self) -> Health {
        self.faulty.health()
    }

    fn subscribe(&self, room: &Room) -> Subscription {
        self.faulty.subscribe(room)
    }

    async fn append(&self, room: &Room, append: Append) -> Answer<Appended> {
        let count = self.appends.fetch_add(1, Ordering::Relaxed);
        if let Some(mutant) = self.mutant
            && let Some(lie) = mutant.instead_of(count, &append)
        {
            return Ok(lie);
        }
        self.pass(self.faulty.append(room, append)).await
    }

    async fn restore(&self, room: &Room, restore: Restore) -> Answer<Restored> {
        self.pass(self.faulty.restore(room, restore)).await
    }

    fn upheavals(&self) -> tokio::sync::watch::Receiver<u64> {
        self.faulty.upheavals()
    }

    async fn read(&self, room: &Room, from: Seq) -> Answer<Option<Log>> {
        self.pass(self.faulty.read(room, from)).await
    }

    async fn end(&self, room: &Room) -> Answer<Option<(Epoch, Seq)>> {
        self.pass(self.faulty.end(room)).await
    }

    async fn publish(&self, room: &Room, message: Message) -> Answer<()> {
        self.pass(self.faulty.publish(room, message)).await
    }

    async fn say(&self, room: &Room, message: Message) -> Answer<()> {
        self.pass(self.faulty.say(room, message)).await
    }

    async fn history(&self, room: &Room, topic: &str) -> Answer<Vec<Bytes>> {
        self.pass(self.faulty.history(room, topic)).await
    }

    async fn attend(
        &self,
        room: &Room,
        node: &str,
        counts: &[u32],
        ttl: Duration,
    ) -> Answer<Attendance> {
        self.pass(self.faulty.attend(room, node, counts, ttl)).await
    }

    async fn sweep(
        &self,
        node: &str,
        before: Millis,
        limit: usize,
        ttl: Duration,
    ) -> Answer<Vec<(Room, Millis)>> {
        self.pass(self.faulty.sweep(node, before, limit, ttl)).await
    }

    async fn beat(&self) -> Answer<bool> {
        self.pass(self.faulty.beat()).await
    }

    async fn outages(&self, room: &Room) -> Answer<Outages> {
        self.pass(self.faulty.outages(room)).await
    }

    fn outages_known(&self, room: &Room) -> Outages {
        self.faulty.outages_known(room)
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration, put: Put) -> Answer<Option<Bytes>> {
        self.pass(self.faulty.put(key, value, ttl, put)).await
    }

    async fn get(&self, key: &str) -> Answer<Option<Bytes>> {
        self.pass(self.faulty.get(key)).await
    }

    async fn remove(&self, key: &str) -> Answer<()> {
        self.pass(self.faulty.remove(key)).await
    }

    async fn join_set(&self, key: &str, member: &str, ttl: Duration) -> Answer<()> {
        self.pass(self.faulty.join_set(key, member, ttl)).await
    }

    async fn leave_set(&self, key: &str, member: &str) -> Answer<()> {
        self.pass(self.faulty.leave_set(key, member)).await
    }

    async fn set(&self, key: &str) -> Answer<Vec<String>> {
        self.pass(self.faulty.set(key)).await
    }

    async fn seek(&self, pool: &str, seeker: &Seeker) -> Answer<Sought> {
        self.pass(self.faulty.seek(pool, seeker)).await
    }

    async fn renew_seeks(&self, pool: &str, ids: &[String]) -> Answer<Vec<String>> {
        self.pass(self.faulty.renew_seeks(pool, ids)).await
    }

    async fn cancel_seek(&self, pool: &str, id: &str) -> Answer<bool> {
        self.pass(self.faulty.cancel_seek(pool, id)).await
    }

    async fn accept_offer(&self, pool: &str, offer: &str, pairing: Bytes) -> Answer<Option<Bytes>> {
        self.pass(self.faulty.accept_offer(pool, offer, pairing))
            .await
    }

    async fn refuse_offer(&self, pool: &str, offer: &str) -> Answer<()> {
        self.pass(self.faulty.refuse_offer(pool, offer)).await
    }

    async fn settle_offer(&self, pool: &str, offer: &str) -> Answer<Option<Bytes>> {
        self.pass(self.faulty.settle_offer(pool, offer)).await
    }

    async fn take(&self, consumer: &str, take: &Take) -> Answer<Vec<Entry>> {
        self.pass(self.faulty.take(consumer, take)).await
    }

    async fn reclaim(&self, consumer: &str, idle: Duration, limit: usize) -> Answer<Vec<Entry>> {
        self.pass(self.faulty.reclaim(consumer, idle, limit)).await
    }

    async fn acknowledge(&self, positions: &[QueuePosition]) -> Answer<()> {
        self.pass(self.faulty.acknowledge(positions)).await
    }

    async fn watermarks(&self) -> Answer<Vec<Watermark>> {
        self.pass(self.faulty.watermarks()).await
    }

    async fn queue_end(&self, room: &Room) -> Answer<Option<QueuePosition>> {
        self.pass(self.faulty.queue_end(room)).await
    }

    async fn backlog(&self) -> Answer<Backlog> {
        self.pass(self.faulty.backlog()).await
    }

    async fn forget(&self, room: &Room, epoch: &Epoch, end: Seq) -> Answer<bool> {
        self.pass(self.faulty.forget(room, epoch, end)).await
    }
}
