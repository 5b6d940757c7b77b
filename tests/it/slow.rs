//! Somebody who does not read: a bounded queue, and nobody else's trouble.

use crate::{line::random_line, scenarios};
use gateway::connection::Conn;
use serde_json::json;
use std::sync::Arc;
use tests::{
    cluster::{Over, until},
    player::{Dial, Player, UNTIMED},
    scene::{Game, Scene},
};

scenarios![
    a_slow_spectator_is_given_a_snapshot_when_he_reads_on,
    a_slow_player_is_closed_and_comes_back,
];

/// Half moves of the game whose snapshots fill a queue: each has some 20 KB.
const PLIES: usize = 250;

/// Snapshots that are asked for and not read: some 800 KB, more than the kernel and the queue hold together.
const ASKED: usize = 40;

/// Bytes queued for one connection at most, and a frame.
const QUEUE_MAX: usize = 256 * 1024 + 64 * 1024;

/// He may go on not reading for longer than a loaded machine takes for the rest of the test: by default 10 s would end him.
const PATIENT: [&str; 4] = [
    "--messages-per-second",
    "100000",
    "--write-stall-seconds",
    "600",
];

async fn one_who_will_not_read(scene: &Scene, token: Option<&str>) -> Player {
    let dial = Dial {
        receive_buffer_len: Some(4_096),
        token: token.map(str::to_owned),
        ..Dial::default()
    };
    scene.dials("Slow", 0, dial).await
}

/// Answers the next two moves too.
async fn a_long_game(scene: &Scene) -> (Game, [String; 2]) {
    let mut game = scene.game(UNTIMED, 0, 1).await;
    let line = random_line(7, PLIES + 2);
    let (played, next) = line.split_at(PLIES);
    let played: Vec<&str> = played.iter().map(String::as_str).collect();
    game.plays(&played).await;
    (game, [next[0].clone(), next[1].clone()])
}

/// Asks for so many snapshots that no more fits anywhere.
async fn asks_and_does_not_read(slow: &mut Player, game: &str) {
    slow.stops_reading();
    for _ in 0..ASKED {
        slow.sends("join_room", json!({"gameId": game})).await;
    }
}

/// The connections of the first node.
fn connections(scene: &Scene) -> impl Iterator<Item = Arc<Conn>> {
    let node = scene.node(0).inside();
    (1..1_000).filter_map(|id| node.connection(id))
}

fn queued_max(scene: &Scene) -> usize {
    let queued = connections(scene).map(|conn| conn.outbox.queued_len());
    queued.max().unwrap_or(0)
}

async fn a_slow_spectator_is_given_a_snapshot_when_he_reads_on(over: Over) {
    let scene = Scene::with(over, 2, &PATIENT).await;
    let (mut long, _) = a_long_game(&scene).await;
    let mut other = scene.game(UNTIMED, 0, 1).await;
    let mut slow = one_who_will_not_read(&scene, None).await;
    let mut quick = scene.player("Quick", 0).await;
    for player in [&mut slow, &mut quick] {
        player.watches(&other.id).await;
        player.watches(&long.id).await;
    }
    asks_and_does_not_read(&mut slow, &long.id).await;
    until("his queue is full", async || {
        connections(&scene).any(|conn| conn.outbox.is_behind())
    })
    .await;
    other.plays(&["e4", "e5", "Nf3", "Nc6"]).await;
    long.mover().resigns().await;
    // Nobody else waits for him.
    quick.sees("game_over").await;
    quick.game = other.id.clone();
    quick
        .sees_until("all of it", |view| (view.board.plies() == 4).then_some(()))
        .await;
    let queued = queued_max(&scene);
    assert!(queued <= QUEUE_MAX, "{queued} bytes wait for him");
    // He reads on: what was queued, then one snapshot of each room where he had fallen behind; the checker finds no gap.
    slow.reads_on();
    slow.sees_until("the end", |view| view.board.is_over().then_some(()))
        .await;
    slow.game = other.id.clone();
    slow.sees_until("all of it", |view| (view.board.plies() == 4).then_some(()))
        .await;
    let mut snapshots = 0;
    while slow
        .has_heard(|message| message["type"] == "game_joined")
        .is_some()
    {
        snapshots += 1;
    }
    assert!(snapshots < ASKED, "{snapshots} were queued");
    slow.has_not_heard("game_over");
    // From then on he hears everything again.
    other.plays(&["Bb5"]).await;
    slow.sees_until("the next move", |view| {
        (view.board.plies() == 5).then_some(())
    })
    .await;
    scene.ends().await;
}

async fn a_slow_player_is_closed_and_comes_back(over: Over) {
    let scene = Scene::with(over, 2, &PATIENT).await;
    let (mut game, next) = a_long_game(&scene).await;
    let mut slow = one_who_will_not_read(&scene, Some(game.white.token())).await;
    slow.watches(&game.id).await;
    let people = scene.node(0).inside().connections_len();
    asks_and_does_not_read(&mut slow, &game.id).await;
    until("he is closed, and nothing waits for him", async || {
        scene.node(0).inside().connections_len() < people && queued_max(&scene) < 1_024
    })
    .await;
    // Nobody else waits for him.
    game.plays(&[&next[0]]).await;
    slow.reads_on();
    let closed = slow.is_closed().await;
    // The queue was dropped for the Close, which comes after what the kernel held; after two seconds it is not waited for.
    assert!(matches!(closed.code, Some(4008) | None), "{closed:?}");
    slow.reconnects_to(scene.door(0)).await;
    let answer = slow.rejoins().await;
    assert_eq!(answer["type"], "resumed", "{answer}");
    for (mv, plies) in [(None, PLIES + 1), (Some(&next[1]), PLIES + 2)] {
        if let Some(mv) = mv {
            game.plays(&[mv]).await;
        }
        slow.sees_until("all of it", |view| {
            (view.board.plies() == plies).then_some(())
        })
        .await;
    }
    scene.ends().await;
}
