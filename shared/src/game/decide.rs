//! What a command brings about.
//!
//! Each command is looked at in the same order. First, is it the repetition of one that had its effect? Then it gets the
//! first answer again, even in a finished game. Then, is the game over, or has time run out that nobody has noticed? Only
//! then, is it right?

mod actions;
mod moves;

use super::clock::Expiry;
use super::{
    By, ClockCredited, Command, CreditCause, Decision, Event, EventBody, Finished, Game, GameOver,
    Outcome, Phase, Reason, Rejection,
};
use crate::game::clock::Timing;
use crate::{Color, Ply, Seq, Timestamp};

/// One offer of a kind per side in so many plies: an offer may not be used to disturb.
pub const OFFER_PLIES: Ply = 10;
/// A player must have been away for so long before the opponent may claim the win.
pub const ABSENCE_MS: i64 = 60_000;
/// So long after the end a rematch may be offered and accepted.
pub const REMATCH_MS: i64 = 10 * 60 * 1000;
/// So many rematches a side may offer after one game: a refusal may be asked twice to be thought over.
pub const REMATCH_OFFERS_MAX: usize = 3;
/// Most events a log may hold. Every event costs memory on every node that shows the room.
pub const LOG_EVENTS_MAX: Seq = 10_000;
/// The last events of a log, kept for the end: once only so many are free, a running game takes nothing but what ends it.
/// The end itself takes two, offers of a rematch and their answers thirteen.
pub const LOG_EVENTS_RESERVED: Seq = 16;

/// Why a command is not carried out.
enum Stop {
    /// It is refused.
    Refused(Rejection),
    /// It comes too late: time has run out, which nobody has said yet.
    Expired(Expiry),
    /// It had its effect before.
    Already(Seq),
}

impl From<Rejection> for Stop {
    fn from(rejection: Rejection) -> Self {
        Self::Refused(rejection)
    }
}

/// The events that a command brings about.
type Effect = Result<Vec<EventBody>, Stop>;

impl Game {
    /// What a command brings about when it arrives at `at`, or why it is refused.
    ///
    /// An earlier `at` than the last event's counts as that. Nothing changes until the events are applied.
    ///
    /// # Errors
    /// The [`Rejection`] that answers the asker.
    pub fn decide(&self, command: &Command, at: Timestamp) -> Result<Decision, Rejection> {
        let at = at.max(self.last_at);
        let effect = match command {
            Command::Move { by, mv, ply, seen } => self.decide_move(*by, mv, *ply, *seen, at),
            Command::Act { by, action, offer } => self.decide_action(*by, action, *offer, at),
            Command::CheckDeadline => return Ok(self.decide_deadline(at)),
            Command::ServerAbort => self.decide_server_abort(),
            Command::CreditClock { ms } => return Ok(self.decide_credit(*ms, at)),
        };
        match effect.and_then(|bodies| self.within_log(bodies)) {
            Ok(bodies) => Ok(Decision::Append {
                events: self.events(at, bodies),
                refused: None,
            }),
            Err(Stop::Already(seq)) => Ok(Decision::Already { seq }),
            Err(Stop::Refused(rejection)) => Err(rejection),
            Err(Stop::Expired(expiry)) => Ok(Decision::Append {
                events: self.events(at, vec![self.expired(expiry)]),
                refused: Some(Rejection::GameOver),
            }),
        }
    }

    fn decide_deadline(&self, at: Timestamp) -> Decision {
        match &self.phase {
            Phase::Running(timing) => match timing.expired(at) {
                Some(expiry) => Decision::Append {
                    events: self.events(at, vec![self.expired(expiry)]),
                    refused: None,
                },
                None => Decision::Nothing,
            },
            Phase::Finished(_) => Decision::Nothing,
        }
    }

    fn decide_server_abort(&self) -> Effect {
        match &self.phase {
            Phase::Running(_) => Ok(vec![self.game_over(Outcome::unknown(Reason::Aborted))]),
            Phase::Finished(finished) if finished.over.reason == Reason::Aborted => {
                Err(Stop::Already(finished.seq))
            }
            Phase::Finished(_) => Err(Rejection::GameOver.into()),
        }
    }

    /// A credit too small to matter, or in a game without running time, is nothing to do.
    fn decide_credit(&self, ms: i64, at: Timestamp) -> Decision {
        let Phase::Running(timing) = &self.phase else {
            return Decision::Nothing;
        };
        let Some((ms, clock)) = timing.credit(at, ms) else {
            return Decision::Nothing;
        };
        let credited = EventBody::ClockCredited(ClockCredited {
            game_id: self.id.clone(),
            color: self.turn(),
            ms,
            clock: Some(clock),
            cause: CreditCause::Outage,
        });
        match self.within_log(vec![credited]) {
            Ok(bodies) => Decision::Append {
                events: self.events(at, bodies),
                refused: None,
            },
            Err(_) => Decision::Nothing,
        }
    }

    /// The running game's time, if there is some left at this moment.
    fn running(&self, at: Timestamp) -> Result<&Timing, Stop> {
        match &self.phase {
            Phase::Finished(_) => Err(Rejection::GameOver.into()),
            Phase::Running(timing) => match timing.expired(at) {
                Some(expiry) => Err(Stop::Expired(expiry)),
                None => Ok(timing),
            },
        }
    }

    /// The finished game, if it ended for this reason.
    fn ended_by(&self, reason: Reason) -> Option<&Finished> {
        match &self.phase {
            Phase::Finished(finished) if finished.over.reason == reason => Some(finished),
            _ => None,
        }
    }

    /// Lets through what the log has room for.
    fn within_log(&self, bodies: Vec<EventBody>) -> Effect {
        let end = self.next_seq.saturating_add(bodies.len() as Seq);
        let ends = bodies
            .iter()
            .any(|body| matches!(body, EventBody::GameOver(_)));
        let limit = match &self.phase {
            Phase::Running(_) if !ends => LOG_EVENTS_MAX - LOG_EVENTS_RESERVED,
            _ => LOG_EVENTS_MAX,
        };
        if end <= limit {
            Ok(bodies)
        } else {
            Err(Rejection::TooLate("the game's log is full: it can only be ended".into()).into())
        }
    }

    fn events(&self, at: Timestamp, bodies: Vec<EventBody>) -> Vec<Event> {
        (self.next_seq..)
            .zip(bodies)
            .map(|(seq, body)| Event { seq, at, body })
            .collect()
    }

    fn expired(&self, expiry: Expiry) -> EventBody {
        self.game_over(Outcome::expired(self.position(), expiry))
    }

    fn game_over(&self, outcome: Outcome) -> EventBody {
        let Outcome {
            result,
            winner,
            reason,
        } = outcome;
        EventBody::GameOver(GameOver {
            game_id: self.id.clone(),
            result,
            winner,
            reason,
        })
    }

    fn by(&self, by: Color) -> By {
        By {
            game_id: self.id.clone(),
            by,
        }
    }
}
