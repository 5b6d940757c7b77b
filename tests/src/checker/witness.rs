//! One client's frames: each room's events must come dense, once, and only while it is in the room; a snapshot may only
//! add to what was seen.

use super::Objection;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};

/// What one client saw, over all its connections. A client is a page that remembers where it was in each room.
#[derive(Debug)]
pub struct Witness {
    /// For objections.
    pub name: String,
    /// The user it is.
    pub user: String,
    /// By game.
    pub rooms: BTreeMap<String, Seen>,
    /// What it objects to.
    pub objections: Vec<Objection>,
    // Requests to come and to leave that were not answered yet, by id; who comes may say what he saw last.
    coming: Vec<Coming>,
    leaving: BTreeMap<String, String>,
    chat: BTreeSet<String>,
}

/// A request to come into a room.
#[derive(Debug)]
struct Coming {
    id: String,
    game: String,
    seen: Option<u64>,
}

/// What it saw of one room.
#[derive(Debug, Default)]
pub struct Seen {
    /// The log's life, by the last snapshot.
    pub epoch: String,
    /// Number of the event that comes next.
    pub next: u64,
    /// Events as they came, by life and number.
    pub events: BTreeMap<(String, u64), String>,
    /// Payloads of snapshots.
    pub snapshots: Vec<Value>,
    /// Its last word on who is online and how many watch.
    pub online: [Option<bool>; 2],
    /// See there.
    pub viewers: Option<u64>,
    /// It is in the room.
    pub is_member: bool,
    is_player: bool,
    is_over: bool,
}

/// `<generation>.<random>`
pub(super) fn generation(epoch: &str) -> Option<u64> {
    epoch.split_once('.')?.0.parse().ok()
}

fn between<'a>(text: &'a str, before: &str, after: char) -> Option<&'a str> {
    let (_, rest) = text.split_once(before)?;
    Some(rest.split_once(after)?.0)
}

impl Witness {
    /// One who has seen nothing.
    pub fn new(name: &str, user: &str) -> Witness {
        Witness {
            name: name.to_owned(),
            user: user.to_owned(),
            rooms: BTreeMap::new(),
            objections: Vec::new(),
            coming: Vec::new(),
            leaving: BTreeMap::new(),
            chat: BTreeSet::new(),
        }
    }

    /// It has a new connection, which is in no room.
    pub fn connected(&mut self) {
        self.coming.clear();
        self.leaving.clear();
        self.chat.clear();
        for seen in self.rooms.values_mut() {
            seen.is_member = false;
            (seen.online, seen.viewers) = ([None; 2], None);
        }
    }

    /// It sends this on its connection.
    pub fn sends(&mut self, text: &str) {
        let Ok(value) = serde_json::from_str::<Value>(text) else {
            return;
        };
        let Some(game) = value["payload"]["gameId"].as_str() else {
            return;
        };
        match value["type"].as_str() {
            Some("join_room" | "join_game") => {
                self.coming.push(Coming {
                    id: value["id"].to_string(),
                    game: game.to_owned(),
                    seen: value["payload"]["seq"].as_u64(),
                });
            }
            Some("leave_room" | "exit_game") => {
                self.leaving
                    .insert(value["id"].to_string(), game.to_owned());
            }
            _ => {}
        }
    }

    /// This came to it.
    pub fn hears(&mut self, text: &str) {
        let heard = if text.starts_with("{\"seq\":") {
            self.event(text)
        } else {
            self.said(text)
        };
        if let Err(why) = heard {
            let head: String = text.chars().take(300).collect();
            self.objections
                .push(format!("{}: {why}\n  {head}", self.name));
        }
    }

    fn event(&mut self, text: &str) -> Result<(), Objection> {
        let seq = between(text, "{\"seq\":", ',').and_then(|seq| seq.parse::<u64>().ok());
        let seq = seq.ok_or("an event without a number")?;
        let game = between(text, "\"gameId\":\"", '"').ok_or("an event of no game")?;
        let seen = self.rooms.entry(game.to_owned()).or_default();
        let mut coming = self
            .coming
            .iter()
            .filter(|coming| coming.game == game)
            .peekable();
        if !seen.is_member && coming.peek().is_none() {
            return Err("an event of a room it is not in".into());
        }
        // Who says that he saw an earlier event last is given the later ones again.
        let again = coming.any(|coming| coming.seen.is_some_and(|seen| seen + 1 == seq));
        let due = std::mem::replace(&mut seen.next, seq + 1);
        let due = if again { seq } else { due };
        seen.is_over |= text.contains("\"type\":\"game_over\"");
        let before = seen
            .events
            .insert((seen.epoch.clone(), seq), text.to_owned());
        if before.is_some_and(|before| before != text) {
            return Err(format!("a fork: another event {seq} than before"));
        }
        match seq.cmp(&due) {
            std::cmp::Ordering::Equal => Ok(()),
            std::cmp::Ordering::Greater => Err(format!("a gap: event {due} was due")),
            std::cmp::Ordering::Less => Err(format!("a repeat: event {due} was due")),
        }
    }

