//! Whatever the reason a client has no answer, it may ask again, on any node, and gets the first answer.

use crate::scenarios;
use serde_json::{Value, json};
use tests::{
    cluster::Over,
    player::{BLITZ, Player, UNTIMED},
    scene::Scene,
};

scenarios![
    a_move_asked_for_again_on_another_node_is_the_first,
    a_move_whose_answer_was_lost_is_made_once,
    every_request_of_a_player_may_be_repeated,
    a_repeated_seek_waits_on,
    the_same_move_from_two_tabs_is_made_once,
    a_move_taken_back_is_not_made_again_by_a_late_repetition,
];

/// Comes back on that node without joining anything.
async fn elsewhere(player: &mut Player, scene: &Scene, node: usize) {
    player.reconnects_to(scene.door(node)).await;
}

async fn a_move_asked_for_again_on_another_node_is_the_first(over: Over) {
    let scene = Scene::start(over, 3).await;
    let mut game = scene.game(BLITZ, 0, 1).await;
    let first = game.white.tries_ply("e2e4", 1, Some(0)).await;
    game.black.tries_ply("e7e5", 2, Some(1)).await;
    for node in [1, 2, 0] {
        elsewhere(&mut game.white, &scene, node).await;
        for seq in [None, Some(0)] {
            let again = game.white.tries_ply("e2e4", 1, seq).await;
            assert_eq!(again["payload"], first["payload"]);
        }
    }
    scene.ends().await;
}

async fn a_move_whose_answer_was_lost_is_made_once(over: Over) {
    let scene = Scene::start(over, 2).await;
    for round in 0..10 {
        let mut game = scene.game(BLITZ, 0, 1).await;
        // Sent, and the connection ends before an answer can be read; he cannot know whether it was made.
        game.white
            .sends("move", json!({"gameId": game.id, "move": "e4", "ply": 1}))
            .await;
        elsewhere(&mut game.white, &scene, round % 2).await;
        let answer = game.white.tries_ply("e4", 1, None).await;
        assert_eq!(answer["payload"]["seq"], 1, "{answer}");
        game.black.sees_move("e4").await;
        game.black.plays("e5").await;
    }
    scene.ends().await;
}

/// Each line is said twice, the second time on another node.
async fn every_request_of_a_player_may_be_repeated(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    let (white, black) = (true, false);
    let script: &[(bool, &str)] = &[
        (white, "e4"),
        (black, "e5"),
        (white, "offer_draw"),
        (black, "decline_draw"),
        (black, "offer_takeback"),
        (white, "decline_takeback"),
        (white, "Nf3"),
        (white, "offer_takeback"),
        (black, "accept_takeback"),
        (white, "Nc3"),
        (black, "offer_draw"),
        (white, "accept_draw"),
        (white, "offer_rematch"),
        (black, "decline_rematch"),
        (black, "offer_rematch"),
        (white, "accept_rematch"),
    ];
    for (number, (is_white, what)) in script.iter().enumerate() {
        let player = if *is_white {
            &mut game.white
        } else {
            &mut game.black
        };
        let mut first: Option<Value> = None;
        for node in [number % 2, (number + 1) % 2] {
            elsewhere(player, &scene, node).await;
            let answer = if what.contains('_') {
                player.requests(what).await
            } else {
                player.tries(*what).await
            };
            assert_eq!(answer["type"], "ack", "{what}: {answer}");
            let first = first.get_or_insert_with(|| answer["payload"].clone());
            assert_eq!(*first, answer["payload"], "{what}");
        }
    }
    // Nothing came twice into the log.
    let (_, log) = scene.log(0, &game.id).await;
    let kinds: Vec<String> = log
        .iter()
        .map(|line| {
            let event: Value = serde_json::from_str(line).unwrap();
            event["type"].as_str().unwrap().to_owned()
        })
        .collect();
    assert_eq!(
        kinds,
        [
            "game_created",
            "move",
            "move",
            "draw_offered",
            "draw_declined",
            "takeback_offered",
            "takeback_declined",
            "move",
            "takeback_offered",
            "takeback",
            "move",
            "draw_offered",
            "game_over",
            "rematch_offered",
            "rematch_declined",
            "rematch_offered",
            "rematch"
        ]
    );
    scene.ends().await;
}

async fn a_repeated_seek_waits_on(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut alice = scene.player("Alice", 0).await;
    alice.seeks(BLITZ).await;
    alice.reconnects_to(scene.door(1)).await;
    alice.seeks(BLITZ).await;
    let mut bob = scene.player("Bob", 0).await;
    bob.seeks(BLITZ).await;
    bob.starts().await;
    alice.starts().await;
    assert_eq!(alice.game, bob.game);
    assert_eq!(bob.view().board.plies(), 0);
    scene.ends().await;
}

async fn the_same_move_from_two_tabs_is_made_once(over: Over) {
    let scene = Scene::start(over, 2).await;
    for _ in 0..10 {
        let mut game = scene.game(UNTIMED, 0, 1).await;
        let mut tab = game.white.opens_tab("White's tab", scene.door(1)).await;
        tab.watches(&game.id).await;
        let (one, other) = tokio::join!(
            game.white.tries_ply("e4", 1, Some(0)),
            tab.tries_ply("e4", 1, Some(0))
        );
        assert_eq!(one["payload"], other["payload"]);
        assert_eq!(one["payload"]["seq"], 1);
        // Another move than the other tab's: one of them, and the other is told.
        let mut other_tab = game.black.opens_tab("Black's tab", scene.door(0)).await;
        other_tab.game = game.id.clone();
        let (one, other) = tokio::join!(
            game.black.tries_ply("e5", 2, Some(1)),
            other_tab.tries_ply("c5", 2, Some(1))
        );
        let mut kinds = [&one, &other].map(|answer| {
            let code = answer["payload"]["code"].as_str();
            code.unwrap_or(answer["type"].as_str().unwrap()).to_owned()
        });
        kinds.sort();
        assert_eq!(kinds, ["ack", "stale_ply"]);
    }
    scene.ends().await;
}

async fn a_move_taken_back_is_not_made_again_by_a_late_repetition(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    game.white.plays("e4").await;
    game.black.plays("e5").await;
    game.white.tries_ply("Qh5", 3, Some(2)).await;
    game.white.does("offer_takeback").await;
    game.black.does("accept_takeback").await;
    game.white.sees("takeback").await;
    // The request for the queen's move wandered through a dead node, and arrives again.
    elsewhere(&mut game.white, &scene, 1).await;
    let late = game.white.tries_ply("Qh5", 3, Some(2)).await;
    assert_eq!(late["payload"]["code"], "stale_ply", "{late}");
    // Who has seen the takeback may make it anew.
    let seen = game
        .black
        .sees_until("the takeback", |view| {
            (view.board.plies() == 2).then_some(view.seq)
        })
        .await;
    let anew = game.white.tries_ply("Qh5", 3, Some(seen)).await;
    assert_eq!(anew["type"], "ack", "{anew}");
    scene.ends().await;
}
