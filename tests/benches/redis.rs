//! What an append costs on a real Redis: its time against a bare PING over the same connection, and Redis' CPU against the bare
//! script (`bare.lua`), in one run: `cargo bench -p tests --bench redis`.

#![allow(clippy::unwrap_used, missing_docs)]

use bytes::Bytes;
use criterion::Criterion;
use pubsub::{Append, Appended, Backplane, Redis, RedisOptions, Room, Seq};
use redis::{Script, aio::MultiplexedConnection, cmd};
use std::{sync::Arc, time::Duration};
use tests::servers::RedisServer;
use tokio::{runtime::Runtime, time::Instant};

/// Bytes of an event: a move as it is written.
const EVENT_LEN: usize = 120;

/// Appends of one game.
const GAME_LEN: Seq = 200;

/// Callers at once in the measurement of CPU: as many as share Redis' reads and writes when it is busy.
const CALLERS: usize = 32;

/// Calls of each caller in one measurement.
const CALLS: usize = 1000;

/// Measurements of each kind, in turn; the least is the one that other programs disturbed least.
const ROUNDS: usize = 5;

/// One who appends to room after room.
struct Player {
    node: Arc<Redis>,
    name: String,
    game: u64,
    seq: Seq,
    epoch: Option<pubsub::Epoch>,
}

impl Player {
    fn new(node: &Arc<Redis>) -> Player {
        Player {
            node: node.clone(),
            name: format!("bench{:016x}", rand::random::<u64>()),
            game: 0,
            seq: 0,
            epoch: None,
        }
    }

    async fn append(&mut self) {
        if self.seq == GAME_LEN {
            (self.game, self.seq, self.epoch) = (self.game + 1, 0, None);
        }
        let room = Room::parse(&format!("{}-{}", self.name, self.game)).unwrap();
        let now = self.node.now();
        let append = Append {
            epoch: self.epoch.clone(),
            expected: self.seq,
            events: vec![Bytes::from_static(&[b'x'; EVENT_LEN])],
            at: now,
            deadline: Some(now + 60_000),
        };
        match self.node.append(&room, append).await.unwrap() {
            Appended::Appended { epoch, .. } => self.epoch = Some(epoch),
            other => panic!("{other:?}"),
        }
        self.seq += 1;
    }
}

/// The bare script on a connection of its own.
struct Bare {
    connection: MultiplexedConnection,
    script: Arc<Script>,
    name: String,
    game: u64,
    len: Seq,
}

impl Bare {
    async fn call(&mut self) {
        if self.len == GAME_LEN {
            (self.game, self.len) = (self.game + 1, 0);
        }
        let room = format!("{}-{}", self.name, self.game);
        let answer: i64 = self
            .script
            .key(format!("bare:log:{room}"))
            .key(format!("bare:meta:{room}"))
            .key("bare:queue")
            .key("bare:deadlines")
            .arg(self.len)
            .arg(&[b'x'; EVENT_LEN][..])
            .arg(1_795_355_694_607_u64 + self.len)
            .arg(&room)
            .arg(format!("bare:room:{room}"))
            .invoke_async(&mut self.connection)
            .await
            .unwrap();
        assert_eq!(answer, 1);
        self.len += 1;
    }
}

/// No append-only file and no replica, as the figure of the bare script was taken.
async fn server() -> RedisServer {
    RedisServer::start_with(&["--appendonly", "no"]).await
}

async fn node(server: &RedisServer, queue: bool) -> Arc<Redis> {
    let mut options = RedisOptions::new(server.url(), "bench");
    options.queue = queue;
    Arc::new(Redis::connect(options).await.unwrap())
}

fn latency(criterion: &mut Criterion) {
    let runtime = Runtime::new().unwrap();
    let server = runtime.block_on(server());
    let node = runtime.block_on(node(&server, true));
    let mut group = criterion.benchmark_group("redis");
    group.bench_function("ping", |bencher| {
        bencher.iter(|| runtime.block_on(node.ping()).unwrap());
    });
    let mut player = Player::new(&node);
    group.bench_function("append", |bencher| {
        bencher.iter(|| runtime.block_on(player.append()));
    });
    group.finish();
}

