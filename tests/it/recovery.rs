//! Running games that nobody but the archive knows any more come back from it; and what is held until it is archived is let go
//! then, and has a bound.

use archive::{Archiver, Filter, Options, Store};
use redis::cmd;
use serde_json::{Value, json};
use std::time::Duration;
use tests::{
    cluster::{Over, until},
    http,
    player::{BLITZ, UNTIMED},
    scene::{Game, Scene},
    servers::{Data, PostgresServer},
};
use tokio_util::sync::CancellationToken;

/// A cluster over Redis with an archive in one file.
struct Archived {
    scene: Scene,
    store: Store,
    _dir: tempfile::TempDir,
}

impl Archived {
    async fn start(nodes: usize, flags: &[&str]) -> Archived {
        let dir = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", dir.path().join("games.db").display());
        let flags = [&["--database-url", &url], flags].concat();
        let scene = Scene::with(Over::Redis, nodes, &flags).await;
        let store = Store::open(&url).await.unwrap();
        Archived {
            scene,
            store,
            _dir: dir,
        }
    }

    /// Waits until that many events of a game are archived.
    async fn has(&self, game: &str, events: usize) {
        has(&self.store, game, events).await;
    }

    /// All gateways die, Redis loses all it had, and other gateways come.
    async fn loses_everything_but_the_archive(&mut self) {
        let nodes = self.scene.cluster.living().count();
        for node in 0..nodes {
            self.scene.cluster.kill(node);
        }
        self.scene.cluster.redis().restart(Data::Lost).await;
        for node in 0..nodes {
            self.scene.cluster.replace(node).await;
        }
    }

    /// The archive has the game's log, event by event, and once.
    async fn has_the_log_of(&self, node: usize, game: &str) {
        let (epoch, log) = self.scene.log(node, game).await;
        self.has(game, log.len()).await;
        let stored = self.store.log(game).await.unwrap().unwrap();
        assert_eq!(stored.epoch.as_str(), epoch);
        assert_eq!(lines(&stored.events), log);
        assert!(stored.is_over);
        let filter = Filter {
            unlisted: true,
            limit: 100,
            ..Filter::default()
        };
        let listed = self.store.games(&filter).await.unwrap();
        let rows = listed.iter().filter(|row| row.id == game);
        let plies: Vec<i64> = rows.map(|row| row.plies).collect();
        assert_eq!(plies, [i64::try_from(moves(&log).len()).unwrap()]);
    }
}

fn lines(events: &[bytes::Bytes]) -> Vec<String> {
    let text = |event: &bytes::Bytes| String::from_utf8(event.to_vec()).unwrap();
    events.iter().map(text).collect()
}

async fn has(store: &Store, game: &str, events: usize) {
    until("so much is archived", async || {
        let log = store.log(game).await.unwrap();
        log.is_some_and(|log| log.events.len() >= events)
    })
    .await;
}

/// The moves in a log.
fn moves(log: &[String]) -> Vec<String> {
    let events = log.iter().filter_map(|line| {
        let event: Value = serde_json::from_str(line).unwrap();
        (event["type"] == "move").then(|| event["payload"]["move"]["san"].clone())
    });
    events.map(|san| san.as_str().unwrap().to_owned()).collect()
}

const OPENING: [&str; 4] = ["e4", "e5", "Nf3", "Nc6"];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_game_goes_on_after_all_but_the_archive_is_lost() {
    let mut all = Archived::start(2, &[]).await;
    let mut game = all.scene.game(BLITZ, 0, 1).await;
    let mut by_http = all.scene.game(UNTIMED, 0, 1).await;
    let mut by_move = all.scene.game(UNTIMED, 1, 0).await;
    for game in [&mut game, &mut by_http, &mut by_move] {
        game.plays(&OPENING).await;
    }
    let ids = [&game, &by_http, &by_move].map(|game| game.id.clone());
    let before = all.scene.log(0, &game.id).await;
    for id in &ids {
        all.has(id, 5).await;
    }
    all.loses_everything_but_the_archive().await;
    // Whoever asks first, in whatever way, and both at once.
    let doors = [all.scene.door(0), all.scene.door(1)];
    let (white, black) = (&mut game.white, &mut game.black);
    tokio::join!(white.goes_on_at(doors[0]), black.goes_on_at(doors[1]));
    let (epoch, log) = all.scene.log(1, &by_http.id).await;
    assert_eq!(moves(&log), OPENING, "{epoch}");
    by_move.white.reconnects_to(doors[1]).await;
    by_move.plays(&["Bb5"]).await;
    for person in [&game.white, &game.black] {
        assert_eq!(person.view().board.plies(), 4);
    }
    // All of it stands there, in a new life, and what was lost of the turn was given back before anything else.
    let after = all.scene.log(1, &game.id).await;
    assert_eq!(after.1[..5], before.1[..]);
    assert_ne!(after.0, before.0);
    assert!(after.1[5].contains("clock_credited"), "{}", after.1[5]);
    assert_eq!(after.1.len(), 6);
    game.plays(&["Bb5", "a6"]).await;
    game.white.resigns().await;
    game.black.sees_end("0-1", "resignation").await;
    // The list of a user's games is back as well.
    for (person, games) in [
        (&game.white, json!([])),
        (&game.black, json!([])),
        (&by_move.white, json!([by_move.id])),
    ] {
        until("the list is right", async || {
            let tab = person.opens_tab("tab", doors[0]).await;
            tab.welcome["activeGames"] == games
        })
        .await;
    }
    all.has_the_log_of(0, &game.id).await;
    all.scene.ends().await;
}

