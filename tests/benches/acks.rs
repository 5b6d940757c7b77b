//! What it costs to wait for more than the primary's memory, in one run: `cargo bench -p tests --bench acks`. Each kind has a
//! server of its own with a replica; all of them write an append-only file, and only `fsync` waits for the disk.

#![allow(clippy::unwrap_used, missing_docs)]

use bytes::Bytes;
use pubsub::{Ack, Append, Appended, Backplane, Epoch, Redis, RedisOptions, Room};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use tests::servers::RedisServer;

/// Bytes of an event: a move as it is written.
const EVENT_LEN: usize = 120;

/// Measurements of each kind, in turn.
const ROUNDS: usize = 5;

/// Appends of one caller in one measurement.
const CALLS: u64 = 200;

/// Callers at once: one who waits for each answer, and as many as a busy node has.
const CALLERS: [usize; 2] = [1, 64];

struct Stage {
    name: &'static str,
    node: Arc<Redis>,
    _servers: [RedisServer; 2],
    /// By [`CALLERS`]: time of each append, and appends a second.
    taken: [(Vec<Duration>, Vec<f64>); 2],
}

async fn stage(name: &'static str, ack: Ack, appendfsync: &str) -> Stage {
    let server = RedisServer::start_with(&["--appendfsync", appendfsync]).await;
    let replica = RedisServer::start_replica_of(&server).await;
    let mut options = RedisOptions::new(server.url(), "bench");
    options.ack = ack;
    Stage {
        name,
        node: Arc::new(Redis::connect(options).await.unwrap()),
        _servers: [server, replica],
        taken: Default::default(),
    }
}

/// One game's appends, each after the other's answer; answers how long each took.
async fn play(node: Arc<Redis>) -> Vec<Duration> {
    let room = Room::parse(&format!("bench{:016x}", rand::random::<u64>())).unwrap();
    let mut epoch: Option<Epoch> = None;
    let mut taken = Vec::new();
    for expected in 0..CALLS {
        let at = node.now();
        let append = Append {
            epoch: epoch.clone(),
            expected,
            events: vec![Bytes::from_static(&[b'x'; EVENT_LEN])],
            at,
            deadline: Some(at + 60_000),
        };
        let begun = Instant::now();
        match node.append(&room, append).await.unwrap() {
            Appended::Appended { epoch: life, .. } => epoch = Some(life),
            other => panic!("{other:?}"),
        }
        taken.push(begun.elapsed());
    }
    taken
}

#[tokio::main]
async fn main() {
    let mut stages = [
        stage("memory", Ack::Memory, "everysec").await,
        stage("replica", Ack::Replica, "everysec").await,
        stage("fsync", Ack::Fsync, "always").await,
    ];
    for _ in 0..ROUNDS {
        for stage in &mut stages {
            for (kind, callers) in CALLERS.into_iter().enumerate() {
                let begun = Instant::now();
                let games: Vec<_> = (0..callers)
                    .map(|_| tokio::spawn(play(stage.node.clone())))
                    .collect();
                let mut count = 0;
                for game in games {
                    let taken = game.await.unwrap();
                    count += taken.len();
                    stage.taken[kind].0.extend(taken);
                }
                let rate = count as f64 / begun.elapsed().as_secs_f64();
                stage.taken[kind].1.push(rate);
            }
        }
    }
    for (kind, callers) in CALLERS.into_iter().enumerate() {
        println!("\n{callers} at once, {ROUNDS} rounds in turn:");
        let heads = [
            "p50, us",
            "p99, us",
            "appends/s",
            "p50 / memory",
            "rate / memory",
        ];
        println!(
            "{:<10}{}",
            "",
            heads.map(|head| format!("{head:>15}")).concat()
        );
        let mut base = None;
        for stage in &mut stages {
            let (taken, rates) = &mut stage.taken[kind];
            taken.sort();
            let at = |part: f64| {
                let place = (taken.len() as f64 * part) as usize;
                taken[place.min(taken.len() - 1)].as_secs_f64() * 1e6
            };
            let best = rates.iter().copied().fold(0.0, f64::max);
            let (p50, p99) = (at(0.5), at(0.99));
            let (base_p50, base_rate) = *base.get_or_insert((p50, best));
            println!(
                "{:<10}{p50:>15.0}{p99:>15.0}{best:>15.0}{:>15.2}{:>15.2}",
                stage.name,
                p50 / base_p50,
                best / base_rate
            );
        }
    }
}
