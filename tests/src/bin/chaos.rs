//! `make chaos`: breaks a cluster of real processes, one thing after the other, while real games are played on it. Prints how long
//! each fault took to be over beside what was promised, and fails if the judge objects to anything.

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use shared::notation::pgn::{self, Pgn};
use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};
use tests::chaos::{self, Outcome, Plan, Stage};

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
    /// Thinking time before each move, in milliseconds.
    #[arg(long, default_value_t = 100)]
    thinking_ms: u64,
    /// Fail also when a fault took longer than was promised.
    #[arg(long)]
    strict: bool,
}

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
    let stages = if args.on.is_empty() {
        Stage::ALL.to_vec()
    } else {
        let stage = |on: &On| Stage::ALL[*on as usize];
        args.on.iter().map(stage).collect()
    };
    let seed = args.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    let (mut late, mut wrong) = (0, 0);
    for stage in stages {
        let plan = Plan {
            seed,
            stage,
            faults: stage.faults(),
            rounds: args.rounds,
            games: args.at_once,
            thinking: Duration::from_millis(args.thinking_ms),
        };
        println!(
            "\n{stage:?}: {} games at a time, a move each {} ms\n{:<22}{:>10}{:>10}  counted from",
            plan.games, args.thinking_ms, "fault", "over in s", "bound"
        );
        let run = chaos::run(&plan, &scores, |outcome| {
            late += u32::from(!outcome.is_in_bound());
            print(outcome);
        })
        .await;
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
