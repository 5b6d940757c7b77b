//! Which server is the primary of which partition: fixed for a single server, told by Sentinels or by the cluster's nodes
//! each second and at every sign of trouble.

use super::{
    clock,
    keys::{Keys, Partition},
    link::{Link, Watch},
    options::{Plan, StartError},
    server::{Address, Dialer},
};
use arc_swap::ArcSwap;
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicI64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::Instant,
};
use tokio_util::sync::CancellationToken;

pub(super) mod cluster;
mod sentinel;

/// Time between two looks at the arrangement of the servers when nothing seems wrong.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// The same while Sentinels say that a failover is under way.
const LOOK_EVERY_UNSETTLED: Duration = Duration::from_millis(100);

/// Least time between two looks, however much trouble is reported.
const LOOK_PAUSE: Duration = Duration::from_millis(50);

/// How long a link to a server outside the map is kept after it was last needed.
const STRAY_TTL: Duration = Duration::from_secs(10);

/// Servers' clocks that differ by more than this are reported, in microseconds.
const SKEW_MAX_US: i64 = 50_000;

/// One primary, and who copies it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Found {
    pub primary: Address,
    pub replicas: Vec<Address>,
    pub partitions: Vec<Partition>,
}

/// One primary with the connection to it.
#[derive(Debug)]
pub(super) struct Shard {
    pub link: Arc<Link>,
    pub replicas: Vec<Address>,
    pub partitions: Vec<Partition>,
}

/// Who owns what, as far as known.
#[derive(Debug, Default)]
pub(super) struct Map {
    pub shards: Vec<Arc<Shard>>,
    owners: Vec<Option<Arc<Shard>>>,
}

impl Map {
    pub fn owner(&self, partition: Partition) -> Option<&Arc<Shard>> {
        self.owners.get(usize::from(partition.0))?.as_ref()
    }

    fn found(&self) -> Vec<Found> {
        let found = self.shards.iter().map(|shard| Found {
            primary: shard.link.address.clone(),
            replicas: shard.replicas.clone(),
            partitions: shard.partitions.clone(),
        });
        found.collect()
    }
}

#[derive(Debug)]
enum Source {
    Single(Address),
    Sentinel(sentinel::Sentinels),
    Cluster(cluster::Cluster),
}

/// Keeps the [`Map`] and its links.
#[derive(Debug)]
pub(super) struct Topology {
    source: Source,
    partitions: Vec<Partition>,
    pub dialer: Dialer,
    map: ArcSwap<Map>,
    /// Counts changes of the map.
    pub version: watch::Sender<u64>,
    /// Counts the times that a server may have lost something.
    pub upheavals: watch::Sender<u64>,
    /// Woken when a call that failed may succeed now.
    pub stir: Notify,
    trouble: Notify,
    /// Counts signs of trouble: whom to ask next.
    turn: AtomicUsize,
    /// Links to servers that are not in the map, and when they were last asked for.
    strays: Mutex<BTreeMap<Address, (Arc<Link>, Instant)>>,
    /// Who said last that something has moved: it knows, and others may not yet.
    informer: Mutex<Option<Address>>,
    ack: crate::Ack,
    offset_us: AtomicI64,
    skewed: std::sync::atomic::AtomicBool,
    pub closed: CancellationToken,
}

impl Topology {
    /// Asks the servers a first time; fails if that fails. Then call [`Topology::run`].
    pub async fn discover(
        plan: &Plan,
        keys: &Keys,
        closed: CancellationToken,
    ) -> Result<Arc<Topology>, StartError> {
        let single = || Source::Single(plan.seeds[0].clone());
        let source = match (plan.mode, &plan.sentinel) {
            (super::Mode::Cluster, _) => Source::Cluster(cluster::Cluster::new(plan, keys)),
            (_, Some(sentinel)) => Source::Sentinel(sentinel::Sentinels::new(plan, sentinel)),
            (_, None) => single(),
        };
        let topology = Arc::new(Topology {
            source,
            partitions: keys.all().collect(),
            dialer: plan.dialer.clone(),
            map: ArcSwap::default(),
            version: watch::Sender::new(0),
            upheavals: watch::Sender::new(0),
            stir: Notify::new(),
            trouble: Notify::new(),
            turn: AtomicUsize::new(0),
            strays: Mutex::default(),
            informer: Mutex::default(),
            ack: plan.ack,
            offset_us: AtomicI64::new(0),
            skewed: std::sync::atomic::AtomicBool::new(false),
            closed,
        });
        topology.look().await?;
        Ok(topology)
    }

