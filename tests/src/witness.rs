//! What all players of a scenario saw and were promised, whichever node told them. Nobody may see anything else at a place in
//! a log than somebody else; at the end it must all be what the logs hold.

use serde_json::{Value, json};
use shared::{
    game::{Event, EventError, Game},
    protocol::server::Status,
};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// The error codes of the contract.
pub const ERROR_CODES: [&str; 21] = [
    "bad_json",
    "bad_message",
    "unknown_type",
    "too_large",
    "rate_limited",
    "unauthorized",
    "forbidden",
    "not_a_player",
    "not_your_turn",
    "illegal_move",
    "stale_ply",
    "game_not_found",
    "game_full",
    "game_over",
    "too_early",
    "too_late",
    "no_offer",
    "no_claim",
    "bad_time_control",
    "too_many_games",
    "unavailable",
];

/// A move that a player was told is in the log.
#[derive(Debug, Clone)]
struct Promise {
    #[expect(dead_code, reason = "shown when it is broken")]
    who: String,
    game: String,
    epoch: String,
    seq: u64,
    /// The move as it was asked for.
    asked: Value,
    ply: Option<u64>,
}

/// Everybody's memory.
#[derive(Debug, Default)]
pub struct Witness {
    memory: Mutex<Memory>,
}

/// A game, and one life of its log.
type Life = (String, String);

#[derive(Debug, Default)]
struct Memory {
    violations: Vec<String>,
    events: HashMap<Life, BTreeMap<u64, (String, String)>>,
    snapshots: Vec<(String, Value)>,
    promises: Vec<Promise>,
}

impl Witness {
    fn lock(&self) -> MutexGuard<'_, Memory> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that something happened that must not.
    pub fn violated(&self, what: String) {
        self.lock().violations.push(what);
    }

    /// Fails if something happened that must not.
    #[track_caller]
    pub fn assert_clean(&self) {
        let violations = self.lock().violations.clone();
        assert!(violations.is_empty(), "broken promises: {violations:#?}");
    }

    /// Whether something happened that must not.
    pub fn is_clean(&self) -> bool {
        self.lock().violations.is_empty()
    }

    /// Takes the violations away, for tests of the checker itself.
    pub fn take_violations(&self) -> Vec<String> {
        std::mem::take(&mut self.lock().violations)
    }

    /// Somebody got an event.
    pub fn saw_event(&self, who: &str, game: &str, epoch: &str, seq: u64, text: &str) {
        let mut memory = self.lock();
        let life = (game.to_owned(), epoch.to_owned());
        let seen = memory.events.entry(life).or_default();
        let first = seen
            .entry(seq)
            .or_insert_with(|| (who.to_owned(), text.to_owned()));
        if first.1 != text {
            let fork = format!("fork: {who} saw {text}, {} saw {}", first.0, first.1);
            memory.violations.push(fork);
        }
    }

    /// Somebody got a snapshot.
    pub fn saw_snapshot(&self, who: &str, payload: &Value) {
        let mut memory = self.lock();
        memory.snapshots.push((who.to_owned(), payload.clone()));
    }

    /// Somebody was told that his move is in the log.
    pub fn promised(&self, who: &str, ack: &Value, asked: &Value) {
        let text = |key: &str| ack[key].as_str().unwrap_or_default().to_owned();
        let Some(seq) = ack["seq"].as_u64() else {
            return self.violated(format!("{who}: a move's ack without seq: {ack}"));
        };
        self.lock().promises.push(Promise {
            who: who.to_owned(),
            game: text("gameId"),
            epoch: text("epoch"),
            seq,
            asked: asked.clone(),
            ply: ack["ply"].as_u64(),
        });
    }

    /// Nobody is held to what he was promised of a game so far: a scenario in which it cannot be kept.
    pub fn forgives(&self, game: &str) {
        self.lock().promises.retain(|promise| promise.game != game);
    }

    /// The games somebody saw anything of.
    pub fn games(&self) -> Vec<String> {
        let memory = self.lock();
        let seen = memory.events.keys().map(|(game, _)| game.clone());
        let shown = memory
            .snapshots
            .iter()
            .filter_map(|(_, payload)| payload["gameId"].as_str().map(str::to_owned));
        let mut games: Vec<String> = seen.chain(shown).collect();
        games.sort();
        games.dedup();
        games
    }

