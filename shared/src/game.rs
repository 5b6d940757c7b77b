//! A game as the fold of its events: `decide` says what a command would bring about, `apply` takes in what happened.
//! Storing, publishing and clocks on walls are left to others.
//!
//! What the gateway builds on (keep these names and shapes):
//!
//! ```text
//! Game::create(created: GameCreated, at: Timestamp) -> Event           // the first event, seq 0
//! Game::start(first: &Event) -> Result<Game, Misfit>                   // fold of the first event
//! game.apply(&mut self, event: &Event) -> Result<(), Misfit>           // seq must be the next; Misfit: Display
//! game.decide(&self, command: &Command, at: Timestamp) -> Result<Decision, Rejection>
//! game.next_deadline(&self) -> Option<Timestamp>                       // when CheckDeadline would do something
//! game.deadline_after(&self, events: &[Event]) -> Option<Timestamp>    // next_deadline() once these were applied, without cloning much
//! game.id() -> &GameId, player(Color) -> &Player, time_control() -> Option<TimeControl>, started_at() -> Timestamp
//! game.fen() -> String, moves() -> &[Played { uci: String, san: String, at: Timestamp, seq: Seq, clock: Option<ClockReading> }]
//! game.clock() -> Option<ClockReading>, clock_at() -> Timestamp        // the clocks stood so at this time
//! game.turn() -> Color, draw_offer()/takeback_offer()/rematch_offer() -> Option<Color>, rematch_game_id() -> Option<&GameId>
//! game.over() -> Option<&GameOver>, next_seq() -> Seq
//! game.pgn(tags…)                                                      // PGN of the game so far with %clk
//! ```
//!
//! `Color::ALL`, `Square: FromStr + Display`, `Move { from, to, promotion }: Display (UCI)`, `Role::letter()` are used too.

mod command;
mod event;

pub use command::{Action, Command, Decision, MoveInput, Rejection};
pub use event::{
    By, ClockCredited, ClockReading, CreditCause, Event, EventBody, EventError, GameCreated,
    GameOver, GameResult, MoveMade, Moved, Player, Reason, Rematch, Takeback, TimeControl,
};
