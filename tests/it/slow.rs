//! Somebody who does not read: a bounded queue, and nobody else's trouble.

use crate::{line::random_line, scenarios};
use serde_json::json;
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

/// Snapshots that are asked for and not read: some 800 KB, more than the kernel and the longest queue hold together.
const ASKED: usize = 40;

/// Bytes queued for one spectator at most: the engine's bound, or one snapshot.
const SPECTATOR_QUEUE_MAX: usize = 24 * 1024;

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

async fn a_long_game(scene: &Scene) -> Game {
    let mut game = scene.game(UNTIMED, 0, 1).await;
    let line = random_line(7, PLIES);
    let line: Vec<&str> = line.iter().map(String::as_str).collect();
    game.plays(&line).await;
    game
}

/// Asks for so many snapshots that they fit nowhere.
async fn asks_for_too_much(slow: &mut Player, game: &str) {
    slow.stops_reading();
    for _ in 0..ASKED {
        slow.sends("join_room", json!({"gameId": game})).await;
    }
}

fn queued_max(scene: &Scene) -> usize {
    let node = scene.node(0).inside();
    let connections = (1..1_000).filter_map(|id| node.connection(id));
    connections
        .map(|conn| conn.outbox.queued_len())
        .max()
        .unwrap_or(0)
}

async fn a_slow_spectator_is_given_a_snapshot_when_he_reads_on(over: Over) {
    let scene = Scene::with(over, 2, &PATIENT).await;
    let mut long = a_long_game(&scene).await;
    let mut other = scene.game(UNTIMED, 0, 1).await;
    let mut slow = one_who_will_not_read(&scene, None).await;
    let mut quick = scene.player("Quick", 0).await;
    for player in [&mut slow, &mut quick] {
        player.watches(&other.id).await;
        player.watches(&long.id).await;
    }
    asks_for_too_much(&mut slow, &long.id).await;
    // What he says last is heard when all that he asked for was answered.
    slow.sends("chat", json!({"gameId": long.id, "text": "I do not read"}))
        .await;
    quick.hears("chat").await;
    other.plays(&["e4", "e5", "Nf3", "Nc6"]).await;
    long.mover().resigns().await;
    // Nobody else waits for him.
    quick.sees("game_over").await;
    quick.game = other.id.clone();
    quick
        .sees_until("all of it", |view| (view.board.plies() == 4).then_some(()))
        .await;
    let queued = queued_max(&scene);
    assert!(queued <= SPECTATOR_QUEUE_MAX, "{queued} bytes wait for him");
    // He reads on: what the kernel held, then one snapshot of each room; the checker finds no gap.
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
    let mut long = a_long_game(&scene).await;
    let mut slow = one_who_will_not_read(&scene, Some(long.white.token())).await;
    slow.watches(&long.id).await;
    let people = scene.node(0).inside().connections_len();
    asks_for_too_much(&mut slow, &long.id).await;
    until("he is given up", async || {
        scene.node(0).inside().connections_len() < people
    })
    .await;
    slow.reads_on();
    let closed = slow.is_closed().await;
    // The queue was dropped for the Close, which comes after what the kernel held; after two seconds it is not waited for.
    assert!(matches!(closed.code, Some(4008) | None), "{closed:?}");
    slow.reconnects_to(scene.door(0)).await;
    let answer = slow.rejoins().await;
    assert_eq!(answer["type"], "resumed", "{answer}");
    let next = random_line(7, PLIES + 1).pop().expect("a move");
    long.white.plays(&next).await;
    slow.sees_until("the next move", |view| {
        (view.board.plies() == PLIES + 1).then_some(())
    })
    .await;
    scene.ends().await;
}
