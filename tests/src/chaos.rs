//! Games from real scores, played through real processes while a seeded nemesis breaks them one after the other; and a judge
//! who was not there. The players only write down what they said and heard; afterwards [`judge`] compares the tapes with
//! the logs and with the archive, by `checker`, which shares no code with players or gateways.
//!
//! `make chaos` is all of it, with the time each fault took to be over; a short form is a test. [`outage`] is one fault
//! for long: the database away while moves come at a steady rate.

mod balancer;
mod database;
mod faults;
mod judge;
pub mod outage;
mod tape;
mod workload;

pub use faults::{Fault, Stage};
pub use judge::{Findings, Lie, judge};
pub use tape::Tape;

use crate::{cluster::Cluster, scene::log_at};
use balancer::Balancer;
use database::{Database, SmallDisk};
use rand::{SeedableRng, rngs::StdRng, seq::SliceRandom};
use shared::notation::pgn::Pgn;
use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::time::sleep;
use workload::Workload;

/// How often logs and archive are read at the end, while events still come.
const READINGS_MAX: usize = 5;

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
    /// From the beginning of one move of a game to that of the next, where nothing holds it up.
    pub pace: Duration,
}

/// One fault, and how long it took until every game went on.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// Which.
    pub fault: Fault,
    /// From the moment that [`Fault::counted_from`] names until every game had had a move that was begun after it, acknowledged,
    /// and seen by the opponent.
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
    /// All that was said, heard, logged and archived.
    pub findings: Findings,
}

/// All that a run is played on.
struct Ground {
    stage: Stage,
    workload: Workload,
    cluster: Cluster,
    _balancer: Option<Balancer>,
    database: Database,
}

/// Plays it. `told` hears of each fault as it is over. `None` where the stage cannot be set up here.
pub async fn run(plan: &Plan, scores: &[Arc<Pgn>], mut told: impl FnMut(&Outcome)) -> Option<Run> {
    let mut rng = StdRng::seed_from_u64(plan.seed);
    let mut ground = Ground::set_up(plan, scores).await?;
    ground.workload.all_move(Instant::now()).await;
    sleep(CALM).await;
    let mut outcomes = Vec::new();
    for _ in 0..plan.rounds {
        let mut faults = plan.faults.clone();
        faults.shuffle(&mut rng);
        for fault in faults {
            let from = fault.strike(&mut ground, &mut rng).await;
            let recovered = ground.workload.all_move(from).await;
            let outcome = Outcome { fault, recovered };
            told(&outcome);
            outcomes.push(outcome);
            sleep(CALM).await;
        }
    }
    let findings = ground.end().await;
    Some(Run { outcomes, findings })
}

impl Ground {
    async fn set_up(plan: &Plan, scores: &[Arc<Pgn>]) -> Option<Ground> {
        let stage = plan.stage;
        let database = match stage {
            Stage::Alone => Database::Sqlite(SmallDisk::mount()?),
            _ => Database::postgres().await,
        };
        let gateways = if stage == Stage::Alone { 1 } else { 3 };
        let url = database.url();
        let mut flags = vec!["--messages-per-second", "1000", "--drain-seconds", "2"];
        // Whoever plays that fast begins many games.
        flags.extend(["--seeks-per-minute", "1000000", "--database-url", &url]);
        let cluster = Cluster::start(stage.over(), gateways, &flags).await;
        let balancer = match stage {
            Stage::Balanced => Some(Balancer::start(&cluster).await),
            _ => None,
        };
        let doors = match &balancer {
            Some(balancer) => balancer.doors(),
            None => cluster.doors(),
        };
        let workload = Workload::begin(scores, plan.games, plan.pace, &doors, plan.seed).await;
        Some(Ground {
            stage,
            workload,
            cluster,
            _balancer: balancer,
            database,
        })
    }

    /// Ends the games where they are, and gathers what there is to know of them.
    async fn end(self) -> Findings {
        let (tapes, scores) = self.workload.end().await;
        let (mut logs, mut archived) = (BTreeMap::new(), BTreeMap::new());
        let len = |told: &Vec<judge::Log>| told.iter().map(|(_, lines)| lines.len()).max();
        let mut open: Vec<String> = scores.keys().cloned().collect();
        // Time goes on in games that were left before their end: what has grown meanwhile is read again.
        for _ in 0..READINGS_MAX {
            for game in &open {
                let mut told = Vec::new();
                for node in self.cluster.living() {
                    told.push(log_at(node.http, game).await);
                }
                logs.insert(game.clone(), told);
            }
            let due = |game: &String| len(&logs[game]).unwrap_or(0);
            let all_due = open.iter().map(|game| (game.clone(), due(game)));
            archived.extend(self.database.logs(&all_due.collect()).await);
            let grown = |game: &String| {
                let stored: Option<&judge::Log> = archived.get(game);
                stored.is_some_and(|(_, lines)| lines.len() > due(game))
            };
            open.retain(grown);
            if open.is_empty() {
                break;
            }
        }
        crate::cluster::assert_no_panics();
        Findings {
            logs,
            archived,
            tapes,
            scores,
        }
    }
}
