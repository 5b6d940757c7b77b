//! Seeks: who is paired with whom, and who never is.

use crate::scenarios;
use serde_json::json;
use tests::{
    cluster::Over,
    player::{BLITZ, Player, TEN_MINUTES, UNTIMED},
    scene::Scene,
};

scenarios![
    seekers_on_two_nodes_are_paired,
    the_longest_waiting_is_paired_first,
    pools_are_apart,
    two_tabs_of_one_user_are_never_paired,
    a_seek_can_be_repeated_and_changed,
    a_cancelled_seek_is_never_paired,
    a_seeker_who_went_is_never_paired,
    a_seeker_whose_node_was_killed_is_never_paired,
    requests_of_one_connection_are_answered_in_order,
    a_seek_taken_back_in_the_middle_of_a_pairing,
    many_seekers_are_all_paired_and_nobody_twice,
    both_paired_on_one_node_when_the_other_dies,
];

/// Plays a move to show that both are really there.
async fn play_a_move(one: &mut Player, one_color: &str, other: &mut Player) {
    let (white, black) = if one_color == "white" {
        (one, other)
    } else {
        (other, one)
    };
    white.plays("e2e4").await;
    black.sees_move("e4").await;
}

async fn seekers_on_two_nodes_are_paired(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut alice = scene.player("Alice", 0).await;
    let mut bob = scene.player("Bob", 1).await;
    alice.seeks(BLITZ).await;
    bob.seeks(BLITZ).await;
    let (color, other) = (alice.starts().await, bob.starts().await);
    assert_ne!(color, other);
    assert_eq!(alice.game, bob.game);
    play_a_move(&mut alice, &color, &mut bob).await;
    scene.ends().await;
}

async fn the_longest_waiting_is_paired_first(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut first = scene.player("First", 0).await;
    let mut second = scene.player("Second", 1).await;
    let mut tab = first.opens_tab("First's tab", scene.door(1)).await;
    // A seek of his own does not get in the first one's way; whoever comes third gets the first.
    first.seeks(BLITZ).await;
    tab.seeks(BLITZ).await;
    second.seeks(BLITZ).await;
    first.starts().await;
    second.starts().await;
    assert_eq!(first.game, second.game);
    tab.pings().await;
    tab.has_not_heard("init_game");
    scene.ends().await;
}

async fn pools_are_apart(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut alice = scene.player("Alice", 0).await;
    let mut bob = scene.player("Bob", 1).await;
    let mut carol = scene.player("Carol", 1).await;
    let mut dave = scene.player("Dave", 0).await;
    alice.seeks(BLITZ).await;
    bob.seeks(UNTIMED).await;
    carol.seeks(UNTIMED).await;
    bob.starts().await;
    carol.starts().await;
    assert_eq!(bob.game, carol.game);
    assert!(bob.view().board.clock().is_none());
    // Left out is ten minutes.
    let answer = dave.asks("init_game", json!({})).await;
    let ten_minutes: serde_json::Value = serde_json::from_str(TEN_MINUTES).unwrap();
    assert_eq!(answer["payload"]["timeControl"], ten_minutes);
    alice.pings().await;
    alice.has_not_heard("init_game");
    alice.seeks(TEN_MINUTES).await;
    alice.starts().await;
    dave.starts().await;
    assert_eq!(alice.game, dave.game);
    scene.ends().await;
}

async fn two_tabs_of_one_user_are_never_paired(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut alice = scene.player("Alice", 0).await;
    let mut tab = alice.opens_tab("Alice's tab", scene.door(1)).await;
    alice.seeks(BLITZ).await;
    tab.seeks(BLITZ).await;
    let mut bob = scene.player("Bob", 1).await;
    let mut carol = scene.player("Carol", 0).await;
    bob.seeks(BLITZ).await;
    bob.starts().await;
    carol.seeks(BLITZ).await;
    carol.starts().await;
    alice.starts().await;
    tab.starts().await;
    assert_ne!(alice.game, tab.game);
    assert_ne!(bob.game, carol.game);
    scene.ends().await;
}

async fn a_seek_can_be_repeated_and_changed(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut alice = scene.player("Alice", 0).await;
    let mut bob = scene.player("Bob", 1).await;
    alice.seeks(UNTIMED).await;
    alice.seeks(UNTIMED).await;
    alice.seeks(BLITZ).await;
    alice.seeks(BLITZ).await;
    // She is out of the first pool, and in the second once.
    bob.seeks(UNTIMED).await;
    bob.pings().await;
    bob.has_not_heard("init_game");
    bob.seeks(BLITZ).await;
    bob.starts().await;
    alice.starts().await;
    let mut carol = scene.player("Carol", 0).await;
    carol.seeks(BLITZ).await;
    let mut dave = scene.player("Dave", 1).await;
    dave.seeks(BLITZ).await;
    carol.starts().await;
    dave.starts().await;
    assert_eq!(carol.game, dave.game);
    scene.ends().await;
}

async fn a_cancelled_seek_is_never_paired(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut alice = scene.player("Alice", 0).await;
    alice.asks("cancel_seek", json!({})).await;
    for node in [0, 1] {
        alice.seeks(BLITZ).await;
        let answer = alice.asks("cancel_seek", json!({})).await;
        assert_eq!(answer["type"], "ack");
        let mut bob = scene.player("Bob", node).await;
        let mut carol = scene.player("Carol", 1 - node).await;
        bob.seeks(BLITZ).await;
        carol.seeks(BLITZ).await;
        bob.starts().await;
        carol.starts().await;
        assert_eq!(bob.game, carol.game);
        alice.pings().await;
        alice.has_not_heard("init_game");
    }
    scene.ends().await;
}

