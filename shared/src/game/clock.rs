//! Whose time runs, and until when.
//!
//! Plies 1 and 2 cost no time and earn no increment; the clock runs from ply 2 on, for the side to move, from the `at`
//! of the last move. Before that, and in untimed games, other limits end a game that nobody plays. Nothing here asks what
//! time it is: a moment is an argument, and a clock that has run out says so of any moment at or after its deadline.

use super::{ClockReading, EventBody, TimeControl};
use crate::{Color, Ply, Timestamp};

/// The first move of a side may take this long before the game is aborted: the opponent has probably gone.
pub const FIRST_MOVE_MS: i64 = 30_000;
/// The same in an untimed game, which may be played by letter.
pub const UNTIMED_FIRST_MOVE_MS: i64 = 7 * DAY_MS;
/// An untimed game in which nobody moves for so long ends without a result.
pub const UNTIMED_MOVE_MS: i64 = 14 * DAY_MS;
/// Plies that cost no time and earn no increment; also, before them a player may abort.
pub const FREE_PLIES: Ply = 2;
/// A credit below this is not worth an event. It also keeps two nodes that saw the same outage from giving it twice:
/// after the first credit hardly any lost time is left.
pub const CREDIT_MS_MIN: i64 = 100;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

impl ClockReading {
    /// What this side has left, in milliseconds.
    #[must_use]
    pub const fn of(self, color: Color) -> i64 {
        match color {
            Color::White => self.white_ms,
            Color::Black => self.black_ms,
        }
    }

    /// The same reading with another value for one side.
    #[must_use]
    pub const fn with(mut self, color: Color, ms: i64) -> Self {
        match color {
            Color::White => self.white_ms = ms,
            Color::Black => self.black_ms = ms,
        }
        self
    }
}

impl TimeControl {
    /// Both clocks before the first move.
    #[must_use]
    pub const fn start(self) -> ClockReading {
        ClockReading {
            white_ms: self.initial_ms,
            black_ms: self.initial_ms,
        }
    }
}

/// What runs out at a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    /// The clock of the side to move.
    Flag,
    /// The time for a side's first move.
    FirstMove,
    /// Two weeks of an untimed game.
    Abandoned,
}

/// All about time in a running game. Small and copied, to see what deadline some events would bring.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Timing {
    control: Option<TimeControl>,
    /// Who makes ply 1.
    first: Color,
    plies: Ply,
    /// Both clocks as they stood at `since`; none if untimed.
    reading: Option<ClockReading>,
    /// From when the side to move has been thinking, or when it was last given time back.
    since: Timestamp,
    /// Time for a side's first move that was left at `since`.
    first_move_ms: i64,
}

impl Timing {
    pub fn new(control: Option<TimeControl>, first: Color, at: Timestamp) -> Self {
        let first_move_ms = if control.is_some() {
            FIRST_MOVE_MS
        } else {
            UNTIMED_FIRST_MOVE_MS
        };
        Self {
            control,
            first,
            plies: 0,
            reading: control.map(TimeControl::start),
            since: at,
            first_move_ms,
        }
    }

    pub const fn turn(&self) -> Color {
        if self.plies.is_multiple_of(2) {
            self.first
        } else {
            self.first.other()
        }
    }

    pub const fn reading(&self) -> Option<ClockReading> {
        self.reading
    }

    pub const fn since(&self) -> Timestamp {
        self.since
    }

    /// Do the clocks run already?
    const fn runs(&self) -> bool {
        self.reading.is_some() && self.plies >= FREE_PLIES
    }

    /// Both clocks at a later moment, never below zero.
    pub fn reading_at(&self, at: Timestamp) -> Option<ClockReading> {
        let reading = self.reading?;
        if !self.runs() {
            return Some(reading);
        }
        let left = reading.of(self.turn()).saturating_sub(at.since(self.since));
        Some(reading.with(self.turn(), left.max(0)))
    }

    /// Both clocks after a move of the side to move at this moment, increment included.
    pub fn reading_after_move(&self, at: Timestamp) -> Option<ClockReading> {
        let (reading, control) = (self.reading_at(at)?, self.control?);
        if self.plies < FREE_PLIES {
            return Some(reading);
        }
        let ms = reading.of(self.turn()).saturating_add(control.increment_ms);
        Some(reading.with(self.turn(), ms))
    }

    /// How much of lost time can be given back to the side to move, and both clocks then.
    ///
    /// Never more than it has been thinking, so no clock exceeds what it showed when the turn began.
    pub fn credit(&self, at: Timestamp, ms: i64) -> Option<(i64, ClockReading)> {
        let thinking_ms = at.since(self.since);
        let ms = ms.min(thinking_ms);
        let reading = self.reading?;
        if ms < CREDIT_MS_MIN {
            return None;
        }
        let left = if self.runs() {
            // Not by way of `reading_at`: the flag may have fallen in the time that is given back.
            reading
                .of(self.turn())
                .saturating_sub(thinking_ms - ms)
                .max(0)
        } else {
            reading.of(self.turn())
        };
        Some((ms, reading.with(self.turn(), left)))
    }

    /// Takes in an event that concerns time. The clocks are taken from it as they stand there.
    pub fn apply(&mut self, at: Timestamp, body: &EventBody) {
        match body {
            EventBody::Move(moved) => {
                self.plies = self.plies.saturating_add(1);
                self.turn_begins(at, moved.clock);
            }
            EventBody::Takeback(takeback) => {
                self.plies = takeback.ply;
                self.turn_begins(at, takeback.clock);
            }
            EventBody::ClockCredited(credited) => {
                let used_ms = at.since(self.since).saturating_sub(credited.ms).max(0);
                self.first_move_ms = self.first_move_ms.saturating_sub(used_ms).max(0);
                self.reading = credited.clock;
                self.since = at;
            }
            _ => {}
        }
    }

    fn turn_begins(&mut self, at: Timestamp, reading: Option<ClockReading>) {
        *self = Self {
            plies: self.plies,
            reading,
            ..Self::new(self.control, self.first, at)
        };
    }

    /// What runs out next, and when.
    fn next(&self) -> (Timestamp, Expiry) {
        let (ms, expiry) = match self.reading {
            _ if self.plies < FREE_PLIES => (self.first_move_ms, Expiry::FirstMove),
            Some(reading) => (reading.of(self.turn()), Expiry::Flag),
            None => (UNTIMED_MOVE_MS, Expiry::Abandoned),
        };
        (self.since.plus_ms(ms), expiry)
    }

    pub fn deadline(&self) -> Timestamp {
        self.next().0
    }

    /// What has run out at this moment.
    pub fn expired(&self, at: Timestamp) -> Option<Expiry> {
        let (deadline, expiry) = self.next();
        (at >= deadline).then_some(expiry)
    }
}