/// Nobody comes back to it: its flag falls, and not before the side to move has had the time that it had.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flag_falls_in_a_game_that_nobody_comes_back_to() {
    let mut all = Archived::start(3, &[]).await;
    let clock = r#"{"initialMs":4000,"incrementMs":0}"#;
    let mut game = all.scene.game(clock, 0, 1).await;
    game.plays(&["e4", "e5"]).await;
    for person in [&mut game.white, &mut game.black] {
        person.hangs_up().await;
    }
    all.has(&game.id, 3).await;
    all.loses_everything_but_the_archive().await;
    until("the flag fell", async || {
        let log = all.store.log(&game.id).await.unwrap().unwrap();
        log.is_over
    })
    .await;
    all.has_the_log_of(2, &game.id).await;
    let (_, log) = all.scene.log(0, &game.id).await;
    let events: Vec<Value> = log
        .iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events.len(), 5, "{events:#?}");
    assert_eq!(events[3]["type"], "clock_credited");
    assert_eq!(events[3]["payload"]["clock"]["whiteMs"], 4_000);
    assert_eq!(events[4]["payload"]["reason"], "timeout");
    let at = |event: &Value| event["at"].as_i64().unwrap();
    assert!(at(&events[4]) - at(&events[3]) >= 4_000, "{events:#?}");
    all.scene.ends().await;
}

/// As far as it goes: an archiver that stops here, and an archive that holds less than people saw.
struct Lagging {
    all: Archived,
    game: Game,
}

impl Lagging {
    /// A game of which the archive has all but the last half moves.
    async fn start(rest: &[&str]) -> Lagging {
        let all = Archived::start(2, &["--no-archive"]).await;
        let backplane = all.scene.cluster.backplane().await;
        let stop = CancellationToken::new();
        let options = Options {
            consumer: "test".to_owned(),
            claim_after: Duration::from_secs(1),
            finished_ttl: Duration::from_secs(3600),
            keep: None,
        };
        let archiver = Archiver::new(backplane, all.store.clone(), options, stop.clone());
        let archiving = tokio::spawn(archiver.run());
        let mut game = all.scene.game(UNTIMED, 0, 0).await;
        game.plays(&OPENING).await;
        all.has(&game.id, 5).await;
        stop.cancel();
        archiving.await.unwrap();
        game.plays(rest).await;
        let plies = OPENING.len() + rest.len();
        for person in [&mut game.white, &mut game.black] {
            let what = "all moves";
            person
                .sees_until(what, |view| (view.board.plies() == plies).then_some(()))
                .await;
        }
        Lagging { all, game }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_holds_more_than_the_archive_goes_first() {
    let Lagging { all, mut game } = Lagging::start(&["Bb5", "a6"]).await;
    let before = all.scene.log(0, &game.id).await;
    // No upheaval tells of this, and the second node knows nothing of the game.
    let () = all.scene.cluster.redis().ask(&cmd("FLUSHALL")).await;
    let mut carol = all.scene.player("Carol", 1).await;
    carol.watches(&game.id).await;
    assert_eq!(carol.view().board.plies(), 6);
    assert_eq!(all.scene.log(1, &game.id).await, before, "the same life");
    game.plays(&["Ba4"]).await;
    all.scene.ends().await;
}

/// What nobody has any more is lost; but nobody is left with it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_saw_more_than_the_archive_had_gets_a_snapshot() {
    let Lagging { mut all, mut game } = Lagging::start(&["Bb5"]).await;
    // It was acknowledged, and cannot be kept.
    all.scene.witness.forgives(&game.id);
    all.loses_everything_but_the_archive().await;
    let door = all.scene.door(1);
    game.white.goes_on_at(door).await;
    assert_eq!(game.white.view().board.plies(), 4);
    game.white.plays("Bc4").await;
    // His position is one that this log has, but not the one that he saw.
    game.black.reconnects_to(door).await;
    assert_eq!(game.black.rejoins().await["type"], "game_joined");
    assert_eq!(game.black.view().board.fen(), game.white.view().board.fen());
    game.black.plays("Bc5").await;
    all.scene.ends().await;
}

/// An old game whose rematch is being played makes no second rematch in its place.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rematch_that_was_lost_is_not_begun_again() {
    let mut all = Archived::start(1, &[]).await;
    let mut game = all.scene.game(UNTIMED, 0, 0).await;
    game.plays(&["e4", "e5"]).await;
    game.white.resigns().await;
    game.white.does("offer_rematch").await;
    game.black.does("accept_rematch").await;
    let rematch = game.white.sees("rematch").await;
    let next = rematch["payload"]["newGameId"].as_str().unwrap().to_owned();
    for person in [&mut game.white, &mut game.black] {
        person.starts().await;
    }
    for mv in OPENING {
        // Colours changed.
        std::mem::swap(&mut game.white, &mut game.black);
        game.white.plays(mv).await;
    }
    all.has(&next, 5).await;
    // So long after it no node has just not made it yet.
    let backplane = all.scene.cluster.backplane().await;
    until("it is a while ago", async || {
        backplane.now() - rematch["at"].as_i64().unwrap() > 6_000
    })
    .await;
    drop(backplane);
    all.loses_everything_but_the_archive().await;
    let mut carol = all.scene.player("Carol", 0).await;
    carol.watches(&game.id).await;
    carol.watches(&next).await;
    assert_eq!(carol.view().board.plies(), 4);
    let (epoch, log) = all.scene.log(0, &next).await;
    assert_eq!(moves(&log), OPENING, "{epoch}");
    all.scene.ends().await;
}

