//! Redis loses what it had, wholly or its last moments, while games go on: the gateways know more and put it back. Nothing
//! acknowledged is lost, nobody sees a gap, a repeat or, without a snapshot, a fork; and time that was lost is given back.

use crate::{faults::meanwhile, faults::reaches, faults::steady_games, scenarios};
use redis::cmd;
use serde_json::Value;
use std::time::{Duration, Instant};
use tests::{
    cluster::{Over, until},
    http,
    player::UNTIMED,
    scene::Scene,
    servers::Data,
};

scenarios![only Processes as processes:
    redis_comes_back_without_its_data,
    a_game_that_ended_and_was_left_comes_back,
    the_last_moments_of_a_log_are_lost,
    two_branches_of_a_log,
    time_lost_while_redis_was_away_is_given_back,
    time_lost_while_all_gateways_were_dead_is_given_back,
    an_outage_at_the_first_move,
];

scenarios![only Alone as alone:
    a_killed_process_comes_back_with_its_games,
    a_killed_process_that_synced_comes_back_with_its_games,
    time_lost_while_the_process_was_dead_is_given_back,
];

/// A clock that an outage of some seconds would run out.
const SHORT: &str = r#"{"initialMs":10000,"incrementMs":0}"#;

/// How long Redis or the gateways are away then.
const AWAY: Duration = Duration::from_secs(12);

async fn redis_comes_back_without_its_data(over: Over) {
    const PLIES: usize = 80;
    let mut scene = Scene::with(over, 3, &["--messages-per-second", "1000"]).await;
    let (mut games, mut viewers) = steady_games(&scene, 5, PLIES).await;
    let mut quiet = scene.game(UNTIMED, 0, 1).await;
    quiet.plays(&["d4", "d5"]).await;
    let first = games[0].game.id.clone();
    let longest = meanwhile(&mut scene, &mut games, &mut viewers, PLIES, async |scene| {
        for round in 0..2 {
            reaches(scene, 1, &first, 20 + 25 * round).await;
            scene.cluster.redis().restart(Data::Lost).await;
        }
    })
    .await;
    println!("the longest wait for a move was {longest:?}");
    assert!(longest < Duration::from_secs(20), "{longest:?}");
    quiet.plays(&["c4"]).await;
    quiet
        .black
        .sees_until("the move", |view| (view.board.plies() == 3).then_some(()))
        .await;
    // Whoever comes now finds all of it.
    let mut late = scene.player("Late", 2).await;
    late.watches(&quiet.id).await;
    assert_eq!(late.view().board.plies(), 3);
    scene.ends().await;
}

async fn a_game_that_ended_and_was_left_comes_back(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 0).await;
    game.plays(&["e4", "e5", "Nf3"]).await;
    game.black.resigns().await;
    let (_, before) = scene.log(1, &game.id).await;
    let id = game.id.clone();
    for player in [&mut game.white, &mut game.black] {
        player.hangs_up().await;
    }
    // The room closes a little after the last has left it, and its channel is left then.
    until("the room is closed", async || {
        let pattern = format!("*{id}*");
        let channels: Vec<String> = scene
            .cluster
            .redis()
            .ask(cmd("PUBSUB").arg("SHARDCHANNELS").arg(&pattern))
            .await;
        channels.is_empty()
    })
    .await;
    scene.cluster.redis().restart(Data::Lost).await;
    until("the game is there again", async || {
        let reply = http::get(scene.door(1), &format!("/api/games/{id}/events")).await;
        reply.status == 200 && reply.lines() == before
    })
    .await;
    scene.ends().await;
}

/// Where a room's log is in Redis.
async fn log_key(scene: &Scene, game: &str) -> String {
    let pattern = format!("rookery:*:log:{game}");
    let keys: Vec<String> = scene.cluster.redis().ask(cmd("KEYS").arg(pattern)).await;
    keys.into_iter().next().expect("a log")
}

