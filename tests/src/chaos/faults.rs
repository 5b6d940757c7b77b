//! What is broken, how, and how soon it must be over.

use super::{Ground, workload::Workload};
use crate::{
    cluster::{Cluster, Over},
    servers::{Data, RedisServer},
};
use rand::{RngExt, rngs::StdRng};
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// What the gateways of a run stand on, and how clients come to them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// One Redis, each gateway with a tunnel of its own to it.
    Single,
    /// The same, and clients come through HAProxy.
    Balanced,
    /// A Redis Cluster of three primaries and three replicas.
    Cluster,
    /// A primary and two replicas, watched by three Sentinels.
    Sentinel,
    /// Nothing but a journal: one gateway, and SQLite on a small disk of its own.
    Alone,
}

impl Stage {
    /// All of them.
    pub const ALL: [Stage; 5] = [
        Stage::Single,
        Stage::Balanced,
        Stage::Cluster,
        Stage::Sentinel,
        Stage::Alone,
    ];

    pub(super) fn over(self) -> Over {
        match self {
            Stage::Single | Stage::Balanced => Over::Tunnels,
            Stage::Cluster => Over::RedisCluster,
            Stage::Sentinel => Over::Sentinel,
            Stage::Alone => Over::Alone,
        }
    }

    /// All that can be broken on it.
    pub fn faults(self) -> Vec<Fault> {
        use Fault::*;
        match self {
            Stage::Single => vec![
                GatewayKilled,
                GatewayStopped,
                AllGatewaysKilled,
                RedisRestarted,
                RedisEmptied,
                RedisStopped,
                SubscriptionsKilled,
                SubscriberDeaf,
                ConnectionsDeaf,
                ConnectionsCut,
                ConnectionsStalled,
                ClockSkewed,
                DatabaseKilled,
            ],
            Stage::Balanced => vec![RollingRestart, GatewayKilled],
            Stage::Cluster => vec![PrimaryKilled, TailLost, SlotMoved, GatewayKilled],
            Stage::Sentinel => vec![PrimaryKilled, TailLost, GatewayKilled],
            Stage::Alone => vec![DiskFull, OnlyGatewayKilled],
        }
    }
}

/// One kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// kill -9 of a gateway; another takes its place when the others went on.
    GatewayKilled,
    /// SIGSTOP of a gateway for two seconds, then SIGCONT.
    GatewayStopped,
    /// kill -9 of all gateways at once, and new ones in their places.
    AllGatewaysKilled,
    /// kill -9 of the only gateway, started again with its journal.
    OnlyGatewayKilled,
    /// SIGTERM of one gateway after the other, each replaced before the next.
    RollingRestart,
    /// kill -9 of Redis, started again a second later with its data.
    RedisRestarted,
    /// The same, and it comes back without its data.
    RedisEmptied,
    /// SIGSTOP of Redis for two seconds.
    RedisStopped,
    /// `CLIENT KILL TYPE pubsub`.
    SubscriptionsKilled,
    /// Nothing comes back on the connection by which a gateway hears its rooms, which stays open; others, and new ones, work.
    SubscriberDeaf,
    /// The same of all its connections to Redis.
    ConnectionsDeaf,
    /// A gateway's connections to Redis are cut, and refused for a second.
    ConnectionsCut,
    /// A gateway's connections to Redis stand still for two seconds.
    ConnectionsStalled,
    /// A gateway that is started anew learns a clock that is 150 ms ahead, for as long as its way to Redis is so slow.
    ClockSkewed,
    /// PostgreSQL is killed, and started again when every game has gone on for a while.
    DatabaseKilled,
    /// The disk under SQLite is full, until every game has gone on for a while.
    DiskFull,
    /// kill -9 of a primary (of a cluster, the one with the most rooms), which comes back as a replica of the one that took its
    /// place.
    PrimaryKilled,
    /// The same, and no replica has the last moves of any game.
    TailLost,
    /// A slot with rooms in it moves to another primary.
    SlotMoved,
}

impl Fault {
    /// How soon the games must go on, where that was promised.
    pub fn bound(self) -> Option<Duration> {
        match self {
            Fault::GatewayKilled | Fault::RedisRestarted | Fault::RedisEmptied => {
                Some(Duration::from_secs(2))
            }
            Fault::PrimaryKilled | Fault::TailLost => Some(Duration::from_secs(3)),
            Fault::SubscriptionsKilled | Fault::SubscriberDeaf => Some(Duration::from_secs(5)),
            _ => None,
        }
    }

