//! The database is away for long while moves come at a steady rate: what movers notice of it, what the queue and the gateways
//! take up meanwhile, and how soon the archive has caught up.

use super::{
    Ground, Plan, Stage,
    judge::{Findings, judge},
    workload::Made,
};
use crate::checker::Objection;
use hdrhistogram::Histogram;
use pubsub::Backlog;
use shared::notation::pgn::Pgn;
use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;

/// Time between two looks at queue and memory.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Moves older than this are not in the queue of an archive that has caught up.
const BEHIND_MAX_MS: i64 = 2_000;

/// How long catching up is waited for.
const PATIENCE: Duration = Duration::from_secs(600);

/// What is to happen.
#[derive(Debug, Clone)]
pub struct Outage {
    /// How long the database is away; before that it is there for half as long, at most a minute.
    pub lasts: Duration,
    /// Of all games together.
    pub moves_per_second: f64,
    /// Games at a time.
    pub games: usize,
    /// Of all chances.
    pub seed: u64,
}

/// What came of it.
#[derive(Debug)]
pub struct Figures {
    /// Before the outage, during it, while the archive catches up, and after that.
    pub phases: [Phase; 4],
    /// From the database's being up until the archive had everything but the last moments.
    pub caught_up_in: Duration,
    /// Moves in all logs.
    pub moves: usize,
    /// What the judge says.
    pub objections: Vec<Objection>,
}

/// A part of the time.
#[derive(Debug)]
pub struct Phase {
    name: &'static str,
    begun: Instant,
    ended: Instant,
    /// From request to acknowledgement, in microseconds, of moves begun in it.
    acks: Histogram<u64>,
    /// Entries, at most.
    queue_len: u64,
    /// The gateways' resident memory at its end, in bytes.
    gateways: Vec<u64>,
    /// What Redis uses at its end, in bytes.
    redis: u64,
}

/// Plays it.
pub async fn run(outage: &Outage, scores: &[Arc<Pgn>]) -> Figures {
    let plan = Plan {
        seed: outage.seed,
        stage: Stage::Single,
        faults: Vec::new(),
        rounds: 0,
        games: outage.games,
        pace: Duration::from_secs_f64(outage.games as f64 / outage.moves_per_second),
    };
    let ground = Ground::set_up(&plan, scores).await;
    let ground = ground.expect("the stage of one Redis can be set up");
    let backplane = ground.cluster.backplane().await;
    let backlog = async || backplane.backlog().await.expect("Redis is there");
    // All have begun, and the first pages of memory are taken.
    ground.workload.all_move(Instant::now()).await;
    sleep(Duration::from_secs(2)).await;
    let calm = (outage.lasts / 2).min(Duration::from_secs(60));
    let for_long = |long: Duration| {
        let end = Instant::now() + long;
        move |_: Backlog| Instant::now() >= end
    };
    let before = Phase::watch("before", &ground, &backlog, for_long(calm)).await;
    ground.database.server().kill();
    let mut during = Phase::watch("during", &ground, &backlog, for_long(outage.lasts)).await;
    ground.database.server().restart().await;
    during.ended = Instant::now();
    let up = Instant::now();
    let has_caught_up = |backlog: Backlog| {
        assert!(
            up.elapsed() < PATIENCE,
            "the archive does not catch up: {backlog:?}"
        );
        let behind = backlog.oldest.map_or(0, |oldest| backplane.now() - oldest);
        behind < BEHIND_MAX_MS
    };
    let behind = Phase::watch("catching up", &ground, &backlog, has_caught_up).await;
    let after = Phase::watch("after", &ground, &backlog, for_long(calm)).await;
    let caught_up_in = behind.ended - up;
    let mut phases = [before, during, behind, after];
    for made in ground.workload.made() {
        for phase in &mut phases {
            phase.note(&made);
        }
    }
    let findings: Findings = ground.end().await;
    Figures {
        phases,
        caught_up_in,
        moves: findings.moves(),
        objections: judge(&findings),
    }
}

impl Phase {
    async fn watch(
        name: &'static str,
        ground: &Ground,
        backlog: &impl AsyncFn() -> Backlog,
        is_over: impl Fn(Backlog) -> bool,
    ) -> Phase {
        let begun = Instant::now();
        let mut queue_len = 0;
        loop {
            let now = backlog().await;
            queue_len = queue_len.max(now.entries);
            if is_over(now) {
                break;
            }
            sleep(LOOK_EVERY).await;
        }
        let redis = ground.cluster.redis().info("memory", "used_memory").await;
        Phase {
            name,
            begun,
            ended: Instant::now(),
            acks: Histogram::new(3).expect("three digits"),
            queue_len,
            gateways: ground.cluster.living().map(|node| node.memory()).collect(),
            redis: redis.and_then(|bytes| bytes.parse().ok()).unwrap_or(0),
        }
    }

    fn note(&mut self, made: &Made) {
        if (self.begun..self.ended).contains(&made.begun) {
            let waited = (made.acknowledged - made.begun).as_micros();
            let waited = u64::try_from(waited).unwrap_or(u64::MAX);
            self.acks.record(waited).expect("it grows as needed");
        }
    }

    /// The waiting that so many of a hundred movers did not exceed.
    pub fn acknowledged_within(&self, percent: f64) -> Duration {
        Duration::from_micros(self.acks.value_at_percentile(percent))
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<12}{:>8}{:>9}{:>9}{:>9}{:>9}{:>10}{:>10}  MiB of gateways; of Redis",
            "", "s", "moves", "moves/s", "p50 ms", "p99 ms", "max ms", "queued"
        )?;
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        for phase in &self.phases {
            let seconds = (phase.ended - phase.begun).as_secs_f64();
            let ms = |percent| phase.acknowledged_within(percent).as_secs_f64() * 1000.0;
            let gateways: Vec<String> = phase
                .gateways
                .iter()
                .map(|bytes| format!("{:.0}", mib(*bytes)))
                .collect();
            writeln!(
                f,
                "{:<12}{seconds:>8.1}{:>9}{:>9.1}{:>9.1}{:>9.1}{:>10.1}{:>10}  {}; {:.0}",
                phase.name,
                phase.acks.len(),
                phase.acks.len() as f64 / seconds,
                ms(50.0),
                ms(99.0),
                ms(100.0),
                phase.queue_len,
                gateways.join(" "),
                mib(phase.redis)
            )?;
        }
        write!(
            f,
            "caught up in {:.1} s; {} moves: {} objections",
            self.caught_up_in.as_secs_f64(),
            self.moves,
            self.objections.len()
        )
    }
}
