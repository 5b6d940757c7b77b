//! One game's log, read strictly: numbers without a hole, time that never runs back, clocks that are right to the
//! millisecond, ends that are ends. What is legal on the board is left to others.

use super::Objection;
use serde_json::Value;

/// Time for each side's first move in a timed game, in milliseconds.
const FIRST_MOVE_MS: i64 = 30_000;
/// The same in an untimed one.
const UNTIMED_FIRST_MOVE_MS: i64 = 7 * 24 * 3_600_000;
/// Time for any later move in an untimed one.
const UNTIMED_MOVE_MS: i64 = 14 * 24 * 3_600_000;

/// A move that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stands {
    /// The event that made it.
    pub seq: u64,
    /// `e2e4`
    pub uci: String,
    /// `e4`
    pub san: String,
    /// When.
    pub at: i64,
    clock: Option<[i64; 2]>,
    fen: String,
}

/// What a log says of its game. Sides are 0 for White and 1 for Black.
#[derive(Debug, Clone)]
pub struct Record {
    /// The game.
    pub game: String,
    /// The players' user ids.
    pub users: [String; 2],
    /// Payload of `game_created`.
    pub created: Value,
    /// When it was.
    pub created_at: i64,
    /// Number of the next event.
    pub end: u64,
    /// The last event's time.
    pub last_at: i64,
    /// Moves that were not taken back.
    pub moves: Vec<Stands>,
    /// What each side had left at `clock_at`.
    pub clock: Option<[i64; 2]>,
    /// When.
    pub clock_at: i64,
    /// Open offers: of a draw, a takeback, a rematch.
    pub offers: [Option<usize>; 3],
    /// Payload of `game_over`, and its number.
    pub over: Option<(Value, u64)>,
    /// Payload of `rematch`.
    pub rematch: Option<Value>,
    control: Option<[i64; 2]>,
    first_move_ms: i64,
    start_fen: String,
    // The move just made ends the game, so the next event must say so.
    must_end: Option<&'static str>,
}

fn text<'a>(value: &'a Value, key: &str) -> Result<&'a str, Objection> {
    let found = value[key].as_str();
    found.ok_or_else(|| format!("no text {key} in {value}"))
}

fn number(value: &Value, key: &str) -> Result<i64, Objection> {
    let found = value[key].as_i64();
    found.ok_or_else(|| format!("no number {key} in {value}"))
}

fn reading(clock: &Value) -> Result<Option<[i64; 2]>, Objection> {
    if clock.is_null() {
        return Ok(None);
    }
    Ok(Some([number(clock, "whiteMs")?, number(clock, "blackMs")?]))
}

/// 0 for White, 1 for Black.
pub fn side(color: &Value) -> Option<usize> {
    match color.as_str() {
        Some("white") => Some(0),
        Some("black") => Some(1),
        _ => None,
    }
}

/// The event's number, time, type and payload.
pub fn parts(line: &str) -> Result<(u64, i64, String, Value), Objection> {
    let mut value: Value =
        serde_json::from_str(line).map_err(|error| format!("{error}: {line}"))?;
    let seq = value["seq"].as_u64().ok_or("an event without seq")?;
    let at = number(&value, "at")?;
    let kind = text(&value, "type")?.to_owned();
    Ok((seq, at, kind, value["payload"].take()))
}

macro_rules! demand {
    ($holds:expr, $($why:tt)*) => {
        if !$holds {
            return Err(format!($($why)*));
        }
    };
}

impl Record {
    /// Reads a whole log. What it read before the first objection is in the answer.
    pub fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> Result<Record, Objection> {
        let mut lines = lines.into_iter();
        let mut record = Record::begin(lines.next().ok_or("an empty log")?)?;
        for line in lines {
            let end = record.end;
            record
                .push(line)
                .map_err(|why| format!("game {} event {end}: {why}\n  {line}", record.game))?;
        }
        Ok(record)
    }

