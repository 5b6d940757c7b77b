//! The benches that compare: each one command, all its ratios from one run, its rounds interleaved and bounded in time.

use crate::{
    figures::Figures,
    meter::Machine,
    orders::Dialect,
    report::{self, Ratios},
    run::{Work, measure},
    target::Target,
};
use anyhow::{Context, bail, ensure};
use serde::Serialize;
use std::{
    fmt::Write,
    path::{Path, PathBuf},
    process::Command,
};

/// Sockets of one server process at most: it may open 20,000 files here.
const SOCKETS_PER_SERVER_MAX: u32 = 18_900;

/// A heartbeat that never comes within a bench: a million pings every half minute are a load of their own.
const NO_HEARTBEAT: u64 = 3_600;

/// `load fanout`.
#[derive(Debug, Clone, clap::Args)]
pub struct FanoutArgs {
    /// Spectators of the one room.
    #[arg(long, default_value_t = 10_000)]
    spectators: u32,
    /// Events a second.
    #[arg(long, value_delimiter = ',', default_values_t = [5.0, 50.0])]
    rates: Vec<f64>,
    /// Rounds; the medians are told.
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Connections opened a second.
    #[arg(long, default_value_t = 2_500.0)]
    ramp: f64,
    /// Who takes part.
    #[arg(long, value_delimiter = ',', default_values_t = PEERS.map(|peer| peer.name.to_owned()))]
    only: Vec<String>,
    /// Folder for JSON and HTML.
    #[arg(long, default_value = "target/load")]
    report: PathBuf,
    /// Document whose table between `<!-- fanout -->` and `<!-- /fanout -->` is written anew, with its plot beside it.
    #[arg(long)]
    document: Option<PathBuf>,
}

/// Who can be compared.
struct Peer {
    name: &'static str,
    what: &'static str,
    kind: Kind,
}