    /// Looks again and again until closed.
    pub async fn run(self: Arc<Topology>) {
        let mut failing: Option<StartError> = None;
        let mut pause = LOOK_EVERY;
        loop {
            tokio::select! {
                () = self.closed.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.trouble.notified() => {}
            }
            let next = Instant::now() + LOOK_PAUSE;
            let looked = tokio::select! {
                () = self.closed.cancelled() => return,
                looked = self.look() => looked,
            };
            // Said when it begins and when it ends, not every second.
            pause = match looked {
                Ok(true) => LOOK_EVERY_UNSETTLED,
                _ => LOOK_EVERY,
            };
            match looked {
                Ok(_) if failing.take().is_some() => {
                    tracing::info!("the arrangement of the redis servers is known again");
                }
                Ok(_) => {}
                Err(error) => {
                    self.turn.fetch_add(1, Ordering::Relaxed);
                    if failing.as_ref() != Some(&error) {
                        tracing::warn!(%error, "cannot ask for the arrangement of the redis servers");
                        failing = Some(error);
                    }
                }
            }
            tokio::time::sleep_until(next).await;
        }
    }

    pub fn map(&self) -> arc_swap::Guard<Arc<Map>> {
        self.map.load()
    }

    /// Something is not as the map says: look soon, and ask somebody else.
    pub fn report_trouble(&self) {
        self.turn.fetch_add(1, Ordering::Relaxed);
        self.trouble.notify_one();
    }

    /// A server says that a slot is elsewhere: believed at once, for all partitions in that slot.
    pub fn moved(self: &Arc<Topology>, slot: u16, to: &Address, informer: &Address) {
        let mut found = self.map().found();
        let mut moving = Vec::new();
        for shard in &mut found {
            if shard.primary != *to {
                let taken = shard
                    .partitions
                    .extract_if(.., |partition| Keys::slot(*partition) == slot);
                moving.extend(taken);
            }
        }
        if !moving.is_empty() {
            match found.iter_mut().find(|shard| shard.primary == *to) {
                Some(shard) => shard.partitions.extend(moving),
                None => found.push(Found {
                    primary: to.clone(),
                    replicas: Vec::new(),
                    partitions: moving,
                }),
            }
            self.adopt(found);
        }
        *self.informer() = Some(informer.clone());
        self.trouble.notify_one();
    }

    fn informer(&self) -> MutexGuard<'_, Option<Address>> {
        self.informer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A link to a server that need not be in the map (yet): a slot is on its way there.
    pub fn link_to(self: &Arc<Topology>, address: &Address) -> Arc<Link> {
        let map = self.map();
        if let Some(known) = map.shards.iter().find(|s| s.link.address == *address) {
            return known.link.clone();
        }
        let mut strays = self.strays();
        let stray = strays
            .entry(address.clone())
            .or_insert_with(|| (self.open(address, true), Instant::now()));
        stray.1 = Instant::now();
        stray.0.clone()
    }

    fn strays(&self) -> MutexGuard<'_, BTreeMap<Address, (Arc<Link>, Instant)>> {
        self.strays.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn open(self: &Arc<Topology>, address: &Address, takes_over: bool) -> Arc<Link> {
        let watch = Arc::new(Watcher(Arc::downgrade(self)));
        let dialer = self.dialer.clone();
        let address = address.clone();
        Link::open(address, dialer, watch, &self.closed, takes_over, self.ack)
    }

    /// Asks, and adopts what is said. True if that may change in a moment.
    async fn look(self: &Arc<Topology>) -> Result<bool, StartError> {
        let mut unsettled = false;
        let found = match &self.source {
            Source::Single(primary) => vec![Found {
                primary: primary.clone(),
                replicas: Vec::new(),
                partitions: self.partitions.clone(),
            }],
            Source::Sentinel(sentinels) => {
                let answer = sentinels.ask().await?;
                unsettled = answer.unsettled;
                vec![Found {
                    primary: answer.primary,
                    replicas: answer.replicas,
                    partitions: self.partitions.clone(),
                }]
            }
            Source::Cluster(cluster) => {
                let map = self.map.load_full();
                let informer = self.informer().clone();
                let known = map
                    .shards
                    .iter()
                    .position(|shard| Some(&shard.link.address) == informer.as_ref());
                let turn = known.unwrap_or_else(|| self.turn.load(Ordering::Relaxed));
                let found = cluster.ask(&map, turn).await;
                if known.is_some() && found.is_err() {
                    *self.informer() = None;
                }
                found?
            }
        };
        self.adopt(found);
        self.strays()
            .retain(|_, (_, asked_for)| asked_for.elapsed() < STRAY_TTL);
        Ok(unsettled)
    }

