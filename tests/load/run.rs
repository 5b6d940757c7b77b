//! One run: players take their seats, a crowd comes in at a pace, the games go on for a while, and everything is counted.

use crate::{
    crew::Crew,
    figures::{Delay, Figures, Joins, MemoryFigures, Returned, Sample, Sum},
    meter::{self, Machine},
    orders::{Crowd, Dialect, Duty, Order, Table, Window, Word},
    script::Library,
    target::Target,
};
use anyhow::{Context, bail, ensure};
use indicatif::{ProgressBar, ProgressStyle};
use std::{
    net::Ipv4Addr,
    path::PathBuf,
    time::{Duration, Instant},
};
use tempfile::TempDir;

/// Sockets of one worker at most: a process here may open 20,000 files.
const SOCKETS_PER_WORKER_MAX: u64 = 19_000;

/// Addresses each worker connects from.
const SOURCES_PER_WORKER: u8 = 4;

/// Events of one room whose sending time is remembered.
const STAMPS_PER_ROOM: u32 = 4096;

/// The same where there are many rooms: 16 bytes each.
const STAMPS_PER_SMALL_ROOM: u32 = 64;

/// Time between two samples of a run.
const SAMPLE_EVERY: Duration = Duration::from_millis(250);

/// Time for memory to come to rest after the last join.
const REST: Duration = Duration::from_millis(1500);

/// The games that are played.
const PGN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/data/games.pgn");

/// What is to be done.
#[derive(Debug, Clone, clap::Args)]
pub struct Work {
    /// Spectators in all, spread evenly over rooms and servers.
    #[arg(long, default_value_t = 1000)]
    pub spectators: u32,
    /// Games, each with two players on two servers.
    #[arg(long, default_value_t = 1)]
    pub games: u32,
    /// Further games that nobody watches.
    #[arg(long, default_value_t = 0)]
    pub more_games: u32,
    /// Moves a second in each game.
    #[arg(long, default_value_t = 1.0)]
    pub rate: f64,
    /// Seconds that are measured.
    #[arg(long, default_value_t = 10.0)]
    pub seconds: f64,
    /// Seconds of play before that.
    #[arg(long, default_value_t = 2.0)]
    pub warm_up: f64,
    /// Connections opened a second, by all workers together.
    #[arg(long, default_value_t = 2000.0)]
    pub ramp: f64,
    /// Lines of chat a second by spectators, in all.
    #[arg(long, default_value_t = 0.0)]
    pub chat: f64,
    /// Share of the spectators that stop reading.
    #[arg(long, default_value_t = 0.0)]
    pub stalled: f64,
    /// Worker processes for spectators; as few as the limit of open files allows by default.
    #[arg(long)]
    pub workers: Option<usize>,
    /// Bytes of an event where no game makes it (the floor, other programs).
    #[arg(long, default_value_t = 200)]
    pub event_len: usize,
    /// Games to play.
    #[arg(long, default_value = PGN)]
    pub pgn: PathBuf,
    /// At the end, kill one gateway, and have its spectators come back to a new one, so many a second.
    #[arg(long)]
    pub reconnect: Option<f64>,
}

impl Default for Work {
    fn default() -> Work {
        Work {
            spectators: 1_000,
            games: 1,
            more_games: 0,
            rate: 1.0,
            seconds: 10.0,
            warm_up: 2.0,
            ramp: 2_000.0,
            chat: 0.0,
            stalled: 0.0,
            workers: None,
            event_len: 200,
            pgn: PGN.into(),
            reconnect: None,
        }
    }
}

impl Work {
    /// Watched or not.
    fn rooms(&self) -> u32 {
        self.games + self.more_games
    }
}

struct Run<'a> {
    target: &'a mut Target,
    work: &'a Work,
    began: Instant,
    watchers: Crew,
    players: Crew,
    stamps: TempDir,
    samples: Vec<Sample>,
    bar: ProgressBar,
}

