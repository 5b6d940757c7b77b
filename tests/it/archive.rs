//! Games in a database: nothing lost, nothing twice, and found again when everybody else has forgotten them.

use archive::{Archiver, Filter, Options, Store};
use bytes::Bytes;
use pubsub::{
    Append, Appended, Backplane, Embedded, Epoch, Progress, QueuePosition, Room, Seq, Take,
};
use serde_json::json;
use shared::{
    Color, GameId, Timestamp, UserId,
    game::{Action, Command, Decision, Game, GameCreated, MoveInput, Player},
    rules::Position,
};
use std::{sync::Arc, time::Duration};
use tests::{
    cluster::{Over, until},
    http,
    player::{BLITZ, Player as Person, UNTIMED},
    scene::Scene,
    servers::{Certificates, PostgresServer},
};
use tokio_util::sync::CancellationToken;

/// An in-process backplane with a queue.
fn backplane() -> Arc<dyn Backplane> {
    let options = pubsub::embedded::Options {
        queue: true,
        ..Default::default()
    };
    Arc::new(Embedded::new(options).unwrap())
}

fn player(id: &str) -> Player {
    Player {
        id: UserId::parse(id).unwrap(),
        name: format!("Name of {id}"),
        is_guest: false,
    }
}

/// One game as it is played, move by move, into the log.
struct Play {
    room: Room,
    game: Option<Game>,
    epoch: Option<Epoch>,
    log: Vec<Bytes>,
    last: Option<QueuePosition>,
}

impl Play {
    async fn begins(backplane: &dyn Backplane, id: &str, unlisted: bool) -> Play {
        let created = GameCreated {
            game_id: GameId::parse(id).unwrap(),
            white_player: player("ann"),
            black_player: player(&format!("ben-{id}")),
            time_control: None,
            fen: Position::initial().fen(),
            unlisted,
        };
        let first = Game::create(created, Timestamp(backplane.now()));
        let mut play = Play {
            room: Room::parse(id).unwrap(),
            game: Some(Game::start(&first).unwrap()),
            epoch: None,
            log: Vec::new(),
            last: None,
        };
        play.append(backplane, vec![first.encode().into()]).await;
        play
    }

    async fn append(&mut self, backplane: &dyn Backplane, events: Vec<Bytes>) {
        let append = Append {
            epoch: self.epoch.clone(),
            expected: self.log.len() as Seq,
            events: events.clone(),
            at: backplane.now(),
            deadline: None,
        };
        match backplane.append(&self.room, append).await.unwrap() {
            Appended::Appended { epoch, queued } => {
                (self.epoch, self.last) = (Some(epoch), queued);
            }
            other => panic!("{other:?}"),
        }
        self.log.extend(events);
    }

    async fn commands(&mut self, backplane: &dyn Backplane, command: Command) {
        let mut game = self.game.take().unwrap();
        let decided = game.decide(&command, Timestamp(backplane.now()));
        let Ok(Decision::Append { events, .. }) = decided else {
            panic!("{decided:?}");
        };
        for event in &events {
            game.apply(event).unwrap();
        }
        self.game = Some(game);
        let bytes = events.iter().map(|event| event.encode().into()).collect();
        self.append(backplane, bytes).await;
    }

    async fn moves(&mut self, backplane: &dyn Backplane, moves: &[&str]) {
        for mv in moves {
            let by = self.game.as_ref().unwrap().turn();
            let mv = MoveInput::Text((*mv).to_owned());
            let command = Command::Move {
                by,
                mv,
                ply: None,
                seen: None,
            };
            self.commands(backplane, command).await;
        }
    }

    async fn ends(&mut self, backplane: &dyn Backplane) {
        let command = Command::Act {
            by: Color::Black,
            action: Action::Resign,
            offer: None,
        };
        self.commands(backplane, command).await;
    }
}

const OPENING: [&str; 6] = ["e4", "e5", "Nf3", "Nc6", "Bb5", "a6"];

fn options(name: &str) -> Options {
    Options {
        consumer: name.to_owned(),
        claim_after: Duration::from_millis(200),
        finished_ttl: Duration::from_secs(3600),
        keep: None,
    }
}

/// An archiver that works until the end of the test.
fn archiver(backplane: &Arc<dyn Backplane>, store: &Store, options: Options) -> CancellationToken {
    let stop = CancellationToken::new();
    let archiver = Archiver::new(backplane.clone(), store.clone(), options, stop.clone());
    tokio::spawn(archiver.run());
    stop
}

