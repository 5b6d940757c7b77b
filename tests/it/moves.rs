//! Moves in every form, and what is said to those that cannot be made.

use crate::scenarios;
use serde_json::{Value, json};
use tests::{
    cluster::Over,
    player::{BLITZ, UNTIMED},
    scene::Scene,
};

scenarios![
    moves_come_in_three_forms,
    a_promotion_is_named_and_ignored_on_other_moves,
    the_game_may_be_left_out_with_exactly_one,
    out_of_turn_out_of_the_rules_and_not_ones_own,
    a_ply_says_which_move_is_meant,
    an_ack_says_where_the_move_stands,
    special_moves_are_seen_by_all,
];

async fn moves_come_in_three_forms(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    let forms: [(Value, &str); 6] = [
        (json!({"from": "e2", "to": "e4"}), "e4"),
        (json!("e7e5"), "e5"),
        (json!("Nf3"), "Nf3"),
        (json!({"from": "b8", "to": "c6", "promotion": null}), "Nc6"),
        (json!({"from": "f1", "to": "b5", "promotion": ""}), "Bb5"),
        (json!("Nf6"), "Nf6"),
    ];
    for (number, (form, san)) in forms.into_iter().enumerate() {
        let (mover, other) = if number % 2 == 0 {
            (&mut game.white, &mut game.black)
        } else {
            (&mut game.black, &mut game.white)
        };
        let answer = mover.tries(form).await;
        assert_eq!(answer["type"], "ack", "{san}: {answer}");
        mover.sees_move(san).await;
        other.sees_move(san).await;
    }
    // Castling by the king's two squares.
    let castled = game.white.tries(json!({"from": "e1", "to": "g1"})).await;
    assert_eq!(castled["type"], "ack");
    game.black.sees_move("O-O").await;
    scene.ends().await;
}

async fn a_promotion_is_named_and_ignored_on_other_moves(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    // Browsers' boards send a queen with every move.
    let with_queen = |from: &str, to: &str| json!({"from": from, "to": to, "promotion": "q"});
    assert_eq!(
        game.white.tries(with_queen("h2", "h4")).await["type"],
        "ack"
    );
    for (white, black) in [("h4", "g5"), ("hxg5", "h6"), ("gxh6", "Nf6"), ("h7", "Ng8")] {
        if white != "h4" {
            game.white.plays(white).await;
        }
        game.black.plays(black).await;
    }
    let missing = json!({"from": "h7", "to": "g8"});
    game.white.may_not_play(missing, "illegal_move").await;
    game.white
        .is_refused(
            "bad_message",
            "move",
            json!({"gameId": game.id, "move": {"from": "h7", "to": "g8", "promotion": "k"}}),
        )
        .await;
    let knight = json!({"from": "h7", "to": "g8", "promotion": "n"});
    assert_eq!(game.white.tries(knight).await["type"], "ack");
    game.black
        .sees_until("the knight", |view| {
            (view.board.sans().last()? == "hxg8=N").then_some(())
        })
        .await;
    scene.ends().await;
}

async fn the_game_may_be_left_out_with_exactly_one(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    let bare = json!({"move": "e4"});
    let mut carol = scene.player("Carol", 1).await;
    carol.is_refused("bad_message", "move", bare.clone()).await;
    let answer = game.white.asks("move", bare.clone()).await;
    assert_eq!(answer["type"], "ack");
    assert_eq!(answer["payload"]["gameId"], game.id.as_str());
    // On a new connection too, without joining anything.
    game.black.reconnects_to(scene.door(0)).await;
    assert_eq!(
        game.black.asks("move", json!({"move": "e5"})).await["type"],
        "ack"
    );
    // With two it must be said, and after one is over again not.
    let first = game.white.game.clone();
    let second = scene.seats(&mut game.white, &mut carol, UNTIMED).await;
    game.white
        .is_refused("bad_message", "move", json!({"move": "d4"}))
        .await;
    game.white.resigns().await;
    game.white.sees_end("0-1", "resignation").await;
    let answer = game.white.asks("move", json!({"move": "d4"})).await;
    assert_eq!(answer["payload"]["gameId"], first.as_str(), "not {second}");
    scene.ends().await;
}

