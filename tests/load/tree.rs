//! Redis as a tree: one room, a thousand gateways that listen, at one primary or at replicas of it.
//!
//! The gateways are stand-ins: each is `pubsub`'s own subscriber with its connections, probes and subscriptions, and nothing
//! behind it. They live in a process of their own, so that their CPU and the servers' can be told apart.

use crate::{
    figures::Delay,
    meter::{self, Machine},
    worker::tally::{Stamps, delays, micros, pairs},
};
use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use pubsub::{Append, Appended, Backplane, Redis, RedisOptions, Room, Signal};
use serde::{Deserialize, Serialize};
use std::{
    path::PathBuf,
    process::Stdio,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tests::servers::RedisServer;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader},
    process::{Child, ChildStdin, ChildStdout, Command},
};

/// Stand-ins that connect at a time.
const CONNECTING_MAX: usize = 32;

/// Events whose sending time is remembered.
const STAMPS: u32 = 65_536;

/// How long the last event may take to come everywhere.
const PATIENCE: Duration = Duration::from_secs(60);

const ROOM: &str = "treeOfOneRoom000";

/// What is measured.
#[derive(Debug, Clone, clap::Args)]
pub struct TreeArgs {
    /// Gateways that listen to the room.
    #[arg(long, default_value_t = 1_000)]
    gateways: usize,
    /// Replicas of Redis, in a second measurement.
    #[arg(long, default_value_t = 2)]
    replicas: usize,
    /// Events a second: so many that they stand out from what a thousand probing gateways cost by themselves.
    #[arg(long, default_value_t = 20.0)]
    rate: f64,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// Bytes of an event.
    #[arg(long, default_value_t = 200)]
    event_len: usize,
    /// Folder for the JSON.
    #[arg(long, default_value = "target/load")]
    report: PathBuf,
}

/// The stand-ins' orders.
#[derive(Debug, Serialize, Deserialize)]
struct Orders {
    url: String,
    subscribe_urls: Vec<String>,
    count: usize,
    stamps: PathBuf,
}

/// What they tell at the end.
#[derive(Debug, Serialize, Deserialize)]
struct Heard {
    /// Of each event to each stand-in, in microseconds with counts.
    delays: Vec<(u64, u64)>,
    /// When the last of them had each event, by number.
    last: Vec<(u32, u64)>,
    events: u64,
    resyncs: u64,
}

/// One measurement.
#[derive(Debug, Serialize)]
struct TreeFigures {
    gateways: usize,
    replicas: usize,
    events: u64,
    /// Events that did not reach a stand-in by Pub/Sub: it would have read the log.
    missed: u64,
    last_gateway: Delay,
    each_gateway: Delay,
    /// CPU of the primary and of each replica, per event, less what they use while nothing happens.
    primary_us: f64,
    replica_us: Vec<f64>,
    /// Shares of a core that they use while nothing happens: probes, heartbeats, replication.
    primary_idle: f64,
    replica_idle: Vec<f64>,
    /// Subscribers of each replica, or of the primary.
    subscribers: Vec<u64>,
    stand_in_us: f64,
}

/// Measures without and with replicas.
pub async fn tree(args: TreeArgs) -> anyhow::Result<()> {
    let machine = Machine::this();
    let mut all = Vec::new();
    for replicas in [0, args.replicas] {
        let figures = measure(&args, replicas).await?;
        print(&figures);
        all.push(figures);
        if args.replicas == 0 {
            break;
        }
    }
    std::fs::create_dir_all(&args.report)?;
    let path = args.report.join("tree.json");
    let whole = serde_json::json!({
        "machine": machine,
        "versions": crate::report::versions(),
        "rate": args.rate,
        "runs": all,
    });
    std::fs::write(&path, serde_json::to_string_pretty(&whole)?)?;
    println!("{}", path.display());
    ensure!(
        all.iter().all(|figures| figures.missed == 0),
        "events were missed"
    );
    Ok(())
}

