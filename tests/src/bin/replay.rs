//! `make replay`: real games, move by move, through gateways that share one Redis. White plays on one gateway, Black on the
//! next, somebody watches on a third; every exported PGN is compared with the original.
//!
//! With `--running N --seconds S` it is a load instead: N games at a time, one move each `--pace-ms`, for S seconds.

use anyhow::{Context, bail};
use clap::Parser;
use indicatif::{ProgressBar, ProgressStyle};
use shared::notation::pgn::{self, Pgn};
use std::{path::PathBuf, process::ExitCode, sync::Arc, time::Duration};
use tests::{
    cluster::{Cluster, Over},
    replay::{Figures, Table, ping, play, watched_cpu},
};
use tokio::{sync::Semaphore, task::JoinSet, time::Instant};

/// Games begun a second when a load starts: a crowd comes over some seconds, and so its moves are spread too.
const BEGUN_PER_SECOND: f64 = 300.0;

/// Plays real games through several gateways and a Redis, and compares what comes out with what went in.
#[derive(Debug, Parser)]
struct Args {
    /// The games.
    #[arg(long, default_value = "tests/data/games.pgn")]
    games: PathBuf,
    /// How many of them, from the first on; all by default.
    #[arg(long)]
    count: Option<usize>,
    /// Games at a time.
    #[arg(long, default_value_t = 16)]
    concurrency: usize,
    /// Gateways.
    #[arg(long, default_value_t = 3)]
    gateways: usize,
    /// Thinking time before each move, in milliseconds.
    #[arg(long, default_value_t = 0)]
    pace_ms: u64,
    /// A load instead: so many games running at a time, over and over, without watchers or comparison.
    #[arg(long)]
    running: Option<usize>,
    /// How long the load lasts.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Args::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("replay: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(args: Args) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(&args.games)
        .with_context(|| format!("{} cannot be read", args.games.display()))?;
    let games: Vec<Pgn> = pgn::games(&text)
        .collect::<Result<_, _>>()
        .context("the games")?;
    if args.gateways == 0 || games.is_empty() {
        bail!("there must be a gateway and a game");
    }
    let games = games
        .into_iter()
        .take(args.count.unwrap_or(usize::MAX))
        .map(Arc::new)
        .collect();
    let cluster = Cluster::start(
        Over::Processes,
        args.gateways,
        &["--messages-per-second", "1000"],
    )
    .await;
    match args.running {
        Some(running) => load(&args, &cluster, games, running).await,
        None => replay(&args, &cluster, games).await,
    }
}

fn tables(cluster: &Cluster, gateways: usize) -> Vec<Table> {
    let door = |place: usize| cluster.node(place % gateways).http;
    let table = |place| Table {
        white: door(place),
        black: door(place + 1),
        watcher: Some(door(place + 2)),
    };
    (0..gateways).map(table).collect()
}