    /// A log's first event.
    pub fn begin(line: &str) -> Result<Record, Objection> {
        let (seq, at, kind, created) = parts(line)?;
        demand!(
            seq == 0 && kind == "game_created",
            "a log that begins with {line}"
        );
        let user = |key: &str| text(&created[key], "id").map(str::to_owned);
        let users = [user("whitePlayer")?, user("blackPlayer")?];
        demand!(users[0] != users[1], "{} plays himself", users[0]);
        let control = match &created["timeControl"] {
            Value::Null => None,
            control => Some([
                number(control, "initialMs")?,
                number(control, "incrementMs")?,
            ]),
        };
        let first_move_ms = if control.is_some() {
            FIRST_MOVE_MS
        } else {
            UNTIMED_FIRST_MOVE_MS
        };
        Ok(Record {
            game: text(&created, "gameId")?.to_owned(),
            users,
            created_at: at,
            end: 1,
            last_at: at,
            moves: Vec::new(),
            clock: control.map(|[initial, _]| [initial; 2]),
            clock_at: at,
            offers: [None; 3],
            over: None,
            rematch: None,
            control,
            first_move_ms,
            start_fen: text(&created, "fen")?.to_owned(),
            created,
            must_end: None,
        })
    }

    /// The side to move.
    pub fn turn(&self) -> usize {
        self.moves.len() % 2
    }

    /// The position on the board.
    pub fn fen(&self) -> &str {
        self.moves.last().map_or(&self.start_fen, |last| &last.fen)
    }

    /// The user's side.
    pub fn side_of(&self, user: &str) -> Option<usize> {
        self.users.iter().position(|id| id == user)
    }

    fn runs(&self) -> bool {
        self.clock.is_some() && self.moves.len() >= 2
    }

    /// When time runs out.
    pub fn deadline(&self) -> i64 {
        let ms = match self.clock {
            _ if self.moves.len() < 2 => self.first_move_ms,
            Some(clock) => clock[self.turn()],
            None => UNTIMED_MOVE_MS,
        };
        self.clock_at + ms
    }

    /// The next event.
    pub fn push(&mut self, line: &str) -> Result<(), Objection> {
        let (seq, at, kind, payload) = parts(line)?;
        demand!(seq == self.end, "event {} was due", self.end);
        demand!(at >= self.last_at, "time ran back from {}", self.last_at);
        demand!(
            text(&payload, "gameId")? == self.game,
            "another game's event"
        );
        if let Some(reason) = self.must_end {
            demand!(
                kind == "game_over" && payload["reason"] == reason,
                "the game was over by {reason}"
            );
            demand!(
                at == self.last_at,
                "the end came after the move that brought it"
            );
        }
        demand!(
            line.starts_with(&format!("{{\"seq\":{seq},")),
            "`seq` is not the first key"
        );
        match &self.over {
            Some(_) => self.after_the_end(&kind, payload)?,
            None => self.during(&kind, seq, at, payload)?,
        }
        self.end += 1;
        self.last_at = at;
        Ok(())
    }

    fn during(&mut self, kind: &str, seq: u64, at: i64, payload: Value) -> Result<(), Objection> {
        let late = at >= self.deadline();
        demand!(
            !late || matches!(kind, "game_over" | "clock_credited"),
            "time had run out at {}",
            self.deadline()
        );
        match kind {
            "move" => self.moved(seq, at, &payload),
            "draw_offered" => self.offered(0, &payload),
            "takeback_offered" => self.offered(1, &payload),
            "draw_declined" => self.declined(0, &payload),
            "takeback_declined" => self.declined(1, &payload),
            "takeback" => self.taken_back(at, &payload),
            "clock_credited" => self.credited(at, &payload),
            "game_over" => self.ended(seq, at, payload, late),
            _ => Err("not in a running game".into()),
        }
    }

