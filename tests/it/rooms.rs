//! Rooms: joining, resuming from a position, leaving.

use crate::scenarios;
use serde_json::{Value, json};
use tests::{
    cluster::Over,
    player::{BLITZ, Player, UNTIMED},
    scene::Scene,
};

scenarios![
    a_snapshot_is_the_whole_game,
    a_client_resumes_with_exactly_what_it_missed,
    a_client_resumes_on_another_node,
    nothing_missed_is_resumed_at_once,
    a_position_of_another_life_gets_a_snapshot,
    a_position_beyond_the_end_gets_a_snapshot,
    joining_again_gives_a_snapshot_and_no_repeats,
    who_left_hears_no_more,
    exit_resigns_a_players_game_and_only_leaves_a_spectators,
    a_finished_game_can_be_watched,
    a_move_reaches_a_room_that_was_opened_while_it_was_made,
];

async fn play(scene: &Scene, moves: &[&str]) -> tests::scene::Game {
    let mut game = scene.game(BLITZ, 0, 1).await;
    game.plays(moves).await;
    game
}

async fn a_snapshot_is_the_whole_game(over: Over) {
    let scene = Scene::start(over, 3).await;
    let mut game = play(&scene, &["e4", "c5", "Nf3", "d6"]).await;
    game.white.does("offer_draw").await;
    let mut carol = scene.player("Carol", 2).await;
    let snapshot = carol.watches(&game.id).await;
    let sans: Vec<&Value> = snapshot["moves"]
        .as_array()
        .unwrap()
        .iter()
        .map(|played| &played["san"])
        .collect();
    assert_eq!(sans, ["e4", "c5", "Nf3", "d6"]);
    assert_eq!(snapshot["seq"], 5);
    assert_eq!(snapshot["color"], Value::Null);
    assert_eq!(snapshot["turn"], "white");
    assert_eq!(snapshot["status"], "started");
    assert_eq!(snapshot["drawOffer"], "white");
    assert_eq!(snapshot["whitePlayer"]["name"], "White");
    // The players themselves get it too, with their seats.
    for (player, color) in [(&mut game.white, "white"), (&mut game.black, "black")] {
        player.reconnects_to(scene.door(2)).await;
        assert_eq!(player.watches(&game.id).await["color"], color);
    }
    // All else is compared with the fold of the log at the end.
    scene.ends().await;
}

async fn a_client_resumes_with_exactly_what_it_missed(over: Over) {
    let scene = Scene::start(over, 3).await;
    let mut game = play(&scene, &["e4"]).await;
    let mut carol = scene.player("Carol", 2).await;
    carol.watches(&game.id).await;
    let seen = carol.view().seq;
    carol.hangs_up().await;
    game.black.plays("e5").await;
    game.white.plays("Nf3").await;
    game.black.does("offer_draw").await;
    for node in [2, 0, 1] {
        carol.reconnects_to(scene.door(node)).await;
        let answer = carol.rejoins().await;
        assert_eq!(answer["type"], "resumed");
        assert_eq!(answer["payload"]["seq"], seen + 3);
        carol.sees_move("e5").await;
        carol.sees_move("Nf3").await;
        carol.sees("draw_offered").await;
        carol.pings().await;
        carol.has_not_heard("game_joined");
        // Asked for again from the same position: the same again.
        carol.hangs_up().await;
        carol.goes_back_to(seen);
    }
    scene.ends().await;
}

async fn a_client_resumes_on_another_node(over: Over) {
    let mut scene = Scene::start(over, 2).await;
    let mut game = play(&scene, &["e4", "e5"]).await;
    scene.cluster.kill(0);
    game.white.reconnects_to(scene.door(1)).await;
    let answer = game.white.rejoins().await;
    assert_eq!(answer["type"], "resumed");
    game.white.plays("Nf3").await;
    game.black
        .sees_until("Nf3", |view| (view.board.plies() == 3).then_some(()))
        .await;
    scene.ends().await;
}

async fn nothing_missed_is_resumed_at_once(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = play(&scene, &["e4", "e5"]).await;
    game.white
        .sees_until("e5", |view| (view.board.plies() == 2).then_some(()))
        .await;
    game.white.reconnects_to(scene.door(1)).await;
    let answer = game.white.rejoins().await;
    assert_eq!(answer["type"], "resumed");
    assert_eq!(answer["payload"]["seq"], 2);
    scene.ends().await;
}

