//! One client: a page in a browser. It remembers its games over its connections, asks random things, most of them
//! sensible, and asks again what was not answered.

use crate::view::View;
use gateway::connection::{Conn, Connection};
use rand::{RngExt, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};
use shared::{
    game::Player,
    notation::San,
    rules::{Move, Position},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};
use tests::checker::Witness;
use tokio::task::JoinHandle;

/// A connection to a node.
pub struct Link {
    pub node: usize,
    pub connection: Connection,
    pub conn: Arc<Conn>,
}

/// How a client is connected.
pub enum Line {
    Down,
    /// Its handshake is under way on that node.
    Opening(usize, JoinHandle<(Connection, Arc<Conn>)>),
    Up(Box<Link>),
}

/// A request that was or is to be sent.
#[derive(Debug, Clone)]
pub struct Asked {
    pub id: u64,
    pub text: String,
    /// A move that is right by all its client had seen.
    pub sound: bool,
}

impl Asked {
    fn is_join_of(&self, game: &str) -> bool {
        self.text.contains("\"join_room\"") && self.text.contains(game)
    }
}

/// A client.
pub struct Client {
    pub name: String,
    pub player: Player,
    pub line: Line,
    pub witness: Witness,
    pub views: BTreeMap<String, View>,
    /// Not answered for good.
    pub open: BTreeMap<u64, Asked>,
    /// Answered; may be asked again.
    pub done: Vec<Asked>,
    /// Waits in that pool.
    pub seeking: Option<Value>,
    /// Games this client heard of and may watch.
    pub heard_of: Vec<String>,
    pub invited: Vec<String>,
    /// Of those, the games whose start this connection is to be told of.
    pub awaits: BTreeSet<String>,
    next_id: u64,
    /// Ids of requests to leave a room, to leave a pool, and to seek.
    leaves: BTreeSet<u64>,
    cancels: BTreeSet<u64>,
    seeks: BTreeSet<u64>,
}

/// What a client does next.
pub enum Deed {
    Nothing,
    Send(Asked),
    HangUp,
}

/// Pools: short enough that flags fall, long enough that games are played.
const CONTROLS: [Option<(i64, i64)>; 4] = [
    Some((3_000, 1_000)),
    Some((20_000, 0)),
    Some((60_000, 500)),
    None,
];

fn control(rng: &mut StdRng) -> Value {
    match CONTROLS[rng.random_range(0..CONTROLS.len())] {
        Some((initial, increment)) => json!({"initialMs": initial, "incrementMs": increment}),
        None => Value::Null,
    }
}

impl Client {
    pub fn new(index: usize, name: &str, player: Player) -> Client {
        Client {
            name: name.to_owned(),
            witness: Witness::new(name, player.id.as_str()),
            player,
            line: Line::Down,
            views: BTreeMap::new(),
            open: BTreeMap::new(),
            done: Vec::new(),
            seeking: None,
            heard_of: Vec::new(),
            invited: Vec::new(),
            awaits: BTreeSet::new(),
            // Ids are the user's own, also when he has two clients.
            next_id: index as u64 * 1_000_000,
            leaves: BTreeSet::new(),
            cancels: BTreeSet::new(),
            seeks: BTreeSet::new(),
        }
    }

    pub fn link(&mut self) -> Option<&mut Link> {
        match &mut self.line {
            Line::Up(link) => Some(link),
            _ => None,
        }
    }

    pub fn is_up(&self) -> bool {
        matches!(self.line, Line::Up(_))
    }

    /// The connection is gone; what the page knows stays.
    pub fn lost(&mut self) {
        self.line = Line::Down;
        self.witness.connected();
        self.seeking = None;
        self.awaits.clear();
        for view in self.views.values_mut() {
            view.joined = false;
        }
    }