    /// Makes the map from what was found, keeping the links that are still needed.
    fn adopt(self: &Arc<Topology>, mut found: Vec<Found>) {
        found.retain(|shard| !shard.partitions.is_empty());
        found.sort_by(|one, other| one.primary.cmp(&other.primary));
        for shard in &mut found {
            shard.partitions.sort();
            shard.replicas.sort();
        }
        let old = self.map.load_full();
        if old.found() == found {
            return;
        }
        let mut links: BTreeMap<&Address, Arc<Link>> = BTreeMap::new();
        for shard in &old.shards {
            links.insert(&shard.link.address, shard.link.clone());
        }
        let is_first = old.shards.is_empty();
        let mut owners = vec![None; self.partitions.len()];
        let mut shards = Vec::with_capacity(found.len());
        for found in found {
            let known = links.remove(&found.primary);
            let stray = || self.strays().remove(&found.primary).map(|(link, _)| link);
            let link = known.or_else(stray);
            let shard = Arc::new(Shard {
                link: link.unwrap_or_else(|| self.open(&found.primary, !is_first)),
                replicas: found.replicas,
                partitions: found.partitions,
            });
            for partition in &shard.partitions {
                if let Some(owner) = owners.get_mut(usize::from(partition.0)) {
                    *owner = Some(shard.clone());
                }
            }
            shards.push(shard);
        }
        let addresses = |shards: &[Arc<Shard>]| -> Vec<String> {
            let addresses = shards.iter().map(|shard| shard.link.address.to_string());
            addresses.collect()
        };
        let (before, primaries) = (addresses(&old.shards), addresses(&shards));
        if before != primaries {
            tracing::info!(?primaries, "redis servers");
        } else {
            tracing::debug!(?primaries, "redis servers: slots or replicas have moved");
        }
        self.map.store(Arc::new(Map { shards, owners }));
        self.version.send_modify(|version| *version += 1);
        self.stir.notify_waiters();
    }

    /// The clock that nobody's clock is behind: the earliest of all primaries', because each refuses what is ahead of its own.
    pub fn now(&self) -> crate::Millis {
        clock::at_offset(self.offset_us.load(Ordering::Relaxed))
    }

    /// The primaries, as far as known.
    pub fn servers(&self) -> Vec<crate::ServerStatus> {
        let map = self.map();
        let servers = map.shards.iter().map(|shard| crate::ServerStatus {
            address: shard.link.address.to_string(),
            reachable: shard.link.reachable(),
            partitions: shard.partitions.len(),
            replicas: shard.replicas.iter().map(ToString::to_string).collect(),
            clock_offset_ms: shard.link.offset_us().map(|us| us / 1_000),
        });
        servers.collect()
    }

    /// Whether any server answers.
    pub fn reachable(&self) -> bool {
        self.map().shards.iter().any(|shard| shard.link.reachable())
    }

    pub fn clock_learnt(&self) {
        let map = self.map();
        let offsets = map.shards.iter().filter_map(|shard| shard.link.offset_us());
        let (earliest, latest) = offsets.fold((i64::MAX, i64::MIN), |(min, max), offset| {
            (min.min(offset), max.max(offset))
        });
        if earliest > latest {
            return;
        }
        self.offset_us.store(earliest, Ordering::Relaxed);
        let skew_us = latest - earliest;
        let skewed = skew_us > SKEW_MAX_US;
        if self.skewed.swap(skewed, Ordering::Relaxed) != skewed && skewed {
            tracing::warn!(
                skew_ms = skew_us / 1000,
                "the clocks of the redis servers differ; all games run by the earliest"
            );
        }
    }
}

struct Watcher(Weak<Topology>);

impl Watch for Watcher {
    fn changed(&self, _link: &Link, up: bool) {
        if let Some(topology) = self.0.upgrade() {
            if up {
                topology.stir.notify_waiters();
            } else {
                topology.report_trouble();
            }
        }
    }

    fn upheaval(&self, link: &Link) {
        if let Some(topology) = self.0.upgrade() {
            tracing::warn!(server = %link.address, "another redis server than before, or restarted: what it may have lost is restored");
            topology.upheavals.send_modify(|count| *count += 1);
        }
    }

    fn clock_learnt(&self) {
        if let Some(topology) = self.0.upgrade() {
            topology.clock_learnt();
        }
    }
}
