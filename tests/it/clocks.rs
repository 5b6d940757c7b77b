//! Time: flags, first moves, absence. What takes seconds is waited for; what takes minutes or days is played with the test's own
//! clock, which leaps.

use crate::scenarios;
use serde_json::json;
use std::time::Duration;
use tests::{
    cluster::Over,
    http,
    player::{BLITZ, BULLET, Player, UNTIMED},
    scene::{Game, Scene},
};

scenarios![
    a_flag_falls_on_time,
    a_flag_falls_when_both_players_and_their_node_are_gone,
    a_move_after_the_flag_is_too_late,
];
scenarios![only Time as time:
    a_clock_runs_for_the_side_to_move,
    a_first_move_that_never_comes_aborts_the_game,
    an_untimed_game_waits_for_days_but_not_for_ever,
    a_win_is_claimed_after_a_minute_of_absence,
    who_comes_back_in_time_is_absent_anew,
    an_invitation_lapses_after_a_day,
    a_seeker_who_waits_long_is_still_paired,
    a_rematch_is_offered_for_ten_minutes,
    a_silent_client_is_closed_with_4010,
    a_quiet_connection_that_answers_pings_stays,
];

/// Lets that time pass, in steps; after each there is a moment for all that is due.
async fn pass(total: Duration, step: Duration) {
    let mut left = total;
    while !left.is_zero() {
        let step = step.min(left);
        tokio::time::pause();
        tokio::time::advance(step).await;
        tokio::time::resume();
        left -= step;
        // Sockets and tasks need real time for what the step made due.
        tokio::time::sleep(Duration::from_millis(4)).await;
    }
}

async fn pass_seconds(seconds: u64) {
    pass(Duration::from_secs(seconds), Duration::from_secs(1)).await;
}

async fn pass_hours(hours: u64) {
    pass(Duration::from_secs(hours * 3600), Duration::from_secs(3600)).await;
}

async fn a_flag_falls_on_time(over: Over) {
    let scene = Scene::start(over, 3).await;
    let mut game = scene.game(BULLET, 0, 1).await;
    let mut carol = scene.player("Carol", 2).await;
    carol.watches(&game.id).await;
    game.plays(&["e4", "e5"]).await;
    let begun = carol.sees("move").await["at"].as_i64().unwrap();
    let begun = begun.max(carol.sees("move").await["at"].as_i64().unwrap());
    for player in [&mut carol, &mut game.white, &mut game.black] {
        let end = player.sees_end("0-1", "timeout").await;
        let late = end["at"].as_i64().unwrap() - (begun + 1_000);
        assert!((0..30_000).contains(&late), "{late} ms after the flag");
    }
    scene.ends().await;
}

async fn a_flag_falls_when_both_players_and_their_node_are_gone(over: Over) {
    let mut scene = Scene::start(over, 2).await;
    let mut game = scene.game(BULLET, 0, 0).await;
    game.plays(&["e4", "e5"]).await;
    game.white.hangs_up().await;
    game.black.hangs_up().await;
    scene.cluster.kill(0);
    // Nobody asks for the game: the other node finds it by itself.
    tests::cluster::until("the flag falls", async || {
        let (_, log) = scene.log(1, &game.id).await;
        log.last().unwrap().contains("\"timeout\"")
    })
    .await;
    // The list of a user's running games follows the log.
    tests::cluster::until("it is none of his running games", async || {
        game.white.reconnects_to(scene.door(1)).await;
        game.white.welcome["activeGames"] == json!([])
    })
    .await;
    let snapshot = game.white.watches(&game.id).await;
    assert_eq!(snapshot["winner"], "black");
    scene.ends().await;
}

