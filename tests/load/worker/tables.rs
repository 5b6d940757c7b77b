//! Those who make events: pairs of players with real games, or publishers.

use super::{Conn, Room, Stage, hear::SOCKET_IO_EVENT};
use crate::orders::{Dialect, Table};
use std::{
    cmp::Reverse,
    collections::{BinaryHeap, HashMap},
    time::SystemTime,
};

/// Nanoseconds by which a table may lag behind its pace and still hurry after it. Beyond, its pace begins anew: an event that
/// waits for a slow server must not be followed by a burst.
const LAG_MAX: u64 = 200_000_000;

/// After the end of play, a move on its way has so many nanoseconds to come back.
const IN_FLIGHT_MAX: u64 = 5_000_000_000;

#[derive(Debug)]
struct Seated {
    room: u32,
    conns: Vec<usize>,
    moves: Vec<String>,
    /// Moves made.
    ply: usize,
    /// Number of the event that the first move makes.
    first: u32,
    /// Number of the last event heard by anybody at the table; `None` before the first.
    heard: Option<u32>,
    over: bool,
    due: u64,
    /// It is its turn, but the mover has not heard the move before.
    late: bool,
}

/// All tables of a worker.
#[derive(Debug)]
pub(super) struct Tables {
    tables: Vec<Seated>,
    due: BinaryHeap<Reverse<(u64, usize)>>,
    every: u64,
    until: u64,
    told_seated: bool,
    told_played: bool,
    dialect: Dialect,
    event_len: usize,
}

impl Tables {
    pub fn new(dialect: Dialect, event_len: usize) -> Tables {
        Tables {
            dialect,
            event_len,
            tables: Vec::new(),
            due: BinaryHeap::new(),
            every: 0,
            until: 0,
            told_seated: false,
            told_played: false,
        }
    }

    pub fn len(&self) -> usize {
        self.tables.len()
    }

    pub fn add(&mut self, table: Table, conns: Vec<usize>) {
        self.told_seated = false;
        self.tables.push(Seated {
            room: table.room,
            conns,
            moves: table.moves,
            ply: 0,
            first: 0,
            heard: None,
            over: false,
            due: 0,
            late: false,
        });
    }

    pub fn conns(&self, table: usize) -> &[usize] {
        &self.tables[table].conns
    }

    /// A snapshot came: the next event has the number after it.
    pub fn begun(&mut self, table: usize, seq: u32) {
        let table = &mut self.tables[table];
        if table.ply == 0 {
            table.first = seq + 1;
        }
    }

    pub fn heard(&mut self, table: usize, seq: u32, over: bool) {
        let number = table;
        let table = &mut self.tables[number];
        table.heard = table.heard.max(Some(seq));
        table.over |= over;
        if std::mem::take(&mut table.late) {
            self.due.push(Reverse((table.due, number)));
        }
    }

    /// A move was refused: no more is played here.
    pub fn refused(&mut self, table: usize) {
        self.tables[table].over = true;
    }

    pub fn play(&mut self, from: u64, every: u64, until: u64) {
        (self.every, self.until) = (every, until);
        self.told_played = false;
        let len = self.tables.len() as u64;
        for (number, table) in self.tables.iter_mut().enumerate() {
            // As a golden-ratio sequence, so that neighbours in time are not neighbours in rooms.
            let share = (number as u64).wrapping_mul(0x9e37_79b9) % len.max(1);
            table.due = from + every * share / len.max(1);
            self.due.push(Reverse((table.due, number)));
        }
    }

    pub fn next_due(&self) -> Option<u64> {
        self.due.peek().map(|Reverse((due, _))| *due)
    }