    /// A frame came.
    pub fn hears(&mut self, text: &str) {
        self.witness.hears(text);
        let value: Value = serde_json::from_str(text).unwrap();
        let payload = &value["payload"];
        let game = payload["gameId"].as_str().unwrap_or_default().to_owned();
        if value["seq"].is_u64() && value["at"].is_i64() {
            if let Some(view) = self.views.get_mut(&game) {
                view.event(&value);
            }
            return;
        }
        let id = value["id"].as_u64().unwrap_or_default();
        let ends = if self.cancels.contains(&id) {
            "ack"
        } else {
            "error"
        };
        if value["type"] == ends && (ends == "ack" || self.seeks.contains(&id)) {
            self.seeking = None;
        }
        if value["type"] == "ack"
            && self.leaves.contains(&id)
            && let Some(view) = self.views.get_mut(&game)
        {
            view.joined = false;
        }
        if let Some(asked) = self.open.remove(&id) {
            match payload["code"].as_str() {
                // To be asked again.
                Some("unavailable" | "rate_limited") => drop(self.open.insert(asked.id, asked)),
                _ => self.done.push(asked),
            }
        }
        match value["type"].as_str().unwrap_or_default() {
            "game_joined" | "init_game" => {
                if value["type"] == "init_game" {
                    self.seeking = None;
                }
                self.awaits.remove(&game);
                let last = self.views.get(&game).and_then(|view| view.last.clone());
                self.views.insert(game.clone(), View::of(payload, last));
            }
            "resumed" => {
                if let Some(view) = self.views.get_mut(&game) {
                    view.joined = true;
                }
            }
            "waiting" => self.seeking = Some(payload["timeControl"].clone()),
            "game_added" => {
                self.awaits.insert(game.clone());
                self.invited.push(game);
            }
            "welcome" => {
                for game in payload["activeGames"].as_array().into_iter().flatten() {
                    let game = game.as_str().unwrap_or_default().to_owned();
                    if !self.views.contains_key(&game) && !self.heard_of.contains(&game) {
                        self.heard_of.push(game);
                    }
                }
            }
            _ => {}
        }
    }

    pub fn ask(&mut self, kind: &str, payload: Value, sound: bool) -> Asked {
        self.next_id += 1;
        let id = self.next_id;
        if matches!(kind, "leave_room" | "exit_game") {
            self.leaves.insert(id);
            self.awaits
                .remove(payload["gameId"].as_str().unwrap_or_default());
        }
        if kind == "cancel_seek" {
            self.cancels.insert(id);
        }
        if kind == "init_game" {
            self.seeks.insert(id);
        }
        Asked {
            id,
            text: json!({"type": kind, "payload": payload, "id": id}).to_string(),
            sound,
        }
    }

    /// To come back to a room, or into it.
    pub fn join(&mut self, game: &str, resume: bool) -> Asked {
        let mut payload = json!({"gameId": game});
        // What it is to see in its new life may be less than the old one saw, and is not known before it is answered.
        let is_anew = self
            .open
            .values()
            .any(|asked| asked.is_join_of(game) && !asked.text.contains("\"seq\""));
        if let Some(view) = self.views.get(game).filter(|_| resume && !is_anew) {
            payload["seq"] = json!(view.seq);
            payload["epoch"] = json!(view.epoch);
        } else {
            // A page that was loaded anew does not ask again what an older one saw.
            self.open.retain(|_, asked| !asked.is_join_of(game));
            self.done.retain(|asked| !asked.is_join_of(game));
        }
        self.ask("join_room", payload, false)
    }

    /// What it does next.
    pub fn next(&mut self, rng: &mut StdRng) -> Deed {
        if let Some(asked) = self.come_back(rng) {
            return Deed::Send(asked);
        }
        match rng.random_range(0..100) {
            0..60 => self.play(rng),
            60..70 => self.find(rng),
            70..74 => self.again(rng),
            74..77 => self.watch(rng),
            77..79 => self.leave(rng),
            79..83 => self.talk(rng),
            83..86 => Deed::HangUp,
            86..88 => self.nonsense(rng),
            _ => Deed::Nothing,
        }
    }

    /// A page that came back joins its rooms, and asks again what was not answered.
    fn come_back(&mut self, rng: &mut StdRng) -> Option<Asked> {
        let away: Vec<String> = self
            .views
            .iter()
            .filter(|(_, view)| !view.joined && (!view.over || rng.random_bool(0.1)))
            .map(|(game, _)| game.clone())
            .collect();
        if let Some(game) = away.first().filter(|_| rng.random_bool(0.8)) {
            let resume = rng.random_bool(0.9);
            return Some(self.join(game, resume));
        }
        let open: Vec<&Asked> = self.open.values().collect();
        open.choose(rng)
            .filter(|_| rng.random_bool(0.3))
            .map(|asked| (*asked).clone())
    }

    fn again(&mut self, rng: &mut StdRng) -> Deed {
        match self.done.choose(rng) {
            Some(asked) => Deed::Send(asked.clone()),
            None => Deed::Nothing,
        }
    }

    fn my_games(&self, over: bool) -> Vec<String> {
        let mine = self.views.iter();
        mine.filter(|(_, view)| view.color.is_some() && view.over == over)
            .map(|(game, _)| game.clone())
            .collect()
    }

