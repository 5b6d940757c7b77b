//! Who is there: players, and how many watch.

use crate::scenarios;
use serde_json::Value;
use tests::{
    cluster::{Over, until},
    http,
    player::{BLITZ, Player, UNTIMED},
    scene::Scene,
};

scenarios![
    players_see_each_other_come_and_go,
    a_player_with_two_tabs_is_there_until_the_last_is_closed,
    viewers_are_counted_on_all_nodes,
    viewers_are_told_at_most_once_a_second,
    a_killed_node_leaves_no_ghosts,
];

/// Waits until that side is said to be there, or not to be.
async fn sees_presence(player: &mut Player, color: &str, online: bool) -> Value {
    loop {
        let presence = player.sees("presence").await;
        let payload = &presence["payload"];
        if payload["color"] == color && payload["online"] == online {
            return presence;
        }
    }
}

/// Waits until so many are said to watch.
async fn sees_viewers(player: &mut Player, count: u64) {
    while player.sees("viewers").await["payload"]["count"] != count {}
}

async fn players_see_each_other_come_and_go(over: Over) {
    let scene = Scene::start(over, 3).await;
    let mut game = scene.game(BLITZ, 0, 1).await;
    let mut carol = scene.player("Carol", 2).await;
    carol.watches(&game.id).await;
    game.plays(&["e4", "e5"]).await;
    until("both are there", async || {
        let shown = http::get(scene.door(2), &format!("/api/games/{}", game.id))
            .await
            .json();
        shown["presence"] == serde_json::json!({"white": true, "black": true})
    })
    .await;
    game.black.hangs_up().await;
    for player in [&mut carol, &mut game.white] {
        let gone = sees_presence(player, "black", false).await;
        assert!(gone["payload"]["claimableAt"].is_i64());
    }
    let mut dave = scene.player("Dave", 2).await;
    until("snapshots say so", async || {
        let presence = dave.watches(&game.id).await["presence"].clone();
        presence == serde_json::json!({"white": true, "black": false})
    })
    .await;
    game.black.goes_on_at(scene.door(2)).await;
    for player in [&mut carol, &mut game.white] {
        sees_presence(player, "black", true).await;
    }
    // Leaving the room is leaving, too.
    game.black.does("leave_room").await;
    sees_presence(&mut game.white, "black", false).await;
    scene.ends().await;
}

async fn a_player_with_two_tabs_is_there_until_the_last_is_closed(over: Over) {
    let scene = Scene::start(over, 3).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    let mut tab = game.black.opens_tab("Black's tab", scene.door(2)).await;
    tab.watches(&game.id).await;
    let both = async |expected: bool| {
        until("presence is so", async || {
            let shown = http::get(scene.door(0), &format!("/api/games/{}", game.id))
                .await
                .json();
            shown["presence"]["black"] == expected
        })
        .await;
    };
    both(true).await;
    // A node tells of this viewer together with the tab, or later; and so of the next one with the going of the first.
    let mut with_tab = scene.player("Viewer beside the tab", 2).await;
    with_tab.watches(&game.id).await;
    sees_viewers(&mut game.white, 1).await;
    while game
        .white
        .has_heard(|message| message["type"] == "presence")
        .is_some()
    {}
    game.black.hangs_up().await;
    let mut viewer = scene.player("Viewer", 1).await;
    viewer.watches(&game.id).await;
    sees_viewers(&mut game.white, 2).await;
    let gone =
        |message: &Value| message["type"] == "presence" && message["payload"]["online"] == false;
    assert!(game.white.has_heard(gone).is_none());
    tab.hangs_up().await;
    sees_presence(&mut game.white, "black", false).await;
    scene.ends().await;
}

async fn viewers_are_counted_on_all_nodes(over: Over) {
    let scene = Scene::start(over, 3).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    let mut watching = Vec::new();
    for number in 0..6 {
        let mut viewer = scene.player(&format!("Viewer {number}"), number % 3).await;
        viewer.watches(&game.id).await;
        watching.push(viewer);
    }
    sees_viewers(&mut game.white, 6).await;
    sees_viewers(&mut game.black, 6).await;
    watching[0].does("leave_room").await;
    watching[1].hangs_up().await;
    sees_viewers(&mut game.white, 4).await;
    sees_viewers(&mut game.black, 4).await;
    let mut late = scene.player("Late", 0).await;
    late.watches(&game.id).await;
    sees_viewers(&mut late, 5).await;
    for mut viewer in watching.drain(2..) {
        viewer.hangs_up().await;
    }
    late.hangs_up().await;
    sees_viewers(&mut game.white, 0).await;
    scene.ends().await;
}

async fn viewers_are_told_at_most_once_a_second(over: Over) {
    let scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    let begun = std::time::Instant::now();
    let mut watching = Vec::new();
    for number in 0..20 {
        let mut viewer = scene.player(&format!("Viewer {number}"), number % 2).await;
        viewer.watches(&game.id).await;
        watching.push(viewer);
    }
    sees_viewers(&mut game.white, 20).await;
    let mut told = 1;
    while game
        .black
        .has_heard(|message| message["type"] == "viewers")
        .is_some()
    {
        told += 1;
    }
    let seconds = begun.elapsed().as_secs();
    assert!(told <= seconds + 2, "{told} times in {seconds} s");
    scene.ends().await;
}

async fn a_killed_node_leaves_no_ghosts(over: Over) {
    let mut scene = Scene::start(over, 2).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    let mut viewer = scene.player("Viewer", 1).await;
    viewer.watches(&game.id).await;
    sees_viewers(&mut game.white, 1).await;
    scene.cluster.kill(1);
    // Their leases run out after 25 s.
    sees_presence(&mut game.white, "black", false).await;
    sees_viewers(&mut game.white, 0).await;
    scene.ends().await;
}
