//! Moves, and draws claimed with or without one.

use super::{Effect, Stop};
use crate::game::{EventBody, Game, MoveInput, MoveMade, Moved, Outcome, Phase, Reason, Rejection};
use crate::notation::{San, SanError, parse_move};
use crate::rules::{Move, Position, Role};
use crate::{Color, Ply, Seq, Timestamp};

impl Game {
    pub(super) fn decide_move(
        &self,
        by: Color,
        input: &MoveInput,
        ply: Option<Ply>,
        seen: Option<Seq>,
        at: Timestamp,
    ) -> Effect {
        let next = self.plies() + 1;
        let ply = ply.unwrap_or_else(|| self.meant_ply(by, input, seen));
        if self.is_taken_back(ply, seen) {
            return Err(Rejection::StalePly(format!("ply {ply} was taken back")).into());
        }
        if ply < next {
            return Err(self.repeated_move(by, input, ply));
        }
        let timing = self.running(at)?;
        if by != timing.turn() {
            return Err(Rejection::NotYourTurn.into());
        }
        if ply > next {
            return Err(Rejection::StalePly(format!("ply {next} is due")).into());
        }
        let (moved, position) = self.make(input, at)?;
        let mut effect = vec![moved];
        if let Some(outcome) = Outcome::automatic(&position, self.line.times_stood_after(&position))
        {
            effect.push(self.game_over(outcome));
        }
        Ok(effect)
    }

    /// A claim without a move is about the position on the board; with one, about the position after it (FIDE 9.2, 9.3).
    /// Only the side to move may claim. A move comes into the log only if the claim is right.
    pub(super) fn decide_claim(
        &self,
        by: Color,
        input: Option<&MoveInput>,
        at: Timestamp,
    ) -> Effect {
        if let Some(seq) = self.repeated_claim(by, input) {
            return Err(Stop::Already(seq));
        }
        let timing = self.running(at)?;
        let refuse = |why: &str| Err(Rejection::NoClaim(why.into()).into());
        if by != timing.turn() {
            return refuse("only the side to move can claim a draw");
        }
        let Some(input) = input else {
            return match Outcome::claimable(self.position(), self.line.times_stood()) {
                Some(outcome) => Ok(vec![self.game_over(outcome)]),
                None => {
                    refuse("the position has not stood three times, nor have fifty moves passed")
                }
            };
        };
        let (moved, position) = self.make(input, at)?;
        let times = self.line.times_stood_after(&position);
        match Outcome::claimable(&position, times) {
            // A mate on the fiftieth move wins, and so on: what ends the game at once goes before the claim.
            Some(claimed) => {
                let outcome = Outcome::automatic(&position, times).unwrap_or(claimed);
                Ok(vec![moved, self.game_over(outcome)])
            }
            None => refuse(
                "that move brings neither the position for the third time nor the fiftieth move",
            ),
        }
    }

    /// The ply a request without one means: the asker's first after the last event he had seen, else the next. But one
    /// that names his own last move again, when it is not his turn, is taken for a repetition.
    fn meant_ply(&self, by: Color, input: &MoveInput, seen: Option<Seq>) -> Ply {
        let played = self.moves();
        let first = self.line.start().turn();
        let own = |ply: Ply| {
            if (ply % 2 == 1) == (by == first) {
                ply
            } else {
                ply + 1
            }
        };
        if let Some(seen) = seen {
            return own(played.partition_point(|played| played.seq <= seen) as Ply + 1);
        }
        let next = self.plies() + 1;
        if by != self.turn() && next > 1 && self.stands(input, next - 1) {
            next - 1
        } else {
            next
        }
    }

    /// Was this ply withdrawn after the event the asker had seen last?
    fn is_taken_back(&self, ply: Ply, seen: Option<Seq>) -> bool {
        seen.is_some_and(|seen| {
            self.taken_back
                .iter()
                .rev()
                .take_while(|(seq, _)| *seq > seen)
                .any(|(_, left)| *left < ply)
        })
    }

