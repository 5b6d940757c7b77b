//! A game as a client understands it: a position folded from what the server says, and every claim of the server checked.

use serde_json::Value;
use shared::{
    Color,
    game::{ClockReading, Event, EventBody, EventError, Moved, TimeControl},
    notation::{San, uci},
    rules::Position,
};

/// One game on a client's screen.
#[derive(Debug, Clone)]
pub struct Board {
    game: String,
    /// UCI and SAN of every move.
    moves: Vec<(String, String)>,
    /// Before the first move, and after each.
    positions: Vec<Position>,
    control: Option<TimeControl>,
    clock: Option<ClockReading>,
    /// When the side to move began to think.
    since: i64,
    last_at: i64,
    is_over: bool,
    /// An event came that this client does not know: it sees no further.
    is_strange: bool,
}

impl Board {
    /// Takes a whole snapshot.
    pub fn of_snapshot(payload: &Value) -> Result<Board, String> {
        let text = |key: &str| {
            payload[key]
                .as_str()
                .map(str::to_owned)
                .ok_or(format!("no {key}"))
        };
        let control: Option<TimeControl> =
            serde_json::from_value(payload["timeControl"].clone()).map_err(|e| e.to_string())?;
        let clock: Option<ClockReading> =
            serde_json::from_value(payload["clock"].clone()).map_err(|e| e.to_string())?;
        let mut board = Board {
            game: text("gameId")?,
            moves: Vec::new(),
            positions: vec![Position::initial()],
            control,
            clock,
            since: payload["clockAt"].as_i64().ok_or("no clockAt")?,
            last_at: payload["startedAt"].as_i64().ok_or("no startedAt")?,
            is_over: payload["status"] == "finished",
            is_strange: false,
        };
        for played in payload["moves"].as_array().ok_or("no moves")? {
            let [uci, san] = ["uci", "san"].map(|key| played[key].as_str().unwrap_or_default());
            board.push(uci, san)?;
            let at = played["at"].as_i64().ok_or("a move without a time")?;
            board.goes_on(at)?;
        }
        let (shown, folded) = (text("fen")?, board.fen());
        if shown != folded {
            return Err(format!("fen {shown} but its moves lead to {folded}"));
        }
        if text("turn")? != board.position().turn().to_string() {
            return Err("turn is not the position's".into());
        }
        if clock.is_some() != control.is_some() {
            return Err("a clock without a time control, or the other way round".into());
        }
        for key in ["result", "reason"] {
            if payload[key].is_null() == board.is_over {
                return Err(format!("status and {key} do not agree"));
            }
        }
        Ok(board)
    }

    /// Takes the next event, as it was sent.
    pub fn apply(&mut self, text: &str) -> Result<(), String> {
        if self.is_strange {
            return Ok(());
        }
        let event = match Event::decode(text.as_bytes()) {
            Ok(event) => event,
            Err(EventError::UnknownType { .. }) => {
                self.is_strange = true;
                return Ok(());
            }
            Err(error) => return Err(error.to_string()),
        };
        let before = self.last_at;
        self.goes_on(event.at.0)?;
        let about_the_next = matches!(
            event.body,
            EventBody::RematchOffered(_) | EventBody::RematchDeclined(_) | EventBody::Rematch(_)
        );
        if about_the_next != self.is_over {
            return Err(format!(
                "the game is over: {}, yet this event",
                self.is_over
            ));
        }
        match &event.body {
            EventBody::GameCreated(_) => Err("created twice".into()),
            EventBody::Move(moved) => self.moved(event.at.0, moved),
            EventBody::Takeback(back) => {
                let left = back.ply as usize;
                if left >= self.moves.len() {
                    return Err("a takeback that takes nothing back".into());
                }
                self.moves.truncate(left);
                self.positions.truncate(left + 1);
                self.clock = back.clock;
                self.since = event.at.0;
                self.stands_at(&back.fen)
            }
            EventBody::ClockCredited(credit) => {
                let color = credit.color;
                let (had, has) = (
                    self.clock.map(|clock| clock.of(color)),
                    credit.clock.map(|clock| clock.of(color)),
                );
                let thought = event.at.0 - self.since;
                if color != self.position().turn() || credit.ms > thought || has > had {
                    return Err(format!("credit of {} ms after {thought} ms", credit.ms));
                }
                self.clock = credit.clock;
                self.since = event.at.0;
                Ok(())
            }
            EventBody::GameOver(_) => {
                self.is_over = true;
                Ok(())
            }
            _ => Ok(()),
        }
        .map_err(|why| format!("{why} (the event before was at {before})"))
    }

