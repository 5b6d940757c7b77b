//! A crowd before one game: so many that what comes thick is gathered for them, on sockets that all threads of a node share.

use crate::{line::random_line, scenarios};
use futures::future::join_all;
use serde_json::json;
use tests::{
    cluster::Over,
    player::{Player, UNTIMED},
    scene::Scene,
};

scenarios![a_crowd_comes_and_goes_while_the_game_goes_on];

/// Spectators. Each takes two of the process's files.
const CROWD: usize = 150;

/// Half moves that are played meanwhile.
const PLIES: usize = 60;

/// Each sees a snapshot before anything else, then everything once and in order, whenever he came and however often he went;
/// that the checker finds out. And each sees the end.
async fn a_crowd_comes_and_goes_while_the_game_goes_on(over: Over) {
    let scene = Scene::with(over, 2, &["--messages-per-second", "1000"]).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    let id = game.id.clone();
    let coming = (0..CROWD).map(|number| {
        let (scene, id) = (&scene, &id);
        async move {
            let mut spectator = scene.player(&format!("Spectator {number}"), 0).await;
            spectator.watches(id).await;
            // Some go and come back, some ask again, which is the same as being told anew.
            if number % 3 == 0 {
                let left = spectator.asks("leave_room", json!({"gameId": id})).await;
                assert_eq!(left["type"], "ack");
                spectator.forgets();
                spectator.watches(id).await;
            } else if number % 3 == 1 {
                spectator.watches(id).await;
            }
            spectator
        }
    });
    let playing = async {
        let line = random_line(11, PLIES);
        let line: Vec<&str> = line.iter().map(String::as_str).collect();
        game.plays(&line).await;
    };
    let (mut crowd, ()): (Vec<Player>, ()) = tokio::join!(join_all(coming), playing);
    game.mover().resigns().await;
    for spectator in &mut crowd {
        spectator
            .sees_until("the end", |view| view.board.is_over().then_some(()))
            .await;
    }
    scene.ends().await;
}
