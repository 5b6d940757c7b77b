//! A backplane with all that a network does to it, by seed: for simulations.
//!
//! [`Faulty`] stands between one node and any backplane. It loses, repeats, delays and reorders signals; delays calls, loses
//! them or their answers, sends them twice, and lets some take effect long after they were given up; shows a wrong clock;
//! and takes the node off the network for a while, wholly or by ear only. It never breaks a promise of the trait: what
//! it does is what [`pubsub::Backplane`] says may happen.
//!
//! With the same seed, a paused tokio clock and a current-thread runtime, the same happens again.

mod cable;
mod calls;
mod ears;
mod plan;

pub use plan::{Faults, Plan, Share};

use async_trait::async_trait;
use bytes::Bytes;
use cable::Cable;
use pubsub::*;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::time::sleep;

/// What a node's network does to it.
#[derive(Debug)]
pub struct Faulty<B: ?Sized> {
    inner: Arc<B>,
    state: Arc<State>,
}

/// How a node hangs on the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Link {
    /// All is as well as the plan lets it.
    #[default]
    Whole,
    /// Calls are answered, but nothing is heard, and the node has not noticed.
    Deaf,
    /// Nothing comes through.
    Cut,
}

#[derive(Debug)]
struct State {
    chance: Mutex<Chance>,
    link: Cable,
    clock_error: AtomicI64,
}

#[derive(Debug)]
struct Chance {
    plan: Plan,
    random: StdRng,
    faults: Faults,
}

impl<B: Backplane + ?Sized + 'static> Faulty<B> {
    /// Node number `node` on this backplane. Nodes with the same plan fare differently.
    pub fn new(inner: Arc<B>, plan: Plan, node: u64) -> Faulty<B> {
        let mut random =
            StdRng::seed_from_u64(plan.seed ^ node.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let error = plan.clock_error_ms;
        let clock_error = AtomicI64::new(random.random_range(-error..=error));
        let chance = Chance {
            plan,
            random,
            faults: Faults::default(),
        };
        Faulty {
            inner,
            state: Arc::new(State {
                chance: Mutex::new(chance),
                link: Cable::default(),
                clock_error,
            }),
        }
    }

    /// From now on the node hangs on the network so.
    pub fn set_link(&self, link: Link) {
        self.state.link.set(link);
        self.state.count(|faults| match link {
            Link::Whole => {}
            Link::Deaf => faults.deafened += 1,
            Link::Cut => faults.cut += 1,
        });
    }

    /// How it hangs on the network.
    pub fn link(&self) -> Link {
        self.state.link.get().0
    }

    /// Ends all faults, so that a simulation can see whether everything settles. What is under way still arrives.
    pub fn make_peace(&self) {
        self.state.chance().plan.make_peace();
        self.set_link(Link::Whole);
    }

    /// What was done to the node so far.
    pub fn faults(&self) -> Faults {
        self.state.chance().faults
    }

    /// Takes the node off the network from time to time, as the plan says, until peace is made; to be spawned.
    pub fn weather(&self) -> impl Future<Output = ()> + Send + 'static {
        let (inner, state) = (self.inner.clone(), self.state.clone());
        async move {
            let this = Faulty { inner, state };
            while let Some((calm, link, storm)) = this.state.next_storm() {
                sleep(calm).await;
                if this.state.next_storm().is_none() {
                    break;
                }
                this.set_link(link);
                sleep(storm).await;
                this.set_link(Link::Whole);
            }
        }
    }
}

impl State {
    fn chance(&self) -> MutexGuard<'_, Chance> {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_storm(&self) -> Option<(Duration, Link, Duration)> {
        self.chance().storm()
    }

    fn count(&self, count: impl FnOnce(&mut Faults)) {
        count(&mut self.chance().faults);
    }

    /// Waits until the node is not cut off.
    async fn connected(&self) {
        self.link.wait_for(|link| link != Link::Cut).await;
    }
}

impl Chance {
    /// Whether something that happens with this share happens now.
    fn happens(&mut self, share: Share) -> bool {
        share > 0.0 && self.random.random_bool(share.min(1.0))
    }

    /// Up to so long; mostly much less.
    fn delay(&mut self, longest: Duration) -> Duration {
        let part: f64 = self.random.random();
        longest.mul_f64(part * part * part)
    }

    fn storm(&mut self) -> Option<(Duration, Link, Duration)> {
        let (calm, storm) = self.plan.storms?;
        let link = match self.random.random_bool(0.5) {
            true => Link::Cut,
            false => Link::Deaf,
        };
        let (calm, storm) = (
            calm.mul_f64(self.random.random()),
            storm.mul_f64(self.random.random()),
        );
        Some((calm, link, storm))
    }
}

/// Sends a call through [`State::call`], with copies of its arguments, so that it can be sent twice and outlive its caller.
macro_rules! relay {
    ($self:ident, [$($argument:ident),*], $inner:ident => $call:expr) => {{
        let $inner = $self.inner.clone();
        $(let $argument = $argument.to_owned();)*
        let send = move || {
            let $inner = $inner.clone();
            $(let $argument = $argument.to_owned();)*
            async move { $call.await }
        };
        $self.state.call(send).await
    }};
}