/// Does it.
pub async fn measure(
    target: &mut Target,
    work: &Work,
    heartbeat_seconds: Option<u64>,
) -> anyhow::Result<Figures> {
    ensure!(work.games > 0, "somebody must play: --games 1");
    ensure!(
        (0.0..1.0).contains(&work.stalled),
        "--stalled is a share of 1"
    );
    let machine = Machine::this();
    let mut run = Run::start(target, work).await?;
    let games = run.seat_players().await?;
    let before = meter::memory(&run.target.pids);
    let kernel_before = meter::kernel();
    let (join, failed) = run.let_in(&games).await?;
    let joined = meter::memory(&run.target.pids);
    let kernel_joined = meter::kernel();
    let mut figures = run.play(machine, join).await?;
    figures.failed += failed;
    let after = meter::memory(&run.target.pids);
    let kernel_after = meter::kernel();
    let grown = |now: u64, then: u64, by: u64| (now as f64 - then as f64) / by.max(1) as f64;
    figures.memory = MemoryFigures {
        before,
        joined,
        after,
        user_bytes_per_spectator: grown(joined.user, before.user, figures.spectators),
        kernel_before,
        kernel_joined,
        kernel_after,
        kernel_bytes_per_connection: grown(
            kernel_joined.slab + kernel_joined.tcp_buffers,
            kernel_before.slab + kernel_before.tcp_buffers,
            figures.spectators,
        ),
    };
    if let Some(per_second) = work.reconnect {
        // What was measured before is told all the same.
        match run.reconnect(per_second).await {
            Ok(returned) => figures.returned = Some(returned),
            Err(error) => {
                run.bar
                    .suspend(|| eprintln!("load: {}: {error:#}", figures.name));
                figures.failed += 1;
            }
        }
    }
    run.bar.finish_and_clear();
    figures.heartbeat_seconds = heartbeat_seconds;
    figures.series = std::mem::take(&mut run.samples);
    Ok(figures)
}

