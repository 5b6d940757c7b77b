//! The load generator: many sockets on few processes, real games, and what it costs.
//!
//! `load run` puts one load on a cluster of its own or on servers that run; `load fanout` and the other benches compare. The
//! coordinator holds no sockets: its [`crew`] of workers does, each a process with one thread and one epoll. Events are timed
//! from the moment their publisher wrote them, on the clock that all processes of this machine share.

mod assertion;
mod bench;
mod crew;
mod figures;
mod floor;
mod meter;
mod orders;
mod report;
mod run;
mod script;
mod target;
mod tree;
mod worker;

use anyhow::{Context, bail, ensure};
use assertion::Assertion;
use clap::{Parser, Subcommand};
use figures::Figures;
use run::Work;
use std::{net::SocketAddr, path::PathBuf, process::ExitCode};
use target::Target;

/// Puts load on Rookery, and on what it is compared with.
#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// One load: spectators, players with real games, chat.
    Run(Box<RunArgs>),
    /// Rookery, the floor and other programs on the same work.
    Fanout(bench::FanoutArgs),
    /// A million spectators in one room.
    Million(bench::MillionArgs),
    /// Many rooms with three members each.
    Rooms(bench::RoomsArgs),
    /// Where one gateway ends, beside several.
    OneNode(bench::OneNodeArgs),
    /// One room, a thousand gateways that listen, with and without replicas of Redis.
    Tree(tree::TreeArgs),
    /// Gateways that only listen, in the hands of a coordinator.
    #[command(hide = true)]
    StandIns,
    /// A worker, in the hands of a coordinator.
    #[command(hide = true)]
    Worker,
    /// A server that does the least there is to do, in the hands of a coordinator.
    #[command(hide = true)]
    Floor,
}

#[derive(Debug, clap::Args)]
struct RunArgs {
    #[command(flatten)]
    work: Work,
    /// Gateways of a cluster started for this run, with a Redis of its own.
    #[arg(long, default_value_t = 2)]
    gateways: usize,
    /// Gateways that run already instead, as ADDRESS:PORT; repeatable.
    #[arg(long)]
    door: Vec<SocketAddr>,
    /// Processes of those gateways, to measure CPU and memory; repeatable.
    #[arg(long)]
    pid: Vec<u32>,
    /// Let `--door` be an address of another machine. Ask whoever owns it first.
    #[arg(long)]
    not_only_loopback: bool,
    /// After so many seconds of silence the gateways ping.
    #[arg(long, default_value_t = 30)]
    heartbeat: u64,
    /// A further flag of `rookery serve`; repeatable.
    #[arg(long, allow_hyphen_values = true)]
    flag: Vec<String>,
    /// Put the same load on the floor too, with as many processes, and give the ratio to it.
    #[arg(long)]
    floor: bool,
    /// Only the floor.
    #[arg(long, conflicts_with = "floor")]
    only_floor: bool,
    /// What must be true: `p99<50ms,lost=0`. Else the exit code is 1.
    #[arg(long = "assert", value_delimiter = ',')]
    assertions: Vec<Assertion>,
    /// Folder for the JSON and the HTML report.
    #[arg(long, default_value = "target/load")]
    report: PathBuf,
}

fn main() -> ExitCode {
    let done = match Args::parse().command {
        Command::Worker => worker::run(),
        Command::Floor => floor::serve(),
        Command::Run(args) => in_runtime(run(*args)),
        Command::Fanout(args) => in_runtime(bench::fanout(args)),
        Command::Million(args) => in_runtime(bench::million(args)),
        Command::Rooms(args) => in_runtime(bench::rooms(args)),
        Command::OneNode(args) => in_runtime(bench::one_node(args)),
        Command::Tree(args) => in_runtime(tree::tree(args)),
        Command::StandIns => in_runtime(tree::stand_ins()),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn in_runtime(work: impl Future<Output = anyhow::Result<()>>) -> anyhow::Result<()> {
    raise_open_files();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("no runtime")?;
    runtime.block_on(work)
}

/// Workers and servers inherit the limit.
fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        ..limit
    };
    if let Err(error) = setrlimit(Resource::Nofile, raised) {
        eprintln!("load: the limit of open files stays: {error}");
    }
}

async fn run(args: RunArgs) -> anyhow::Result<()> {
    if let Some(door) = args.door.iter().find(|door| !door.ip().is_loopback()) {
        ensure!(
            args.not_only_loopback,
            "{door} is not of this machine; --not-only-loopback allows that"
        );
    }
    let mut runs: Vec<Figures> = Vec::new();
    if !args.only_floor {
        let mut target = if args.door.is_empty() {
            Target::rookery(args.gateways, args.heartbeat, &args.flag).await
        } else {
            Target::outside(args.door.clone(), args.pid.clone())
        };
        let heartbeat = args.door.is_empty().then_some(args.heartbeat);
        runs.push(run::measure(&mut target, &args.work, heartbeat).await?);
    }
    if args.floor || args.only_floor {
        let mut work = args.work.clone();
        // The same bytes.
        if let Some(first) = runs.first().filter(|first| first.deliveries > 0) {
            let len = first.bytes_per_delivery.round() as usize;
            work.event_len = len.saturating_sub(4).max(64);
        }
        // The floor knows no rooms: everybody hears everything.
        ensure!(work.games == 1, "the floor has one room: --games 1");
        work.more_games = 0;
        work.chat = 0.0;
        work.reconnect = None;
        let servers = runs.first().map_or(args.gateways, |first| first.servers);
        let mut target = Target::floor(servers)?;
        runs.push(run::measure(&mut target, &work, None).await?);
    }
    report::print(&runs);
    report::write(&args.report, "run", &runs)?;
    let broken: Vec<String> = runs
        .iter()
        .flat_map(|figures| {
            let failures = args
                .assertions
                .iter()
                .filter_map(|a| a.check(figures).err());
            failures.map(|why| format!("{}: {why}", figures.name))
        })
        .collect();
    if !broken.is_empty() {
        bail!("not as asserted: {}", broken.join("; "));
    }
    Ok(())
}
