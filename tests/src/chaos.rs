//! Games from real scores, played through real processes while a seeded nemesis breaks them one after the other; and a judge
//! who was not there. The players only write down what they said and heard; afterwards [`judge`] compares the tapes with
//! the logs, by `checker`, which shares no code with players or gateways.
//!
//! `make chaos` is all of it, with the time each fault took to be over; a short form is a test.

mod balancer;
mod faults;
mod judge;
mod tape;
mod workload;

pub use faults::{Fault, Stage};
pub use judge::{Findings, Lie, judge};
pub use tape::Tape;

use crate::{cluster::Cluster, scene::log_at};
use balancer::Balancer;
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use shared::notation::pgn::Pgn;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;
use workload::Workload;

/// Time in which nothing is broken, before the first fault and after each.
const CALM: Duration = Duration::from_millis(1_000);

/// What is to happen.
#[derive(Debug, Clone)]
pub struct Plan {
    /// Of all chances.
    pub seed: u64,
    /// What the gateways stand on.
    pub stage: Stage,
    /// Which faults, in whatever order the seed says.
    pub faults: Vec<Fault>,
    /// How often all of them come.
    pub rounds: u32,
    /// Games at a time.
    pub games: usize,
    /// Time between seeing a move and answering it.
    pub thinking: Duration,
}

/// One fault, and how long it took until every game went on.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Which.
    pub fault: Fault,
    /// From the moment that [`Fault::counted_from`] names.
    pub recovered: Duration,
}

impl Outcome {
    /// Whether it was over within its bound, if it has one.
    pub fn is_in_bound(&self) -> bool {
        self.fault
            .bound()
            .is_none_or(|bound| self.recovered <= bound)
    }
}

/// What came of a run.
#[derive(Debug)]
pub struct Run {
    /// By fault, in the order they came.
    pub outcomes: Vec<Outcome>,
    /// All that was said, heard and logged.
    pub findings: Findings,
}

/// Plays it. `told` hears of each fault as it is over.
pub async fn run(plan: &Plan, scores: &[Arc<Pgn>], mut told: impl FnMut(&Outcome)) -> Run {
    let mut rng = StdRng::seed_from_u64(plan.seed);
    let flags = ["--messages-per-second", "1000", "--drain-seconds", "2"];
    let mut cluster = Cluster::start(plan.stage.over(), 3, &flags).await;
    let balancer = match plan.stage {
        Stage::Balanced => Some(Balancer::start(&cluster).await),
        _ => None,
    };
    let doors = match &balancer {
        Some(balancer) => balancer.doors(),
        None => cluster.doors(),
    };
    let workload = Workload::begin(scores, plan.games, plan.thinking, &doors, plan.seed).await;
    workload.all_move(Instant::now()).await;
    sleep(CALM).await;
    let mut outcomes = Vec::new();
    for _ in 0..plan.rounds {
        let mut faults = plan.faults.clone();
        faults.shuffle(&mut rng);
        for fault in faults {
            let from = fault.strike(&mut cluster, &workload, &mut rng).await;
            let recovered = workload.all_move(from).await;
            let outcome = Outcome { fault, recovered };
            told(&outcome);
            outcomes.push(outcome);
            sleep(CALM).await;
        }
    }
    let (tapes, scores) = workload.end().await;
    let mut logs = BTreeMap::new();
    for game in scores.keys() {
        let mut told = Vec::new();
        for node in cluster.living() {
            told.push(log_at(node.http, game).await);
        }
        logs.insert(game.clone(), told);
    }
    crate::cluster::assert_no_panics();
    Run {
        outcomes,
        findings: Findings {
            logs,
            tapes,
            scores,
        },
    }
}