fn print(figures: &TreeFigures) {
    println!(
        "{} gateways, {} replicas, {} events: to the last gateway p50 {:.1} p99 {:.1} ms, to each p50 {:.1} ms",
        figures.gateways,
        figures.replicas,
        figures.events,
        figures.last_gateway.p50,
        figures.last_gateway.p99,
        figures.each_gateway.p50
    );
    println!(
        "  CPU per event: primary {:.0} µs, replicas {:.0?} µs, a stand-in {:.1} µs; idle: primary {:.1} %, replicas {:.1?} %",
        figures.primary_us,
        figures.replica_us,
        figures.stand_in_us,
        100.0 * figures.primary_idle,
        figures
            .replica_idle
            .iter()
            .map(|share| 100.0 * share)
            .collect::<Vec<_>>()
    );
    println!(
        "  subscribers {:?}, missed {}",
        figures.subscribers, figures.missed
    );
}

async fn measure(args: &TreeArgs, replicas: usize) -> anyhow::Result<TreeFigures> {
    // Each stand-in has two connections and a probe of its own.
    let clients = (4 * args.gateways + 100).to_string();
    let limits = ["--maxclients", clients.as_str(), "--tcp-backlog", "4096"];
    let primary = RedisServer::start_with(&limits).await;
    let mut others = Vec::new();
    for _ in 0..replicas {
        others.push(RedisServer::start_replica_of(&primary).await);
    }
    let folder = tempfile::tempdir()?;
    let stamps = folder.path().join("stamps");
    std::fs::File::create(&stamps)?.set_len(16 * u64::from(STAMPS))?;
    let room = Room::parse(ROOM).context("a room's name")?;
    let publisher = Redis::connect(RedisOptions::new(primary.url(), "publisher")).await?;
    let mut game = Game {
        stamps: Stamps::open(&stamps, STAMPS)?,
        room,
        epoch: None,
        next: 0,
        event_len: args.event_len,
    };
    game.append(&publisher).await?;
    let mut stand_ins = StandIns::start(&Orders {
        url: primary.url(),
        subscribe_urls: others.iter().map(RedisServer::url).collect(),
        count: args.gateways,
        stamps: stamps.clone(),
    })
    .await?;
    let mut subscribers = Vec::new();
    let listened_at = if others.is_empty() {
        std::slice::from_ref(&primary)
    } else {
        others.as_slice()
    };
    for server in listened_at {
        subscribers.push(subscribers_at(server).await?);
    }
    let mut pids = vec![stand_ins.child.id().context("the stand-ins' process")?];
    pids.push(primary.pid());
    pids.extend(others.iter().map(RedisServer::pid));
    let time = Duration::from_secs_f64(args.seconds);
    let busy = Usage::begin(&pids);
    let mut tick = tokio::time::interval(Duration::from_secs_f64(1.0 / args.rate));
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let end = tokio::time::Instant::now() + time;
    while tokio::time::Instant::now() < end {
        tick.tick().await;
        game.append(&publisher).await?;
    }
    let sent = u64::from(game.next) - 1;
    let heard = stand_ins.hear(sent * args.gateways as u64).await?;
    let busy = busy.end();
    // Afterwards, when what a start costs is long over.
    let quiet = Usage::begin(&pids);
    tokio::time::sleep(time).await;
    let quiet = quiet.end();
    let mut last = delays();
    for (seq, at) in &heard.last {
        if let Some(sent) = game.stamps.read(0, *seq) {
            last.saturating_record(micros(*at, sent));
        }
    }
    let mut each = delays();
    for (value, count) in &heard.delays {
        each.saturating_record_n(*value, *count);
    }
    // CPU seconds beyond what it would have used with nothing to do.
    let per_event = |process: usize| {
        let more = busy.shares[process] - quiet.shares[process];
        more * busy.seconds * 1e6 / sent.max(1) as f64
    };
    Ok(TreeFigures {
        gateways: args.gateways,
        replicas,
        events: sent,
        missed: (sent * args.gateways as u64).saturating_sub(heard.events),
        last_gateway: Delay::of(&last),
        each_gateway: Delay::of(&each),
        primary_us: per_event(1),
        replica_us: (2..pids.len()).map(per_event).collect(),
        primary_idle: quiet.shares[1],
        replica_idle: quiet.shares[2..].to_vec(),
        subscribers,
        stand_in_us: per_event(0) / args.gateways as f64,
    })
}

