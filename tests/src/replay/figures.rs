//! What a replay measures.

use crate::cluster::Cluster;
use hdrhistogram::Histogram;
use redis::aio::MultiplexedConnection;
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Latencies up to ten seconds, in microseconds, to three digits.
fn histogram() -> Histogram<u64> {
    Histogram::new_with_bounds(1, 10_000_000, 3).expect("sound bounds")
}

/// Latencies of a replay.
#[derive(Debug)]
pub struct Figures(Mutex<Inner>);

#[derive(Debug)]
struct Inner {
    /// From sending a move to its acknowledgement.
    ack: Histogram<u64>,
    /// From sending a move to the opponent's hearing of it, on another gateway.
    opponent: Histogram<u64>,
    /// A bare PING to the same Redis, meanwhile.
    ping: Histogram<u64>,
}

impl Default for Figures {
    fn default() -> Figures {
        Figures(Mutex::new(Inner {
            ack: histogram(),
            opponent: histogram(),
            ping: histogram(),
        }))
    }
}

impl Figures {
    fn with<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A move was acknowledged, and heard by the opponent.
    pub fn moved(&self, ack: Duration, opponent: Duration) {
        self.with(|inner| {
            inner.ack.saturating_record(micros(ack));
            inner.opponent.saturating_record(micros(opponent));
        });
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.with(|inner| {
            *inner = Inner {
                ack: histogram(),
                opponent: histogram(),
                ping: histogram(),
            }
        });
    }

    /// Moves made.
    pub fn moves(&self) -> u64 {
        self.with(|inner| inner.ack.len())
    }

    /// Prints percentiles, in milliseconds, and their ratio to a PING's.
    pub fn print(&self) {
        self.with(|inner| {
            println!(
                "{:<34}{:>9}{:>9}{:>9}{:>9}   ratio to PING at p50, p99",
                "ms", "p50", "p90", "p99", "max"
            );
            for (name, histogram) in [
                ("PING of the same Redis", &inner.ping),
                ("move to its ack", &inner.ack),
                ("move to the opponent's gateway", &inner.opponent),
            ] {
                let at = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1e3;
                let ratio = |quantile: f64| {
                    at(quantile) / (inner.ping.value_at_quantile(quantile) as f64 / 1e3).max(1e-3)
                };
                println!(
                    "{name:<34}{:>9.2}{:>9.2}{:>9.2}{:>9.2}   {:.1}, {:.1}",
                    at(0.5),
                    at(0.9),
                    at(0.99),
                    histogram.max() as f64 / 1e3,
                    ratio(0.5),
                    ratio(0.99)
                );
            }
        });
    }
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

/// Pings Redis every 10 ms until it is dropped.
pub async fn ping(mut connection: MultiplexedConnection, figures: Arc<Figures>) {
    loop {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let began = Instant::now();
        if redis::cmd("PING").exec_async(&mut connection).await.is_ok() {
            let took = micros(began.elapsed());
            figures.with(|inner| inner.ping.saturating_record(took));
        }
    }
}

/// Seconds of processor time used so far.
#[derive(Debug, Clone, Copy)]
pub struct Cpu {
    /// By all gateways together.
    pub gateways: f64,
    /// By Redis.
    pub redis: f64,
}

/// What the servers have used so far.
pub async fn watched_cpu(cluster: &Cluster) -> Cpu {
    Cpu {
        gateways: cluster
            .living()
            .map(crate::cluster::Node::cpu_seconds)
            .sum(),
        redis: cluster.redis().cpu_seconds().await,
    }
}
