//! Things that die while games go on: gateways, all of them, and Redis. No acknowledged move is lost, nobody sees a gap.

use crate::{
    line::{SteadyGame, watch},
    scenarios,
};
use serde_json::json;
use std::time::{Duration, Instant};
use tests::{
    cluster::{Over, PATIENCE, until},
    http,
    player::{BULLET, UNTIMED},
    scene::Scene,
    servers::Data,
};

scenarios![a_killed_gateways_games_go_on_elsewhere];
scenarios![only Processes as processes:
    a_killed_gateways_games_go_on_elsewhere,
    all_gateways_die_at_once_and_the_games_go_on,
    a_stopped_gateway_catches_up,
    redis_restarts_with_its_data,
    redis_is_away_for_long,
    subscriptions_are_cut_again_and_again,
    a_flag_falls_after_all_gateways_were_gone,
];

pub async fn steady_games(
    scene: &Scene,
    count: u64,
    plies: usize,
) -> (Vec<SteadyGame>, Vec<tests::player::Player>) {
    let mut games = Vec::new();
    let mut viewers = Vec::new();
    let nodes = scene.cluster.living().count();
    for seed in 0..count {
        let thinking = Duration::from_millis(25);
        games.push(SteadyGame::begin(scene, seed, plies, thinking).await);
        let node = (seed as usize + 2) % nodes;
        viewers.push(scene.player(&format!("Viewer {seed}"), node).await);
    }
    (games, viewers)
}

/// Plays and watches all games to their ends while something else happens.
pub async fn meanwhile(
    scene: &mut Scene,
    games: &mut [SteadyGame],
    viewers: &mut [tests::player::Player],
    plies: usize,
    fault: impl AsyncFnOnce(&mut Scene),
) -> Duration {
    let doors = scene.doors();
    let ids: Vec<String> = games.iter().map(|steady| steady.game.id.clone()).collect();
    let playing = futures::future::join_all(games.iter_mut().map(|game| game.play(&doors)));
    let viewing = viewers.iter_mut().zip(&ids);
    let viewing = viewing.map(|(viewer, id)| watch(viewer, &doors, id, plies));
    let viewing = futures::future::join_all(viewing);
    let (waits, _, ()) = tokio::join!(playing, viewing, fault(scene));
    waits.into_iter().max().unwrap_or_default()
}

/// Waits until a game has that many events.
pub async fn reaches(scene: &Scene, node: usize, game: &str, events: usize) {
    until("the game has got so far", async || {
        // Not there for a moment after Redis lost it.
        let reply = http::get(scene.door(node), &format!("/api/games/{game}/events")).await;
        reply.status == 200 && reply.lines().len() >= events
    })
    .await;
}

async fn a_killed_gateways_games_go_on_elsewhere(over: Over) {
    const PLIES: usize = 80;
    let mut scene = Scene::with(over, 3, &["--messages-per-second", "1000"]).await;
    let (mut games, mut viewers) = steady_games(&scene, 6, PLIES).await;
    let first = games[0].game.id.clone();
    let longest = meanwhile(&mut scene, &mut games, &mut viewers, PLIES, async |scene| {
        for node in 0..2 {
            reaches(scene, 2, &first, 20 + 25 * node).await;
            scene.cluster.kill(node);
        }
        scene.cluster.replace(0).await;
    })
    .await;
    assert!(longest < PATIENCE, "{longest:?}");
    scene.ends().await;
}

async fn all_gateways_die_at_once_and_the_games_go_on(over: Over) {
    const PLIES: usize = 60;
    let mut scene = Scene::with(over, 3, &["--messages-per-second", "1000"]).await;
    let (mut games, mut viewers) = steady_games(&scene, 4, PLIES).await;
    let first = games[0].game.id.clone();
    meanwhile(&mut scene, &mut games, &mut viewers, PLIES, async |scene| {
        reaches(scene, 1, &first, 25).await;
        for node in 0..3 {
            scene.cluster.kill(node);
        }
        for node in 0..3 {
            scene.cluster.replace(node).await;
        }
    })
    .await;
    scene.ends().await;
}

async fn a_stopped_gateway_catches_up(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 1, 1).await;
    let mut carol = scene.player("Carol", 0).await;
    carol.watches(&game.id).await;
    let mut tab = game.white.opens_tab("White's tab", scene.door(0)).await;
    tab.watches(&game.id).await;
    scene.node(0).pause().await;
    // Asked before the others went on; heard after.
    let late = tab
        .sends("move", json!({"gameId": game.id, "move": "d4", "ply": 1}))
        .await;
    game.plays(&["e4", "e5", "Nf3", "Nc6"]).await;
    // Longer than a lease of whatever kind that a living node would have to renew in between.
    tokio::time::sleep(Duration::from_secs(6)).await;
    game.plays(&["Bb5", "a6"]).await;
    scene.node(0).resume();
    let answer = tab.answer_to(late).await;
    assert_eq!(answer["payload"]["code"], "stale_ply", "{answer}");
    for player in [&mut carol, &mut tab] {
        player
            .sees_until("all", |view| (view.board.plies() == 6).then_some(()))
            .await;
    }
    until("it is ready again", async || {
        http::get(scene.node(0).admin, "/readyz").await.status == 200
    })
    .await;
    tab.plays("Ba4").await;
    game.black.plays("Nf6").await;
    scene.ends().await;
}