/// How many listen to the room at this server.
async fn subscribers_at(server: &RedisServer) -> anyhow::Result<u64> {
    let pattern = format!("*:{ROOM}");
    let channels: Vec<String> = server
        .ask(redis::cmd("PUBSUB").arg("SHARDCHANNELS").arg(pattern))
        .await;
    let channel = channels.first().context("nobody listens here")?;
    let (_, count): (String, u64) = server
        .ask(redis::cmd("PUBSUB").arg("SHARDNUMSUB").arg(channel))
        .await;
    Ok(count)
}

/// CPU of some processes over a time.
struct Usage<'a> {
    pids: &'a [u32],
    before: Vec<Duration>,
    began: std::time::Instant,
}

struct Used {
    /// Of one core, by process.
    shares: Vec<f64>,
    seconds: f64,
}

impl Usage<'_> {
    fn begin(pids: &[u32]) -> Usage<'_> {
        Usage {
            pids,
            before: pids.iter().map(|pid| meter::cpu(*pid)).collect(),
            began: std::time::Instant::now(),
        }
    }

    fn end(self) -> Used {
        let seconds = self.began.elapsed().as_secs_f64();
        let shares =
            self.pids.iter().zip(self.before).map(|(pid, before)| {
                meter::cpu(*pid).saturating_sub(before).as_secs_f64() / seconds
            });
        Used {
            shares: shares.collect(),
            seconds,
        }
    }
}

/// What is told in the room.
struct Game {
    stamps: Stamps,
    room: Room,
    epoch: Option<pubsub::Epoch>,
    next: u32,
    event_len: usize,
}

impl Game {
    async fn append(&mut self, node: &Redis) -> anyhow::Result<()> {
        let append = Append {
            epoch: self.epoch.clone(),
            expected: self.next.into(),
            events: vec![Bytes::from(vec![b'x'; self.event_len])],
            at: node.now(),
            deadline: None,
        };
        self.stamps.write(0, self.next, meter::now())?;
        match node.append(&self.room, append).await? {
            Appended::Appended { epoch, .. } | Appended::AlreadyAppended { epoch } => {
                self.epoch = Some(epoch);
                self.next += 1;
                Ok(())
            }
            other => bail!("not appended: {other:?}"),
        }
    }
}

/// The process with the stand-ins.
struct StandIns {
    child: Child,
    stdin: ChildStdin,
    lines: tokio::io::Lines<BufReader<ChildStdout>>,
}

impl StandIns {
    /// Starts them; answers when all of them hear.
    async fn start(orders: &Orders) -> anyhow::Result<StandIns> {
        let mut child = Command::new(std::env::current_exe()?)
            .arg("stand-ins")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let mut stdin = child.stdin.take().context("standard input")?;
        let stdout = child.stdout.take().context("standard output")?;
        let mut line = serde_json::to_vec(orders)?;
        line.push(b'\n');
        stdin.write_all(&line).await?;
        let mut lines = BufReader::new(stdout).lines();
        let ready = tokio::time::timeout(PATIENCE * 5, lines.next_line()).await;
        let ready = ready.context("the stand-ins do not hear in time")??;
        ensure!(ready.as_deref() == Some("ready"), "they said {ready:?}");
        Ok(StandIns {
            child,
            stdin,
            lines,
        })
    }

