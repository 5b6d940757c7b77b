//! What the archive costs: movers' acknowledgements and moves a second written behind and written through, without and with
//! 20 ms added to each commit; batches against single inserts; and how far the archive is behind at 500 moves a second.
//! `make bench-archive`. Redis and PostgreSQL are started for it, with fsync.

use anyhow::{Context, ensure};
use archive::{Archiver, Options, Store};
use bytes::Bytes;
use clap::Parser;
use hdrhistogram::Histogram;
use pubsub::{
    Append, Appended, Backplane, Content, Entry, Epoch, Log, Progress, QueuePosition, Redis,
    RedisOptions, Room, Seq, queue::Place,
};
use std::{sync::Arc, time::Duration};
use tests::{
    cluster::Over,
    player::UNTIMED,
    scene::Scene,
    servers::{PostgresServer, RedisServer},
};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// What to run.
#[derive(Parser)]
struct Arguments {
    /// Games played at once, each as fast as its moves are acknowledged.
    #[arg(long, default_value_t = 40)]
    games: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// Moves a second while the archive's lag is measured.
    #[arg(long, default_value_t = 500)]
    rate: u64,
    /// Rows written by batches; a tenth of it one by one.
    #[arg(long, default_value_t = 20_000)]
    rows: usize,
}

/// Added to each commit of the slow database.
const SLOW: [&str; 3] = ["fsync=on", "commit_delay=20000", "commit_siblings=0"];

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let fast = PostgresServer::start_with(&["fsync=on"]).await;
    let slow = PostgresServer::start_with(&SLOW).await;
    println!(
        "{} games at once, {} s each, on {} cores",
        arguments.games,
        arguments.seconds,
        std::thread::available_parallelism()?
    );
    println!("persistence    commit   moves/s   ack p50 ms   ack p99 ms");
    for (name, server) in [("as it is", &fast), ("+ 20 ms", &slow)] {
        for persistence in ["write-behind", "write-through"] {
            let (moves, acks) = played(&arguments, &server.database(), persistence).await?;
            let ms = |quantile| acks.value_at_quantile(quantile) as f64 / 1000.0;
            println!(
                "{persistence:<13}  {name:<8}  {:>7.0}   {:>10.1}   {:>10.1}",
                moves,
                ms(0.5),
                ms(0.99),
            );
        }
    }
    rows(&arguments, &fast).await?;
    lag(&arguments, &fast).await
}

/// Games by real clients on two gateways; answers how many moves a second, and how long each waited for its acknowledgement in µs.
async fn played(
    arguments: &Arguments,
    url: &str,
    persistence: &str,
) -> anyhow::Result<(f64, Histogram<u64>)> {
    let flags = [
        "--database-url",
        url,
        "--persistence",
        persistence,
        "--messages-per-second",
        "10000",
    ];
    let scene = Scene::with(Over::Redis, 2, &flags).await;
    let mut games = Vec::new();
    for _ in 0..arguments.games {
        games.push(scene.game(UNTIMED, 0, 1).await);
    }
    let end = Instant::now() + Duration::from_secs(arguments.seconds);
    let mut playing = tokio::task::JoinSet::new();
    for mut game in games {
        playing.spawn(async move {
            let mut acks = Histogram::<u64>::new(3).expect("three digits");
            let (begun, mut moves) = (Instant::now(), 0.0);
            for mv in line() {
                if Instant::now() >= end {
                    break;
                }
                let asked = Instant::now();
                game.plays(&[&mv]).await;
                acks.record(asked.elapsed().as_micros() as u64)
                    .expect("it grows as needed");
                moves += 1.0;
            }
            (moves / begun.elapsed().as_secs_f64(), acks)
        });
    }
    let mut a_second = 0.0;
    let mut acks = Histogram::<u64>::new(3)?;
    while let Some(played) = playing.join_next().await {
        let (moves, own) = played?;
        a_second += moves;
        acks.add(own)?;
    }
    scene.ends().await;
    Ok((a_second, acks))
}

/// A line of legal moves that ends no game: knights go out and home, and pawns step in between, as a position that stands five
/// times would end it.
fn line() -> impl Iterator<Item = String> {
    let pawns = ('a'..='h').flat_map(|file| [(file, 2, 7), (file, 3, 6)]);
    pawns.flat_map(|(file, white, black)| {
        // Not where the pawn stands.
        let dance = match (file, white) {
            ('f', 3) => ["g1h3", "g8h6", "h3g1", "h6g8"],
            _ => ["g1f3", "g8f6", "f3g1", "f6g8"],
        };
        let steps = [
            format!("{file}{white}{file}{}", white + 1),
            format!("{file}{black}{file}{}", black - 1),
        ];
        let dances = dance.into_iter().cycle().take(12).map(str::to_owned);
        dances.chain(steps).collect::<Vec<_>>()
    })
}