    /// The answer to a request for a ply that has been played.
    fn repeated_move(&self, by: Color, input: &MoveInput, ply: Ply) -> Stop {
        let Some(played) = ply
            .checked_sub(1)
            .and_then(|index| self.moves().get(index as usize))
        else {
            return Rejection::StalePly("plies are counted from 1".into()).into();
        };
        let mover = if ply % 2 == 1 {
            self.line.start().turn()
        } else {
            self.line.start().turn().other()
        };
        if by != mover {
            Rejection::NotYourTurn.into()
        } else if self.stands(input, ply) {
            Stop::Already(played.seq)
        } else {
            Rejection::StalePly(format!("ply {ply} is {}", played.san)).into()
        }
    }

    /// Is this the move that stands at a ply that has been played?
    fn stands(&self, input: &MoveInput, ply: Ply) -> bool {
        let before = ply as usize - 1;
        self.moves().get(before).is_some_and(|played| match input {
            MoveInput::Squares(mv) => {
                (mv.from, mv.to) == (played.uci.from, played.uci.to)
                    && (played.uci.promotion.is_none() || mv.promotion == played.uci.promotion)
            }
            MoveInput::Text(text) => {
                text == played.san.as_str()
                    || read(&self.line.position_after(before), input)
                        .is_ok_and(|mv| mv == played.uci)
            }
        })
    }

    /// The event that a claim repeats: the first of those that the right claim brought about.
    fn repeated_claim(&self, by: Color, input: Option<&MoveInput>) -> Option<Seq> {
        let Phase::Finished(finished) = &self.phase else {
            return None;
        };
        let claimed = matches!(
            finished.over.reason,
            Reason::ThreefoldRepetition | Reason::FiftyMoves
        );
        let with_move = self
            .moves()
            .last()
            .is_some_and(|last| last.seq + 1 == finished.seq);
        match input {
            None => (claimed && by == self.turn()).then_some(finished.seq),
            Some(input) => (with_move && by != self.turn() && self.stands(input, self.plies()))
                .then_some(finished.seq - 1),
        }
    }

    /// The event of a move of the side to move, and the position after it.
    fn make(&self, input: &MoveInput, at: Timestamp) -> Result<(EventBody, Position), Rejection> {
        let before = self.position();
        let mv = read(before, input).map_err(|error| Rejection::IllegalMove(error.to_string()))?;
        let position = before.play_legal(mv);
        let san = San::of(before, mv, &position);
        let clock = match &self.phase {
            Phase::Running(timing) => timing.reading_after_move(at),
            Phase::Finished(finished) => finished.clock,
        };
        let moved = EventBody::Move(Moved {
            game_id: self.id.clone(),
            ply: self.plies() + 1,
            mv: MoveMade::new(mv, san.to_string()),
            fen: position.fen(),
            clock,
            check: position.is_check(),
        });
        Ok((moved, position))
    }
}

/// The legal move that a player means. A promotion on a move that is none is ignored.
fn read(position: &Position, input: &MoveInput) -> Result<Move, SanError> {
    match input {
        MoveInput::Text(text) => parse_move(position, text),
        MoveInput::Squares(mv) => {
            let is_pawn = position
                .piece_at(mv.from)
                .is_some_and(|piece| piece.role == Role::Pawn);
            let promotes = is_pawn && matches!(mv.to.rank(), 0 | 7);
            let mv = if promotes {
                *mv
            } else {
                Move::new(mv.from, mv.to)
            };
            if position.is_legal(mv) {
                Ok(mv)
            } else if promotes
                && mv.promotion.is_none()
                && position.is_legal(mv.promoting(Role::Queen))
            {
                Err(SanError::PromotionMissing)
            } else {
                Err(SanError::Illegal)
            }
        }
    }
}