    /// Compares all that was seen of a game with its log.
    pub fn compare(&self, game: &str, epoch: &str, log: &[String]) {
        let mut memory = self.lock();
        let mut wrong = Vec::new();
        if let Err(why) = folds(log) {
            wrong.push(format!("the log of {game} does not fold: {why}"));
        }
        let life = (game.to_owned(), epoch.to_owned());
        for (seq, (who, text)) in memory.events.get(&life).into_iter().flatten() {
            let stands = usize::try_from(*seq).ok().and_then(|seq| log.get(seq));
            if stands != Some(text) {
                wrong.push(format!("{who} saw {text}, the log has {stands:?}"));
            }
        }
        for (who, shown) in &memory.snapshots {
            if shown["gameId"] == game
                && shown["epoch"] == epoch
                && let Err(why) = shows(log, shown)
            {
                wrong.push(format!("{who} was shown {shown}: {why}"));
            }
        }
        for promise in &memory.promises {
            if promise.game == game {
                // A later life begins with what stood in the earlier one, or it was acknowledged in vain.
                if promise.epoch != epoch && generation(&promise.epoch) >= generation(epoch) {
                    wrong.push(format!(
                        "the log's life is {epoch}, not that of {promise:?}"
                    ));
                } else if let Err(why) = kept(log, promise) {
                    wrong.push(format!("{why}: {promise:?}"));
                }
            }
        }
        memory.violations.extend(wrong);
    }
}

/// Which life it is; 0 for what is no epoch.
fn generation(epoch: &str) -> u64 {
    let number = epoch.split('.').next().map(str::parse);
    number.and_then(Result::ok).unwrap_or_default()
}

/// Dense, and a game as far as this release knows.
fn folds(log: &[String]) -> Result<(), String> {
    let mut game: Option<Game> = None;
    for (place, text) in log.iter().enumerate() {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        if value["seq"] != place {
            return Err(format!("place {place} has {text}"));
        }
        match (Event::decode(text.as_bytes()), &mut game) {
            (Ok(event), None) => {
                game = Some(Game::start(&event).map_err(|error| error.to_string())?);
            }
            (Ok(event), Some(game)) => game.apply(&event).map_err(|error| error.to_string())?,
            (Err(EventError::UnknownType { .. }), Some(_)) => return Ok(()),
            (Err(error), _) => return Err(error.to_string()),
        }
    }
    Ok(())
}

/// The fold of the log's first events is what was shown, in everything.
fn shows(log: &[String], shown: &Value) -> Result<(), String> {
    let end = usize::try_from(shown["seq"].as_u64().ok_or("no seq")?).map_err(|e| e.to_string())?;
    let events = log.get(..=end).ok_or("the log is shorter")?;
    let decode = |text: &String| Event::decode(text.as_bytes()).map_err(|error| error.to_string());
    let mut game = Game::start(&decode(&events[0])?).map_err(|error| error.to_string())?;
    for text in &events[1..] {
        game.apply(&decode(text)?)
            .map_err(|error| error.to_string())?;
    }
    let moves: Vec<Value> = game
        .moves()
        .iter()
        .map(|played| {
            json!({"uci": played.uci.to_string(), "san": played.san.to_string(), "at": played.at})
        })
        .collect();
    let over = game.over();
    let status = if over.is_some() {
        Status::Finished
    } else {
        Status::Started
    };
    let white = game.player(shared::Color::White);
    let black = game.player(shared::Color::Black);
    let expected: [(&str, Value); 18] = [
        ("whitePlayer", json!(white)),
        ("blackPlayer", json!(black)),
        ("timeControl", json!(game.time_control())),
        ("startedAt", json!(game.started_at())),
        ("fen", json!(game.fen())),
        ("moves", Value::Array(moves)),
        ("clock", json!(game.clock())),
        ("clockAt", json!(game.clock_at())),
        ("turn", json!(game.turn())),
        ("status", json!(status)),
        ("result", json!(over.map(|over| over.result))),
        ("reason", json!(over.map(|over| over.reason))),
        ("winner", json!(over.and_then(|over| over.winner))),
        ("drawOffer", json!(game.draw_offer())),
        ("takebackOffer", json!(game.takeback_offer())),
        ("rematchOffer", json!(game.rematch_offer())),
        ("rematchGameId", json!(game.rematch_game_id())),
        ("gameId", json!(game.id())),
    ];
    for (key, value) in expected {
        if shown[key] != value {
            return Err(format!("{key} should be {value}"));
        }
    }
    Ok(())
}

/// The move that was promised stands where it was promised, and nowhere else.
fn kept(log: &[String], promise: &Promise) -> Result<(), String> {
    let place = usize::try_from(promise.seq).map_err(|error| error.to_string())?;
    let text = log.get(place).ok_or("an acknowledged move is lost")?;
    let event: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let moved = &event["payload"];
    if event["type"] != "move" {
        return Err(format!("an acknowledged move is not there, but {text}"));
    }
    if promise.ply.is_some_and(|ply| moved["ply"] != ply) {
        return Err(format!("it is another ply: {text}"));
    }
    let same = match &promise.asked {
        Value::String(asked) => {
            moved["move"]["uci"] == asked.as_str() || moved["move"]["san"] == asked.as_str()
        }
        squares => moved["move"]["from"] == squares["from"] && moved["move"]["to"] == squares["to"],
    };
    if same {
        Ok(())
    } else {
        Err(format!("another move stands there: {text}"))
    }
}
