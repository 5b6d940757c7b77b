//! What one player has seen, on whatever connection, and whether it could all be true: the checker that always runs.

use super::board::Board;
use crate::witness::Witness;
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

/// Types of all messages a server may send, log events apart.
const DIRECT: [&str; 16] = [
    "welcome",
    "waiting",
    "game_added",
    "invitation",
    "init_game",
    "game_joined",
    "resumed",
    "game_not_found",
    "ack",
    "error",
    "viewers",
    "presence",
    "chat",
    "chat_history",
    "pong",
    "drain",
];

/// All rooms one player has seen.
#[derive(Debug)]
pub struct Views {
    who: String,
    witness: Arc<Witness>,
    rooms: HashMap<String, View>,
    welcomed: bool,
}

/// One room as this player sees it.
#[derive(Debug, Clone)]
pub struct View {
    /// The log's life.
    pub epoch: String,
    /// The last event seen.
    pub seq: u64,
    /// What it all comes to.
    pub board: Board,
    /// What it came to after each event seen live, to go back to.
    past: BTreeMap<u64, Board>,
}

impl Views {
    /// A player who has seen nothing.
    pub fn new(who: &str, witness: Arc<Witness>) -> Views {
        Views {
            who: who.to_owned(),
            witness,
            rooms: HashMap::new(),
            welcomed: false,
        }
    }

    /// A new connection begins.
    pub fn connects(&mut self) {
        self.welcomed = false;
    }

    /// A room, once seen.
    pub fn room(&self, game: &str) -> Option<&View> {
        self.rooms.get(game)
    }

    /// Forgets what came after that event, as a client that slept did.
    pub fn go_back(&mut self, game: &str, seq: u64) {
        let view = self.rooms.get_mut(game).expect("a room seen before");
        view.board = view.past.get(&seq).expect("an event seen live").clone();
        view.seq = seq;
        view.past.retain(|past, _| *past <= seq);
    }

    /// Forgets a room.
    pub fn forget(&mut self, game: &str) {
        self.rooms.remove(game);
    }

    /// Takes a message. `None` if it could not be true, which is noted.
    pub fn see(&mut self, text: &str) -> Option<Value> {
        let message: Value = match serde_json::from_str(text) {
            Ok(message) => message,
            Err(error) => {
                self.violated(text, &error.to_string());
                return None;
            }
        };
        match self.check(text, &message) {
            Ok(()) => Some(message),
            Err(why) => {
                self.violated(text, &why);
                None
            }
        }
    }

    fn violated(&self, text: &str, why: &str) {
        self.witness
            .violated(format!("{}: {why}: {text}", self.who));
    }

    fn check(&mut self, text: &str, message: &Value) -> Result<(), String> {
        let kind = message["type"].as_str().ok_or("no type")?;
        let payload = &message["payload"];
        if self.welcomed == (kind == "welcome") {
            return Err("welcome is first, and once".into());
        }
        self.welcomed = true;
        if message.get("seq").is_some() {
            return self.event(text, message);
        }
        match kind {
            "init_game" | "game_joined" => self.snapshot(payload),
            "resumed" => self.resumed(payload),
            "error" => {
                let code = payload["code"].as_str().ok_or("no code")?;
                if crate::witness::ERROR_CODES.contains(&code) {
                    Ok(())
                } else {
                    Err("a code that is not the contract's".into())
                }
            }
            _ if DIRECT.contains(&kind) => Ok(()),
            _ => Err("a type that is not the contract's".into()),
        }
    }

    fn event(&mut self, text: &str, message: &Value) -> Result<(), String> {
        if !text.starts_with("{\"seq\":") {
            return Err("seq is not first".into());
        }
        let seq = message["seq"].as_u64().ok_or("no seq")?;
        let game = message["payload"]["gameId"].as_str().ok_or("no gameId")?;
        let view = self
            .rooms
            .get_mut(game)
            .ok_or("an event of a room that was not joined")?;
        if seq != view.seq + 1 {
            let what = if seq <= view.seq { "repeat" } else { "gap" };
            return Err(format!("{what}: {seq} after {}", view.seq));
        }
        self.witness
            .saw_event(&self.who, game, &view.epoch, seq, text);
        view.board.apply(text)?;
        view.seq = seq;
        view.past.insert(seq, view.board.clone());
        Ok(())
    }

    fn snapshot(&mut self, payload: &Value) -> Result<(), String> {
        let game = payload["gameId"].as_str().ok_or("no gameId")?;
        let epoch = payload["epoch"].as_str().ok_or("no epoch")?;
        let seq = payload["seq"].as_u64().ok_or("no seq")?;
        let board = Board::of_snapshot(payload)?;
        let mut past = BTreeMap::new();
        if let Some(known) = self.rooms.get(game) {
            if known.epoch == epoch && seq < known.seq {
                return Err(format!(
                    "a snapshot that goes back: {seq} after {}",
                    known.seq
                ));
            }
            if generation(epoch) < generation(&known.epoch) {
                return Err(format!("an older life than {}", known.epoch));
            }
            if known.epoch == epoch {
                past = known.past.clone();
            }
        }
        self.witness.saw_snapshot(&self.who, payload);
        past.insert(seq, board.clone());
        let view = View {
            epoch: epoch.to_owned(),
            seq,
            board,
            past,
        };
        self.rooms.insert(game.to_owned(), view);
        Ok(())
    }

    fn resumed(&self, payload: &Value) -> Result<(), String> {
        let game = payload["gameId"].as_str().ok_or("no gameId")?;
        let view = self.rooms.get(game).ok_or("resumed a room never seen")?;
        if payload["epoch"] != view.epoch.as_str() || payload["seq"] != view.seq {
            return Err(format!("is at {} {}", view.epoch, view.seq));
        }
        Ok(())
    }
}

fn generation(epoch: &str) -> u64 {
    let number = epoch.split('.').next().and_then(|text| text.parse().ok());
    number.unwrap_or(0)
}