    fn find(&mut self, rng: &mut StdRng) -> Deed {
        if self.my_games(false).len() >= 2 && rng.random_bool(0.9) {
            return Deed::Nothing;
        }
        let control = control(rng);
        Deed::Send(match rng.random_range(0..10) {
            0 if self.seeking.is_some() => self.ask("cancel_seek", json!({}), false),
            0..6 => self.ask("init_game", json!({"timeControl": control}), false),
            6..8 => {
                let color = *["white", "black", "random"].choose(rng).unwrap();
                let mut payload = json!({"timeControl": control, "color": color});
                if rng.random_bool(0.7) {
                    payload["key"] = json!(format!("k{}", rng.random_range(0..3)));
                }
                self.ask("create_game", payload, false)
            }
            _ => match self.heard_of.choose(rng).cloned() {
                Some(game) => self.ask("join_game", json!({"gameId": game}), false),
                None => return Deed::Nothing,
            },
        })
    }

    fn watch(&mut self, rng: &mut StdRng) -> Deed {
        match self.heard_of.choose(rng).cloned() {
            Some(game) => {
                let resume = rng.random_bool(0.5);
                Deed::Send(self.join(&game, resume))
            }
            None => Deed::Nothing,
        }
    }

    fn leave(&mut self, rng: &mut StdRng) -> Deed {
        let games: Vec<String> = self.views.keys().cloned().collect();
        let Some(game) = games.choose(rng) else {
            return Deed::Nothing;
        };
        let kind = if rng.random_bool(0.8) {
            "leave_room"
        } else {
            "exit_game"
        };
        Deed::Send(self.ask(kind, json!({"gameId": game}), false))
    }

    fn talk(&mut self, rng: &mut StdRng) -> Deed {
        let games: Vec<String> = self.views.keys().cloned().collect();
        match games.choose(rng) {
            Some(game) => {
                let text = format!("{} says {}", self.name, self.next_id);
                Deed::Send(self.ask("chat", json!({"gameId": game, "text": text}), false))
            }
            None => Deed::Send(self.ask("ping", json!({"t": [1, 2]}), false)),
        }
    }

    fn nonsense(&mut self, rng: &mut StdRng) -> Deed {
        let games: Vec<String> = self
            .views
            .keys()
            .cloned()
            .chain(["nowhere1".to_owned()])
            .collect();
        let game = games.choose(rng).unwrap().clone();
        Deed::Send(match rng.random_range(0..5) {
            0 => self.ask("move", json!({"gameId": game, "move": "e9e4"}), false),
            1 => self.ask(
                "move",
                json!({"gameId": game, "move": {"from": "a1", "to": "h8"}, "ply": 99}),
                false,
            ),
            2 => self.ask("join_room", json!({"gameId": "../{x}"}), false),
            3 => self.ask("accept_draw", json!({"gameId": game}), false),
            _ => self.ask(
                "join_room",
                json!({"gameId": game, "seq": 7, "epoch": "1.x"}),
                false,
            ),
        })
    }

    /// Something about a game of its own.
    fn play(&mut self, rng: &mut StdRng) -> Deed {
        let games = self.my_games(false);
        let Some(game) = games.choose(rng).cloned() else {
            return self.after(rng);
        };
        if rng.random_bool(0.05) {
            return self.after(rng);
        }
        let view = self.views[&game].clone();
        let answer = view.offers.iter().enumerate().find_map(|(kind, offer)| {
            offer
                .filter(|(by, _)| Some(*by) != view.color)
                .map(|(_, seq)| (kind, seq))
        });
        match rng.random_range(0..100) {
            0..40 if answer.is_some() => {
                let (kind, seq) = answer.unwrap();
                let word = if rng.random_bool(0.5) {
                    "accept"
                } else {
                    "decline"
                };
                self.act(
                    &game,
                    &format!("{word}_{}", ["draw", "takeback", "rematch"][kind]),
                    seq,
                )
            }
            40..45 => self.act(&game, "offer_draw", Some(view.seq)),
            45..51 => self.act(&game, "offer_takeback", Some(view.seq)),
            51..53 => self.act(&game, "claim_victory", None),
            53..55 => self.claim(rng, &game, &view),
            55 => self.act(&game, "abort", None),
            56 => self.act(&game, "resign", None),
            57 => {
                let word = *[
                    "accept_draw",
                    "decline_draw",
                    "accept_takeback",
                    "decline_takeback",
                    "offer_rematch",
                ]
                .choose(rng)
                .unwrap();
                self.act(&game, word, None)
            }
            _ => self.make_move(rng, &game, &view),
        }
    }

