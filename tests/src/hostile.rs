//! The hostile run: thousands of bad frames, handshakes, tokens and HTTP requests against gateways that really run, while
//! canary games go on among them. Every canary move must arrive, everything must be answered or closed in good form, and the
//! gateways' memory must stay where it is.

mod attack;
mod frames;
mod handshakes;
mod requests;
mod tokens;

use crate::{
    cluster::{Cluster, Over, assert_no_panics, until},
    http,
    replay::{Figures, Table, play},
};
use anyhow::{Context, ensure};
use attack::{Attack, Target};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use shared::notation::pgn::Pgn;
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{net::TcpStream, task::JoinSet, time::Instant};

/// Gateways of the cluster.
const NODES: usize = 3;

/// What a gateway's memory may grow by under attack, in bytes: what the connections open at a time may take, with room for an
/// allocator that does not give back. A leak of a kilobyte an attack would be seen in a long run.
const GROWTH_MAX: u64 = 96 * 1024 * 1024;

/// Attackers come with addresses of their own, as through a proxy, and pass the limits of an address now and then. Silence is
/// found out soon, so that the run is short.
const FLAGS: [&str; 8] = [
    "--trusted-proxy",
    "127.0.0.0/8",
    "--handshakes-per-address",
    "1",
    "--connections-per-address",
    "30",
    "--heartbeat-seconds",
    "2",
];

/// How much of it all.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Makes the same attacks.
    pub seed: u64,
    /// Attacks, each on a connection of its own.
    pub attacks: usize,
    /// Attackers at a time.
    pub attackers: usize,
    /// Connections that say nothing, or half of something, from the beginning to the end.
    pub half_open: usize,
    /// Games going on meanwhile.
    pub canaries: usize,
    /// Thinking time before each of their moves.
    pub pace: Duration,
}

/// What came of it.
#[derive(Debug)]
pub struct Outcome {
    /// How often the gateways answered how, by kind of attack.
    pub answers: BTreeMap<String, usize>,
    /// Moves of the canaries, each acknowledged and delivered to the opponent and to a watcher on a third gateway.
    pub moves: u64,
    /// Canary games that were played to their end and compared with their original.
    pub games: usize,
    /// Memory of each gateway before and at most during the attack, in bytes.
    pub memory: Vec<(u64, u64)>,
    /// How long it took.
    pub took: Duration,
}