enum Kind {
    Rookery,
    Floor,
    Node(&'static str, Dialect),
    Rust(&'static str, Dialect),
}

const PEERS: [Peer; 6] = [
    Peer {
        name: "floor",
        what: "a bare loop of `send`, no protocol, no Redis",
        kind: Kind::Floor,
    },
    Peer {
        name: "rookery",
        what: "two gateways",
        kind: Kind::Rookery,
    },
    Peer {
        name: "ws",
        what: "Node `ws` 8.23, ioredis 6.0",
        kind: Kind::Node("ws.mjs", Dialect::WebSocket),
    },
    Peer {
        name: "socketio",
        what: "Socket.IO 4.8, its Redis adapter 8.3",
        kind: Kind::Node("socketio.mjs", Dialect::SocketIo),
    },
    Peer {
        name: "socketioxide",
        what: "socketioxide 0.18, its Redis adapter 0.4",
        kind: Kind::Rust("oxide", Dialect::SocketIo),
    },
    Peer {
        name: "axum",
        what: "axum 0.8 WebSocket, broadcast channel, read buffer of 4 KiB",
        kind: Kind::Rust("broadcast", Dialect::WebSocket),
    },
];

impl Peer {
    async fn start(&self) -> anyhow::Result<Target> {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR"));
        match self.kind {
            Kind::Rookery => Ok(Target::rookery(2, NO_HEARTBEAT, &[]).await),
            Kind::Floor => Target::floor(2),
            Kind::Node(script, dialect) => {
                let script = folder.join("load/peers/node").join(script);
                let command = || {
                    let mut command = Command::new("node");
                    command.arg(&script);
                    command
                };
                Target::peer(self.name, dialect, command).await
            }
            Kind::Rust(binary, dialect) => {
                let target = std::env::var_os("CARGO_TARGET_DIR")
                    .map_or_else(|| folder.join("../target"), PathBuf::from);
                let binary = target.join("peers/release").join(binary);
                Target::peer(self.name, dialect, || Command::new(&binary)).await
            }
        }
    }
}

/// One cell of the table: the median of a few runs.
#[derive(Debug, Clone, Serialize)]
struct Cell {
    peer: String,
    rate: f64,
    achieved: f64,
    cpu_us: f64,
    last_p50: f64,
    last_p99: f64,
    player_p99: f64,
    join_us: f64,
    user_bytes: f64,
    disorder: u64,
}

/// Rookery, the floor, and others, on the same work.
pub async fn fanout(args: FanoutArgs) -> anyhow::Result<()> {
    let peers: Vec<&Peer> = PEERS
        .iter()
        .filter(|peer| args.only.iter().any(|name| name == peer.name))
        .collect();
    ensure!(
        peers.len() == args.only.len() && args.rounds > 0,
        "--only takes names of {}",
        PEERS.map(|peer| peer.name).join(", ")
    );
    let machine = Machine::this();
    let mut runs: Vec<(f64, Figures)> = Vec::new();
    for round in 1..=args.rounds {
        for rate in &args.rates {
            for peer in &peers {
                let mut target = peer.start().await.with_context(|| {
                    format!("{} (make bench-fanout builds the peers)", peer.name)
                })?;
                target.name = peer.name.to_owned();
                let work = Work {
                    spectators: args.spectators,
                    rate: *rate,
                    seconds: args.seconds,
                    ramp: args.ramp,
                    ..Work::default()
                };
                let figures = measure(&mut target, &work, None).await?;
                println!(
                    "round {round}, {rate}/s, {:<13} {:>6.2} µs per delivery, {:>5.1} events/s, to the last socket p50 {:>7.1} p99 {:>7.1} ms, lost {} repeated {} reordered {}",
                    peer.name,
                    figures.cpu_per_delivery_us,
                    figures.events_per_second,
                    figures.last_socket.p50,
                    figures.last_socket.p99,
                    figures.lost,
                    figures.repeated,
                    figures.reordered,
                );
                runs.push((*rate, figures));
            }
        }
    }
    let cells: Vec<Cell> = args
        .rates
        .iter()
        .flat_map(|rate| peers.iter().map(move |peer| (*rate, peer.name)))
        .map(|(rate, name)| {
            let of = |(at, figures): &&(f64, Figures)| *at == rate && figures.name == name;
            let these: Vec<&Figures> = runs.iter().filter(of).map(|(_, f)| f).collect();
            cell(rate, name, &these)
        })
        .collect();
    let (table, note) = (table(&cells, &peers, &args), note(&machine, &args));
    println!("{table}\n{note}");
    let all: Vec<Figures> = runs.into_iter().map(|(_, figures)| figures).collect();
    report::write(&args.report, "fanout", &all)?;
    if let Some(document) = &args.document {
        let plot = document.with_file_name("fanout.svg");
        std::fs::write(&plot, bars(&cells)?).with_context(|| format!("{}", plot.display()))?;
        let text = format!("{table}\n{note}\n\n![CPU per delivery](fanout.svg)\n");
        replace_between(document, "fanout", &text)?;
    }
    Ok(())
}

fn cell(rate: f64, peer: &str, runs: &[&Figures]) -> Cell {
    let median = |of: fn(&Figures) -> f64| {
        let mut values: Vec<f64> = runs.iter().map(|figures| of(figures)).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
    };
    Cell {
        peer: peer.to_owned(),
        rate,
        achieved: median(|f| f.events_per_second),
        cpu_us: median(|f| f.cpu_per_delivery_us),
        last_p50: median(|f| f.last_socket.p50),
        last_p99: median(|f| f.last_socket.p99),
        player_p99: median(|f| f.player.p99),
        join_us: median(|f| f.join.cpu_us),
        user_bytes: median(|f| f.memory.user_bytes_per_spectator),
        disorder: runs.iter().map(|f| f.lost + f.repeated + f.reordered).sum(),
    }
}

fn table(cells: &[Cell], peers: &[&Peer], args: &FanoutArgs) -> String {
    let mut text = String::from(
        "| | events/s asked, made | server CPU per delivery, µs | to floor | last socket p50, p99, ms | player p99, ms | CPU per join, µs | KiB per spectator | lost, repeated, reordered |\n\
         | --- | --- | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for rate in &args.rates {
        let at = |name: &str| cells.iter().find(|c| c.rate == *rate && c.peer == name);
        let floor = at("floor").map_or(f64::NAN, |cell| cell.cpu_us);
        for peer in peers {
            let Some(cell) = at(peer.name) else {
                continue;
            };
            let _ = writeln!(
                text,
                "| {} ({}) | {rate}, {:.1} | {:.2} | {:.2} | {:.0}, {:.0} | {:.1} | {:.0} | {:.1} | {} |",
                peer.name,
                peer.what,
                cell.achieved,
                cell.cpu_us,
                cell.cpu_us / floor,
                cell.last_p50,
                cell.last_p99,
                cell.player_p99,
                cell.join_us,
                cell.user_bytes / 1024.0,
                cell.disorder,
            );
        }
    }
    text
}

fn note(machine: &Machine, args: &FanoutArgs) -> String {
    format!(
        "{} spectators of one room, two server processes, one Redis, medians of {} rounds of {} s. {} cores of {}, {} GiB, Linux {}, load average {:.1} at the start; `load {}`.",
        args.spectators,
        args.rounds,
        args.seconds,
        machine.cores,
        machine.cpu,
        machine.memory_gib,
        machine.linux,
        machine.load_average,
        std::env::args().skip(1).collect::<Vec<_>>().join(" "),
    )
}

/// CPU per delivery as bars, by rate.
fn bars(cells: &[Cell]) -> anyhow::Result<String> {
    let bars: Vec<(String, f64)> = cells
        .iter()
        .map(|cell| (format!("{} {}/s", cell.peer, cell.rate), cell.cpu_us))
        .collect();
    report::bars("Server CPU per delivery, µs", &bars)
}

/// Writes what stands between `<!-- name -->` and `<!-- /name -->` anew.
fn replace_between(document: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    let old =
        std::fs::read_to_string(document).with_context(|| format!("{}", document.display()))?;
    let (begin, end) = (format!("<!-- {name} -->"), format!("<!-- /{name} -->"));
    let (Some(from), Some(to)) = (old.find(&begin), old.find(&end)) else {
        bail!("{} has no {begin} … {end}", document.display());
    };
    let from = from + begin.len();
    let new = format!("{}\n{text}{}", &old[..from], &old[to..]);
    Ok(std::fs::write(document, new)?)
}

/// `load million`.
#[derive(Debug, Clone, clap::Args)]
pub struct MillionArgs {
    /// Spectators of the one room.
    #[arg(long, default_value_t = 1_000_000)]
    spectators: u32,
    /// Events a second in that room.
    #[arg(long, default_value_t = 0.05)]
    rate: f64,
    /// Other games that go on meanwhile.
    #[arg(long, default_value_t = 20)]
    other_games: u32,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 100.0)]
    seconds: f64,
    /// Connections opened a second.
    #[arg(long, default_value_t = 4_000.0)]
    ramp: f64,
    /// Measure once more with pings after so many seconds of silence.
    #[arg(long)]
    heartbeat: Option<u64>,
    /// Without the floor.
    #[arg(long)]
    no_floor: bool,
    /// Folder for JSON and HTML.
    #[arg(long, default_value = "target/load")]
    report: PathBuf,
}