    /// What they heard, once that were so many events, or time is up.
    async fn hear(&mut self, events: u64) -> anyhow::Result<Heard> {
        let order = format!("{events}\n");
        self.stdin.write_all(order.as_bytes()).await?;
        let line = tokio::time::timeout(2 * PATIENCE, self.lines.next_line()).await??;
        Ok(serde_json::from_str(&line.context("they ended")?)?)
    }
}

/// What all stand-ins share.
struct Ears {
    stamps: Stamps,
    delays: Mutex<hdrhistogram::Histogram<u64>>,
    last: Mutex<std::collections::BTreeMap<u32, u64>>,
    events: AtomicU64,
    resyncs: AtomicU64,
    hearing: AtomicU64,
}

/// Runs the stand-ins, in a process of their own.
pub async fn stand_ins() -> anyhow::Result<()> {
    let orders: Orders = serde_json::from_str(&next_order().await?)?;
    let ears = Arc::new(Ears {
        stamps: Stamps::open(&orders.stamps, STAMPS)?,
        delays: Mutex::new(delays()),
        last: Mutex::default(),
        events: AtomicU64::new(0),
        resyncs: AtomicU64::new(0),
        hearing: AtomicU64::new(0),
    });
    let room = Room::parse(ROOM).context("a room's name")?;
    let connect = |number: usize| {
        let mut options = RedisOptions::new(orders.url.clone(), format!("stand-in-{number}"));
        options.subscribe_urls.clone_from(&orders.subscribe_urls);
        Redis::connect(options)
    };
    let nodes: Vec<Redis> = stream::iter((0..orders.count).map(connect))
        .buffer_unordered(CONNECTING_MAX)
        .try_collect()
        .await?;
    for node in &nodes {
        let (ears, mut subscription) = (ears.clone(), node.subscribe(&room));
        tokio::spawn(async move {
            let mut hears = false;
            while let Some(signal) = subscription.recv().await {
                match signal {
                    Signal::Events(log) => ears.heard(log.first, log.events.len()),
                    Signal::Resync if hears => {
                        ears.resyncs.fetch_add(1, Ordering::Relaxed);
                    }
                    Signal::Resync => {
                        hears = true;
                        ears.hearing.fetch_add(1, Ordering::Relaxed);
                    }
                    Signal::Message(_) | Signal::Attendance(_) => {}
                }
            }
        });
    }
    while ears.hearing.load(Ordering::Relaxed) < orders.count as u64 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    println!("ready");
    let awaited: u64 = next_order().await?.trim().parse()?;
    let end = tokio::time::Instant::now() + PATIENCE;
    while ears.events.load(Ordering::Relaxed) < awaited && tokio::time::Instant::now() < end {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let heard = Heard {
        delays: pairs(&ears.delays.lock().unwrap_or_else(PoisonError::into_inner)),
        last: ears
            .last
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .map(|(seq, at)| (*seq, *at))
            .collect(),
        events: ears.events.load(Ordering::Relaxed),
        resyncs: ears.resyncs.load(Ordering::Relaxed),
    };
    println!("{}", serde_json::to_string(&heard)?);
    // Until whoever started this has read it.
    let _ = next_order().await;
    Ok(())
}

/// A line of standard input.
async fn next_order() -> anyhow::Result<String> {
    let read = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        std::io::stdin().read_line(&mut line).map(|_| line)
    });
    Ok(read.await??)
}

impl Ears {
    fn heard(&self, first: u64, len: usize) {
        let at = meter::now();
        for seq in (first..).take(len) {
            let Ok(seq) = u32::try_from(seq) else {
                continue;
            };
            if let Some(sent) = self.stamps.read(0, seq) {
                let mut delays = self.delays.lock().unwrap_or_else(PoisonError::into_inner);
                delays.saturating_record(micros(at, sent));
            }
            let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
            let entry = last.entry(seq).or_insert(at);
            *entry = at.max(*entry);
            self.events.fetch_add(1, Ordering::Relaxed);
        }
    }
}