/// Runs it; `games` are what the canaries play. `Err` is a broken promise.
pub async fn run(plan: Plan, games: Vec<Arc<Pgn>>) -> anyhow::Result<Outcome> {
    let cluster = Cluster::start(Over::Processes, NODES, &FLAGS).await;
    let doors: Vec<_> = (0..NODES).map(|node| cluster.node(node).http).collect();

    let stop = Arc::new(AtomicBool::new(false));
    let figures = Arc::new(Figures::default());
    let finished = Arc::new(AtomicUsize::new(0));
    let mut canaries = JoinSet::new();
    for place in 0..plan.canaries {
        let table = Table {
            white: doors[place % NODES],
            black: doors[(place + 1) % NODES],
            watcher: Some(doors[(place + 2) % NODES]),
        };
        let (stop, figures, finished, games) = (
            stop.clone(),
            figures.clone(),
            finished.clone(),
            games.clone(),
        );
        canaries.spawn(async move {
            let mut next = place;
            while !stop.load(Ordering::Relaxed) {
                let game = &games[next % games.len()];
                play(game, table, plan.pace, &figures, || {})
                    .await
                    .with_context(|| format!("canary game {next}"))?;
                finished.fetch_add(1, Ordering::Relaxed);
                next += plan.canaries;
            }
            anyhow::Ok(())
        });
    }
    // Every canary has moved before anything bad happens.
    until("the canaries play", async || {
        figures.moves() >= 4 * plan.canaries as u64
    })
    .await;
    let before: Vec<u64> = (0..NODES).map(|node| cluster.node(node).memory()).collect();
    let mut most = before.clone();

    let mut idle = Vec::new();
    let mut random = StdRng::seed_from_u64(plan.seed);
    for place in 0..plan.half_open {
        idle.push(half_open(Target::at(doors[place % NODES], &mut random), &mut random).await?);
    }

    let began = Instant::now();
    let next = Arc::new(AtomicUsize::new(0));
    let mut attackers = JoinSet::new();
    for _ in 0..plan.attackers {
        let (next, doors) = (next.clone(), doors.clone());
        attackers.spawn(async move {
            let mut answers: BTreeMap<String, usize> = BTreeMap::new();
            loop {
                let number = next.fetch_add(1, Ordering::Relaxed);
                if number >= plan.attacks {
                    return anyhow::Ok(answers);
                }
                // By number, so that an attack that breaks something can be made alone.
                let mut random = StdRng::seed_from_u64(plan.seed ^ ((number as u64) << 20));
                let attack = Attack::any(&mut random);
                let target = Target::at(doors[random.random_range(0..doors.len())], &mut random);
                let answer = attack
                    .make(target, &mut random)
                    .await
                    .with_context(|| format!("attack {number} ({attack:?}), seed {}", plan.seed))?;
                *answers.entry(format!("{attack:?}: {answer}")).or_default() += 1;
            }
        });
    }
    let mut answers = BTreeMap::new();
    let mut looked = tokio::time::interval(Duration::from_millis(250));
    while !attackers.is_empty() {
        tokio::select! {
            Some(done) = attackers.join_next() => {
                for (answer, count) in done.context("an attacker")?? {
                    *answers.entry(answer).or_default() += count;
                }
            }
            Some(ended) = canaries.join_next(), if !canaries.is_empty() => {
                ended.context("a canary")??;
                anyhow::bail!("a canary ended before it was told to");
            }
            _ = looked.tick() => {
                for (node, most) in most.iter_mut().enumerate() {
                    *most = cluster.node(node).memory().max(*most);
                }
            }
        }
    }
    let took = began.elapsed();
    // The canaries finish their games: all that was attacked meanwhile is compared with the originals.
    stop.store(true, Ordering::Relaxed);
    while let Some(ended) = canaries.join_next().await {
        ended.context("a canary")??;
    }
    drop(idle);

    for node in 0..NODES {
        let (before, most) = (before[node], most[node]);
        let grown = most.saturating_sub(before);
        ensure!(
            grown <= GROWTH_MAX,
            "node {node} grew by {} KiB under attack, from {} KiB",
            grown / 1024,
            before / 1024
        );
        let admin = cluster.node(node).admin;
        until("every connection is let go of", async || {
            let ready = http::get(admin, "/readyz").await;
            ready.status == 200 && ready.json()["connections"] == 0
        })
        .await;
    }
    assert_no_panics();
    Ok(Outcome {
        answers,
        moves: figures.moves(),
        games: finished.load(Ordering::Relaxed),
        memory: before.into_iter().zip(most).collect(),
        took,
    })
}

/// Someone who never finishes what he begins.
async fn half_open(target: Target, random: &mut StdRng) -> anyhow::Result<TcpStream> {
    let mut stream = target.connect().await?;
    let beginning = match random.random_range(0..4) {
        0 => Vec::new(),
        1 => b"GET /ws HTTP/1.1\r\nHost: ".to_vec(),
        2 => b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n".to_vec(),
        _ => handshakes::good(&target, "/ws", &[]).into_bytes(),
    };
    attack::send(&mut stream, &beginning).await;
    Ok(stream)
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (answer, count) in &self.answers {
            writeln!(f, "  {count:>6}  {answer}")?;
        }
        let attacks: usize = self.answers.values().sum();
        writeln!(
            f,
            "{attacks} attacks in {:.1} s; meanwhile {} canary moves in {} games, every one delivered",
            self.took.as_secs_f64(),
            self.moves,
            self.games
        )?;
        for (node, (before, most)) in self.memory.iter().enumerate() {
            let mib = |bytes: &u64| *bytes as f64 / 1024.0 / 1024.0;
            writeln!(
                f,
                "node {node}: {:.1} MiB before, {:.1} MiB at most",
                mib(before),
                mib(most)
            )?;
        }
        Ok(())
    }
}