    fn said(&mut self, text: &str) -> Result<(), Objection> {
        let value: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let payload = &value["payload"];
        let game = payload["gameId"].as_str().unwrap_or_default().to_owned();
        let id = value["id"].to_string();
        let coming = self.coming.iter().position(|coming| coming.id == id);
        let coming = coming.map(|coming| self.coming.remove(coming));
        match value["type"].as_str().unwrap_or_default() {
            "game_joined" | "init_game" => return self.snapshot(&game, payload, coming.as_ref()),
            "resumed" => return self.resumed(&game, payload, coming.as_ref()),
            "ack" => {
                if let Some(game) = self.leaving.remove(&id)
                    && let Some(seen) = self.rooms.get_mut(&game)
                {
                    seen.is_member = false;
                }
            }
            "game_not_found" => {
                if let Some(seen) = self.rooms.get_mut(&game) {
                    seen.is_member = false;
                }
            }
            "presence" => {
                let seen = self.rooms.entry(game).or_default();
                if let Some(side) = super::record::side(&payload["color"]) {
                    seen.online[side] = payload["online"].as_bool();
                }
            }
            "viewers" => self.rooms.entry(game).or_default().viewers = payload["count"].as_u64(),
            "chat" => return self.chat(&game, payload),
            _ => {}
        }
        Ok(())
    }

    fn snapshot(
        &mut self,
        game: &str,
        payload: &Value,
        coming: Option<&Coming>,
    ) -> Result<(), Objection> {
        let epoch = payload["epoch"].as_str();
        let epoch = epoch.ok_or("a snapshot without an epoch")?.to_owned();
        let seq = payload["seq"].as_u64();
        let seq = seq.ok_or("a snapshot without a number")?;
        let seen = self.rooms.entry(game.to_owned()).or_default();
        let before = std::mem::replace(&mut seen.epoch, epoch.clone());
        let next = std::mem::replace(&mut seen.next, seq + 1);
        seen.is_member = true;
        seen.is_player = !payload["color"].is_null();
        seen.is_over = payload["status"] == "finished";
        for (side, name) in ["white", "black"].into_iter().enumerate() {
            seen.online[side] = payload["presence"][name].as_bool();
        }
        seen.snapshots.push(payload.clone());
        // Who asks for everything without saying what he saw may be told less than he saw.
        let forgot = coming.is_some_and(|coming| coming.seen.is_none());
        if before.is_empty() || before == epoch && (forgot || seq + 1 >= next) {
            return Ok(());
        }
        if before == epoch {
            let last = next - 1;
            return Err(format!(
                "a snapshot up to {seq} after event {last} was seen"
            ));
        }
        match (generation(&before), generation(&epoch)) {
            (Some(before), Some(now)) if now > before => Ok(()),
            _ => Err(format!("a fork: life {epoch} after {before}")),
        }
    }

    fn resumed(
        &mut self,
        game: &str,
        payload: &Value,
        coming: Option<&Coming>,
    ) -> Result<(), Objection> {
        let coming = coming.ok_or("resumed unasked")?;
        let seen = self.rooms.entry(game.to_owned()).or_default();
        seen.is_member = true;
        let next = payload["seq"].as_u64().unwrap_or_default() + 1;
        let due = std::mem::replace(&mut seen.next, next);
        // From where it said that it was; but it may have seen more than it said.
        let said = coming.seen.map_or(0, |seen| seen + 1);
        if payload["epoch"] != seen.epoch.as_str() || next != due && !(said..due).contains(&next) {
            let epoch = &seen.epoch;
            return Err(format!(
                "resumed elsewhere than before {due} of life {epoch}"
            ));
        }
        Ok(())
    }

    fn chat(&mut self, game: &str, payload: &Value) -> Result<(), Objection> {
        let line = format!("{game} {} {}", payload["user"]["id"], payload["text"]);
        if !self.chat.insert(line) {
            return Err("a line of chat again".into());
        }
        let seen = self.rooms.entry(game.to_owned()).or_default();
        if !seen.is_member {
            return Err("chat of a room it is not in".into());
        }
        let meant = match payload["channel"].as_str() {
            Some("players") => seen.is_player,
            _ => !seen.is_player || seen.is_over,
        };
        if meant {
            Ok(())
        } else {
            Err("chat of the others".into())
        }
    }
}