async fn a_move_after_the_flag_is_too_late(over: Over) {
    let scene = Scene::start(over, 2).await;
    // Long enough for the two moves that are made on the clock, on a machine that has other things to do.
    let control = r#"{"initialMs":5000,"incrementMs":0}"#;
    let mut game = scene.game(control, 0, 1).await;
    game.plays(&["e4", "e5", "Nf3", "Nc6"]).await;
    game.white.sees_end("0-1", "timeout").await;
    game.white.may_not_play("d4", "game_over").await;
    game.white.may_not("offer_draw", "game_over").await;
    // What was acknowledged before still is.
    let again = game.white.tries_ply("Nf3", 3, None).await;
    assert_eq!(again["type"], "ack");
    scene.ends().await;
}

async fn a_clock_runs_for_the_side_to_move(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(BLITZ, 0, 1).await;
    pass_seconds(5).await;
    game.plays(&["e4"]).await;
    pass_seconds(5).await;
    game.plays(&["e5"]).await;
    pass_seconds(10).await;
    game.plays(&["Nf3"]).await;
    pass_seconds(20).await;
    game.plays(&["Nc6"]).await;
    let clock = game
        .white
        .sees_until("all", |view| {
            (view.board.plies() == 4).then(|| view.board.clock())
        })
        .await
        .unwrap();
    // The first move of each cost nothing; the second what it took, less the increment. (Checked to the millisecond by the
    // player's own board.)
    assert!((171_000..=172_000).contains(&clock.white_ms), "{clock:?}");
    assert!((161_000..=162_000).contains(&clock.black_ms), "{clock:?}");
    pass_seconds(175).await;
    game.black.sees_end("0-1", "timeout").await;
    scene.ends().await;
}

async fn a_first_move_that_never_comes_aborts_the_game(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut idle = scene.game(BLITZ, 0, 1).await;
    let mut half = scene.game(BLITZ, 0, 1).await;
    pass_seconds(20).await;
    half.plays(&["e4"]).await;
    pass_seconds(12).await;
    for player in [&mut idle.white, &mut idle.black] {
        player.sees_end("*", "aborted").await;
    }
    pass_seconds(10).await;
    half.black.pings().await;
    half.black.has_not_heard("game_over");
    pass_seconds(10).await;
    half.white.sees_end("*", "aborted").await;
    half.black.may_not_play("e5", "game_over").await;
    scene.ends().await;
}

async fn an_untimed_game_waits_for_days_but_not_for_ever(over: Over) {
    let scene = Scene::start(over, 1).await;
    let mut idle = scene.game(UNTIMED, 0, 0).await;
    let mut game = scene.game(UNTIMED, 0, 0).await;
    pass_hours(6 * 24).await;
    game.plays(&["e4"]).await;
    idle.white.pings().await;
    idle.white.has_not_heard("game_over");
    pass_hours(25).await;
    idle.white.sees_end("*", "aborted").await;
    game.plays(&["e5"]).await;
    pass_hours(13 * 24).await;
    game.plays(&["Nf3"]).await;
    pass_hours(14 * 24 + 1).await;
    game.white.sees_end("*", "abandonment").await;
    scene.ends().await;
}

/// The backplane's clock.
async fn server_time(player: &mut Player) -> i64 {
    let pong = player.asks("ping", json!({})).await;
    pong["payload"]["serverTime"].as_i64().unwrap()
}

/// Black goes; White is told from when on he may claim the win.
async fn black_goes(game: &mut Game) {
    let at = server_time(&mut game.white).await;
    game.black.hangs_up().await;
    let due = at + 60_000..at + 65_000;
    loop {
        let payload = game.white.sees("presence").await["payload"].clone();
        if payload["claimableAt"]
            .as_i64()
            .is_some_and(|at| due.contains(&at))
        {
            assert_eq!(payload["color"], "black");
            assert_eq!(payload["online"], false);
            return;
        }
    }
}