fn entries(rows: usize, game: &str) -> Vec<Entry> {
    let body = Bytes::from(
        r#"{"seq":1,"at":1795355242165,"type":"move","payload":{"gameId":"cKFdOK8a2HyFBe7y","ply":1,"move":{"from":"e2","to":"e4","san":"e4","uci":"e2e4"},"fen":"rnbqkbnr/pppppppp/8/8/4P3/8/PPPP1PPP/RNBQKBNR b KQkq - 0 1","clock":{"whiteMs":300000,"blackMs":300000}}}"#,
    );
    (0..rows)
        .map(|row| Entry {
            position: QueuePosition {
                partition: 0,
                life: 1,
                place: Place {
                    major: 1,
                    minor: row as u64,
                },
            },
            content: Content::Events {
                room: Room::parse(&format!("{game}{}", row % 500)).expect("harmless"),
                log: Log {
                    epoch: Epoch::new(1, "bench"),
                    first: (row / 500) as Seq,
                    events: vec![body.clone()],
                },
            },
        })
        .collect()
}

/// Batches of as many moves as come in a moment at 5,000 a second, and single inserts.
async fn rows(arguments: &Arguments, server: &PostgresServer) -> anyhow::Result<()> {
    let store = Store::open(&server.database()).await?;
    let batched = entries(arguments.rows, "batched");
    let begun = Instant::now();
    for batch in batched.chunks(1_000) {
        store.write_entries(batch).await?;
    }
    let in_batches = arguments.rows as f64 / begun.elapsed().as_secs_f64();
    let single = entries(arguments.rows / 10, "single");
    let begun = Instant::now();
    store.write_one_by_one(&single).await?;
    let one_by_one = single.len() as f64 / begun.elapsed().as_secs_f64();
    println!(
        "\nrows/s: {in_batches:.0} in batches of 1,000; {one_by_one:.0} one by one; {:.0} times as many",
        in_batches / one_by_one
    );
    Ok(())
}

/// So many moves a second in 500 games, and how long after its append each is known to be archived.
async fn lag(arguments: &Arguments, server: &PostgresServer) -> anyhow::Result<()> {
    const GAMES: u64 = 500;
    let redis = RedisServer::start().await;
    let mut options = RedisOptions::new(redis.url(), "bench");
    options.queue = true;
    let backplane: Arc<dyn Backplane> = Arc::new(Redis::connect(options).await?);
    let store = Store::open(&server.database()).await?;
    let stop = CancellationToken::new();
    let archiver = Archiver::new(
        backplane.clone(),
        store,
        Options {
            consumer: "bench".to_owned(),
            claim_after: archive::archiver::CLAIM_AFTER,
            finished_ttl: Duration::from_secs(3600),
            keep: None,
        },
        stop.clone(),
    );
    tokio::spawn(archiver.run());
    let progress = Progress::follow(backplane.clone(), stop.clone());
    let mut epochs: Vec<Option<Epoch>> = vec![None; GAMES as usize];
    let body = match &entries(1, "x")[0].content {
        Content::Events { log, .. } => log.events[0].clone(),
        Content::Unreadable(_) => Bytes::new(),
    };
    let mut waiting = tokio::task::JoinSet::new();
    let mut beat = tokio::time::interval(Duration::from_micros(1_000_000 / arguments.rate.max(1)));
    for number in 0..arguments.rate * arguments.seconds {
        beat.tick().await;
        let game = number % GAMES;
        let epoch = &mut epochs[game as usize];
        let append = Append {
            epoch: epoch.clone(),
            expected: number / GAMES,
            events: vec![body.clone()],
            at: backplane.now(),
            deadline: None,
        };
        let room = Room::parse(&format!("lag{game}"))?;
        let answer = backplane.append(&room, append).await?;
        let Appended::Appended {
            epoch: named,
            queued,
        } = answer
        else {
            anyhow::bail!("{answer:?}");
        };
        *epoch = Some(named);
        let (position, progress) = (queued.context("a queue")?, progress.clone());
        let appended = Instant::now();
        waiting.spawn(async move {
            progress.archived(&position).await;
            appended.elapsed()
        });
    }
    let mut lags = Histogram::<u64>::new(3)?;
    while let Some(lag) = waiting.join_next().await {
        lags.record(lag?.as_micros() as u64)?;
    }
    stop.cancel();
    let ms = |quantile| lags.value_at_quantile(quantile) as f64 / 1000.0;
    println!(
        "lag at {} moves/s: p50 {:.0} ms, p99 {:.0} ms, longest {:.0} ms, of {} moves",
        arguments.rate,
        ms(0.5),
        ms(0.99),
        lags.max() as f64 / 1000.0,
        lags.len()
    );
    ensure!(
        ms(0.99) < 1_000.0,
        "the archive is more than a second behind"
    );
    Ok(())
}