    /// The next move that is due: table, mover, and what he says.
    pub fn due(
        &mut self,
        now: u64,
        conns: &[Conn],
        rooms: &HashMap<u32, Room>,
    ) -> Option<(usize, usize, String)> {
        loop {
            let &Reverse((due, number)) = self.due.peek()?;
            if due > now {
                return None;
            }
            self.due.pop();
            let table = &mut self.tables[number];
            let awaited = table.first + u32::try_from(table.ply).unwrap_or(u32::MAX);
            if now >= self.until || table.over {
                continue;
            }
            let games = self.dialect == Dialect::Rookery;
            if games && table.ply >= table.moves.len() {
                table.over = true;
                continue;
            }
            let mover = table.conns[table.ply % 2 % table.conns.len()];
            let conn = &conns[mover];
            // The mover has to have heard what came before.
            let heard = table.ply == 0 || conn.next == Some(awaited);
            if conn.stage != Stage::Ready {
                continue;
            }
            if !heard {
                table.late = true;
                continue;
            }
            table.ply += 1;
            table.due = (table.due + self.every).max(now.saturating_sub(LAG_MAX));
            self.due.push(Reverse((table.due, number)));
            let text = if games {
                let game = rooms.get(&table.room).and_then(|room| room.game.as_deref());
                format!(
                    r#"{{"type":"move","payload":{{"gameId":"{}","move":"{}","ply":{}}}}}"#,
                    game.unwrap_or_default(),
                    table.moves[table.ply - 1],
                    table.ply
                )
            } else {
                let event = event(awaited, self.event_len);
                match self.dialect {
                    Dialect::SocketIo => format!("{SOCKET_IO_EVENT}{event}]"),
                    _ => event,
                }
            };
            return Some((number, mover, text));
        }
    }

    /// Room and number of the event that the move just taken makes.
    pub fn moving(&self, table: usize) -> (u32, u32) {
        let table = &self.tables[table];
        let made = u32::try_from(table.ply - 1).unwrap_or(u32::MAX);
        (table.room, table.first + made)
    }

    /// Once, when everybody has his seat: the games by room.
    pub fn seated(
        &mut self,
        conns: &[Conn],
        rooms: &HashMap<u32, Room>,
    ) -> Option<Vec<(u32, String)>> {
        if self.told_seated || self.tables.is_empty() {
            return None;
        }
        let mut all = self.tables.iter().flat_map(|table| &table.conns);
        if !all.all(|conn| conns[*conn].stage == Stage::Ready) {
            return None;
        }
        self.told_seated = true;
        let game = |room: &u32| rooms.get(room).and_then(|room| room.game.clone());
        let games = self
            .tables
            .iter()
            .map(|table| (table.room, game(&table.room).unwrap_or_default()));
        Some(games.collect())
    }

    /// Once, when play is over and what was under way has come back: the last event of each room where there was one.
    pub fn finished(&mut self, now: u64) -> Option<Vec<(u32, u32)>> {
        if self.told_played || self.until == 0 || now < self.until {
            return None;
        }
        let back = |table: &Seated| {
            let made = u32::try_from(table.ply).unwrap_or(u32::MAX);
            made == 0
                || table.over
                || table
                    .heard
                    .is_some_and(|heard| heard + 1 >= table.first + made)
        };
        if now < self.until + IN_FLIGHT_MAX && !self.tables.iter().all(back) {
            return None;
        }
        self.told_played = true;
        self.due.clear();
        let last = self
            .tables
            .iter()
            .filter_map(|table| Some((table.room, table.heard?)));
        Some(last.collect())
    }
}

/// An event in the form of ours, padded to that length.
pub fn event(seq: u32, len: usize) -> String {
    let at = SystemTime::UNIX_EPOCH
        .elapsed()
        .map_or(0, |since| since.as_millis());
    let mut text = format!(r#"{{"seq":{seq},"at":{at},"type":"move","payload":{{"fen":""#);
    let end = r#""}}"#;
    while text.len() + end.len() < len {
        text.push('p');
    }
    text + end
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_has_the_length_asked_for() {
        let text = event(12, 200);
        assert_eq!(text.len(), 200);
        assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok());
    }
}