async fn is_archived(backplane: &Arc<dyn Backplane>, position: QueuePosition) {
    until("it is archived", async || {
        let marks = backplane.watermarks().await.unwrap();
        marks.iter().any(|mark| mark.covers(&position))
    })
    .await;
}

async fn stored(store: &Store, id: &str) -> Vec<Bytes> {
    store
        .log(id)
        .await
        .unwrap()
        .map_or(Vec::new(), |log| log.events)
}

/// All that must hold on either database.
async fn all_checks(url: impl Fn() -> String) {
    migrations_run_once_whoever_starts(&url()).await;
    nothing_is_written_twice_or_lost(&url()).await;
    the_higher_generation_is_the_true_one(&url()).await;
    games_are_listed_in_pages(&url()).await;
    a_user_is_erased(&url()).await;
    the_export_is_the_games(&url()).await;
    old_games_are_pruned(&url()).await;
}

async fn migrations_run_once_whoever_starts(url: &str) {
    let starts = [(); 4].map(|()| {
        let url = url.to_owned();
        tokio::spawn(async move { Store::open(&url).await.map(drop) })
    });
    for start in starts {
        start.await.unwrap().unwrap();
    }
    let again = Store::open(url).await.unwrap();
    assert_eq!(again.finished().await.unwrap(), 0);
}

async fn nothing_is_written_twice_or_lost(url: &str) {
    let (backplane, store) = (backplane(), Store::open(url).await.unwrap());
    let mut play = Play::begins(&*backplane, "crashed", false).await;
    play.moves(&*backplane, &OPENING).await;
    // One that dies between commit and acknowledgement, and one that dies before.
    let take = Take {
        limit: 100,
        lease: Duration::from_millis(100),
        only: None,
    };
    let entries = backplane.take("dead", &take).await.unwrap();
    store.write_entries(&entries).await.unwrap();
    assert_eq!(stored(&store, "crashed").await, play.log);
    play.moves(&*backplane, &["Ba4"]).await;
    let entries = backplane.take("dead", &take).await.unwrap();
    assert!(!entries.is_empty());
    play.moves(&*backplane, &["Nf6"]).await;
    let stop = archiver(&backplane, &store, options("heir"));
    is_archived(&backplane, play.last.unwrap()).await;
    assert_eq!(stored(&store, "crashed").await, play.log);
    let log = store.log("crashed").await.unwrap().unwrap();
    assert_eq!((Some(log.epoch), log.is_over), (play.epoch.clone(), false));
    play.ends(&*backplane).await;
    is_archived(&backplane, play.last.unwrap()).await;
    assert!(store.log("crashed").await.unwrap().unwrap().is_over);
    stop.cancel();
}

async fn the_higher_generation_is_the_true_one(url: &str) {
    let (backplane, store) = (backplane(), Store::open(url).await.unwrap());
    let mut play = Play::begins(&*backplane, "forked", false).await;
    play.moves(&*backplane, &OPENING).await;
    play.ends(&*backplane).await;
    let take = Take {
        limit: 100,
        lease: Duration::from_secs(1),
        only: None,
    };
    let mut entries = backplane.take("archiver", &take).await.unwrap();
    let lost = entries[0].clone();
    let pubsub::Content::Events { log: fork, .. } = &mut entries[0].content else {
        panic!();
    };
    fork.epoch = Epoch::new(2, "fork");
    fork.events.truncate(4);
    let fork = entries[0].clone();
    // In whatever order they come.
    store
        .write_entries(std::slice::from_ref(&lost))
        .await
        .unwrap();
    store
        .write_entries(std::slice::from_ref(&fork))
        .await
        .unwrap();
    store
        .write_entries(std::slice::from_ref(&lost))
        .await
        .unwrap();
    let log = store.log("forked").await.unwrap().unwrap();
    assert_eq!(log.events, play.log[..4]);
    assert_eq!((log.epoch.as_str(), log.is_over), ("2.fork", false));
    // A branch that tells only where it parted is completed from the one before.
    let mut tail = fork;
    let pubsub::Content::Events { log, .. } = &mut tail.content else {
        panic!();
    };
    log.epoch = Epoch::new(3, "later");
    log.first = 2;
    log.events = play.log[2..5].to_vec();
    store.write_entries(&[tail, lost]).await.unwrap();
    assert_eq!(stored(&store, "forked").await, play.log[..5]);
}

