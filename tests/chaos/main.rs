//! The short form of `make chaos`, and that its judge sees every kind of broken promise. How long recoveries take is printed
//! there and not asserted here: a loaded machine takes what it takes.
#![allow(clippy::unwrap_used)]

use shared::notation::pgn::{self, Pgn};
use std::{sync::Arc, time::Duration};
use tests::chaos::{Fault, Lie, Plan, Stage, judge, run};

fn scores() -> Vec<Arc<Pgn>> {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/data/games.pgn");
    let text = std::fs::read_to_string(path).unwrap();
    pgn::games(&text)
        .map(|game| Arc::new(game.unwrap()))
        .collect()
}

fn plan(stage: Stage, faults: Vec<Fault>) -> Plan {
    Plan {
        seed: 20_261_125,
        stage,
        faults,
        rounds: 1,
        games: 6,
        pace: Duration::from_millis(60),
    }
}

async fn holds(plan: Plan) {
    let run = run(&plan, &scores(), |outcome| println!("{outcome:?}")).await;
    let Some(run) = run else {
        println!(
            "{:?} is skipped: only root may mount the small disk that it needs",
            plan.stage
        );
        return;
    };
    let objections = judge(&run.findings);
    assert!(
        objections.is_empty(),
        "{plan:?}:\n{}",
        objections.join("\n")
    );
    assert!(run.findings.moves() > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_dies_no_promise_does() {
    holds(plan(Stage::Single, Stage::Single.faults())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rolling_restart_behind_a_load_balancer_loses_nothing() {
    holds(plan(Stage::Balanced, vec![Fault::RollingRestart])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_failover_that_lost_the_last_moves_loses_none() {
    holds(plan(Stage::Sentinel, vec![Fault::TailLost])).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_shard_that_dies_and_a_slot_that_moves_lose_nothing() {
    let faults = vec![Fault::SlotMoved, Fault::PrimaryKilled, Fault::TailLost];
    holds(plan(Stage::Cluster, faults)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_full_disk_delays_the_archive_and_nothing_else() {
    holds(plan(Stage::Alone, Stage::Alone.faults())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_judge_sees_every_broken_promise() {
    let run = run(&plan(Stage::Single, Vec::new()), &scores(), |_| ()).await;
    let run = run.unwrap();
    // Nobody has broken any yet.
    assert_eq!(judge(&run.findings), Vec::<String>::new());
    for lie in Lie::ALL {
        let objections = judge(&lie.told_of(&run.findings));
        assert!(!objections.is_empty(), "{lie:?} went unnoticed");
    }
}