async fn a_position_of_another_life_gets_a_snapshot(over: Over) {
    let scene = Scene::start(over, 2).await;
    let game = play(&scene, &["e4", "e5"]).await;
    let mut carol = scene.player("Carol", 0).await;
    for epoch in ["7.otherlife", "", "nonsense", "0.0", &"9".repeat(300)] {
        let join = json!({"gameId": game.id, "seq": 1, "epoch": epoch});
        let answer = carol.asks("join_room", join).await;
        assert_eq!(answer["type"], "game_joined", "{epoch}");
    }
    // Half a position is none.
    let epoch = game.white.view().epoch;
    for half in [json!({"seq": 1}), json!({"epoch": epoch})] {
        let mut join = half.clone();
        join["gameId"] = json!(game.id);
        let answer = carol.asks("join_room", join).await;
        assert_eq!(answer["type"], "game_joined", "{half}");
    }
    scene.ends().await;
}

async fn a_position_beyond_the_end_gets_a_snapshot(over: Over) {
    let scene = Scene::start(over, 2).await;
    let game = play(&scene, &["e4", "e5"]).await;
    let mut carol = scene.player("Carol", 1).await;
    let epoch = game.white.view().epoch;
    for seq in [3, 1000, u64::MAX] {
        let join = json!({"gameId": game.id, "seq": seq, "epoch": epoch});
        let answer = carol.asks("join_room", join).await;
        assert_eq!(answer["type"], "game_joined", "{seq}");
    }
    scene.ends().await;
}

async fn joining_again_gives_a_snapshot_and_no_repeats(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = play(&scene, &["e4"]).await;
    for _ in 0..3 {
        game.white.watches(&game.id).await;
        game.black.accepts(&game.id).await;
    }
    game.black.plays("e5").await;
    game.white.plays("Nf3").await;
    for player in [&mut game.white, &mut game.black] {
        player
            .sees_until("Nf3", |view| (view.board.plies() == 3).then_some(()))
            .await;
        player.pings().await;
    }
    scene.ends().await;
}

async fn who_left_hears_no_more(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = play(&scene, &["e4"]).await;
    let mut carol = scene.player("Carol", 0).await;
    carol.watches(&game.id).await;
    carol.does("leave_room").await;
    carol.does("leave_room").await;
    game.white.sees_move("e4").await;
    game.white.does("leave_room").await;
    game.black.plays("e5").await;
    for player in [&mut carol, &mut game.white] {
        player.pings().await;
        player.has_not_heard("move");
    }
    // A player who left plays all the same.
    game.white.plays("d4").await;
    game.black
        .sees_until("d4", |view| (view.board.plies() == 3).then_some(()))
        .await;
    // And comes back.
    assert_eq!(game.white.rejoins().await["type"], "resumed");
    let gone = carol
        .asks("leave_room", json!({"gameId": "nosuchgame"}))
        .await;
    assert_eq!(gone["type"], "ack");
    scene.ends().await;
}

async fn exit_resigns_a_players_game_and_only_leaves_a_spectators(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = play(&scene, &["e4", "e5"]).await;
    let mut carol = scene.player("Carol", 0).await;
    carol.watches(&game.id).await;
    carol.does("exit_game").await;
    game.white.plays("d4").await;
    carol.pings().await;
    carol.has_not_heard("move");
    assert_eq!(carol.rejoins().await["type"], "resumed");
    game.black.does("exit_game").await;
    for player in [&mut carol, &mut game.white] {
        player.sees_end("1-0", "resignation").await;
    }
    // Asked again, and of a game that is over: only left.
    game.black.does("exit_game").await;
    game.white.does("exit_game").await;
    game.white.does("exit_game").await;
    scene.ends().await;
}

async fn a_finished_game_can_be_watched(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = play(&scene, &["f3", "e5", "g4", "Qh4#"]).await;
    let mut carol = scene.player("Carol", 1).await;
    let snapshot = carol.watches(&game.id).await;
    assert_eq!(snapshot["status"], "finished");
    assert_eq!(snapshot["result"], "0-1");
    assert_eq!(snapshot["reason"], "checkmate");
    assert_eq!(snapshot["winner"], "black");
    game.white.may_not_play("a3", "game_over").await;
    game.white.may_not("resign", "game_over").await;
    scene.ends().await;
}

/// Rooms are opened on nodes all the time while moves are made: nobody may miss the one between.
async fn a_move_reaches_a_room_that_was_opened_while_it_was_made(over: Over) {
    let scene = Scene::start(over, 3).await;
    for round in 0..10 {
        let mut game = scene.game(UNTIMED, 0, 1).await;
        let mut carol: Player = scene.player("Carol", 2).await;
        let id = game.id.clone();
        let (mv, reply) = [("e4", "e5"), ("d4", "d5")][round % 2];
        let ((), _) = tokio::join!(
            async {
                game.white.plays(mv).await;
                game.black.plays(reply).await;
            },
            carol.watches(&id)
        );
        carol
            .sees_until(reply, |view| (view.board.plies() == 2).then_some(()))
            .await;
    }
    scene.ends().await;
}