    /// Since when the recovery is counted.
    pub fn counted_from(self) -> &'static str {
        match self {
            Fault::GatewayKilled => "the kill",
            Fault::GatewayStopped => "SIGCONT",
            Fault::AllGatewaysKilled => "the first new one's being up",
            Fault::OnlyGatewayKilled => "its being up again",
            Fault::RollingRestart => "the last one's being up",
            Fault::RedisRestarted | Fault::RedisEmptied => "Redis' being up",
            Fault::RedisStopped => "SIGCONT",
            Fault::SubscriptionsKilled => "the kill",
            Fault::SubscriberDeaf | Fault::ConnectionsDeaf => "going deaf",
            Fault::ConnectionsCut => "connections being taken again",
            Fault::ConnectionsStalled => "bytes going on",
            Fault::ClockSkewed => "the new gateway's being up",
            Fault::DatabaseKilled => "the kill",
            Fault::DiskFull => "the last byte's being taken",
            Fault::PrimaryKilled | Fault::TailLost => "the promotion",
            Fault::SlotMoved => "all knowing",
        }
    }

    /// Breaks it; answers since when the recovery counts.
    pub(super) async fn strike(self, ground: &mut Ground, rng: &mut StdRng) -> Instant {
        let Ground {
            workload,
            cluster,
            database,
            stage,
            ..
        } = ground;
        let place = rng.random_range(0..3);
        match self {
            Fault::GatewayKilled => {
                let killed = Instant::now();
                cluster.kill(place);
                workload.all_move(killed).await;
                cluster.replace(place).await;
                killed
            }
            Fault::GatewayStopped => {
                cluster.node(place).pause().await;
                sleep(Duration::from_secs(2)).await;
                cluster.node(place).resume();
                Instant::now()
            }
            Fault::AllGatewaysKilled => {
                for place in 0..3 {
                    cluster.kill(place);
                }
                cluster.replace(0).await;
                let up = Instant::now();
                for place in 1..3 {
                    cluster.replace(place).await;
                }
                up
            }
            Fault::OnlyGatewayKilled => {
                cluster.restart(0).await;
                Instant::now()
            }
            Fault::RollingRestart => {
                for place in 0..3 {
                    assert_eq!(cluster.stop(place).await, 0, "a gateway leaves in time");
                    cluster.replace(place).await;
                    wait_ready(cluster, place).await;
                }
                Instant::now()
            }
            Fault::RedisRestarted | Fault::RedisEmptied => {
                let data = match self {
                    Fault::RedisEmptied => Data::Lost,
                    _ => Data::Kept,
                };
                cluster.redis().kill();
                sleep(Duration::from_secs(1)).await;
                cluster.redis().restart(data).await;
                Instant::now()
            }
            Fault::RedisStopped => {
                cluster.redis().pause();
                sleep(Duration::from_secs(2)).await;
                cluster.redis().resume();
                Instant::now()
            }
            Fault::SubscriptionsKilled => {
                cluster.redis().client_kill_pubsub().await;
                Instant::now()
            }
            Fault::SubscriberDeaf => {
                cluster.tunnel(place).deafen();
                Instant::now()
            }
            Fault::ConnectionsDeaf => {
                cluster.tunnel(place).swallow();
                Instant::now()
            }
            Fault::ConnectionsCut => {
                let tunnel = cluster.tunnel(place);
                tunnel.refuse(true);
                tunnel.cut();
                sleep(Duration::from_secs(1)).await;
                tunnel.refuse(false);
                Instant::now()
            }
            Fault::ConnectionsStalled => {
                let tunnel = cluster.tunnel(place);
                tunnel.stall(true);
                sleep(Duration::from_secs(2)).await;
                tunnel.stall(false);
                Instant::now()
            }
            Fault::ClockSkewed => {
                cluster.kill(place);
                cluster.tunnel(place).delay_out(Duration::from_millis(300));
                cluster.replace(place).await;
                let up = Instant::now();
                workload.all_move(up).await;
                sleep(Duration::from_secs(2)).await;
                cluster.tunnel(place).delay_out(Duration::ZERO);
                up
            }
            Fault::DatabaseKilled => {
                let killed = Instant::now();
                database.server().kill();
                wait_database(cluster, false).await;
                workload.all_move(Instant::now()).await;
                sleep(Duration::from_secs(2)).await;
                database.server().restart().await;
                wait_database(cluster, true).await;
                killed
            }
            Fault::DiskFull => {
                let full = Instant::now();
                database.disk().fill();
                wait_database(cluster, false).await;
                workload.all_move(Instant::now()).await;
                database.disk().free();
                wait_database(cluster, true).await;
                full
            }
            Fault::PrimaryKilled => fail_over(*stage, cluster, workload, Tail::Copied).await,
            Fault::TailLost => fail_over(*stage, cluster, workload, Tail::Lost).await,
            Fault::SlotMoved => {
                let (slot, from) = busiest(cluster).await;
                let servers = cluster.redis_cluster();
                // Only a primary can take it.
                let to = primary_but(&servers.servers, from).await;
                let moved = servers.move_slot(slot, to).await;
                assert!(moved > 0, "a slot with nothing in it");
                Instant::now()
            }
        }
    }
}