    /// Half moves on the board.
    pub fn plies(&self) -> usize {
        self.moves.len()
    }

    /// The position.
    pub fn position(&self) -> &Position {
        self.positions.last().expect("the first one stays")
    }

    /// Its FEN.
    pub fn fen(&self) -> String {
        self.position().fen()
    }

    /// SAN of all moves.
    pub fn sans(&self) -> Vec<String> {
        self.moves.iter().map(|(_, san)| san.clone()).collect()
    }

    /// Whether the game has ended.
    pub fn is_over(&self) -> bool {
        self.is_over
    }

    /// What both had when the side to move began to think.
    pub fn clock(&self) -> Option<ClockReading> {
        self.clock
    }

    fn moved(&mut self, at: i64, moved: &Moved) -> Result<(), String> {
        if moved.ply as usize != self.moves.len() + 1 {
            return Err(format!("ply {} after {}", moved.ply, self.moves.len()));
        }
        let due = self.clock_after_move(at);
        if moved.clock != due {
            let was = self.clock;
            return Err(format!("clock {:?}, due {due:?}, was {was:?}", moved.clock));
        }
        self.push(&moved.mv.uci, &moved.mv.san)?;
        let (from, to) = moved.mv.uci.split_at_checked(2).ok_or("no uci")?;
        if moved.mv.from != from || !to.starts_with(&moved.mv.to) {
            return Err("from and to are not uci's".into());
        }
        if moved.check != self.position().is_check() {
            return Err("check or no check".into());
        }
        self.clock = moved.clock;
        self.since = at;
        self.stands_at(&moved.fen)
    }

    /// Plies 1 and 2 cost nothing and earn nothing; from then on the mover pays for his thinking and gets his increment.
    fn clock_after_move(&self, at: i64) -> Option<ClockReading> {
        let (clock, control) = (self.clock?, self.control?);
        if self.moves.len() < 2 {
            return Some(clock);
        }
        let mover: Color = self.position().turn();
        let left = (clock.of(mover) - (at - self.since)).max(0) + control.increment_ms;
        Some(clock.with(mover, left))
    }

    fn push(&mut self, uci: &str, san: &str) -> Result<(), String> {
        let before = self.position();
        let mv = uci::parse(uci).map_err(|_| format!("{uci:?} is no move"))?;
        let after = before
            .play(mv)
            .map_err(|_| format!("{uci} is illegal in {}", before.fen()))?;
        let spelt = San::of(before, mv, &after).to_string();
        if spelt != san {
            return Err(format!("{uci} is {spelt}, not {san}"));
        }
        self.moves.push((uci.to_owned(), san.to_owned()));
        self.positions.push(after);
        Ok(())
    }

    fn stands_at(&self, fen: &str) -> Result<(), String> {
        let folded = self.fen();
        if folded == fen {
            Ok(())
        } else {
            Err(format!("fen {fen}, folded {folded} in {}", self.game))
        }
    }

    fn goes_on(&mut self, at: i64) -> Result<(), String> {
        if at < self.last_at {
            return Err(format!("time runs back from {} to {at}", self.last_at));
        }
        self.last_at = at;
        Ok(())
    }
}
