//! `make chaos`: breaks a cluster of real processes, one thing after the other, while real games are played on it. Prints how long
//! each fault took to be over beside what was promised, and fails if the judge objects to anything. With `--outage-seconds` it
//! takes the database away for so long instead, and prints what movers, queue and memory notice of it.

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use shared::notation::pgn::{self, Pgn};
use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};
use tests::chaos::{
    self, Outcome, Plan, Stage,
    outage::{self, Outage},
};

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum On {
    /// One Redis.
    Single,
    /// One Redis, and HAProxy before the gateways.
    Balanced,
    /// A Redis Cluster.
    Cluster,
    /// Redis behind Sentinels.
    Sentinel,
    /// No Redis: one gateway with a journal, and SQLite.
    Alone,
}

/// Breaks a cluster while games are played on it.
#[derive(Debug, Parser)]
struct Args {
    /// The games.
    #[arg(long, default_value = "tests/data/games.pgn")]
    games: PathBuf,
    /// Decides what is broken when. Default: another each time.
    #[arg(long)]
    seed: Option<u64>,
    /// What the gateways stand on; all, one after the other, by default.
    #[arg(long, value_enum)]
    on: Vec<On>,
    /// How often each fault comes.
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Games at a time.
    #[arg(long, default_value_t = 24)]
    at_once: usize,
    /// Moves of all games together.
    #[arg(long, default_value_t = 200.0)]
    moves_per_second: f64,
    /// Fail also when a fault took longer than was promised.
    #[arg(long)]
    strict: bool,
    /// Take the database away for so long, and do nothing else.
    #[arg(long)]
    outage_seconds: Option<u64>,
}

/// How soon the archive must have caught up after an outage.
const CAUGHT_UP_MAX: Duration = Duration::from_secs(60);

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("chaos: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(&args.games)
        .with_context(|| format!("{} cannot be read", args.games.display()))?;
    let scores: Vec<Arc<Pgn>> = pgn::games(&text)
        .map(|game| game.map(Arc::new))
        .collect::<Result<_, _>>()
        .context("the games")?;
    let seed = args.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    if let Some(seconds) = args.outage_seconds {
        return without_database(&args, seconds, seed, &scores).await;
    }
    let stages = if args.on.is_empty() {
        Stage::ALL.to_vec()
    } else {
        let stage = |on: &On| Stage::ALL[*on as usize];
        args.on.iter().map(stage).collect()
    };
    let (mut late, mut wrong) = (0, 0);
    for stage in stages {
        let plan = Plan {
            seed,
            stage,
            faults: stage.faults(),
            rounds: args.rounds,
            games: args.at_once,
            pace: Duration::from_secs_f64(args.at_once as f64 / args.moves_per_second),
        };
        println!(
            "\n{stage:?}: {} games at a time, {} moves a second\n{:<22}{:>10}{:>10}  counted from",
            plan.games, args.moves_per_second, "fault", "over in s", "bound"
        );
        let run = chaos::run(&plan, &scores, |outcome| {
            late += u32::from(!outcome.is_in_bound());
            print(outcome);
        })
        .await;
        let Some(run) = run else {
            println!("skipped: only root may mount the small disk that it needs");
            continue;
        };
        let objections = chaos::judge(&run.findings);
        let moves: usize = run.findings.moves();
        println!(
            "{} games, {moves} moves: {} objections",
            run.findings.scores.len(),
            objections.len()
        );
        for objection in &objections {
            println!("  {objection}");
        }
        wrong += objections.len();
    }
    if wrong > 0 {
        bail!("promises were broken; again with --seed {seed}");
    }
    if late > 0 && args.strict {
        bail!("{late} faults took longer than was promised");
    }
    Ok(())
}

async fn without_database(
    args: &Args,
    seconds: u64,
    seed: u64,
    scores: &[Arc<Pgn>],
) -> anyhow::Result<()> {
    let outage = Outage {
        lasts: Duration::from_secs(seconds),
        moves_per_second: args.moves_per_second,
        games: args.at_once,
        seed,
    };
    let figures = outage::run(&outage, scores).await;
    println!("{figures}");
    for objection in &figures.objections {
        println!("  {objection}");
    }
    if !figures.objections.is_empty() {
        bail!("promises were broken; again with --seed {seed}");
    }
    if args.strict && figures.caught_up_in > CAUGHT_UP_MAX {
        bail!("the archive took longer than {} s", CAUGHT_UP_MAX.as_secs());
    }
    Ok(())
}

fn print(outcome: &Outcome) {
    let fault = outcome.fault;
    let bound = fault.bound().map_or("-".to_owned(), |bound| {
        let mark = if outcome.is_in_bound() { "" } else { "!" };
        format!("{mark}{}", bound.as_secs())
    });
    println!(
        "{:<22}{:>10.2}{bound:>10}  {}",
        format!("{fault:?}"),
        outcome.recovered.as_secs_f64(),
        fault.counted_from()
    );
}
