//! A node that leaves: everybody is told, nobody loses anything.

use crate::{
    line::{SteadyGame, watch},
    scenarios,
};
use std::time::{Duration, Instant};
use tests::{
    cluster::{Over, PATIENCE},
    http,
    player::{BLITZ, Player, UNTIMED},
    scene::Scene,
};

/// What a machine that is busy with other things may take longer; `make chaos` measures on one that is not.
const SLOWNESS: Duration = Duration::from_secs(30);

scenarios![
    a_node_that_leaves_tells_everybody,
    the_closes_are_spread,
    the_admin_port_can_ask_a_node_to_leave,
    a_rolling_restart_loses_nothing,
];
scenarios![only Processes as processes:
    a_node_that_leaves_tells_everybody,
    the_admin_port_can_ask_a_node_to_leave,
    a_rolling_restart_loses_nothing,
    who_asks_twice_does_not_wait,
];

async fn a_node_that_leaves_tells_everybody(over: Over) {
    let mut scene = Scene::with(over, 2, &["--drain-seconds", "5"]).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    let mut seeker = scene.player("Seeker", 0).await;
    seeker.seeks(BLITZ).await;
    let mut carol = scene.player("Carol", 0).await;
    carol.watches(&game.id).await;
    game.plays(&["e4", "e5"]).await;
    let (http_port, admin) = (scene.door(0), scene.node(0).admin);
    let begun = Instant::now();
    let leaving = async {
        let code = scene.cluster.stop(0).await;
        assert_eq!(code, 0);
    };
    let told = async {
        for player in [&mut game.white, &mut seeker, &mut carol] {
            let drain = player.hears("drain").await;
            let within = drain["payload"]["reconnectWithinMs"].as_u64().unwrap();
            assert!((1..=5_000).contains(&within), "{within}");
        }
        for player in [&mut game.white, &mut seeker, &mut carol] {
            assert_eq!(player.is_closed().await.code, Some(1012), "{}", player.name);
        }
    };
    tokio::join!(leaving, told);
    assert!(begun.elapsed() < Duration::from_secs(5) + SLOWNESS);
    // Nobody is there any more.
    let path = "/api/games/x";
    assert!(http::try_send(http_port, "GET", path, &[]).await.is_err());
    assert!(http::try_send(admin, "GET", "/livez", &[]).await.is_err());
    for player in [&mut game.white, &mut carol] {
        player.reconnects_to(scene.door(1)).await;
        assert_eq!(player.rejoins().await["type"], "resumed");
    }
    game.plays(&["Nf3", "Nc6"]).await;
    carol
        .sees_until("all", |view| (view.board.plies() == 4).then_some(()))
        .await;
    // The seek went with its connection, and is sought again.
    seeker.reconnects_to(scene.door(1)).await;
    seeker.seeks(BLITZ).await;
    let mut bob = scene.player("Bob", 1).await;
    bob.seeks(BLITZ).await;
    seeker.starts().await;
    bob.starts().await;
    scene.ends().await;
}

async fn the_closes_are_spread(over: Over) {
    const PEOPLE: usize = 40;
    let mut scene = Scene::with(over, 1, &["--drain-seconds", "5"]).await;
    let mut people: Vec<Player> = Vec::new();
    for number in 0..PEOPLE {
        people.push(scene.player(&format!("Somebody {number}"), 0).await);
    }
    let closing = people.iter_mut().map(async |player| {
        let drain = player.hears("drain").await;
        let within = drain["payload"]["reconnectWithinMs"].as_u64().unwrap();
        player.is_closed().await;
        (within, Instant::now())
    });
    let (_, closed) = tokio::join!(scene.cluster.stop(0), futures::future::join_all(closing));
    let first = closed.iter().map(|(_, at)| *at).min().unwrap();
    let last = closed.iter().map(|(_, at)| *at).max().unwrap();
    let window = Duration::from_millis(closed[0].0);
    let took = last - first;
    // Evenly over the window: well apart, and not longer.
    assert!(took > window / 2, "all within {took:?} of {window:?}");
    assert!(took < window + SLOWNESS, "{took:?} of {window:?}");
    let mut halves = [0, 0];
    for (_, at) in &closed {
        halves[usize::from(*at - first > took / 2)] += 1;
    }
    assert!(halves.iter().all(|half| *half >= PEOPLE / 5), "{halves:?}");
    scene.ends().await;
}