/// What of the last writes the replicas have when the primary dies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tail {
    /// All, but for what was on its way.
    Copied,
    /// None: of every game there is a move that only the primary and the gateways know.
    Lost,
}

/// Kills a primary; answers when one of its replicas had its place. It comes back as a replica.
async fn fail_over(stage: Stage, cluster: &Cluster, workload: &Workload, tail: Tail) -> Instant {
    match stage {
        Stage::Cluster => {
            let (slot, primary) = busiest(cluster).await;
            let servers = cluster.redis_cluster();
            let replica = servers.pair_of(primary);
            let [primary_server, replica] = [primary, replica].map(|place| &servers.servers[place]);
            cut_off(&[replica], workload, tail).await;
            primary_server.kill();
            servers.wait_promoted(primary, slot).await;
            let promoted = Instant::now();
            workload.all_move(promoted).await;
            replica.replicate(true).await;
            primary_server.restart(Data::Kept).await;
            servers.wait_well().await;
            promoted
        }
        _ => {
            let sentinels = cluster.sentinels();
            let primary = sentinels.primary().await;
            let replicas = sentinels.replicas(primary);
            cut_off(&replicas, workload, tail).await;
            sentinels.servers[primary].kill();
            sentinels.wait_failed_over(primary).await;
            let promoted = Instant::now();
            // The other one must find its new primary.
            for replica in replicas {
                replica.replicate(true).await;
            }
            workload.all_move(promoted).await;
            sentinels.servers[primary].restart(Data::Kept).await;
            sentinels.wait_well().await;
            promoted
        }
    }
}

/// Where the tail is to be lost: cuts these off from their primary until every game has moved on without them.
async fn cut_off(replicas: &[&RedisServer], workload: &Workload, tail: Tail) {
    if tail == Tail::Copied {
        return;
    }
    for replica in replicas {
        replica.replicate(false).await;
    }
    workload.all_move(Instant::now()).await;
}

/// Waits until an archiver says that its database is away, or none does any more.
async fn wait_database(cluster: &Cluster, up: bool) {
    let what = if up {
        "the database is back"
    } else {
        "the database is missed"
    };
    crate::cluster::until(what, async || {
        let mut is_missed = false;
        for node in cluster.living() {
            let metrics = crate::http::get(node.admin, "/metrics").await.text();
            is_missed |= metrics
                .lines()
                .any(|line| line == "rookery_archive_database_up 0");
        }
        is_missed != up
    })
    .await;
}

async fn wait_ready(cluster: &Cluster, place: usize) {
    crate::cluster::until("the new gateway is ready", async || {
        let node = cluster.node(place);
        let asked = crate::http::try_send(node.admin, "GET", "/readyz", &[]).await;
        asked.is_ok_and(|reply| reply.status == 200)
    })
    .await;
}

/// The slot of some room, and the primary that has it: the one with the most slots in use.
async fn busiest(cluster: &Cluster) -> (u16, usize) {
    let servers = cluster.redis_cluster();
    let mut most = (Vec::new(), 0);
    for (index, server) in servers.servers.iter().enumerate() {
        if server.info("replication", "role").await.as_deref() != Some("master") {
            continue;
        }
        let slots = servers.slots_with_keys(index).await;
        if slots.len() > most.0.len() {
            most = (slots, index);
        }
    }
    let slot = most.0.first().copied();
    (slot.expect("games have keys"), most.1)
}

async fn primary_but(servers: &[RedisServer], but: usize) -> usize {
    for (index, server) in servers.iter().enumerate() {
        let role = server.info("replication", "role").await;
        if index != but && role.as_deref() == Some("master") {
            return index;
        }
    }
    panic!("a cluster of one primary");
}