    /// Something about a finished game of its own.
    fn after(&mut self, rng: &mut StdRng) -> Deed {
        let games = self.my_games(true);
        let Some(game) = games.choose(rng).cloned() else {
            return self.find(rng);
        };
        let view = self.views[&game].clone();
        if let Some(next) = &view.rematch
            && !self.views.contains_key(next)
        {
            return Deed::Send(self.join(next, false));
        }
        match view.offers[2] {
            Some((by, seq)) if Some(by) != view.color => {
                let word = if rng.random_bool(0.7) {
                    "accept_rematch"
                } else {
                    "decline_rematch"
                };
                self.act(&game, word, seq)
            }
            _ if rng.random_bool(0.4) => self.act(&game, "offer_rematch", Some(view.seq)),
            _ => self.find(rng),
        }
    }

    fn act(&mut self, game: &str, kind: &str, seq: Option<u64>) -> Deed {
        let mut payload = json!({"gameId": game});
        if let Some(seq) = seq {
            payload["seq"] = json!(seq);
        }
        Deed::Send(self.ask(kind, payload, false))
    }

    fn claim(&mut self, rng: &mut StdRng, game: &str, view: &View) -> Deed {
        let mut payload = json!({"gameId": game, "seq": view.seq});
        if rng.random_bool(0.5)
            && let Some(position) = view.position()
            && let Some(mv) = position.legal_moves().collect::<Vec<_>>().choose(rng)
        {
            payload["move"] = json!(mv.to_string());
        }
        Deed::Send(self.ask("claim_draw", payload, false))
    }

    fn make_move(&mut self, rng: &mut StdRng, game: &str, view: &View) -> Deed {
        if !view.is_my_turn() && rng.random_bool(0.9) {
            return Deed::Nothing;
        }
        let Some(position) = view.position() else {
            return Deed::Nothing;
        };
        let moves: Vec<Move> = position.legal_moves().collect();
        let Some(mut mv) = moves.choose(rng).copied() else {
            return Deed::Nothing;
        };
        let back = view.last.as_ref().and_then(|last| {
            let back = format!("{}{}", last.get(2..4)?, last.get(..2)?);
            moves.iter().find(|mv| mv.to_string() == back)
        });
        if let Some(back) = back.filter(|_| rng.random_bool(0.5)) {
            mv = *back;
        }
        let mut sound = view.is_my_turn();
        let spelled = match rng.random_range(0..10) {
            0 => {
                sound = false;
                json!({"from": "e2", "to": "e5"})
            }
            1..4 => json!(mv.to_string()),
            4..6 => json!(san(&position, mv)),
            _ => {
                let mut squares = json!({"from": mv.from.to_string(), "to": mv.to.to_string()});
                if let Some(role) = mv.promotion {
                    squares["promotion"] = json!(role.letter().to_string());
                } else if rng.random_bool(0.2) {
                    squares["promotion"] = json!("q");
                }
                squares
            }
        };
        if let Some(view) = self.views.get_mut(game).filter(|_| sound) {
            view.last = Some(mv.to_string());
        }
        let payload =
            json!({"gameId": game, "move": spelled, "ply": view.ply + 1, "seq": view.seq});
        Deed::Send(self.ask("move", payload, sound))
    }
}

fn san(position: &Position, mv: Move) -> String {
    let after = position.play(mv).unwrap();
    San::of(position, mv, &after).to_string()
}

/// Seed 513 once: a page that was loaded anew went on to claim what the one before had seen, was resumed from there, and the
/// checker saw a gap.
#[test]
fn a_page_loaded_anew_does_not_claim_what_an_older_one_saw() {
    let player = Player {
        id: shared::UserId::parse("u0").unwrap(),
        name: "User 0".to_owned(),
        is_guest: true,
    };
    let mut client = Client::new(0, "c0", player);
    let seen = json!({"epoch": "1.a", "seq": 6, "fen": "", "status": "started"});
    client.views.insert("game".into(), View::of(&seen, None));
    let claims = |asked: &Asked| asked.text.contains("\"seq\":6");
    let before = client.join("game", true);
    assert!(claims(&before));
    client.open.insert(before.id, before);
    let anew = client.join("game", false);
    assert!(!claims(&anew));
    assert!(client.open.is_empty(), "nor asks again what that one asked");
    client.open.insert(anew.id, anew.clone());
    assert!(!claims(&client.join("game", true)));
    client.open.remove(&anew.id);
    assert!(claims(&client.join("game", true)));
}