async fn played_and_left(scene: &Scene) -> Game {
    let mut game = scene.game(BLITZ, 0, 1).await;
    game.plays(&["e4", "e5"]).await;
    let path = format!("/api/games/{}", game.id);
    tests::cluster::until("both are there", async || {
        let shown = http::get(scene.door(0), &path).await.json();
        shown["presence"] == json!({"white": true, "black": true})
    })
    .await;
    black_goes(&mut game).await;
    game
}

async fn a_win_is_claimed_after_a_minute_of_absence(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = played_and_left(&scene).await;
    pass_seconds(50).await;
    game.white.may_not("claim_victory", "too_early").await;
    pass_seconds(11).await;
    let first = game.white.does("claim_victory").await;
    game.white.sees_end("1-0", "abandonment").await;
    game.white.reconnects_to(scene.door(1)).await;
    assert_eq!(game.white.does("claim_victory").await, first);
    scene.ends().await;
}

async fn who_comes_back_in_time_is_absent_anew(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = played_and_left(&scene).await;
    pass_seconds(50).await;
    // Another tab on another node is presence too.
    game.black.goes_on_at(scene.door(0)).await;
    let back = game.white.sees("presence").await;
    assert_eq!(back["payload"]["color"], "black");
    assert_eq!(back["payload"]["online"], true);
    assert!(back["payload"].get("claimableAt").is_none());
    pass_seconds(11).await;
    game.white.may_not("claim_victory", "too_early").await;
    black_goes(&mut game).await;
    pass_seconds(50).await;
    game.white.may_not("claim_victory", "too_early").await;
    pass_seconds(11).await;
    game.white.does("claim_victory").await;
    scene.ends().await;
}

async fn an_invitation_lapses_after_a_day(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut alice = scene.player("Alice", 0).await;
    let mut bob = scene.player("Bob", 1).await;
    let game = alice.invites(BLITZ, "white").await;
    pass_hours(23).await;
    let answer = bob.asks("join_room", json!({"gameId": game})).await;
    assert_eq!(answer["type"], "invitation");
    bob.asks("leave_room", json!({"gameId": game})).await;
    pass_hours(2).await;
    for kind in ["join_room", "join_game"] {
        let answer = bob.asks(kind, json!({"gameId": game})).await;
        assert_eq!(answer["type"], "game_not_found", "{kind}: {answer}");
    }
    scene.ends().await;
}

async fn a_seeker_who_waits_long_is_still_paired(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut alice = scene.player("Alice", 0).await;
    alice.seeks(BLITZ).await;
    pass_seconds(90).await;
    let mut bob = scene.player("Bob", 1).await;
    bob.seeks(BLITZ).await;
    alice.starts().await;
    bob.starts().await;
    assert_eq!(alice.game, bob.game);
    scene.ends().await;
}

async fn a_rematch_is_offered_for_ten_minutes(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(BLITZ, 0, 1).await;
    game.white.resigns().await;
    game.white.does("offer_rematch").await;
    pass(Duration::from_secs(601), Duration::from_secs(5)).await;
    game.black.may_not("accept_rematch", "too_late").await;
    game.black.may_not("offer_rematch", "too_late").await;
    scene.ends().await;
}

async fn a_silent_client_is_closed_with_4010(over: Over) {
    let scene = Scene::start(over, 1).await;
    let mut game = scene.game(UNTIMED, 0, 0).await;
    // Who does not read does not answer pings either.
    game.black.stops_reading();
    pass_seconds(95).await;
    game.black.reads_on();
    // The code can be read unless the answers to the pings find the connection gone before.
    let closed = game.black.is_closed().await.code;
    assert!(matches!(closed, Some(4010) | None), "{closed:?}");
    game.white.plays("e4").await;
    scene.ends().await;
}

async fn a_quiet_connection_that_answers_pings_stays(over: Over) {
    let scene = Scene::start(over, 1).await;
    let mut game = scene.game(UNTIMED, 0, 0).await;
    pass_seconds(300).await;
    game.white.plays("e4").await;
    game.black.sees_move("e4").await;
    scene.ends().await;
}
