//! What each node tells of itself: a record that lapses with the node. Whoever asks any node puts the records together and sees
//! the whole cluster. On the same beat a node hears what operators want of all nodes.

use crate::{
    metrics::{self, meters},
    node::{Node, key_of},
};
use bytes::Bytes;
use pubsub::{Answer, Put};
use serde::{Deserialize, Serialize};
use shared::{Timestamp, protocol::http::LiveGame};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// How often a node tells.
const PERIOD: Duration = Duration::from_secs(2);

/// When a record that is not told again lapses.
const TTL: Duration = Duration::from_secs(10);

/// Names of the nodes that tell.
const NODES: &str = "nodes";

/// What a node says of itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Report {
    /// Its name.
    pub node: String,
    /// Its release.
    pub version: String,
    /// When it started.
    pub started_at: Timestamp,
    /// When it said this.
    pub told_at: Timestamp,
    /// Whether a load balancer should send people there.
    pub ready: bool,
    /// Whether it is leaving.
    pub draining: bool,
    /// Open connections.
    pub connections: usize,
    /// Of those, players of running games.
    pub players: usize,
    /// Of those, spectators.
    pub spectators: usize,
    /// Open rooms.
    pub rooms: usize,
    /// Messages that came from clients, a second.
    pub received_per_second: f64,
    /// Frames that went to clients, a second.
    pub deliveries_per_second: f64,
    /// From an event's time to its last local write, 99 of 100, in milliseconds; null if there was no event.
    pub delay_p99_ms: Option<u64>,
    /// This node's clock less the backplane's, in milliseconds.
    pub clock_offset_ms: i64,
    /// What its archiver is at; null if it has none.
    #[serde(default)]
    pub archiver: Option<ArchiverState>,
}

/// What an archiver is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ArchiverState {
    /// It takes from the queue, and the database takes from it.
    Working,
    /// It waits for its database. Games go on.
    DatabaseAway,
}

/// How far the archive is behind, for the whole cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ArchiveStatus {
    /// Entries that wait in the queue; null if the backplane does not say.
    pub queue_entries: Option<u64>,
    /// Age of the oldest of them, in milliseconds: 0 if none waits.
    pub queue_age_ms: Option<i64>,
    /// Working if any node's archiver is; null if no node has one (`rookery archive`, which is no node, may do it).
    pub archiver: Option<ArchiverState>,
}

/// The whole cluster, as one node sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// The node that was asked.
    pub asked: String,
    /// Every node, by name.
    pub nodes: Vec<Report>,
    /// What they share.
    pub backplane: BackplaneStatus,
    /// The archive; null if the node that was asked has none.
    pub archive: Option<ArchiveStatus>,
    /// The most watched running games.
    pub busiest: Vec<LiveGame>,
}

/// What the nodes share, as the node that was asked sees it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BackplaneStatus {
    /// `embedded`, or how Redis is arranged.
    pub mode: String,
    /// It answers.
    pub reachable: bool,
    /// What the node publishes to itself comes back.
    pub hears: bool,
    /// Partitions that rooms hash to.
    pub partitions: u16,
    /// The servers that own them.
    pub servers: Vec<pubsub::ServerStatus>,
}

/// What a node remembers between two reports.
#[derive(Debug)]
struct Last {
    at: Instant,
    received: u64,
    deliveries: u64,
}

impl Last {
    fn now() -> Last {
        Last {
            at: Instant::now(),
            received: meters().received.total(),
            deliveries: meters().deliveries.total(),
        }
    }
}

/// Tells the others, until the node has left.
pub async fn run(node: Arc<Node>) {
    let mut last = Last::now();
    let mut kept_up = Instant::now();
    loop {
        let report = report(&node, &mut last);
        node.reports.set_own(report.clone());
        if let Err(error) = tell(&node, &report).await {
            tracing::debug!(%error, "this node's report is not told");
        }
        if let Err(error) = node.obey().await {
            tracing::debug!(%error, "what operators want is not known");
        }
        if kept_up.elapsed() >= metrics::UPKEEP_EVERY {
            kept_up = Instant::now();
            metrics::upkeep();
        }
        tokio::select! {
            biased;
            () = node.stopped.cancelled() => break,
            () = tokio::time::sleep(PERIOD) => {}
        }
    }
    // A node that left is off the list at once. One that cannot say so lapses.
    let _ = tokio::time::timeout(
        Duration::from_secs(1),
        node.backplane.leave_set(NODES, &node.name),
    )
    .await;
}