/// Seconds on the clock and of Redis' CPU while every caller makes its calls, for each call in microseconds.
async fn measure<F: Future<Output = ()> + Send + 'static>(
    server: &RedisServer,
    callers: Vec<F>,
) -> (f64, f64) {
    let calls = (callers.len() * CALLS) as f64;
    let (cpu, begun) = (server.cpu_seconds().await, Instant::now());
    let callers: Vec<_> = callers.into_iter().map(tokio::spawn).collect();
    for caller in callers {
        caller.await.unwrap();
    }
    let (took, used) = (
        begun.elapsed().as_secs_f64(),
        server.cpu_seconds().await - cpu,
    );
    (took / calls * 1e6, used / calls * 1e6)
}

async fn appends(server: &RedisServer, node: &Arc<Redis>) -> (f64, f64) {
    let callers = (0..CALLERS).map(|_| {
        let mut player = Player::new(node);
        async move {
            for _ in 0..CALLS {
                player.append().await;
            }
        }
    });
    measure(server, callers.collect()).await
}

async fn bare(server: &RedisServer) -> (f64, f64) {
    let connection = server.connect().await.unwrap();
    let script = Arc::new(Script::new(include_str!("bare.lua")));
    let callers = (0..CALLERS).map(|caller| {
        let mut bare = Bare {
            connection: connection.clone(),
            script: script.clone(),
            name: format!("{caller}-{:08x}", rand::random::<u32>()),
            game: 0,
            len: 0,
        };
        async move {
            for _ in 0..CALLS {
                bare.call().await;
            }
        }
    });
    measure(server, callers.collect()).await
}

async fn pings(server: &RedisServer) -> (f64, f64) {
    let connection = server.connect().await.unwrap();
    let callers = (0..CALLERS).map(|_| {
        let mut connection = connection.clone();
        async move {
            for _ in 0..CALLS {
                cmd("PING").exec_async(&mut connection).await.unwrap();
            }
        }
    });
    measure(server, callers.collect()).await
}

/// The least of each column.
fn least(measured: &[(f64, f64)]) -> (f64, f64) {
    let fold =
        |column: fn(&(f64, f64)) -> f64| measured.iter().map(column).fold(f64::INFINITY, f64::min);
    (fold(|m| m.0), fold(|m| m.1))
}

async fn cpu() {
    let server = server().await;
    let queued = node(&server, true).await;
    let plain = node(&server, false).await;
    let mut rounds: [Vec<(f64, f64)>; 4] = Default::default();
    for _ in 0..ROUNDS {
        rounds[0].push(pings(&server).await);
        rounds[1].push(bare(&server).await);
        rounds[2].push(appends(&server, &queued).await);
        rounds[3].push(appends(&server, &plain).await);
        // Without an archive to read it, the queue would grow from round to round.
        server.ask::<()>(cmd("FLUSHALL").arg("SYNC")).await;
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let base = least(&rounds[1]).1;
    println!(
        "\n{CALLERS} callers on one connection, least of {ROUNDS} rounds of {} calls:",
        CALLERS * CALLS
    );
    println!(
        "{:<24}{:>18}{:>18}{:>18}",
        "", "Redis CPU, us", "time, us", "CPU / bare"
    );
    let names = ["PING", "bare script", "append with queue", "append without"];
    for (name, measured) in names.iter().zip(&rounds) {
        let (took, used) = least(measured);
        println!("{name:<24}{used:>18.2}{took:>18.2}{:>18.2}", used / base);
    }
}

fn main() {
    let mut criterion = Criterion::default()
        .measurement_time(Duration::from_secs(4))
        .configure_from_args();
    latency(&mut criterion);
    if !std::env::args().any(|argument| argument == "--test" || argument == "--list") {
        Runtime::new().unwrap().block_on(cpu());
    }
    criterion.final_summary();
}
