//! `make hostile`: thousands of bad frames, handshakes, tokens and HTTP requests against three gateways and a Redis, with canary
//! games going on.

use anyhow::Context;
use clap::Parser;
use shared::notation::pgn;
use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};
use tests::hostile::{Plan, run};

/// Attacks a cluster of its own, and says what came of it.
#[derive(Debug, Parser)]
struct Args {
    /// Makes the same attacks again; a random one by default.
    #[arg(long)]
    seed: Option<u64>,
    /// Attacks.
    #[arg(long, default_value_t = 20_000)]
    attacks: usize,
    /// Attackers at a time.
    #[arg(long, default_value_t = 32)]
    attackers: usize,
    /// Games going on meanwhile.
    #[arg(long, default_value_t = 6)]
    canaries: usize,
    /// The games.
    #[arg(long, default_value = "tests/data/games.pgn")]
    games: PathBuf,
}

#[tokio::main]
async fn main() -> ExitCode {
    match hostile(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("hostile: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn hostile(args: Args) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(&args.games)
        .with_context(|| format!("{} cannot be read", args.games.display()))?;
    let games: Result<Vec<_>, _> = pgn::games(&text).collect();
    let games = games
        .context("the games")?
        .into_iter()
        .map(Arc::new)
        .collect();
    let seed = args.seed.unwrap_or_else(rand::random);
    println!("seed {seed}");
    let outcome = run(
        Plan {
            seed,
            attacks: args.attacks,
            attackers: args.attackers,
            half_open: 200,
            canaries: args.canaries,
            pace: Duration::from_millis(50),
        },
        games,
    )
    .await?;
    print!("{outcome}");
    Ok(())
}