fn report(node: &Node, last: &mut Last) -> Report {
    let now = Last::now();
    let seconds = (now.at - last.at).as_secs_f64();
    let rate = |now: u64, before: u64| {
        let many = now.saturating_sub(before) as f64;
        if seconds > 0.0 {
            (many / seconds * 10.0).round() / 10.0
        } else {
            0.0
        }
    };
    let [players, spectators, _] = node.roles();
    let report = Report {
        node: node.name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        started_at: node.started_at(),
        told_at: node.now(),
        ready: node.is_ready(),
        draining: node.is_draining(),
        connections: node.connections_len(),
        players,
        spectators,
        rooms: node.rooms.len(),
        received_per_second: rate(now.received, last.received),
        deliveries_per_second: rate(now.deliveries, last.deliveries),
        delay_p99_ms: node.delays.take_p99_ms(),
        clock_offset_ms: local_ms() - node.now().0,
        archiver: node.archive.get().and_then(|archive| archive.archiver()),
    };
    *last = now;
    report
}

fn local_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

async fn tell(node: &Node, report: &Report) -> Answer<()> {
    let record = serde_json::to_vec(report).expect("no map keys or IO that could fail");
    let key = key_of("node", &[&node.name]);
    node.backplane
        .put(&key, Bytes::from(record), TTL, Put::Replace)
        .await?;
    node.backplane.join_set(NODES, &node.name, TTL).await
}

/// What every node says of itself, by name.
pub async fn reports(backplane: &dyn pubsub::Backplane) -> Answer<Vec<Report>> {
    let mut reports = Vec::new();
    for name in backplane.set(NODES).await? {
        let record = backplane.get(&key_of("node", &[&name])).await?;
        // A later release may tell more; one that tells less is not understood and left out.
        reports.extend(record.and_then(|bytes| serde_json::from_slice::<Report>(&bytes).ok()));
    }
    reports.sort_by(|a, b| a.node.cmp(&b.node));
    Ok(reports)
}

/// All that this node knows of the cluster. While the backplane is away that is little: itself.
pub async fn status(node: &Node) -> Status {
    let health = node.backplane.health();
    let mut nodes = match health.reachable {
        true => reports(node.backplane.as_ref()).await.unwrap_or_default(),
        false => Vec::new(),
    };
    if let Some(own) = node.reports.own() {
        nodes.retain(|report| report.node != own.node);
        nodes.push(own);
        nodes.sort_by(|a, b| a.node.cmp(&b.node));
    }
    let busiest = match health.reachable {
        true => node.directory.most_watched(node).await.map_or_else(
            |_| Vec::new(),
            |games| games.iter().take(BUSIEST_MAX).cloned().collect(),
        ),
        false => Vec::new(),
    };
    let archive = match node.archive.get() {
        Some(_) => Some(archive_status(node, &nodes).await),
        None => None,
    };
    let servers = node.backplane.servers();
    Status {
        asked: node.name.clone(),
        nodes,
        backplane: BackplaneStatus {
            mode: node.config.backplane_name().to_owned(),
            reachable: health.reachable,
            hears: health.hears,
            partitions: node.config.partitions,
            servers,
        },
        archive,
        busiest,
    }
}

async fn archive_status(node: &Node, nodes: &[Report]) -> ArchiveStatus {
    let backlog = node.backplane.backlog().await.ok();
    let states = || nodes.iter().filter_map(|report| report.archiver);
    ArchiveStatus {
        queue_entries: backlog.map(|backlog| backlog.entries),
        queue_age_ms: backlog.map(|backlog| backlog.age_ms(node.backplane.now())),
        archiver: states()
            .find(|state| *state == ArchiverState::Working)
            .or_else(|| states().next()),
    }
}

/// Games a status lists.
const BUSIEST_MAX: usize = 10;

/// The last report of this node.
#[derive(Debug, Default)]
pub struct Reports(std::sync::Mutex<Option<Report>>);

impl Reports {
    fn set_own(&self, report: Report) {
        *self
            .0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = Some(report);
    }

    /// It, if there was one.
    pub fn own(&self) -> Option<Report> {
        self.0
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
            .clone()
    }
}