async fn games_are_listed_in_pages(url: &str) {
    let (backplane, store) = (backplane(), Store::open(url).await.unwrap());
    let stop = archiver(&backplane, &store, options("archiver"));
    let mut last = None;
    for number in 0..7 {
        let mut play = Play::begins(&*backplane, &format!("listed{number}"), number == 3).await;
        play.moves(&*backplane, &OPENING[..2]).await;
        if number != 5 {
            play.ends(&*backplane).await;
        }
        last = play.last;
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    is_archived(&backplane, last.unwrap()).await;
    let page = |before, player: Option<&str>, result: Option<&str>, unlisted| {
        let filter = Filter {
            player: player.map(str::to_owned),
            before,
            result: result.map(str::to_owned),
            unlisted,
            limit: 2,
            ..Filter::default()
        };
        let store = store.clone();
        async move { store.games(&filter).await.unwrap() }
    };
    let mut seen = Vec::new();
    let mut before = None;
    loop {
        let games = page(before.clone(), Some("ann"), None, false).await;
        let Some(last) = games.last() else { break };
        before = Some((last.started_at, last.id.clone()));
        seen.extend(games.into_iter().map(|game| game.id));
    }
    assert_eq!(
        seen,
        ["listed6", "listed4", "listed2", "listed1", "listed0"]
    );
    let own = page(None, Some("ben-listed3"), None, true).await;
    assert_eq!(own.len(), 1);
    assert_eq!((own[0].result.as_deref(), own[0].plies), (Some("1-0"), 2));
    assert_eq!(own[0].reason.as_deref(), Some("resignation"));
    assert!(
        page(None, Some("ben-listed3"), None, false)
            .await
            .is_empty()
    );
    assert!(page(None, None, Some("0-1"), true).await.is_empty());
    assert_eq!(page(None, None, Some("1-0"), true).await.len(), 2);
    stop.cancel();
}

async fn a_user_is_erased(url: &str) {
    let (backplane, store) = (backplane(), Store::open(url).await.unwrap());
    let stop = archiver(&backplane, &store, options("archiver"));
    let mut play = Play::begins(&*backplane, "erased", false).await;
    play.ends(&*backplane).await;
    is_archived(&backplane, play.last.unwrap()).await;
    let games = store.erase("ann").await.unwrap();
    assert_eq!(games.len(), 1);
    let text = String::from_utf8(stored(&store, "erased").await.concat()).unwrap();
    assert!(
        !text.contains("ann") && !text.contains("Name of ann"),
        "{text}"
    );
    assert!(text.contains("ben-erased"), "{text}");
    let filter = Filter {
        limit: 9,
        ..Filter::default()
    };
    let games = store.games(&filter).await.unwrap();
    assert_eq!(
        (games[0].white_id.as_str(), games[0].white_name.as_str()),
        ("erased-white", "[erased]")
    );
    assert!(store.erase("ann").await.unwrap().is_empty());
    stop.cancel();
}

async fn the_export_is_the_games(url: &str) {
    let (backplane, store) = (backplane(), Store::open(url).await.unwrap());
    let stop = archiver(&backplane, &store, options("archiver"));
    let mut last = None;
    let mut expected = String::new();
    for number in 0..3 {
        let mut play = Play::begins(&*backplane, &format!("exported{number}"), false).await;
        play.moves(&*backplane, &OPENING[..number * 2]).await;
        play.ends(&*backplane).await;
        last = play.last;
        let pgn = play.game.unwrap().pgn(&Default::default());
        expected.push_str(&shared::notation::pgn::write(&pgn));
        expected.push('\n');
        tokio::time::sleep(Duration::from_millis(3)).await;
    }
    is_archived(&backplane, last.unwrap()).await;
    let mut written = Vec::new();
    let count = gateway::export::write(&store, &mut written, |_| {})
        .await
        .unwrap();
    assert_eq!(count, 3);
    assert_eq!(String::from_utf8(written).unwrap(), expected);
    stop.cancel();
}

async fn old_games_are_pruned(url: &str) {
    let (backplane, store) = (backplane(), Store::open(url).await.unwrap());
    let mut play = Play::begins(&*backplane, "old", false).await;
    play.ends(&*backplane).await;
    let mut running = Play::begins(&*backplane, "running", false).await;
    running.moves(&*backplane, &["e4"]).await;
    let pruning = Options {
        finished_ttl: Duration::ZERO,
        keep: Some(Duration::ZERO),
        ..options("archiver")
    };
    let stop = archiver(&backplane, &store, pruning);
    until("the old game is gone from both", async || {
        let in_log = backplane.end(&play.room).await.unwrap().is_some();
        let in_archive = store.log("old").await.unwrap().is_some();
        let is_seen = store.log("running").await.unwrap().is_some();
        !in_log && !in_archive && is_seen
    })
    .await;
    assert_eq!(stored(&store, "running").await, running.log);
    assert!(backplane.end(&running.room).await.unwrap().is_some());
    stop.cancel();
}

#[tokio::test]
async fn sqlite_keeps_games() {
    let dir = tempfile::tempdir().unwrap();
    let number = std::sync::atomic::AtomicU32::new(0);
    all_checks(|| {
        let number = number.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        format!(
            "sqlite:{}",
            dir.path().join(format!("{number}.db")).display()
        )
    })
    .await;
}

#[tokio::test]
async fn postgres_keeps_games_and_may_be_away() {
    let server = PostgresServer::start().await;
    all_checks(|| server.database()).await;

    // Away: play goes on, and the archive catches up.
    let (backplane, store) = (backplane(), Store::open(&server.database()).await.unwrap());
    let stop = archiver(&backplane, &store, options("archiver"));
    let mut play = Play::begins(&*backplane, "during", false).await;
    play.moves(&*backplane, &OPENING[..2]).await;
    is_archived(&backplane, play.last.unwrap()).await;
    server.kill();
    play.moves(&*backplane, &OPENING[2..]).await;
    let progress = Progress::follow(backplane.clone(), stop.clone());
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!progress.is_archived(&play.last.unwrap()));
    let mut other = Play::begins(&*backplane, "meanwhile", false).await;
    other.ends(&*backplane).await;
    assert!(backplane.backlog().await.unwrap().entries > 0);
    server.restart().await;
    is_archived(&backplane, other.last.unwrap()).await;
    assert_eq!(stored(&store, "during").await, play.log);
    assert_eq!(stored(&store, "meanwhile").await, other.log);
    assert_eq!(backplane.backlog().await.unwrap().entries, 0);
    stop.cancel();
}