impl<'a> Run<'a> {
    async fn start(target: &'a mut Target, work: &'a Work) -> anyhow::Result<Run<'a>> {
        let stamps_per_room = if work.rooms() > 32 {
            STAMPS_PER_SMALL_ROOM
        } else {
            STAMPS_PER_ROOM
        };
        let stamps = match tempfile::tempdir_in("/dev/shm") {
            Ok(dir) => dir,
            Err(_) => tempfile::tempdir()?,
        };
        let file = stamps.path().join("stamps");
        std::fs::File::create(&file)?
            .set_len(16 * u64::from(stamps_per_room) * u64::from(work.rooms()))?;
        let duty = |first: usize| {
            let (dialect, doors, stamps) = (target.dialect, target.doors.clone(), file.clone());
            move |number: usize| Duty {
                dialect,
                doors: doors.clone(),
                sources: sources(first + number),
                stamps: stamps.clone(),
                stamps_per_room,
                event_len: work.event_len,
            }
        };
        let needed = u64::from(work.spectators).div_ceil(SOCKETS_PER_WORKER_MAX);
        let watchers = work.workers.unwrap_or(usize::try_from(needed)?).max(1);
        let seats = match target.dialect {
            Dialect::Bare => target.doors.len() as u64,
            _ => 2,
        };
        let players = (seats * u64::from(work.rooms())).div_ceil(SOCKETS_PER_WORKER_MAX);
        let style = "{elapsed_precise} {msg:24} {bar:40} {pos}/{len}";
        let bar = ProgressBar::new(0).with_style(ProgressStyle::with_template(style)?);
        Ok(Run {
            watchers: Crew::start(watchers, duty(0)).await?,
            players: Crew::start(usize::try_from(players)?, duty(watchers)).await?,
            target,
            work,
            began: Instant::now(),
            stamps,
            samples: Vec::new(),
            bar,
        })
    }

    fn phase(&self, what: &str, len: u64) {
        self.bar.set_length(len);
        self.bar.set_position(0);
        self.bar
            .set_message(format!("{}: {what}", self.target.name));
    }

    /// The players, in processes of their own, take their seats; answers the games' ids by room.
    async fn seat_players(&mut self) -> anyhow::Result<Vec<String>> {
        let work = self.work;
        let library = Library::open(&work.pgn)?;
        // Warm-up, and a tenth more for a pace that hurries.
        let plies = (work.rate * (work.seconds + work.warm_up) * 1.1) as usize + 4;
        let servers = self.target.doors.len();
        let crew = self.players.len();
        let mut shares: Vec<Vec<Table>> = (0..crew).map(|_| Vec::new()).collect();
        for room in 0..work.rooms() {
            let place = room as usize;
            shares[place % crew].push(Table {
                room,
                white: place % servers,
                black: (place + 1) % servers,
                moves: match self.target.dialect {
                    Dialect::Rookery => library.script(place, plies),
                    _ => Vec::new(),
                },
            });
        }
        self.phase("players", u64::from(work.rooms()));
        for (number, tables) in shares.into_iter().enumerate() {
            let per_second = work.ramp / crew as f64;
            let order = Order::Seat { tables, per_second };
            self.players.tell(number, &order).await?;
        }
        let within = Duration::from_secs_f64(60.0 + 4.0 * f64::from(work.rooms()) / work.ramp);
        let seated = self.players.each(within, |word| match word {
            Word::Seated(games) => Some(games),
            _ => None,
        });
        let mut games = vec![String::new(); work.rooms() as usize];
        for (room, game) in seated.await.context("players take their seats")?.concat() {
            games[room as usize] = game;
        }
        Ok(games)
    }

    /// The spectators, at the pace asked for. Answers how they came, and how many did not.
    async fn let_in(&mut self, games: &[String]) -> anyhow::Result<(Joins, u64)> {
        let work = self.work;
        let total = u64::from(work.spectators);
        if total == 0 {
            return Ok((Joins::default(), 0));
        }
        let per_second = work.ramp / self.watchers.len() as f64;
        for (number, crowds) in self.crowds(games).into_iter().enumerate() {
            let order = Order::Watch { crowds, per_second };
            self.watchers.tell(number, &order).await?;
        }
        self.phase("spectators", total);
        let (began, cpu) = (Instant::now(), meter::cpu_of(&self.target.pids));
        let within = Duration::from_secs_f64(90.0 + 4.0 * total as f64 / work.ramp);
        loop {
            self.tick().await?;
            let progress = self.watchers.progress();
            self.bar.set_position(progress.ready);
            if progress.ready + progress.failed >= total {
                break;
            }
            if began.elapsed() > within {
                bail!(
                    "{} of {total} spectators are in after {within:?}, {} failed",
                    progress.ready,
                    progress.failed
                );
            }
        }
        let seconds = began.elapsed().as_secs_f64();
        let cpu = meter::cpu_of(&self.target.pids).saturating_sub(cpu);
        self.watchers.wait(REST).await?;
        let joins = Joins {
            seconds,
            per_second: total as f64 / seconds,
            cpu_us: cpu.as_secs_f64() * 1e6 / total as f64,
        };
        Ok((joins, self.watchers.progress().failed))
    }

    /// Each worker's share of the spectators.
    fn crowds(&self, games: &[String]) -> Vec<Vec<Crowd>> {
        let (servers, workers) = (self.target.doors.len(), self.watchers.len());
        let mut shares: Vec<Vec<Crowd>> = (0..workers).map(|_| Vec::new()).collect();
        // Whoever is left over by a division goes to the next server, and the next worker, in turn.
        let (mut next_server, mut next_worker) = (0, 0);
        for (place, game) in games.iter().enumerate() {
            let room = u32::try_from(place).unwrap_or(u32::MAX);
            for (server, here) in deal(self.watching(room), servers, &mut next_server) {
                for (worker, count) in deal(here, workers, &mut next_worker) {
                    let stalled = (f64::from(count) * self.work.stalled).round() as u32;
                    shares[worker].push(Crowd {
                        room,
                        game: game.clone(),
                        door: server,
                        count,
                        stalled,
                    });
                }
            }
        }
        shares
    }

    /// Spectators of a room.
    fn watching(&self, room: u32) -> u32 {
        let (all, rooms) = (self.work.spectators, self.work.games);
        if room >= rooms {
            return 0;
        }
        all / rooms + u32::from(room < all % rooms)
    }

    async fn tick(&mut self) -> anyhow::Result<()> {
        self.watchers.wait(SAMPLE_EVERY).await?;
        let progress = self.watchers.progress();
        self.samples.push(Sample {
            second: self.began.elapsed().as_secs_f64(),
            ready: progress.ready,
            delivered: progress.delivered,
            cpu: meter::cpu_of(&self.target.pids).as_secs_f64(),
            memory: meter::memory(&self.target.pids).resident,
        });
        Ok(())
    }

    async fn play(&mut self, machine: Machine, join: Joins) -> anyhow::Result<Figures> {
        let work = self.work;
        let mut stalled = vec![0; work.rooms() as usize];
        // The names do not matter for counting.
        let names = vec![String::new(); work.rooms() as usize];
        for crowd in self.crowds(&names).concat() {
            stalled[crowd.room as usize] += crowd.stalled;
        }
        let start = meter::now() + 200_000_000;
        let from = start + nanos(work.warm_up);
        let window = Window {
            from,
            to: from + nanos(work.seconds),
        };
        let order = Order::Play {
            from: start,
            every: nanos(1.0 / work.rate),
            until: window.to,
        };
        self.players.tell_all(&order).await?;
        if work.chat > 0.0 {
            let order = Order::Chat {
                per_second: work.chat / self.watchers.len() as f64,
                until: window.to,
            };
            self.watchers.tell_all(&order).await?;
        }
        self.phase("warm-up", 1);
        self.watchers.wait(until(window.from)).await?;
        self.watchers.measure(window).await?;
        self.players.measure(window).await?;
        let cpu = meter::cpu_of(&self.target.pids);
        let redis = self.target.redis.map(meter::cpu).unwrap_or_default();
        // An event sent before may have come to some of its sockets before those were counted.
        let window = Window {
            from: meter::now(),
            ..window
        };
        self.phase("measuring", work.seconds.ceil() as u64);
        while meter::now() < window.to {
            self.tick().await?;
            self.bar
                .set_position(meter::now().saturating_sub(window.from) / 1_000_000_000);
        }
        let missing = self.settle().await?;
        let cpu = (meter::cpu_of(&self.target.pids).saturating_sub(cpu)).as_secs_f64();
        let redis = self.target.redis.map(meter::cpu).unwrap_or_default() - redis;
        let elapsed = meter::now().saturating_sub(window.from) as f64 / 1e9;
        let mut tallies = self.watchers.report(window.from).await?;
        tallies.extend(self.players.report(window.from).await?);
        let seats = match self.target.dialect {
            Dialect::Bare => self.target.doors.len(),
            _ => 2,
        };
        let seats = u32::try_from(seats)?;
        let sum = Sum::of(tallies, |room| {
            let watching = self.watching(room);
            let is_watched = watching > 0 || work.spectators == 0;
            (seats + watching - stalled[room as usize], is_watched)
        });
        let tally = &sum.tally;
        let seconds = window.to.saturating_sub(window.from).max(1) as f64 / 1e9;
        let per = |cpu: f64, count: u64| cpu * 1e6 / count.max(1) as f64;
        let mut figures = Figures {
            name: self.target.name.clone(),
            servers: self.target.doors.len(),
            workers: self.watchers.len() + self.players.len(),
            rooms: work.rooms(),
            spectators: u64::from(work.spectators),
            players: u64::from(seats * work.rooms()),
            stalled: stalled.iter().map(|count| u64::from(*count)).sum(),
            heartbeat_seconds: None,
            machine,
            join,
            memory: MemoryFigures::default(),
            seconds,
            events: sum.events,
            events_per_second: sum.events as f64 / seconds,
            deliveries: tally.delivered,
            bytes_per_delivery: tally.bytes as f64 / tally.delivered.max(1) as f64,
            lost: tally.lost + missing,
            repeated: tally.repeated,
            reordered: tally.reordered,
            snapshots: tally.snapshots,
            skipped: tally.skipped,
            failed: self.players.progress().failed,
            closed: tally.closed,
            troubles: std::collections::BTreeMap::new(),
            pings: tally.pings,
            incomplete: sum.incomplete,
            last_socket: Delay::of(&sum.last),
            spectator: Delay::of(&sum.spectators),
            player: Delay::of(&sum.players),
            chat: Delay::of(&sum.chat),
            chat_sent: tally.chat_sent,
            chat_delivered: tally.chat_delivered,
            cpu_per_delivery_us: per(cpu, tally.delivered),
            redis_cpu_per_event_us: per(redis.as_secs_f64(), sum.events),
            client_cpu_per_delivery_us: per(tally.cpu, tally.delivered),
            cpu_cores: cpu / elapsed,
            returned: None,
            series: Vec::new(),
        };
        for (trouble, count) in &tally.troubles {
            *figures.troubles.entry(trouble.clone()).or_insert(0) += count;
        }
        Ok(figures)
    }

    /// Waits until everybody has heard everything. Answers what is missing then: it is lost, though no later event shows it.
    async fn settle(&mut self) -> anyhow::Result<u64> {
        self.phase("the last deliveries", 1);
        let played = self
            .players
            .each(Duration::from_secs(60), |word| match word {
                Word::Played { last } => Some(last),
                _ => None,
            });
        let last = played.await.context("the end of play")?.concat();
        // A million sockets take ten seconds an event.
        let seconds = 30 + u64::from(self.work.spectators) / 20_000;
        let order = Order::Settle {
            last,
            within: seconds * 1_000_000_000,
        };
        let mut missing = 0;
        for crew in [&mut self.watchers, &mut self.players] {
            crew.tell_all(&order).await?;
        }
        for crew in [&mut self.watchers, &mut self.players] {
            let within = Duration::from_secs(seconds + 60);
            let settled = crew.each(within, |word| match word {
                Word::Settled { missing } => Some(missing),
                _ => None,
            });
            missing += settled.await?.iter().sum::<u64>();
        }
        Ok(missing)
    }

    /// One gateway is killed, and its spectators come back to the one that takes its place.
    async fn reconnect(&mut self, per_second: f64) -> anyhow::Result<Returned> {
        // White and Black of the first game are at the first two.
        let index = self.target.doors.len() - 1;
        let names = vec![String::new(); self.work.rooms() as usize];
        let sockets: u32 = self
            .crowds(&names)
            .concat()
            .iter()
            .filter(|crowd| crowd.door == index)
            .map(|crowd| crowd.count - crowd.stalled)
            .sum();
        let total = self.watchers.progress().ready;
        self.watchers.measure(Window::default()).await?;
        let to = self.target.replace(index).await?;
        let order = Order::Return {
            from: index,
            to,
            per_second: per_second / self.watchers.len() as f64,
        };
        let (began, cpu) = (Instant::now(), meter::cpu_of(&self.target.pids));
        self.watchers.tell_all(&order).await?;
        self.phase("coming back", u64::from(sockets));
        let within = Duration::from_secs_f64(90.0 + 4.0 * f64::from(sockets) / per_second);
        // The first words of progress after the order may be older than it.
        self.tick().await?;
        self.tick().await?;
        loop {
            let ready = self.watchers.progress().ready;
            self.bar
                .set_position(u64::from(sockets).saturating_sub(total - ready.min(total)));
            if ready >= total {
                break;
            }
            ensure!(
                began.elapsed() < within,
                "{} of {sockets} are not back after {within:?}",
                total - ready
            );
            self.tick().await?;
        }
        let seconds = began.elapsed().as_secs_f64();
        let cpu = meter::cpu_of(&self.target.pids).saturating_sub(cpu);
        let sum = Sum::of(self.watchers.report(0).await?, |_| (0, false));
        Ok(Returned {
            sockets: u64::from(sockets),
            seconds,
            cpu_us: cpu.as_secs_f64() * 1e6 / f64::from(sockets.max(1)),
            delay: Delay::of(&sum.returns),
        })
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
        // Kept until here: workers read it.
        let _ = self.stamps.path();
    }
}

