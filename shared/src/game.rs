//! A game as the fold of its events: `decide` says what a command would bring about, `apply` takes in what happened.
//! Storing, publishing and clocks on walls are left to others.
//!
//! ```text
//! let event = Game::create(created, at);              // seq 0
//! let mut game = Game::start(&event)?;
//! match game.decide(&command, at)? {
//!     Decision::Append { events, .. } => for event in &events { game.apply(event)? }
//!     …
//! }
//! ```
//!
//! The fold is pure: the same events give the same game on every node, in every release. Time comes in with the command,
//! never earlier than the last event; a command stamped at or after a deadline finds the game ended by it.

mod apply;
mod clock;
mod command;
mod decide;
mod event;
mod offers;
mod outcome;
mod played;
mod record;

pub use apply::Misfit;
pub use clock::{FIRST_MOVE_MS, FREE_PLIES, UNTIMED_FIRST_MOVE_MS, UNTIMED_MOVE_MS};
pub use command::{Action, Command, Decision, MoveInput, Rejection};
pub use decide::{
    ABSENCE_MS, LOG_EVENTS_MAX, LOG_EVENTS_RESERVED, OFFER_PLIES, REMATCH_MS, REMATCH_OFFERS_MAX,
};
pub use event::{
    By, ClockCredited, ClockReading, CreditCause, Event, EventBody, EventError, GameCreated,
    GameOver, GameResult, MoveMade, Moved, Player, Reason, Rematch, Takeback, TimeControl,
};
pub use outcome::{FIFTY_MOVES, FIVEFOLD, Outcome, SEVENTYFIVE_MOVES, THREEFOLD};
pub use played::Played;

use crate::rules::Position;
use crate::{Color, GameId, Ply, Seq, Timestamp};
use clock::Timing;
use offers::Offers;
use played::Line;

/// The state of a game after some events of its log.
#[derive(Clone, Debug, PartialEq)]
pub struct Game {
    id: GameId,
    players: [Player; 2],
    time_control: Option<TimeControl>,
    is_unlisted: bool,
    started_at: Timestamp,
    last_at: Timestamp,
    next_seq: Seq,
    line: Line,
    draws: Offers,
    takebacks: Offers,
    /// Each takeback: its event, and how many plies it left.
    taken_back: Vec<(Seq, Ply)>,
    phase: Phase,
}

/// What only a running game has, and what only a finished one.
#[derive(Clone, Debug, PartialEq)]
enum Phase {
    Running(Timing),
    Finished(Finished),
}

/// A finished game. Its clocks stand.
#[derive(Clone, Debug, PartialEq)]
struct Finished {
    over: GameOver,
    seq: Seq,
    at: Timestamp,
    clock: Option<ClockReading>,
    rematches: Offers,
    /// The next game, and the event that agreed on it.
    rematch: Option<(GameId, Seq)>,
}

impl Finished {
    fn new(over: GameOver, seq: Seq, at: Timestamp, timing: &Timing) -> Self {
        let clock = timing.reading_at(at);
        Self {
            over,
            seq,
            at,
            clock,
            rematches: Offers::default(),
            rematch: None,
        }
    }
}

impl Game {
    /// The first event of a log.
    #[must_use]
    pub fn create(created: GameCreated, at: Timestamp) -> Event {
        Event {
            seq: 0,
            at,
            body: EventBody::GameCreated(created),
        }
    }

    /// The game's id.
    #[must_use]
    pub const fn id(&self) -> &GameId {
        &self.id
    }

    /// Who has this side.
    #[must_use]
    pub const fn player(&self, color: Color) -> &Player {
        &self.players[color.index()]
    }

    /// The clocks' setting; none if untimed.
    #[must_use]
    pub const fn time_control(&self) -> Option<TimeControl> {
        self.time_control
    }

    /// Whether the game is private: not listed, and watchable by its link.
    #[must_use]
    pub const fn is_unlisted(&self) -> bool {
        self.is_unlisted
    }

    /// When the game was created.
    #[must_use]
    pub const fn started_at(&self) -> Timestamp {
        self.started_at
    }

    /// The position on the board.
    #[must_use]
    pub fn position(&self) -> &Position {
        self.line.position()
    }

    /// The position on the board as FEN.
    #[must_use]
    pub fn fen(&self) -> String {
        self.position().fen()
    }

    /// The moves that stand, in order.
    #[must_use]
    pub fn moves(&self) -> &[Played] {
        self.line.played()
    }

    /// How many moves stand.
    #[must_use]
    pub fn plies(&self) -> Ply {
        // A log holds 10,000 events.
        self.line.played().len() as Ply
    }

    /// The side to move; in a finished game, the one that would be.
    #[must_use]
    pub fn turn(&self) -> Color {
        self.position().turn()
    }

    /// Both clocks as they stood at [`clock_at`](Self::clock_at); none if untimed. In a running game the side to move
    /// has been using its own since then, once two moves are made.
    #[must_use]
    pub const fn clock(&self) -> Option<ClockReading> {
        match &self.phase {
            Phase::Running(timing) => timing.reading(),
            Phase::Finished(finished) => finished.clock,
        }
    }

    /// When the clocks stood as [`clock`](Self::clock) says: the last move, takeback or credit, or the end.
    #[must_use]
    pub const fn clock_at(&self) -> Timestamp {
        match &self.phase {
            Phase::Running(timing) => timing.since(),
            Phase::Finished(finished) => finished.at,
        }
    }

    /// The side whose draw offer is open.
    #[must_use]
    pub fn draw_offer(&self) -> Option<Color> {
        self.draws.open()
    }

    /// The side that asks to take its last move back.
    #[must_use]
    pub fn takeback_offer(&self) -> Option<Color> {
        self.takebacks.open()
    }

    /// The side that offers another game.
    #[must_use]
    pub fn rematch_offer(&self) -> Option<Color> {
        match &self.phase {
            Phase::Running(_) => None,
            Phase::Finished(finished) => finished.rematches.open(),
        }
    }

    /// The next game, once agreed.
    #[must_use]
    pub fn rematch_game_id(&self) -> Option<&GameId> {
        match &self.phase {
            Phase::Running(_) => None,
            Phase::Finished(finished) => finished.rematch.as_ref().map(|(id, _)| id),
        }
    }

    /// How the game ended, if it has.
    #[must_use]
    pub const fn over(&self) -> Option<&GameOver> {
        match &self.phase {
            Phase::Running(_) => None,
            Phase::Finished(finished) => Some(&finished.over),
        }
    }

    /// The number the next event will have.
    #[must_use]
    pub const fn next_seq(&self) -> Seq {
        self.next_seq
    }

    /// The time of the last event. No later event is earlier.
    #[must_use]
    pub const fn last_at(&self) -> Timestamp {
        self.last_at
    }

    /// From when on [`Command::CheckDeadline`] would end the game, if nothing else happens; none for a finished game.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Timestamp> {
        self.deadline_after(&[])
    }

    /// What [`next_deadline`](Self::next_deadline) would be once these events were applied, without applying them.
    #[must_use]
    pub fn deadline_after(&self, events: &[Event]) -> Option<Timestamp> {
        let Phase::Running(mut timing) = self.phase else {
            return None;
        };
        for event in events {
            if matches!(event.body, EventBody::GameOver(_)) {
                return None;
            }
            timing.apply(event.at, &event.body);
        }
        Some(timing.deadline())
    }
}
