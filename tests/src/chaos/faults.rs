//! What is broken, how, and how soon it must be over.

use super::workload::Workload;
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
}

impl Stage {
    /// All of them.
    pub const ALL: [Stage; 4] = [
        Stage::Single,
        Stage::Balanced,
        Stage::Cluster,
        Stage::Sentinel,
    ];

    pub(super) fn over(self) -> Over {
        match self {
            Stage::Single | Stage::Balanced => Over::Tunnels,
            Stage::Cluster => Over::RedisCluster,
            Stage::Sentinel => Over::Sentinel,
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
                ConnectionsCut,
                ConnectionsStalled,
                ClockSkewed,
            ],
            Stage::Balanced => vec![RollingRestart, GatewayKilled],
            Stage::Cluster => vec![PrimaryKilled, SlotMoved, GatewayKilled],
            Stage::Sentinel => vec![PrimaryReplaced, GatewayKilled],
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
    /// Nothing comes back on a gateway's connections to Redis, which stay open; new ones work.
    SubscriberDeaf,
    /// A gateway's connections to Redis are cut, and refused for a second.
    ConnectionsCut,
    /// A gateway's connections to Redis stand still for two seconds.
    ConnectionsStalled,
    /// A gateway that is started anew learns a clock that is 150 ms ahead, for as long as its way to Redis is so slow.
    ClockSkewed,
    /// kill -9 of the primary with the most rooms, whose replica has all it has.
    PrimaryKilled,
    /// A slot with rooms in it moves to another primary.
    SlotMoved,
    /// The Sentinels make another server the primary.
    PrimaryReplaced,
}

impl Fault {
    /// How soon the games must go on, where that was promised.
    pub fn bound(self) -> Option<Duration> {
        match self {
            Fault::GatewayKilled | Fault::RedisRestarted | Fault::RedisEmptied => {
                Some(Duration::from_secs(2))
            }
            Fault::PrimaryKilled | Fault::PrimaryReplaced => Some(Duration::from_secs(3)),
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
            Fault::RollingRestart => "the last one's being up",
            Fault::RedisRestarted | Fault::RedisEmptied => "Redis' being up",
            Fault::RedisStopped => "SIGCONT",
            Fault::SubscriptionsKilled => "the kill",
            Fault::SubscriberDeaf => "the first lost byte",
            Fault::ConnectionsCut => "connections being taken again",
            Fault::ConnectionsStalled => "bytes going on",
            Fault::ClockSkewed => "the new gateway's being up",
            Fault::PrimaryKilled => "the promotion",
            Fault::SlotMoved => "all knowing",
            Fault::PrimaryReplaced => "the promotion",
        }
    }

    /// Breaks it; answers since when the recovery counts.
    pub(super) async fn strike(
        self,
        cluster: &mut Cluster,
        workload: &Workload,
        rng: &mut StdRng,
    ) -> Instant {
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
                Instant::now()
            }
            Fault::PrimaryKilled => {
                let (slot, primary) = busiest(cluster).await;
                let servers = cluster.redis_cluster();
                // What a primary had acknowledged and not copied yet dies with it: `--ack memory` says so.
                workload.hold().await;
                servers.wait_replicas_have_all().await;
                servers.servers[primary].kill();
                workload.go_on();
                servers.wait_promoted(primary, slot).await;
                let promoted = Instant::now();
                workload.all_move(promoted).await;
                servers.servers[primary].restart(Data::Kept).await;
                servers.wait_well().await;
                promoted
            }
            Fault::SlotMoved => {
                let (slot, from) = busiest(cluster).await;
                let to = (from + 1) % 3;
                let servers = cluster.redis_cluster();
                // Only a primary can take it.
                let primary = primary_but(servers.servers.iter(), from)
                    .await
                    .unwrap_or(to);
                servers.move_slot(slot, primary).await;
                Instant::now()
            }
            Fault::PrimaryReplaced => {
                let sentinels = cluster.sentinels();
                workload.hold().await;
                sentinels.wait_replicas_have_all().await;
                let before = sentinels.primary().await;
                sentinels.servers[before].kill();
                workload.go_on();
                sentinels.wait_failed_over(before).await;
                let promoted = Instant::now();
                workload.all_move(promoted).await;
                sentinels.servers[before].restart(Data::Kept).await;
                promoted
            }
        }
    }
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

async fn primary_but(servers: impl Iterator<Item = &RedisServer>, but: usize) -> Option<usize> {
    for (index, server) in servers.enumerate() {
        let role = server.info("replication", "role").await;
        if index != but && role.as_deref() == Some("master") {
            return Some(index);
        }
    }
    None
}