/// Bytes of logs that the node holds of closed rooms.
fn held(scene: &Scene) -> usize {
    scene.node(0).inside().held.bytes()
}

/// Less than what one game takes.
const HELD_MAX: usize = 500;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_too_much_waits_for_the_archive_no_game_is_begun() {
    let server = PostgresServer::start().await;
    let url = server.database();
    let scene = Scene::with(Over::Redis, 1, &["--database-url", &url]).await;
    let store = Store::open(&url).await.unwrap();
    scene.node(0).inside().held.bound(HELD_MAX);
    let mut running = scene.game(UNTIMED, 0, 0).await;
    let mut ended = scene.game(UNTIMED, 0, 0).await;
    let mut inviter = scene.player("Inviter", 0).await;
    let keyed = json!({"timeControl": null, "color": "white", "key": "mine"});
    let added = inviter.asks("create_game", keyed.clone()).await;
    let invitation = added["payload"]["gameId"].as_str().unwrap().to_owned();
    let mut guest = scene.player("Guest", 0).await;
    running.plays(&["e4"]).await;
    has(&store, &running.id, 2).await;
    server.kill();
    ended.white.resigns().await;
    ended.white.does("offer_rematch").await;
    let mut left = scene.game(UNTIMED, 0, 0).await;
    left.plays(&OPENING).await;
    left.black.resigns().await;
    for person in [&mut left.white, &mut left.black] {
        person.requests("leave_room").await;
    }
    until("the room is closed", async || held(&scene) > HELD_MAX).await;
    let seek = json!({"name": "Guest"});
    let refusal = guest.is_refused("unavailable", "init_game", seek).await;
    let message = refusal["message"].as_str().unwrap();
    assert!(message.contains("archive"), "{message}");
    let create = json!({"timeControl": null, "color": "white"});
    guest.is_refused("unavailable", "create_game", create).await;
    // Who asks once more for what he was granted is answered as before.
    let again = inviter.asks("create_game", keyed).await;
    assert_eq!(again["payload"], added["payload"]);
    let join = json!({"gameId": invitation});
    guest.is_refused("unavailable", "join_game", join).await;
    ended.black.may_not("accept_rematch", "unavailable").await;
    // What runs goes on.
    running.plays(&["e5", "Nf3"]).await;
    let told = http::get(scene.node(0).admin, "/metrics").await.text();
    let counted = told
        .lines()
        .find_map(|line| line.strip_prefix(r#"rookery_limited_total{limit="archive_behind"} "#));
    assert!(counted.is_some_and(|count| count != "0"), "{counted:?}");
    server.restart().await;
    // Long before any time is up, because it is archived.
    until("nothing waits any more", async || held(&scene) == 0).await;
    assert_eq!(guest.accepts(&invitation).await, "black");
    inviter.starts().await;
    ended.black.does("accept_rematch").await;
    scene.ends().await;
}