    fn after_the_end(&mut self, kind: &str, payload: Value) -> Result<(), Objection> {
        demand!(self.rematch.is_none(), "after a rematch was agreed on");
        match kind {
            "rematch_offered" => self.offered(2, &payload),
            "rematch_declined" => self.declined(2, &payload),
            "rematch" => {
                demand!(self.offers[2].is_some(), "nobody offered a rematch");
                let seats = [
                    text(&payload["whitePlayer"], "id")?,
                    text(&payload["blackPlayer"], "id")?,
                ];
                demand!(
                    seats == [&self.users[1], &self.users[0]],
                    "colours do not change"
                );
                demand!(
                    payload["timeControl"] == self.created["timeControl"],
                    "other clocks"
                );
                self.offers[2] = None;
                self.rematch = Some(payload);
                Ok(())
            }
            _ => Err("the game was over".into()),
        }
    }

    fn moved(&mut self, seq: u64, at: i64, payload: &Value) -> Result<(), Objection> {
        let ply = self.moves.len() as i64 + 1;
        demand!(number(payload, "ply")? == ply, "ply {ply} was due");
        let (clock, turn) = (reading(&payload["clock"])?, self.turn());
        let mut due = self.clock;
        if let (true, Some(due), Some([_, increment])) = (self.runs(), &mut due, self.control) {
            due[turn] = due[turn] - (at - self.clock_at) + increment;
        }
        demand!(clock == due, "the clocks should show {due:?}");
        let (san, fen) = (text(&payload["move"], "san")?, text(payload, "fen")?);
        let fields: Vec<&str> = fen.split(' ').collect();
        demand!(
            fields.len() == 6 && fields[1] == ["b", "w"][turn],
            "the FEN has another side to move"
        );
        demand!(
            (payload["check"] == true) == san.ends_with(['+', '#']),
            "check is not what {san} says"
        );
        self.moves.push(Stands {
            seq,
            uci: text(&payload["move"], "uci")?.to_owned(),
            san: san.to_owned(),
            at,
            clock,
            fen: fen.to_owned(),
        });
        self.must_end = match fields[4].parse::<u32>() {
            _ if san.ends_with('#') => Some("checkmate"),
            _ if self.times_stood() >= 5 => Some("fivefold_repetition"),
            Ok(150..) => Some("seventyfive_moves"),
            Ok(_) => None,
            Err(_) => return Err("the FEN counts no half moves".into()),
        };
        self.turn_begins(at, clock);
        self.offers = [None; 3];
        Ok(())
    }

    /// How often this position has stood: same pieces, side to move, castling and en passant rights.
    fn times_stood(&self) -> usize {
        fn position(fen: &str) -> impl Iterator<Item = &str> {
            fen.split(' ').take(4)
        }
        let fens = self.moves.iter().map(|stands| stands.fen.as_str());
        let all = std::iter::once(self.start_fen.as_str()).chain(fens).rev();
        // No position stands again over a pawn move or a capture.
        let halfmoves = self
            .fen()
            .split(' ')
            .nth(4)
            .and_then(|count| count.parse().ok());
        all.take(halfmoves.unwrap_or(0) + 1)
            .filter(|fen| position(fen).eq(position(self.fen())))
            .count()
    }

    fn turn_begins(&mut self, at: i64, clock: Option<[i64; 2]>) {
        self.clock = clock;
        self.clock_at = at;
        self.first_move_ms = if self.control.is_some() {
            FIRST_MOVE_MS
        } else {
            UNTIMED_FIRST_MOVE_MS
        };
    }

    fn offered(&mut self, kind: usize, payload: &Value) -> Result<(), Objection> {
        let by = side(&payload["by"]).ok_or("no side")?;
        demand!(self.offers[kind].is_none(), "there is an open offer");
        self.offers[kind] = Some(by);
        Ok(())
    }

    fn declined(&mut self, kind: usize, payload: &Value) -> Result<(), Objection> {
        let by = side(&payload["by"]).ok_or("no side")?;
        demand!(
            self.offers[kind] == Some(1 - by),
            "the other side has no open offer"
        );
        self.offers[kind] = None;
        Ok(())
    }

