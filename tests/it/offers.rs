//! Draws, takebacks, rematches and claims.

use crate::scenarios;
use serde_json::json;
use tests::{
    cluster::Over,
    player::{BLITZ, UNTIMED},
    scene::Scene,
};

scenarios![
    a_draw_is_offered_declined_and_agreed,
    an_offer_ends_with_the_next_move,
    offers_are_limited,
    a_takeback_gives_back_position_and_clock,
    an_answer_to_another_offer_is_late,
    a_rematch_changes_colours_and_is_one_game,
    a_rematch_when_the_opponent_is_on_another_node_and_comes_later,
    a_threefold_repetition_is_claimed,
    a_draw_is_claimed_with_the_intended_move,
    five_times_ends_at_once,
    a_game_can_be_aborted_before_both_have_moved,
    a_win_cannot_be_claimed_from_one_who_is_there,
    a_stalemate_ends_at_once,
];

async fn a_draw_is_offered_declined_and_agreed(over: Over) {
    let scene = Scene::start(over, 3).await;
    let mut game = scene.game(BLITZ, 0, 1).await;
    let mut carol = scene.player("Carol", 2).await;
    carol.watches(&game.id).await;
    game.plays(&["e4", "e5"]).await;
    game.black.may_not("accept_draw", "no_offer").await;
    game.white.does("offer_draw").await;
    game.white.may_not("accept_draw", "no_offer").await;
    game.white.may_not("decline_draw", "no_offer").await;
    assert_eq!(carol.sees("draw_offered").await["payload"]["by"], "white");
    game.black.sees("draw_offered").await;
    game.black.does("decline_draw").await;
    assert_eq!(carol.sees("draw_declined").await["payload"]["by"], "black");
    game.black.may_not("accept_draw", "no_offer").await;
    // Two offers are an agreement.
    game.black.does("offer_draw").await;
    game.white.does("accept_draw").await;
    for player in [&mut carol, &mut game.white, &mut game.black] {
        let end = player.sees_end("1/2-1/2", "agreement").await;
        assert!(end["payload"]["winner"].is_null());
    }
    scene.ends().await;
}

async fn an_offer_ends_with_the_next_move(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    game.plays(&["e4", "e5"]).await;
    game.black.does("offer_draw").await;
    game.white.does("offer_takeback").await;
    game.plays(&["Nf3"]).await;
    game.white.may_not("accept_draw", "no_offer").await;
    game.black.may_not("accept_takeback", "no_offer").await;
    game.black.may_not("decline_takeback", "no_offer").await;
    scene.ends().await;
}

async fn offers_are_limited(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    game.white.may_not("offer_takeback", "too_early").await;
    game.white.may_not("offer_rematch", "too_early").await;
    game.plays(&["e4", "e5"]).await;
    for (offer, offered, decline, declined) in [
        (
            "offer_draw",
            "draw_offered",
            "decline_draw",
            "draw_declined",
        ),
        (
            "offer_takeback",
            "takeback_offered",
            "decline_takeback",
            "takeback_declined",
        ),
    ] {
        game.white.does(offer).await;
        game.black.sees(offered).await;
        game.black.does(decline).await;
        // Before he sees that, the same request is taken for a repetition of the first.
        game.white.sees(declined).await;
        game.white.may_not(offer, "too_early").await;
    }
    game.plays(&["Nf3", "Nc6", "Bb5", "a6", "Ba4", "Nf6", "O-O", "Be7"])
        .await;
    game.white.may_not("offer_draw", "too_early").await;
    game.plays(&["Re1", "b5"]).await;
    game.white.does("offer_draw").await;
    game.black.sees("draw_offered").await;
    game.black.does("decline_draw").await;
    game.white.resigns().await;
    for round in 0..4 {
        if round < 3 {
            game.white.does("offer_rematch").await;
            // Else his answer to this offer is taken for a repetition of the one before.
            game.black.sees("rematch_offered").await;
            game.black.does("decline_rematch").await;
            game.white.sees("rematch_declined").await;
        } else {
            game.white.may_not("offer_rematch", "too_late").await;
        }
    }
    scene.ends().await;
}