/// As after a failover to a replica that lagged, without one: the last events of a log are gone.
async fn the_last_moments_of_a_log_are_lost(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    let mut carol = scene.player("Carol", 1).await;
    carol.watches(&game.id).await;
    game.plays(&["e4", "e5", "Nf3", "Nc6"]).await;
    carol
        .sees_until("all", |view| (view.board.plies() == 4).then_some(()))
        .await;
    let (epoch, before) = scene.log(0, &game.id).await;
    let key = log_key(&scene, &game.id).await;
    let () = scene
        .cluster
        .redis()
        .ask(cmd("LTRIM").arg(&key).arg(0).arg(2))
        .await;
    // The node that appends next finds out, and restores first.
    game.plays(&["Bb5", "a6"]).await;
    carol
        .sees_until("all", |view| (view.board.plies() == 6).then_some(()))
        .await;
    let (same, after) = scene.log(1, &game.id).await;
    assert_eq!(epoch, same, "the same life");
    assert_eq!(after[..before.len()], before[..]);
    // Wholly gone, and found by nobody but the check of a quiet room, or who comes.
    let () = scene.cluster.redis().ask(cmd("DEL").arg(&key)).await;
    let mut dave = scene.player("Dave", 0).await;
    dave.watches(&game.id).await;
    assert_eq!(dave.view().board.plies(), 6);
    game.plays(&["Ba4"]).await;
    scene.ends().await;
}

/// An event that Redis lost, and another in its place: Redis' branch holds, and everybody begins anew.
async fn two_branches_of_a_log(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    game.plays(&["e4", "e5"]).await;
    let (epoch, before) = scene.log(0, &game.id).await;
    let key = log_key(&scene, &game.id).await;
    // Somebody cut off with the old primary took a move that is none of the new one's.
    let redis = scene.cluster.redis();
    let branch: Value = serde_json::from_str(&before[2]).unwrap();
    let () = redis.ask(cmd("LTRIM").arg(&key).arg(0).arg(2)).await;
    let mut other = branch.clone();
    other["payload"]["move"] =
        serde_json::json!({"from": "c7", "to": "c5", "san": "c5", "uci": "c7c5"});
    other["payload"]["fen"] =
        "rnbqkbnr/pp1ppppp/8/2p5/4P3/8/PPPP1PPP/RNBQKBNR w KQkq c6 0 2".into();
    let _: u64 = redis
        .ask(cmd("RPUSH").arg(&key).arg(other.to_string()))
        .await;
    // This was acknowledged and is lost: nobody can keep both.
    scene.witness.forgives(&game.id);
    // As after a failover, the nodes look at their rooms.
    redis.client_kill_pubsub().await;
    until("the branch is noticed", async || {
        scene.log(0, &game.id).await.0 != epoch
    })
    .await;
    let (life, after) = scene.log(0, &game.id).await;
    let generation = |epoch: &str| epoch.split('.').next().unwrap().parse::<u64>().unwrap();
    assert_eq!(generation(&life), generation(&epoch) + 1);
    assert!(after[2].contains("c7c5"), "{}", after[2]);
    for player in [&mut game.white, &mut game.black] {
        player
            .sees_until("the other branch", |view| {
                (view.board.plies() == 2 && view.epoch == life).then_some(())
            })
            .await;
    }
    game.plays(&["Nf3", "d6"]).await;
    scene.ends().await;
}

/// The credits in a log, and where they stand.
fn credits(log: &[String]) -> Vec<(usize, i64)> {
    let events = log.iter().enumerate().filter_map(|(seq, line)| {
        let event: Value = serde_json::from_str(line).unwrap();
        let ms = event["payload"]["ms"].as_i64();
        ms.filter(|_| event["type"] == "clock_credited")
            .map(|ms| (seq, ms))
    });
    events.collect()
}

/// Waits for the credit of an outage; answers how much it was, and that the game had not ended before.
async fn is_credited(scene: &Scene, node: usize, game: &str) -> i64 {
    until("the time is given back", async || {
        !credits(&scene.log(node, game).await.1).is_empty()
    })
    .await;
    let (_, log) = scene.log(node, game).await;
    let credits = credits(&log);
    let over = log.iter().position(|line| line.contains("\"game_over\""));
    assert!(over.is_none_or(|over| over > credits[0].0), "{log:#?}");
    credits[0].1
}

