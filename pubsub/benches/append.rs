//! What one append of a 200-byte event costs, with one listener in the room: `cargo bench -p pubsub --bench append`.

#![allow(clippy::unwrap_used, missing_docs)]

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use pubsub::{Append, Appended, Backplane, Embedded, Epoch, Room, Seq, Signal, embedded::Options};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};
use tokio::runtime::Runtime;

/// Appends of one game; after so many the next room is taken, so that no log grows beyond what games are.
const GAME_LEN: Seq = 200;

/// One who appends to room after room.
struct Player {
    backplane: Arc<dyn Backplane>,
    event: Bytes,
    name: String,
    game: u64,
    epoch: Option<Epoch>,
    seq: Seq,
}

impl Player {
    fn new(backplane: Arc<dyn Backplane>) -> Player {
        static NAMES: AtomicU64 = AtomicU64::new(0);
        Player {
            backplane,
            event: Bytes::from(vec![b'x'; 200]),
            name: format!("bench{}", NAMES.fetch_add(1, Ordering::Relaxed)),
            game: 0,
            epoch: None,
            seq: 0,
        }
    }

    fn room(&self) -> Room {
        Room::parse(&format!("{}-{}", self.name, self.game)).unwrap()
    }

    fn next(&mut self) -> (Room, Append) {
        if self.seq == GAME_LEN {
            (self.game, self.seq, self.epoch) = (self.game + 1, 0, None);
        }
        let append = Append {
            epoch: self.epoch.clone(),
            expected: self.seq,
            events: vec![self.event.clone()],
            at: self.backplane.now(),
            deadline: Some(self.backplane.now() + 60_000),
        };
        (self.room(), append)
    }

    async fn append(&mut self) {
        let (room, append) = self.next();
        match self.backplane.append(&room, append).await.unwrap() {
            Appended::Appended { epoch, .. } => self.epoch = Some(epoch),
            other => panic!("{other:?}"),
        }
        self.seq += 1;
    }
}

fn bench(criterion: &mut Criterion, name: &str, backplane: Embedded) {
    let runtime = Runtime::new().unwrap();
    let mut group = criterion.benchmark_group("append");
    group.throughput(Throughput::Elements(1));
    let mut player = Player::new(Arc::new(backplane.clone()));
    group.bench_function(name, |bencher| {
        bencher.iter(|| runtime.block_on(player.append()));
    });
    let mut player = Player::new(Arc::new(backplane.clone()));
    group.bench_function(format!("{name}, heard"), |bencher| {
        let mut ear = backplane.subscribe(&player.room());
        bencher.iter(|| {
            runtime.block_on(async {
                if player.seq == GAME_LEN {
                    ear = backplane.subscribe(
                        &Room::parse(&format!("{}-{}", player.name, player.game + 1)).unwrap(),
                    );
                }
                player.append().await;
                while !matches!(ear.recv().await, Some(Signal::Events(_))) {}
            });
        });
    });
    // Two who append at the same time, in rooms of their own.
    let players = [(); 2].map(|()| Player::new(Arc::new(backplane.clone())));
    let mut players = Some(players);
    group.throughput(Throughput::Elements(2 * GAME_LEN));
    group.bench_function(
        format!("{name}, {GAME_LEN} each of two at once"),
        |bencher| {
            bencher.iter(|| {
                let tasks = players.take().unwrap().map(|mut player| {
                    runtime.spawn(async move {
                        for _ in 0..GAME_LEN {
                            player.append().await;
                        }
                        player
                    })
                });
                players = Some(tasks.map(|task| runtime.block_on(task).unwrap()));
            });
        },
    );
    group.finish();
}

fn embedded(criterion: &mut Criterion) {
    bench(
        criterion,
        "embedded",
        Embedded::new(Options::default()).unwrap(),
    );
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        journal: Some(dir.path().into()),
        ..Options::default()
    };
    bench(
        criterion,
        "embedded with journal",
        Embedded::new(options).unwrap(),
    );
}

criterion_group!(benches, embedded);
criterion_main!(benches);