async fn replay(args: &Args, cluster: &Cluster, games: Vec<Arc<Pgn>>) -> anyhow::Result<()> {
    let plies: usize = games.iter().map(|game| game.moves.len()).sum();
    let style = "{elapsed_precise} {bar:40} {pos}/{len} moves, {per_sec}";
    let bar = ProgressBar::new(plies as u64).with_style(ProgressStyle::with_template(style)?);
    let figures = Arc::new(Figures::default());
    let pinging = tokio::spawn(ping(cluster.redis().connect().await?, figures.clone()));
    let began = Instant::now();
    let places = Arc::new(Semaphore::new(args.concurrency.max(1)));
    let tables = tables(cluster, args.gateways);
    let pace = Duration::from_millis(args.pace_ms);
    let count = games.len();
    let mut playing = JoinSet::new();
    for (number, game) in games.into_iter().enumerate() {
        let table = tables[number % tables.len()];
        let (figures, places, bar) = (figures.clone(), places.clone(), bar.clone());
        playing.spawn(async move {
            let _place = places.acquire_owned().await?;
            let name = || {
                format!(
                    "game {} ({})",
                    number + 1,
                    game.tags.get("GameId").unwrap_or("?")
                )
            };
            play(&game, table, pace, &figures, || bar.inc(1))
                .await
                .with_context(name)
        });
    }
    let (mut failed, mut shortened) = (0, 0);
    while let Some(game) = playing.join_next().await {
        match game.context("a game's task ended")? {
            Ok(played) => shortened += usize::from(played.ended_early),
            Err(error) => {
                failed += 1;
                bar.suspend(|| eprintln!("{error:#}"));
            }
        }
    }
    bar.finish();
    pinging.abort();
    let seconds = began.elapsed().as_secs_f64();
    let moves = figures.moves() as f64;
    println!(
        "{count} games, {moves} moves in {seconds:.1} s, {} at a time on {} gateways: {:.1} games/s, {:.0} moves/s",
        args.concurrency,
        args.gateways,
        count as f64 / seconds,
        moves / seconds
    );
    println!(
        "{shortened} of them ended by the rules before their last move (fivefold repetition, 75 moves, dead position)"
    );
    figures.print();
    println!("{} passed, {failed} failed", count - failed);
    if failed > 0 {
        bail!("{failed} of {count} games did not come out as they went in");
    }
    Ok(())
}

async fn load(
    args: &Args,
    cluster: &Cluster,
    games: Vec<Arc<Pgn>>,
    running: usize,
) -> anyhow::Result<()> {
    let pace = Duration::from_millis(args.pace_ms.max(1));
    let figures = Arc::new(Figures::default());
    let tables = tables(cluster, args.gateways);
    let mut playing = JoinSet::new();
    for number in 0..running {
        let table = Table {
            watcher: None,
            ..tables[number % tables.len()]
        };
        let (figures, games) = (figures.clone(), games.clone());
        playing.spawn(async move {
            tokio::time::sleep(Duration::from_secs_f64(number as f64 / BEGUN_PER_SECOND)).await;
            for turn in 0.. {
                let game = &games[(number + turn * running) % games.len()];
                play(game, table, pace, &figures, || {}).await?;
            }
            anyhow::Ok(())
        });
    }
    let warm_up = running as f64 / BEGUN_PER_SECOND + pace.as_secs_f64() + 2.0;
    wait("games begin", warm_up, &mut playing).await?;
    figures.clear();
    let pinging = tokio::spawn(ping(cluster.redis().connect().await?, figures.clone()));
    let before = watched_cpu(cluster).await;
    let began = Instant::now();
    wait("measuring", args.seconds as f64, &mut playing).await?;
    let seconds = began.elapsed().as_secs_f64();
    let after = watched_cpu(cluster).await;
    let moves = figures.moves() as f64;
    pinging.abort();
    playing.abort_all();
    println!(
        "{running} games at a time on {} gateways for {seconds:.0} s: {:.0} moves/s",
        args.gateways,
        moves / seconds
    );
    figures.print();
    let share = |name: &str, used: f64| {
        println!(
            "{name:<9} {:>5.1} % of a core, {:>4.0} µs of processor time a move",
            100.0 * used / seconds,
            1e6 * used / moves
        );
    };
    share("gateways", after.gateways - before.gateways);
    share("redis", after.redis - before.redis);
    share(
        "together",
        after.gateways + after.redis - before.gateways - before.redis,
    );
    Ok(())
}

/// Lets time pass while the games are played; fails with the first of them that does.
async fn wait(
    what: &str,
    seconds: f64,
    playing: &mut JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<()> {
    let style = ProgressStyle::with_template("{msg} {bar:40} {pos}/{len} s")?;
    let bar = ProgressBar::new(seconds.ceil() as u64)
        .with_style(style)
        .with_message(what.to_owned());
    for _ in 0..seconds.ceil() as u64 {
        tokio::time::sleep(Duration::from_secs(1)).await;
        bar.inc(1);
        if let Some(ended) = playing.try_join_next() {
            return ended.context("a game's task ended")?;
        }
    }
    bar.finish();
    Ok(())
}