async fn a_seeker_who_went_is_never_paired(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut ghost = scene.player("Ghost", 0).await;
    ghost.seeks(BLITZ).await;
    ghost.hangs_up().await;
    let mut polite = scene.player("Polite", 1).await;
    polite.seeks(BLITZ).await;
    // Whether the pool knows already that the first is gone or not: he gets nothing.
    let mut bob = scene.player("Bob", 1).await;
    bob.seeks(BLITZ).await;
    bob.starts().await;
    polite.starts().await;
    assert_eq!(bob.game, polite.game);
    ghost.reconnects_to(scene.door(1)).await;
    assert_eq!(ghost.welcome["activeGames"], json!([]));
    scene.ends().await;
}

async fn a_seeker_whose_node_was_killed_is_never_paired(over: Over) {
    let mut scene = Scene::start(over, 2).await;
    let mut ghost = scene.player("Ghost", 0).await;
    ghost.seeks(BLITZ).await;
    scene.cluster.kill(0);
    let mut alice = scene.player("Alice", 1).await;
    let mut bob = scene.player("Bob", 1).await;
    // Offered to a dead node first; that lapses, and she waits on.
    alice.seeks(BLITZ).await;
    bob.seeks(BLITZ).await;
    alice.starts().await;
    bob.starts().await;
    assert_eq!(alice.game, bob.game);
    ghost.reconnects_to(scene.door(1)).await;
    assert_eq!(ghost.welcome["activeGames"], json!([]));
    scene.ends().await;
}

async fn many_seekers_are_all_paired_and_nobody_twice(over: Over) {
    const PAIRS: usize = 20;
    let scene = Scene::start(over, 3).await;
    let mut seekers = Vec::new();
    for number in 0..2 * PAIRS {
        seekers.push(scene.player(&format!("Seeker {number}"), number % 3).await);
    }
    let seeking = seekers.iter_mut().map(|seeker| seeker.seeks(BLITZ));
    futures::future::join_all(seeking).await;
    let starting = seekers.iter_mut().map(|seeker| seeker.starts());
    futures::future::join_all(starting).await;
    let mut games: Vec<String> = seekers.iter().map(|seeker| seeker.game.clone()).collect();
    games.sort();
    games.dedup();
    assert_eq!(games.len(), PAIRS);
    for seeker in &mut seekers {
        seeker.pings().await;
        seeker.has_not_heard("init_game");
    }
    scene.ends().await;
}

async fn both_paired_on_one_node_when_the_other_dies(over: Over) {
    let mut scene = Scene::start(over, 2).await;
    let mut alice = scene.player("Alice", 0).await;
    let mut bob = scene.player("Bob", 1).await;
    alice.seeks(BLITZ).await;
    bob.seeks(BLITZ).await;
    // As soon as one has his game, the other's node dies: the game is whole.
    let color = bob.starts().await;
    scene.cluster.kill(0);
    alice.reconnects_to(scene.door(1)).await;
    assert_eq!(alice.welcome["activeGames"], json!([bob.game]));
    let game = bob.game.clone();
    alice.watches(&game).await;
    play_a_move(&mut bob, &color, &mut alice).await;
    scene.ends().await;
}

async fn requests_of_one_connection_are_answered_in_order(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut alice = scene.player("Alice", 0).await;
    for _ in 0..5 {
        // Nobody waits for an answer; what was said last counts.
        let mut last = 0;
        for kind in ["init_game", "cancel_seek", "init_game", "cancel_seek"] {
            let payload = json!({"timeControl": {"initialMs": 180_000, "incrementMs": 2_000}});
            last = alice.sends(kind, payload).await;
        }
        assert_eq!(alice.answer_to(last).await["type"], "ack");
        let mut bob = scene.player("Bob", 1).await;
        bob.seeks(BLITZ).await;
        let mut carol = scene.player("Carol", 1).await;
        carol.seeks(BLITZ).await;
        bob.starts().await;
        carol.starts().await;
        assert_eq!(bob.game, carol.game);
        alice.pings().await;
        alice.has_not_heard("init_game");
    }
    scene.ends().await;
}

/// Either the seek is taken back and nothing starts, or the game had started and both have it: never half a game.
async fn a_seek_taken_back_in_the_middle_of_a_pairing(over: Over) {
    let scene = Scene::start(over, 2).await;
    for _ in 0..6 {
        let mut bob = scene.player("Bob", 1).await;
        bob.seeks(BLITZ).await;
        let mut alice = scene.player("Alice", 0).await;
        let seek = json!({"timeControl": {"initialMs": 180_000, "incrementMs": 2_000}});
        alice.sends("init_game", seek).await;
        let cancel = alice.sends("cancel_seek", json!({})).await;
        assert_eq!(alice.answer_to(cancel).await["type"], "ack");
        let mut carol = scene.player("Carol", 0).await;
        carol.seeks(BLITZ).await;
        bob.starts().await;
        if alice
            .has_heard(|message| message["type"] == "init_game")
            .is_none()
        {
            carol.starts().await;
            assert_eq!(bob.game, carol.game);
            alice.reconnects_to(scene.door(1)).await;
            assert_eq!(alice.welcome["activeGames"], json!([]));
        } else {
            carol.asks("cancel_seek", json!({})).await;
        }
    }
    scene.ends().await;
}