fn assert_most_of(ms: i64, lost: Duration) {
    let lost_ms = i64::try_from(lost.as_millis()).unwrap();
    assert!(ms > lost_ms - 3_000, "{ms} of {lost_ms} ms");
}

async fn time_lost_while_redis_was_away_is_given_back(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(SHORT, 0, 1).await;
    let mut left = scene.game(SHORT, 0, 1).await;
    game.plays(&["e4", "e5"]).await;
    left.plays(&["e4", "e5"]).await;
    let gone = Instant::now();
    scene.cluster.redis().pause();
    // Nobody is in this one when Redis comes back.
    for player in [&mut left.white, &mut left.black] {
        player.hangs_up().await;
    }
    tokio::time::sleep(AWAY).await;
    scene.cluster.redis().resume();
    let lost = gone.elapsed();
    for game in [&game.id, &left.id] {
        assert_most_of(is_credited(&scene, 1, game).await, lost);
    }
    // Once, whichever node does it.
    game.white
        .sees_until("the end", |view| view.board.is_over().then_some(()))
        .await;
    let (_, log) = scene.log(0, &game.id).await;
    assert_eq!(credits(&log).len(), 1, "{log:#?}");
    scene.ends().await;
}

async fn time_lost_while_all_gateways_were_dead_is_given_back(over: Over) {
    let mut scene = Scene::start(over, 2).await;
    let mut game = scene.game(SHORT, 0, 1).await;
    game.plays(&["e4", "e5"]).await;
    let gone = Instant::now();
    for node in 0..2 {
        scene.cluster.kill(node);
    }
    tokio::time::sleep(AWAY).await;
    let lost = gone.elapsed();
    for node in 0..2 {
        scene.cluster.replace(node).await;
    }
    assert_most_of(is_credited(&scene, 0, &game.id).await, lost);
    scene.ends().await;
}

/// What was acknowledged stands in the journal before.
async fn a_killed_process_comes_back_with_its_games(over: Over) {
    killed_twice(over, &["--messages-per-second", "1000"]).await;
}

async fn a_killed_process_that_synced_comes_back_with_its_games(over: Over) {
    killed_twice(over, &["--messages-per-second", "1000", "--ack", "fsync"]).await;
}

async fn killed_twice(over: Over, flags: &[&str]) {
    const PLIES: usize = 60;
    let mut scene = Scene::with(over, 1, flags).await;
    let (mut games, mut viewers) = steady_games(&scene, 3, PLIES).await;
    let first = games[0].game.id.clone();
    meanwhile(&mut scene, &mut games, &mut viewers, PLIES, async |scene| {
        for round in 0..2 {
            reaches(scene, 0, &first, 15 + 20 * round).await;
            scene.cluster.restart(0).await;
        }
    })
    .await;
    scene.ends().await;
}

async fn time_lost_while_the_process_was_dead_is_given_back(over: Over) {
    let mut scene = Scene::start(over, 1).await;
    let mut game = scene.game(SHORT, 0, 0).await;
    game.plays(&["e4", "e5"]).await;
    let gone = Instant::now();
    scene.cluster.kill(0);
    tokio::time::sleep(AWAY).await;
    let lost = gone.elapsed();
    scene.cluster.restart(0).await;
    assert_most_of(is_credited(&scene, 0, &game.id).await, lost);
    scene.ends().await;
}

async fn an_outage_at_the_first_move(over: Over) {
    let scene = Scene::start(over, 1).await;
    let mut game = scene.game(SHORT, 0, 0).await;
    let gone = Instant::now();
    scene.cluster.redis().pause();
    tokio::time::sleep(AWAY).await;
    scene.cluster.redis().resume();
    assert_most_of(is_credited(&scene, 0, &game.id).await, gone.elapsed());
    // The clocks did not run, and show what they showed.
    let (_, log) = scene.log(0, &game.id).await;
    let event: Value = serde_json::from_str(&log[credits(&log)[0].0]).unwrap();
    assert_eq!(event["payload"]["clock"]["whiteMs"], 10_000, "{event}");
    game.plays(&["e4", "e5"]).await;
    scene.ends().await;
}
