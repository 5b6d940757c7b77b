//! Hears the rooms of this node: one connection to each primary (or to a replica of it), one sharded subscription a room.
//!
//! What is wanted stands in the [`table`]; what is confirmed is learnt from the servers' confirmations alone. Whenever the
//! two may differ (a connection broke, a slot moved, a server dropped a subscription unasked, an error came back) the rooms
//! concerned are asked for again, and each confirmation tells the room's subscribers to look at the log. Nothing is queued
//! between a connection and the subscribers' own bounded queues.

use super::{
    keys::Keys,
    options::Listen,
    server::{Address, Dialer},
    topology::{Map, Topology},
};
use crate::{Room, Subscription};
use arc_swap::ArcSwap;
use ear::Ear;
use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use table::Table;

mod ear;
mod probe;
mod table;

/// How long a room stays subscribed after its last subscriber left: who reloads a page comes back within it.
const LINGER: Duration = Duration::from_secs(2);

/// Time between two looks for rooms to leave.
const REAP_EVERY: Duration = Duration::from_millis(500);

/// See the module.
#[derive(Debug)]
pub(super) struct Subscriber {
    keys: Keys,
    topology: Arc<Topology>,
    table: Arc<Table>,
    listen: Listen,
    node: String,
    ears: ArcSwap<Ears>,
    /// Whether any probe has ever come back: a node that has just started is not ready before.
    heard: AtomicBool,
    connections: AtomicU64,
}

/// Who listens to which partition.
#[derive(Debug, Default)]
struct Ears {
    all: Vec<Arc<Ear>>,
    by_partition: Vec<Option<Arc<Ear>>>,
}

impl Subscriber {
    pub fn start(
        keys: Keys,
        topology: Arc<Topology>,
        listen: Listen,
        node: String,
    ) -> Arc<Subscriber> {
        let subscriber = Arc::new(Subscriber {
            keys,
            topology,
            table: Arc::new(Table::default()),
            listen,
            node,
            ears: ArcSwap::default(),
            heard: AtomicBool::new(false),
            connections: AtomicU64::new(0),
        });
        let version = subscriber.topology.version.subscribe();
        subscriber.remap(&subscriber.topology.map());
        tokio::spawn(subscriber.clone().run(version));
        subscriber
    }

    pub fn subscribe(self: &Arc<Subscriber>, room: &Room) -> Subscription {
        let channel = self.keys.channel(room);
        let (subscription, confirmed) = self.table.join(&channel, self.keys.of_room(room));
        if !confirmed {
            self.wake(&channel);
        }
        subscription
    }

    /// Whether every connection hears what this node says to itself.
    pub fn hears(&self) -> bool {
        let deaf = self.ears.load().all.iter().any(|ear| ear.is_deaf());
        self.heard.load(Ordering::Relaxed) && !deaf
    }

    /// Ends all subscriptions.
    pub fn close(&self) {
        for ear in &self.ears.load().all {
            ear.stop();
        }
        self.table.clear();
    }

    async fn run(self: Arc<Subscriber>, mut version: tokio::sync::watch::Receiver<u64>) {
        let mut reap = tokio::time::interval(REAP_EVERY);
        loop {
            tokio::select! {
                () = self.topology.closed.cancelled() => break,
                _ = version.changed() => self.remap(&self.topology.map()),
                _ = reap.tick() => {
                    for (channel, partition) in self.table.reap(LINGER) {
                        if let Some(Some(ear)) = self.ears.load().by_partition.get(usize::from(partition.0)) {
                            ear.look_at(channel);
                        }
                    }
                }
            }
        }
        self.close();
    }

    /// Whoever listens to this channel now looks at it.
    fn wake(&self, channel: &str) {
        let Some(partition) = self.table.partition(channel) else {
            return;
        };
        if let Some(Some(ear)) = self.ears.load().by_partition.get(usize::from(partition.0)) {
            ear.look_at(channel.to_owned());
        }
    }

    /// Deals the partitions to ears, one for each primary.
    fn remap(self: &Arc<Subscriber>, map: &Map) {
        let old = self.ears.load_full();
        let mut ears = Ears {
            all: Vec::with_capacity(map.shards.len()),
            by_partition: vec![None; usize::from(self.keys.partitions())],
        };
        for shard in &map.shards {
            let known = old
                .all
                .iter()
                .find(|ear| ear.primary() == &shard.link.address);
            let ear = match known {
                Some(ear) => ear.clone(),
                None => Ear::start(self, shard),
            };
            ear.serve(shard);
            for partition in &shard.partitions {
                ears.by_partition[usize::from(partition.0)] = Some(ear.clone());
            }
            ears.all.push(ear);
        }
        let gone = old.all.iter().filter(|ear| {
            let same = |other: &&Arc<Ear>| Arc::ptr_eq(ear, other);
            ears.all.iter().find(same).is_none()
        });
        let gone: Vec<_> = gone.cloned().collect();
        let ears = Arc::new(ears);
        self.ears.store(ears.clone());
        for ear in gone {
            ear.stop();
        }
        // Rooms whose partition has another ear now: the new one subscribes, the old one leaves.
        let moved = |partition: usize| {
            let was = old.by_partition.get(partition).and_then(Option::as_ref);
            let is = ears.by_partition[partition].as_ref();
            !matches!((was, is), (Some(was), Some(is)) if Arc::ptr_eq(was, is))
        };
        for (channel, partition) in self.table.all() {
            let index = usize::from(partition.0);
            if !moved(index) {
                continue;
            }
            for ears in [&ears.by_partition, &old.by_partition] {
                if let Some(Some(ear)) = ears.get(index) {
                    ear.look_at(channel.clone());
                }
            }
        }
    }

    fn prefers_replicas(&self) -> bool {
        !matches!(self.listen, Listen::Primaries)
    }

    /// Where an ear for this shard may connect, best first; the primary itself is the last resort.
    fn candidates(&self, replicas: &[Address]) -> Vec<(Address, Dialer)> {
        let dialer = &self.topology.dialer;
        let mut candidates: Vec<_> = match &self.listen {
            Listen::Primaries => Vec::new(),
            Listen::Replicas => replicas
                .iter()
                .map(|address| (address.clone(), dialer.clone()))
                .collect(),
            Listen::At(urls) => urls.clone(),
        };
        // Nodes begin at different replicas.
        if !candidates.is_empty() {
            let start = Keys::deal_node(&self.node, candidates.len());
            candidates.rotate_left(start);
        }
        candidates
    }

    fn next_connection(&self) -> u64 {
        self.connections.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// What an ear needs of its owner, without keeping it alive.
type Owner = Weak<Subscriber>;