/// A million in one room, over as many gateways as the limit of open files asks for.
pub async fn million(args: MillionArgs) -> anyhow::Result<()> {
    let servers = args.spectators.div_ceil(SOCKETS_PER_SERVER_MAX) as usize;
    let work = Work {
        spectators: args.spectators,
        more_games: args.other_games,
        rate: args.rate,
        seconds: args.seconds,
        // An event takes up to ten seconds; none may be under way when counting begins.
        warm_up: 1.0 / args.rate,
        ramp: args.ramp,
        reconnect: Some(args.ramp.min(2_000.0)),
        ..Work::default()
    };
    let mut runs = Vec::new();
    let heartbeats = [Some(NO_HEARTBEAT), args.heartbeat];
    for heartbeat in heartbeats.into_iter().flatten() {
        let mut target = Target::rookery(servers, heartbeat, &[]).await;
        target.give_redis_precedence();
        if heartbeat != NO_HEARTBEAT {
            target.name = format!("rookery, pings each {heartbeat} s");
        }
        runs.push(measure(&mut target, &work, Some(heartbeat)).await?);
    }
    if !args.no_floor {
        let work = Work {
            more_games: 0,
            reconnect: None,
            ..work
        };
        runs.push(measure(&mut Target::floor(servers)?, &work, None).await?);
    }
    report::print(&runs);
    report::write(&args.report, "million", &runs)?;
    in_order(&runs)
}

/// `load rooms`.
#[derive(Debug, Clone, clap::Args)]
pub struct RoomsArgs {
    /// Games, each with two players and one spectator.
    #[arg(long, default_value_t = 20_000)]
    games: u32,
    /// Gateways.
    #[arg(long, default_value_t = 4)]
    gateways: usize,
    /// Moves a second in each game.
    #[arg(long, default_value_t = 0.05)]
    rate: f64,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 30.0)]
    seconds: f64,
    /// Connections opened a second.
    #[arg(long, default_value_t = 1_500.0)]
    ramp: f64,
    /// Folder for JSON and HTML.
    #[arg(long, default_value = "target/load")]
    report: PathBuf,
}