async fn the_admin_port_can_ask_a_node_to_leave(over: Over) {
    let mut scene = Scene::with(over, 2, &["--drain-seconds", "30"]).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    // Many connections, so that the leaving lasts long enough to be looked at.
    let mut people = Vec::new();
    for number in 0..40 {
        people.push(scene.player(&format!("Somebody {number}"), 0).await);
    }
    let (door, admin) = (scene.door(0), scene.node(0).admin);
    let reply = http::send(admin, "POST", "/drain", &[]).await;
    assert_eq!(reply.status, 202);
    people[0].hears("drain").await;
    let ready = http::get(admin, "/readyz").await;
    assert_eq!(ready.status, 503);
    assert_eq!(ready.json()["draining"], true);
    assert_eq!(http::get(admin, "/livez").await.status, 200);
    let came = Player::try_dial("Late", door, scene.witness.clone(), Default::default()).await;
    assert!(came.is_err() || came.is_ok_and(|mut late| late.has_heard(|_| true).is_none()));
    game.white.is_closed().await;
    game.white.goes_on_at(scene.door(1)).await;
    game.plays(&["e4", "e5"]).await;
    for player in &mut people {
        assert_eq!(player.is_closed().await.code, Some(1012));
    }
    // Asked again, it ends as well.
    assert_eq!(scene.cluster.stop(0).await, 0);
    scene.ends().await;
}

async fn a_rolling_restart_loses_nothing(over: Over) {
    const GAMES: u64 = 6;
    const PLIES: usize = 120;
    let flags = ["--drain-seconds", "3", "--messages-per-second", "1000"];
    let mut scene = Scene::with(over, 3, &flags).await;
    let doors = scene.doors();
    let mut games = Vec::new();
    let mut watching = Vec::new();
    for seed in 0..GAMES {
        let thinking = Duration::from_millis(30);
        games.push(SteadyGame::begin(&scene, seed, PLIES, thinking).await);
        watching.push(
            scene
                .player(&format!("Viewer {seed}"), seed as usize % 3)
                .await,
        );
    }
    let ids: Vec<String> = games.iter().map(|steady| steady.game.id.clone()).collect();
    let playing = futures::future::join_all(games.iter_mut().map(|game| game.play(&doors)));
    let viewing = futures::future::join_all(
        watching
            .iter_mut()
            .zip(&ids)
            .map(|(viewer, id)| watch(viewer, &doors, id, PLIES)),
    );
    let restarting = async {
        for node in 0..3 {
            assert_eq!(scene.cluster.stop(node).await, 0);
            scene.cluster.replace(node).await;
        }
    };
    let (waits, _, ()) = tokio::join!(playing, viewing, restarting);
    let longest = waits.into_iter().max().unwrap();
    assert!(
        longest < Duration::from_secs(3) + SLOWNESS,
        "a player waited {longest:?}"
    );
    scene.ends().await;
}

async fn who_asks_twice_does_not_wait(over: Over) {
    let mut scene = Scene::with(over, 2, &["--drain-seconds", "60"]).await;
    let mut people = Vec::new();
    for number in 0..60 {
        let dial = tests::player::Dial {
            receive_buffer_len: Some(4_096),
            ..Default::default()
        };
        people.push(scene.dials(&format!("Somebody {number}"), 0, dial).await);
    }
    let begun = Instant::now();
    scene.node(0).terminate();
    people[0].hears("drain").await;
    let code = scene.cluster.stop(0).await;
    assert_ne!(code, 0);
    assert!(begun.elapsed() < PATIENCE / 4, "{:?}", begun.elapsed());
    scene.ends().await;
}
