//! Two people on two gateways play, others watch on a third.

use crate::scenarios;
use tests::{cluster::Over, player::BLITZ, scene::Scene};

scenarios![a_whole_game_with_a_spectator_on_a_third_node];

async fn a_whole_game_with_a_spectator_on_a_third_node(over: Over) {
    let scene = Scene::start(over, 3).await;
    let mut alice = scene.player("Alice", 0).await;
    let mut bob = scene.player("Bob", 1).await;
    alice.seeks(BLITZ).await;
    bob.seeks(BLITZ).await;
    let color = alice.starts().await;
    bob.starts().await;
    assert_eq!(alice.game, bob.game);
    let (mut white, mut black) = if color == "white" {
        (alice, bob)
    } else {
        (bob, alice)
    };
    let mut carol = scene.player("Carol", 2).await;
    carol.watches(&white.game).await;
    for (move_white, move_black) in [("e2e4", "e7e5"), ("Bc4", "Nc6"), ("Qh5", "Nf6")] {
        white.plays(move_white).await;
        black.hears("move").await;
        black.plays(move_black).await;
        white
            .sees_until("the answer", |view| {
                (view.board.plies() % 2 == 0).then_some(())
            })
            .await;
    }
    white.plays("Qxf7#").await;
    for player in [&mut white, &mut black, &mut carol] {
        player.sees_end("1-0", "checkmate").await;
    }
    black.may_not_play("Ke7", "game_over").await;
    scene.ends().await;
}