/// Many small rooms.
pub async fn rooms(args: RoomsArgs) -> anyhow::Result<()> {
    let work = Work {
        spectators: args.games,
        games: args.games,
        rate: args.rate,
        seconds: args.seconds,
        warm_up: 5.0,
        ramp: args.ramp,
        ..Work::default()
    };
    let mut target = Target::rookery(args.gateways, NO_HEARTBEAT, &[]).await;
    let runs = [measure(&mut target, &work, None).await?];
    report::print(&runs);
    report::write(&args.report, "rooms", &runs)?;
    in_order(&runs)
}

/// `load one-node`.
#[derive(Debug, Clone, clap::Args)]
pub struct OneNodeArgs {
    /// Spectators of the one room: what one gateway may hold here.
    #[arg(long, default_value_t = 18_000)]
    spectators: u32,
    /// Events a second, one measurement each.
    #[arg(long, value_delimiter = ',', default_values_t = [1.0, 5.0, 10.0, 20.0, 50.0])]
    rates: Vec<f64>,
    /// Gateways, one series each.
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4])]
    gateways: Vec<usize>,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 8.0)]
    seconds: f64,
    /// Connections opened a second.
    #[arg(long, default_value_t = 2_500.0)]
    ramp: f64,
    /// Folder for JSON and HTML.
    #[arg(long, default_value = "target/load")]
    report: PathBuf,
}

/// An event to the last socket in more than this is the end of a gateway, in milliseconds.
const LAST_SOCKET_MAX_MS: f64 = 1_000.0;

/// Everybody of a room on one server, beside two and four.
pub async fn one_node(args: OneNodeArgs) -> anyhow::Result<()> {
    let mut runs = Vec::new();
    for gateways in &args.gateways {
        for rate in &args.rates {
            let work = Work {
                spectators: args.spectators,
                rate: *rate,
                seconds: args.seconds,
                ramp: args.ramp,
                ..Work::default()
            };
            let mut target = Target::rookery(*gateways, NO_HEARTBEAT, &[]).await;
            target.name = format!("{gateways} × {rate}/s");
            let figures = measure(&mut target, &work, None).await?;
            println!(
                "{gateways} gateways, {rate} events/s asked, {:.1} made: to the last socket p50 {:.0} p99 {:.0} ms, {:.2} µs per delivery, {:.2} cores",
                figures.events_per_second,
                figures.last_socket.p50,
                figures.last_socket.p99,
                figures.cpu_per_delivery_us,
                figures.cpu_cores
            );
            let ends = figures.last_socket.p99 > LAST_SOCKET_MAX_MS;
            runs.push(figures);
            if ends {
                println!(
                    "{gateways} gateways end here: more than {LAST_SOCKET_MAX_MS} ms to the last socket"
                );
                break;
            }
        }
    }
    println!("All of them, Redis and the clients share this machine's cores.");
    report::write(&args.report, "one-node", &runs)?;
    in_order(&runs)
}

/// Fails if anybody lost, or heard twice or out of order.
fn in_order(runs: &[Figures]) -> anyhow::Result<()> {
    if let Some(floor) = runs.iter().find(|run| run.name == "floor") {
        for run in runs.iter().filter(|run| run.name != "floor") {
            println!(
                "{}: {:.2} times the floor to the last socket",
                run.name,
                Ratios::of(run, floor).last_p50
            );
        }
    }
    for run in runs {
        ensure!(
            run.lost + run.repeated + run.reordered == 0,
            "{}: lost {}, repeated {}, reordered {}",
            run.name,
            run.lost,
            run.repeated,
            run.reordered
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_stands_between_the_marks_is_written_anew() {
        let folder = tempfile::tempdir().expect("a folder");
        let document = folder.path().join("doc.md");
        std::fs::write(&document, "a\n<!-- x -->\nold\n<!-- /x -->\nb\n").expect("written");
        replace_between(&document, "x", "new\n").expect("marks");
        let text = std::fs::read_to_string(&document).expect("read");
        assert_eq!(text, "a\n<!-- x -->\nnew\n<!-- /x -->\nb\n");
        assert!(replace_between(&document, "y", "").is_err());
    }
}