/// Splits a number over so many places; what is left over goes to the next in turn. Places that get nothing are left out.
fn deal(count: u32, places: usize, next: &mut usize) -> Vec<(usize, u32)> {
    let each = count / u32::try_from(places).unwrap_or(u32::MAX);
    let mut shares = vec![each; places];
    for _ in 0..count - each * u32::try_from(places).unwrap_or(u32::MAX) {
        shares[*next % places] += 1;
        *next += 1;
    }
    let shares = shares.into_iter().enumerate();
    shares.filter(|(_, count)| *count > 0).collect()
}

/// Addresses of this worker alone, and of this run: two runs at a time should not share their ports.
fn sources(worker: usize) -> Vec<Ipv4Addr> {
    let run = 64 + u8::try_from(std::process::id() % 128).unwrap_or(0);
    let worker = u8::try_from(worker % 256).unwrap_or(0);
    (1..=SOURCES_PER_WORKER)
        .map(|last| Ipv4Addr::new(127, run, worker, last))
        .collect()
}

fn until(moment: u64) -> Duration {
    Duration::from_nanos(moment.saturating_sub(meter::now()))
}

fn nanos(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_dealt_is_all_there_is() {
        let mut next = 0;
        assert_eq!(deal(10, 4, &mut next), [(0, 3), (1, 3), (2, 2), (3, 2)]);
        assert_eq!(deal(1, 4, &mut next), [(2, 1)], "in turn");
        assert_eq!(deal(1, 4, &mut next), [(3, 1)]);
        assert_eq!(deal(0, 4, &mut next), []);
    }

    #[test]
    fn no_two_workers_share_an_address() {
        let mut all: Vec<_> = (0..100).flat_map(sources).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 400);
        assert!(all.iter().all(Ipv4Addr::is_loopback));
    }
}