async fn a_takeback_gives_back_position_and_clock(over: Over) {
    let scene = Scene::start(over, 3).await;
    let mut game = scene.game(BLITZ, 0, 1).await;
    let mut carol = scene.player("Carol", 2).await;
    carol.watches(&game.id).await;
    game.plays(&["e4", "e5", "Qh5", "Nc6"]).await;
    // It is White's turn: his last move and the answer to it go.
    game.white.does("offer_takeback").await;
    game.black.does("accept_takeback").await;
    let back = carol.sees("takeback").await;
    assert_eq!(back["payload"]["ply"], 2);
    game.plies = 2;
    game.plays(&["Nf3"]).await;
    // It is Black's: only White's own move goes.
    game.white.may_not("offer_takeback", "too_early").await;
    game.black.does("offer_takeback").await;
    game.white.does("accept_takeback").await;
    assert_eq!(carol.sees("takeback").await["payload"]["ply"], 1);
    game.plies = 1;
    game.plays(&["c5", "Nf3"]).await;
    let sans = ["e4", "c5", "Nf3"].map(str::to_owned).to_vec();
    for player in [&mut carol, &mut game.white, &mut game.black] {
        player
            .sees_until("the line", |view| (view.board.sans() == sans).then_some(()))
            .await;
    }
    scene.ends().await;
}

async fn an_answer_to_another_offer_is_late(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    game.plays(&["e4", "e5"]).await;
    let first = game.white.does("offer_draw").await["seq"].clone();
    game.plays(&["Nf3"]).await;
    let accept = json!({"gameId": game.id, "seq": first});
    game.black
        .is_refused("no_offer", "accept_draw", accept)
        .await;
    game.black.does("offer_draw").await;
    let wrong = json!({"gameId": game.id, "seq": first});
    game.white
        .is_refused("no_offer", "accept_draw", wrong)
        .await;
    scene.ends().await;
}

async fn a_rematch_changes_colours_and_is_one_game(over: Over) {
    let scene = Scene::start(over, 3).await;
    let mut game = scene.game(BLITZ, 0, 1).await;
    let mut carol = scene.player("Carol", 2).await;
    carol.watches(&game.id).await;
    game.white.resigns().await;
    game.white.does("offer_rematch").await;
    game.black.may_not("decline_draw", "game_over").await;
    game.black.sees("rematch_offered").await;
    game.black.does("accept_rematch").await;
    let next = carol.sees("rematch").await["payload"]["newGameId"].clone();
    let next = next.as_str().unwrap().to_owned();
    // The start of this game's own is heard already.
    assert_eq!(game.white.starts().await, "black");
    assert_eq!(game.black.starts().await, "white");
    assert_eq!((&game.white.game, &game.black.game), (&next, &next));
    let snapshot = carol.watches(&next).await;
    assert_eq!(snapshot["timeControl"]["initialMs"], 180_000);
    assert_eq!(snapshot["whitePlayer"]["name"], "Black");
    game.black.plays("e4").await;
    game.white.sees_move("e4").await;
    carol.sees_move("e4").await;
    // Who comes to the old room is told where it goes on.
    let mut dave = scene.player("Dave", 1).await;
    assert_eq!(dave.watches(&game.id).await["rematchGameId"], next.as_str());
    scene.ends().await;
}

async fn a_rematch_when_the_opponent_is_on_another_node_and_comes_later(over: Over) {
    let mut scene = Scene::start(over, 2).await;
    let mut game = scene.game(BLITZ, 0, 1).await;
    game.white.resigns().await;
    game.black.does("offer_rematch").await;
    game.white.does("offer_rematch").await;
    assert_eq!(game.white.starts().await, "black");
    // The node that made the game dies; the other one's player has it all the same.
    scene.cluster.kill(0);
    assert_eq!(game.black.starts().await, "white");
    game.black.plays("d4").await;
    game.white.reconnects_to(scene.door(1)).await;
    game.white.rejoins().await;
    game.white.plays("d5").await;
    scene.ends().await;
}