/// Where Redis has forgotten it, any node answers from the archive.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_game_is_answered_when_redis_has_forgotten_it() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("games.db").display());
    let flags = ["--database-url", &url, "--finished-ttl-seconds", "0"];
    let scene = Scene::with(Over::Redis, 2, &flags).await;
    let mut game = scene.game(BLITZ, 0, 0).await;
    game.plays(&["f3", "e5", "g4", "Qh4#"]).await;
    let (epoch, log) = scene.log(1, &game.id).await;
    for person in [&mut game.white, &mut game.black] {
        person.requests("leave_room").await;
    }
    let backplane = scene.cluster.backplane().await;
    let room = Room::parse(&game.id).unwrap();
    until("Redis has forgotten it", async || {
        backplane.end(&room).await.unwrap().is_none()
    })
    .await;
    let path = format!("/api/games/{}", game.id);
    for node in [0, 1] {
        let door = scene.door(node);
        assert_eq!(
            scene.log(node, &game.id).await,
            (epoch.clone(), log.clone())
        );
        let shown = http::get(door, &path).await.json();
        assert_eq!(
            (&shown["status"], &shown["result"]),
            (&json!("finished"), &json!("0-1"))
        );
        let pgn = http::get(door, &format!("{path}/pgn")).await;
        assert!(pgn.text().contains("2... Qh4#"));
        let mut stream = http::stream(door, &format!("{path}/stream?after=2")).await;
        assert_eq!(stream.next().await.as_ref(), Some(&log[3]));
        let listed = http::get(door, "/api/games?limit=10").await.json();
        // It was an invitation's: private.
        assert_eq!(listed, json!({"games": [], "next": null}));
        let refused = http::get(door, "/api/games?result=2-0").await;
        assert_eq!(refused.status, 400);
    }
    let mut late = scene.player("Late", 1).await;
    let snapshot = late.watches(&game.id).await;
    assert_eq!(snapshot["status"], "finished");
    assert_eq!(snapshot["moves"].as_array().unwrap().len(), 4);
    scene.ends().await;
}