async fn redis_restarts_with_its_data(over: Over) {
    const PLIES: usize = 80;
    let mut scene = Scene::with(over, 3, &["--messages-per-second", "1000"]).await;
    let (mut games, mut viewers) = steady_games(&scene, 6, PLIES).await;
    let mut quiet = scene.game(UNTIMED, 0, 1).await;
    let first = games[0].game.id.clone();
    let longest = meanwhile(&mut scene, &mut games, &mut viewers, PLIES, async |scene| {
        for round in 0..2 {
            reaches(scene, 1, &first, 20 + 25 * round).await;
            scene.cluster.redis().restart(Data::Kept).await;
        }
    })
    .await;
    assert!(longest < PATIENCE, "{longest:?}");
    // Nobody's socket was closed.
    for (number, steady) in games.iter().enumerate() {
        let home = [number % 3, (number + 1) % 3].map(|node| scene.node(node).name.clone());
        let at = [&steady.game.white, &steady.game.black]
            .map(|player| player.welcome["node"].as_str().unwrap().to_owned());
        assert_eq!(at, home);
    }
    quiet.plays(&["e4"]).await;
    quiet.black.sees_move("e4").await;
    scene.ends().await;
}

async fn redis_is_away_for_long(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    let mut carol = scene.player("Carol", 1).await;
    carol.watches(&game.id).await;
    game.plays(&["e4", "e5"]).await;
    scene.cluster.redis().kill();
    let begun = Instant::now();
    let request = json!({"gameId": game.id, "move": "Nf3", "ply": 3});
    let (one, other) = tokio::join!(
        game.white.asks("move", request.clone()),
        game.black.asks("init_game", json!({"timeControl": null}))
    );
    for answer in [&one, &other] {
        assert_eq!(answer["payload"]["code"], "unavailable", "{answer}");
        assert_eq!(answer["payload"]["retryable"], true);
    }
    let took = begun.elapsed();
    assert!(took.as_secs() >= 4, "given up after {took:?}");
    // Everybody stays, and what needs no Redis works; nodes are ready, because it is nobody's own fault.
    for player in [&mut game.white, &mut game.black, &mut carol] {
        player.pings().await;
    }
    let mut dave = scene.player("Dave", 0).await;
    dave.pings().await;
    for node in [0, 1] {
        assert_eq!(
            http::get(scene.node(node).admin, "/livez").await.status,
            200
        );
        let ready = http::get(scene.node(node).admin, "/readyz").await;
        assert_eq!(ready.status, 200, "{}", ready.text());
    }
    let reply = http::get(scene.door(0), &format!("/api/games/{}/events", game.id)).await;
    assert_eq!(reply.status, 503);
    assert_eq!(reply.json()["error"]["code"], "unavailable");
    scene.cluster.redis().restart(Data::Kept).await;
    until("the same move is made", async || {
        game.white.tries_ply("Nf3", 3, None).await["type"] == "ack"
    })
    .await;
    carol
        .sees_until("the move", |view| (view.board.plies() == 3).then_some(()))
        .await;
    game.black.plays("Nc6").await;
    until("there are seeks again", async || {
        let answer = dave.asks("init_game", json!({"timeControl": null})).await;
        answer["type"] == "waiting"
    })
    .await;
    scene.ends().await;
}

async fn subscriptions_are_cut_again_and_again(over: Over) {
    const PLIES: usize = 80;
    let mut scene = Scene::with(over, 3, &["--messages-per-second", "1000"]).await;
    let (mut games, mut viewers) = steady_games(&scene, 6, PLIES).await;
    let first = games[0].game.id.clone();
    let longest = meanwhile(&mut scene, &mut games, &mut viewers, PLIES, async |scene| {
        for round in 0..6 {
            reaches(scene, 1, &first, 10 + 10 * round).await;
            scene.cluster.redis().client_kill_pubsub().await;
        }
    })
    .await;
    assert!(longest < PATIENCE, "{longest:?}");
    scene.ends().await;
}

async fn a_flag_falls_after_all_gateways_were_gone(over: Over) {
    let mut scene = Scene::start(over, 1).await;
    let mut game = scene.game(BULLET, 0, 0).await;
    game.plays(&["e4", "e5"]).await;
    scene.cluster.kill(0);
    tokio::time::sleep(Duration::from_millis(1_500)).await;
    scene.cluster.replace(0).await;
    until("the flag falls", async || {
        let (_, log) = scene.log(0, &game.id).await;
        log.last().unwrap().contains("\"game_over\"")
    })
    .await;
    scene.ends().await;
}