async fn out_of_turn_out_of_the_rules_and_not_ones_own(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(BLITZ, 0, 1).await;
    let mut carol = scene.player("Carol", 1).await;
    carol.watches(&game.id).await;
    game.black.may_not_play("e7e5", "not_your_turn").await;
    carol.may_not_play("e2e4", "not_a_player").await;
    let mut dave = scene.player("Dave", 0).await;
    dave.game = game.id.clone();
    dave.may_not_play("e2e4", "not_a_player").await;
    for kind in [
        "resign",
        "abort",
        "offer_draw",
        "claim_victory",
        "claim_draw",
    ] {
        carol.may_not(kind, "not_a_player").await;
        dave.may_not(kind, "not_a_player").await;
    }
    for mv in [
        "e2e5", "Ke2", "O-O", "e4e5", "exd5", "a9", "", "Zz", "e7e8q", "0000",
    ] {
        game.white.may_not_play(mv, "illegal_move").await;
    }
    game.white
        .may_not_play(json!({"from": "e1", "to": "e1"}), "illegal_move")
        .await;
    game.white.plays("e4").await;
    game.white.may_not_play("d4", "not_your_turn").await;
    game.black.may_not_play("e2e4", "illegal_move").await;
    let nowhere = json!({"gameId": "nosuchgame", "move": "e4"});
    game.white
        .is_refused("game_not_found", "move", nowhere)
        .await;
    // Another's request never touched the game.
    let (_, log) = scene.log(0, &game.id).await;
    assert_eq!(log.len(), 2);
    scene.ends().await;
}

async fn a_ply_says_which_move_is_meant(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    let code = |answer: &Value| answer["payload"]["code"].clone();
    assert_eq!(
        code(&game.white.tries_ply("e4", 3, None).await),
        "stale_ply"
    );
    assert_eq!(
        code(&game.white.tries_ply("e4", 0, None).await),
        "stale_ply"
    );
    assert_eq!(
        code(&game.white.tries_ply("e4", 2, None).await),
        "stale_ply"
    );
    assert_eq!(
        code(&game.black.tries_ply("e5", 2, None).await),
        "not_your_turn"
    );
    let huge = u64::from(u32::MAX);
    assert_ne!(game.white.tries_ply("e4", huge, None).await["type"], "ack");
    let first = game.white.tries_ply("e4", 1, None).await;
    assert_eq!(first["payload"]["ply"], 1);
    // The same again is the same answer; another move there is not.
    let again = game.white.tries_ply("e2e4", 1, None).await;
    assert_eq!(again["payload"], first["payload"]);
    assert_eq!(
        code(&game.white.tries_ply("d4", 1, None).await),
        "stale_ply"
    );
    game.black.tries_ply("e5", 2, Some(1)).await;
    game.white.tries_ply("Nf3", 3, Some(2)).await;
    let late = game.white.tries_ply("e4", 1, None).await;
    assert_eq!(late["payload"], first["payload"]);
    assert_eq!(
        code(&game.black.tries_ply("e4", 1, None).await),
        "not_your_turn"
    );
    scene.ends().await;
}

async fn an_ack_says_where_the_move_stands(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    let ack = game.white.plays("e4").await;
    let expected = json!({
        "gameId": game.id, "epoch": game.white.view().epoch, "seq": 1, "ply": 1
    });
    assert_eq!(ack, expected);
    game.black.does("offer_draw").await;
    let ack = game.black.plays("e5").await;
    assert_eq!((&ack["seq"], &ack["ply"]), (&json!(3), &json!(2)));
    scene.ends().await;
}

async fn special_moves_are_seen_by_all(over: Over) {
    let scene = Scene::start(over, 3).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    let mut carol = scene.player("Carol", 2).await;
    carol.watches(&game.id).await;
    // En passant and castling, on both sides each.
    let moves = [
        "e4", "a6", "e5", "d5", "exd6", "Nc6", "Nf3", "Bf5", "Be2", "Qxd6", "O-O", "O-O-O", "h3",
        "h5", "a3", "h4", "g4", "hxg3",
    ];
    for mv in moves {
        game.plays(&[mv]).await;
        carol.sees_move(mv).await;
    }
    scene.ends().await;
}
