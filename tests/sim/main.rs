//! Seeded simulation: a few gateways on a backplane that delays, drops, repeats, reorders and goes away, nodes that crash
//! and come back, and clients that play random games, ask nonsense, lose their connections and go on elsewhere. Time is
//! paused, so minutes cost milliseconds, and everything follows from the seed. What came of it is judged by
//! `tests::checker`, which shares nothing with what is simulated.
//!
//! `ROOKERY_SIM_SEED=n` plays one seed and tells what happened; `ROOKERY_SIM_SEEDS=n` says how many are played.

#![allow(clippy::unwrap_used)]

mod client;
mod moments;
mod mutants;
mod view;
mod wire;
mod world;

use std::{
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, RecvTimeoutError},
    },
    time::Duration,
};
use world::{Plan, World};

/// Seeds played when the environment does not say: four minutes of one core, unoptimised.
const SEEDS: u64 = 2_000;

/// How long a seed may take, of which most take a fifth of a second.
const PATIENCE: Duration = Duration::from_secs(120);

/// Plays one seed to its end. Answers what the checkers object to, and all that happened.
fn play(plan: Plan) -> (Vec<String>, Vec<String>) {
    let _watch = Watch::over(plan.seed);
    in_its_own_time(async move {
        let mut world = World::new(plan);
        world.play().await;
        world.settle().await;
        world.judge().await
    })
}

/// Runs something whose time passes as fast as it can.
fn in_its_own_time<T>(what: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(what)
}

/// Ends the whole test run, with the seed's name, should this not be dropped in time: a seed that asks without pause, in no time,
/// would never end, and nothing can end it from outside.
struct Watch(#[expect(dead_code, reason = "it is dropped")] mpsc::Sender<()>);

impl Watch {
    fn over(seed: u64) -> Watch {
        let (played, is_played) = mpsc::channel();
        std::thread::spawn(move || {
            if is_played.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                // Not by `eprintln!`, which the test harness keeps until the test is over.
                let mut stderr = std::io::stderr();
                let _ = writeln!(
                    stderr,
                    "ROOKERY_SIM_SEED={seed}: not over after {PATIENCE:?}"
                );
                std::process::exit(101);
            }
        });
        Watch(played)
    }
}

fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

#[test]
fn every_promise_is_kept_on_every_seed() {
    if let Some(seed) = setting("ROOKERY_SIM_SEED") {
        let (objections, _) = play(Plan {
            tell: true,
            ..Plan::of(seed)
        });
        assert!(
            objections.is_empty(),
            "seed {seed}:\n{}",
            objections.join("\n")
        );
        return;
    }
    let (next, last) = (
        AtomicU64::new(0),
        setting("ROOKERY_SIM_SEEDS").unwrap_or(SEEDS),
    );
    let first = setting("ROOKERY_SIM_FIRST").unwrap_or(0);
    let failures = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= last || failures.lock().unwrap().len() >= 5 {
                        return;
                    }
                    let seed = first + seed;
                    let played = catch_unwind(AssertUnwindSafe(|| play(Plan::of(seed)).0));
                    let objections = played.unwrap_or_else(|_| vec!["a panic".to_owned()]);
                    if !objections.is_empty() {
                        let some = objections.iter().take(3).cloned().collect::<Vec<_>>();
                        failures
                            .lock()
                            .unwrap()
                            .push(format!("ROOKERY_SIM_SEED={seed}: {}", some.join("\n")));
                    }
                }
            });
        }
    });
    let failures = failures.into_inner().unwrap();
    assert!(
        failures.is_empty(),
        "{} seeds failed\n{}",
        failures.len(),
        failures.join("\n\n")
    );
}

#[test]
fn a_broken_promise_is_noticed() {
    use mutants::Mutant::*;
    for mutant in [
        AnswersInsteadOfAppending,
        RepeatsEvents,
        LosesEvents,
        MisnumbersAcks,
    ] {
        // An append that was lied about is found missing, and put back, by whichever node holds its event: so that lie is
        // mended in many games before anybody can notice.
        let noticed = (0..200).any(|seed| {
            let plan = Plan {
                mutant: Some(mutant),
                ..Plan::of(seed)
            };
            !play(plan).0.is_empty()
        });
        assert!(noticed, "{mutant:?} went unnoticed");
    }
}

#[test]
fn a_seed_is_played_the_same_again() {
    for seed in [3, 1_000_003, 7_777_777] {
        let (first, again) = (play(Plan::of(seed)), play(Plan::of(seed)));
        let differs = first
            .1
            .iter()
            .zip(&again.1)
            .position(|(one, other)| one != other);
        if let Some(line) = differs {
            panic!(
                "seed {seed} differs:\n{}\n------\n{}",
                first.1[line.saturating_sub(25)..line + 5].join("\n"),
                again.1[line.saturating_sub(25)..line + 5].join("\n")
            );
        }
        assert_eq!(first, again, "seed {seed}");
    }
}