async fn a_threefold_repetition_is_claimed(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    game.white.may_not("claim_draw", "no_claim").await;
    game.plays(&["Nf3", "Nf6", "Ng1", "Ng8"]).await;
    game.white.may_not("claim_draw", "no_claim").await;
    game.plays(&["Nf3", "Nf6", "Ng1", "Ng8"]).await;
    game.black.may_not("claim_draw", "no_claim").await;
    let first = game.white.does("claim_draw").await;
    for player in [&mut game.white, &mut game.black] {
        player.sees_end("1/2-1/2", "threefold_repetition").await;
    }
    game.white.reconnects_to(scene.door(1)).await;
    assert_eq!(game.white.does("claim_draw").await, first);
    game.black.may_not("claim_draw", "game_over").await;
    scene.ends().await;
}

async fn a_draw_is_claimed_with_the_intended_move(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    game.plays(&["Nf3", "Nf6", "Ng1", "Ng8", "Nf3", "Nf6", "Ng1"])
        .await;
    let claim = |mv: &str| json!({"gameId": game.id, "move": mv});
    let (wrong, illegal, right) = (claim("e5"), claim("Ke4"), claim("Ng8"));
    game.black.is_refused("no_claim", "claim_draw", wrong).await;
    game.black
        .is_refused("illegal_move", "claim_draw", illegal)
        .await;
    let first = game.black.asks("claim_draw", right.clone()).await;
    assert_eq!(first["type"], "ack");
    game.white
        .sees_until("the intended move", |view| {
            (view.board.plies() == 8).then_some(())
        })
        .await;
    game.white.sees_end("1/2-1/2", "threefold_repetition").await;
    game.black.reconnects_to(scene.door(0)).await;
    let again = game.black.asks("claim_draw", right).await;
    assert_eq!(again["payload"], first["payload"]);
    scene.ends().await;
}

async fn five_times_ends_at_once(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    for _ in 0..3 {
        game.plays(&["Nf3", "Nf6", "Ng1", "Ng8"]).await;
    }
    game.plays(&["Nf3", "Nf6", "Ng1", "Ng8"]).await;
    game.white.sees_end("1/2-1/2", "fivefold_repetition").await;
    game.white.may_not_play("e4", "game_over").await;
    scene.ends().await;
}

async fn a_game_can_be_aborted_before_both_have_moved(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(BLITZ, 0, 1).await;
    game.plays(&["e4"]).await;
    let first = game.black.does("abort").await;
    for player in [&mut game.white, &mut game.black] {
        player.sees_end("*", "aborted").await;
    }
    game.black.reconnects_to(scene.door(0)).await;
    assert_eq!(game.black.does("abort").await, first);
    let mut other = scene.game(BLITZ, 0, 1).await;
    other.plays(&["e4", "e5"]).await;
    other.white.may_not("abort", "too_late").await;
    scene.ends().await;
}

async fn a_win_cannot_be_claimed_from_one_who_is_there(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(BLITZ, 0, 1).await;
    game.white.may_not("claim_victory", "too_early").await;
    game.plays(&["e4", "e5"]).await;
    game.white.may_not("claim_victory", "too_early").await;
    game.black.hangs_up().await;
    game.white.sees("presence").await;
    game.white.may_not("claim_victory", "too_early").await;
    scene.ends().await;
}

async fn a_stalemate_ends_at_once(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    // Sam Loyd's, the shortest.
    let stalemate = [
        "e3", "a5", "Qh5", "Ra6", "Qxa5", "h5", "Qxc7", "Rah6", "h4", "f6", "Qxd7+", "Kf7", "Qxb7",
        "Qd3", "Qxb8", "Qh7", "Qxc8", "Kg6", "Qe6",
    ];
    game.plays(&stalemate).await;
    for player in [&mut game.white, &mut game.black] {
        player.sees_end("1/2-1/2", "stalemate").await;
    }
    scene.ends().await;
}