    fn taken_back(&mut self, at: i64, payload: &Value) -> Result<(), Objection> {
        let by = self.offers[1].ok_or("nobody asked for a takeback")?;
        let back = if self.turn() == by { 2 } else { 1 };
        let left = self
            .moves
            .len()
            .checked_sub(back)
            .ok_or("nothing to take back")?;
        demand!(
            number(payload, "ply")? == left as i64,
            "{left} plies should be left"
        );
        self.moves.truncate(left);
        let initial = self.control.map(|[initial, _]| [initial; 2]);
        let due = self.moves.last().map_or(initial, |last| last.clock);
        demand!(
            reading(&payload["clock"])? == due,
            "the clocks should show {due:?}"
        );
        demand!(
            text(payload, "fen")? == self.fen(),
            "the position should be {}",
            self.fen()
        );
        self.turn_begins(at, due);
        self.offers = [None; 3];
        Ok(())
    }

    fn credited(&mut self, at: i64, payload: &Value) -> Result<(), Objection> {
        let (turn, ms, thought) = (self.turn(), number(payload, "ms")?, at - self.clock_at);
        demand!(
            side(&payload["color"]) == Some(turn),
            "credit for the side that does not think"
        );
        demand!(
            (0..=thought).contains(&ms),
            "more than the {thought} ms it has been thinking"
        );
        let mut due = self.clock.ok_or("credit in an untimed game")?;
        if self.runs() {
            due[turn] = (due[turn] - (thought - ms)).max(0);
        }
        demand!(
            reading(&payload["clock"])? == Some(due),
            "the clocks should show {due:?}"
        );
        self.first_move_ms = (self.first_move_ms - (thought - ms)).max(0);
        self.clock = Some(due);
        self.clock_at = at;
        Ok(())
    }

    fn ended(&mut self, seq: u64, at: i64, payload: Value, late: bool) -> Result<(), Objection> {
        let reason = text(&payload, "reason")?.to_owned();
        let (result, winner) = (text(&payload, "result")?, side(&payload["winner"]));
        let fits = match result {
            "1-0" => winner == Some(0),
            "0-1" => winner == Some(1),
            "1/2-1/2" | "*" => payload["winner"].is_null(),
            _ => false,
        };
        demand!(fits, "result and winner do not fit");
        let (turn, early) = (self.turn(), self.moves.len() < 2);
        let right = match reason.as_str() {
            "checkmate" => self.must_end == Some("checkmate") && winner == Some(1 - turn),
            "fivefold_repetition" | "seventyfive_moves" => {
                result == "1/2-1/2" && self.must_end.is_some()
            }
            "stalemate" | "insufficient_material" => result == "1/2-1/2",
            "threefold_repetition" => result == "1/2-1/2" && self.times_stood() >= 3,
            "fifty_moves" => {
                let halfmoves = self
                    .fen()
                    .split(' ')
                    .nth(4)
                    .and_then(|count| count.parse().ok());
                result == "1/2-1/2" && halfmoves >= Some(100)
            }
            "agreement" => result == "1/2-1/2" && self.offers[0].is_some(),
            "resignation" => winner.is_some(),
            "timeout" => late && !early && self.clock.is_some() && winner == Some(1 - turn),
            "timeout_insufficient_material" => {
                late && !early && self.clock.is_some() && result == "1/2-1/2"
            }
            // An untimed game lapses without a result; a claim against one who left has one.
            "abandonment" => !early && (result == "*") == late && !(late && self.clock.is_some()),
            "aborted" => early && result == "*",
            _ => return Err(format!("unknown reason {reason}")),
        };
        demand!(right, "the game cannot have ended so");
        let by_time = matches!(
            reason.as_str(),
            "timeout" | "timeout_insufficient_material" | "aborted" | "abandonment"
        );
        demand!(!late || by_time, "time had run out at {}", self.deadline());
        if let (true, Some(clock)) = (self.runs(), &mut self.clock) {
            clock[turn] = (clock[turn] - (at - self.clock_at)).max(0);
        }
        self.clock_at = at;
        self.must_end = None;
        self.offers = [None; 3];
        self.over = Some((payload, seq));
        Ok(())
    }

    /// Objections to a log that ends here.
    pub fn close(&self) -> Result<(), Objection> {
        match self.must_end {
            Some(reason) => Err(format!(
                "game {} was over by {reason}, and nobody said so",
                self.game
            )),
            None => Ok(()),
        }
    }
}