#[async_trait]
impl<B: Backplane + ?Sized + 'static> Backplane for Faulty<B> {
    fn now(&self) -> Millis {
        self.inner.now() + self.state.clock_error.load(Ordering::Relaxed)
    }

    fn health(&self) -> Health {
        let link = self.link();
        let health = self.inner.health();
        Health {
            reachable: health.reachable && link != Link::Cut,
            hears: health.hears && link == Link::Whole,
        }
    }

    fn subscribe(&self, room: &Room) -> Subscription {
        ears::subscribe(self.inner.subscribe(room), self.state.clone())
    }

    async fn append(&self, room: &Room, append: Append) -> Answer<Appended> {
        let answer = relay!(self, [room, append], inner => inner.append(&room, append));
        if let Ok(Appended::BadTime { now }) = answer {
            let error = now - self.inner.now();
            self.state.clock_error.store(error, Ordering::Relaxed);
        }
        answer
    }

    async fn restore(&self, room: &Room, restore: Restore) -> Answer<Restored> {
        relay!(self, [room, restore], inner => inner.restore(&room, restore))
    }

    fn upheavals(&self) -> tokio::sync::watch::Receiver<u64> {
        self.inner.upheavals()
    }

    async fn read(&self, room: &Room, from: Seq) -> Answer<Option<Log>> {
        relay!(self, [room], inner => inner.read(&room, from))
    }

    async fn end(&self, room: &Room) -> Answer<Option<(Epoch, Seq)>> {
        relay!(self, [room], inner => inner.end(&room))
    }

    async fn publish(&self, room: &Room, message: Message) -> Answer<()> {
        relay!(self, [room, message], inner => inner.publish(&room, message))
    }

    async fn say(&self, room: &Room, message: Message) -> Answer<()> {
        relay!(self, [room, message], inner => inner.say(&room, message))
    }

    async fn history(&self, room: &Room, topic: &str) -> Answer<Vec<Bytes>> {
        relay!(self, [room, topic], inner => inner.history(&room, &topic))
    }

    async fn attend(
        &self,
        room: &Room,
        node: &str,
        counts: &[u32],
        ttl: Duration,
    ) -> Answer<Attendance> {
        relay!(self, [room, node, counts], inner => inner.attend(&room, &node, &counts, ttl))
    }

    async fn sweep(
        &self,
        node: &str,
        before: Millis,
        limit: usize,
        ttl: Duration,
    ) -> Answer<Vec<(Room, Millis)>> {
        relay!(self, [node], inner => inner.sweep(&node, before, limit, ttl))
    }

    async fn beat(&self) -> Answer<bool> {
        relay!(self, [], inner => inner.beat())
    }

    async fn outages(&self, room: &Room) -> Answer<Outages> {
        relay!(self, [room], inner => inner.outages(&room))
    }

    fn outages_known(&self, room: &Room) -> Outages {
        self.inner.outages_known(room)
    }

    async fn put(&self, key: &str, value: Bytes, ttl: Duration, put: Put) -> Answer<Option<Bytes>> {
        relay!(self, [key, value], inner => inner.put(&key, value, ttl, put))
    }

    async fn get(&self, key: &str) -> Answer<Option<Bytes>> {
        relay!(self, [key], inner => inner.get(&key))
    }

    async fn remove(&self, key: &str) -> Answer<()> {
        relay!(self, [key], inner => inner.remove(&key))
    }

    async fn join_set(&self, key: &str, member: &str, ttl: Duration) -> Answer<()> {
        relay!(self, [key, member], inner => inner.join_set(&key, &member, ttl))
    }

    async fn leave_set(&self, key: &str, member: &str) -> Answer<()> {
        relay!(self, [key, member], inner => inner.leave_set(&key, &member))
    }

    async fn set(&self, key: &str) -> Answer<Vec<String>> {
        relay!(self, [key], inner => inner.set(&key))
    }

    async fn seek(&self, pool: &str, seeker: &Seeker) -> Answer<Sought> {
        relay!(self, [pool, seeker], inner => inner.seek(&pool, &seeker))
    }

    async fn renew_seeks(&self, pool: &str, ids: &[String]) -> Answer<Vec<String>> {
        relay!(self, [pool, ids], inner => inner.renew_seeks(&pool, &ids))
    }

    async fn cancel_seek(&self, pool: &str, id: &str) -> Answer<bool> {
        relay!(self, [pool, id], inner => inner.cancel_seek(&pool, &id))
    }

    async fn accept_offer(&self, pool: &str, offer: &str, pairing: Bytes) -> Answer<Option<Bytes>> {
        relay!(self, [pool, offer, pairing], inner => inner.accept_offer(&pool, &offer, pairing))
    }

    async fn refuse_offer(&self, pool: &str, offer: &str) -> Answer<()> {
        relay!(self, [pool, offer], inner => inner.refuse_offer(&pool, &offer))
    }

    async fn settle_offer(&self, pool: &str, offer: &str) -> Answer<Option<Bytes>> {
        relay!(self, [pool, offer], inner => inner.settle_offer(&pool, &offer))
    }

    async fn take(&self, consumer: &str, take: &Take) -> Answer<Vec<Entry>> {
        relay!(self, [consumer, take], inner => inner.take(&consumer, &take))
    }

    async fn reclaim(&self, consumer: &str, idle: Duration, limit: usize) -> Answer<Vec<Entry>> {
        relay!(self, [consumer], inner => inner.reclaim(&consumer, idle, limit))
    }

    async fn acknowledge(&self, positions: &[QueuePosition]) -> Answer<()> {
        relay!(self, [positions], inner => inner.acknowledge(&positions))
    }

    async fn watermarks(&self) -> Answer<Vec<Watermark>> {
        relay!(self, [], inner => inner.watermarks())
    }

    async fn queue_end(&self, room: &Room) -> Answer<Option<QueuePosition>> {
        relay!(self, [room], inner => inner.queue_end(&room))
    }

    async fn backlog(&self) -> Answer<Backlog> {
        relay!(self, [], inner => inner.backlog())
    }

    async fn forget(&self, room: &Room, epoch: &Epoch, end: Seq) -> Answer<bool> {
        relay!(self, [room, epoch], inner => inner.forget(&room, &epoch, end))
    }
}

#[cfg(test)]
mod tests;