/// Written through, a move is acknowledged when it is archived; everybody sees it before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn written_through_an_acknowledgement_means_archived() {
    let server = PostgresServer::start().await;
    let url = server.database();
    let flags = ["--database-url", &url, "--persistence", "write-through"];
    let scene = Scene::with(Over::Redis, 2, &flags).await;
    let store = Store::open(&url).await.unwrap();
    let mut game = scene.game(UNTIMED, 0, 1).await;
    for (number, mv) in OPENING.iter().enumerate() {
        game.plays(&[mv]).await;
        let log = stored(&store, &game.id).await;
        assert!(log.len() >= number + 2, "{mv} was acknowledged");
    }
    server.kill();
    let answer = game.white.tries("Ba4").await;
    assert_eq!(answer["payload"]["code"], "unavailable", "{answer}");
    for san in OPENING.iter().chain(&["Ba4"]) {
        game.black.sees_move(san).await;
    }
    server.restart().await;
    // Asked again with the same ply, it gets its answer when it is archived.
    let seen: &mut Person = &mut game.white;
    until("it is acknowledged", async || {
        let answer = seen.tries_ply("Ba4", 7, None).await;
        answer["type"] == "ack"
    })
    .await;
    assert!(stored(&store, &game.id).await.len() >= 8);
    scene.ends().await;
}

/// A database that is away for a while: whoever asks is told, all the time.
async fn the_status_tells_how_far_the_archive_is(over: Over) {
    let server = PostgresServer::start().await;
    let url = server.database();
    let scene = Scene::with(over, 2, &["--database-url", &url]).await;
    let mut game = scene.game(UNTIMED, 0, 1).await;
    let admin = scene.node(1).admin;
    let archive = async || http::get(admin, "/status").await.json()["archive"].clone();
    let age = async || {
        let text = http::get(admin, "/metrics").await.text();
        let mut lines = text.lines();
        let age = lines.find_map(|line| line.strip_prefix("rookery_archive_queue_age_seconds "));
        age.unwrap().parse::<f64>().unwrap()
    };
    let whole = json!({"queueEntries": 0, "queueAgeMs": 0, "archiver": "working"});
    until("nothing waits", async || archive().await == whole).await;
    server.kill();
    game.plays(&["e4", "e5"]).await;
    until("it is told that the database is away", async || {
        let told = archive().await;
        told["archiver"] == "database_away"
            && told["queueEntries"].as_i64() >= Some(1)
            && told["queueAgeMs"].as_i64() > Some(0)
    })
    .await;
    // The archiver waits for the database; the age is measured all the same, and grows.
    until("the metric grows", async || age().await > 0.0).await;
    let before = age().await;
    until("the metric grows on", async || age().await > before).await;
    let html = [("accept", "text/html")];
    let page = http::send(admin, "GET", "/status", &html).await.text();
    assert!(page.contains("waits for its database"), "{page}");
    server.restart().await;
    until("nothing waits again", async || archive().await == whole).await;
    let page = http::send(admin, "GET", "/status", &html).await.text();
    assert!(page.contains("archiver working, nothing waits"), "{page}");
    scene.ends().await;
}

crate::scenarios!(only Processes as processes: the_status_tells_how_far_the_archive_is);

#[tokio::test]
async fn postgres_over_tls_with_an_own_ca_is_believed_and_nothing_else() {
    let certificates = Certificates::new();
    let server = PostgresServer::start_with_tls(&certificates).await;
    let url = server.database();
    let named = url.replace("127.0.0.1", "localhost");
    let connect = async |url: &str, ca: Option<&Certificates>| {
        let ca = ca.map_or_else(String::new, |ca| {
            format!("&sslrootcert={}", ca.ca().display())
        });
        let store = Store::connect(&format!("{url}?sslmode=verify-full{ca}")).unwrap();
        store.migrate().await.map(|()| store)
    };
    let store = connect(&named, Some(&certificates)).await.unwrap();
    store.ping().await.unwrap();
    // Vouched for by nobody the system knows, by another CA, and under another name.
    let other = Certificates::new();
    for (url, ca) in [
        (&named, None),
        (&named, Some(&other)),
        (&url, Some(&certificates)),
    ] {
        let refusal = connect(url, ca)
            .await
            .expect_err("it was believed")
            .to_string();
        assert!(refusal.contains("certificate"), "{refusal}");
    }
}
