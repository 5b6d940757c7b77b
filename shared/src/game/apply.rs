//! Taking in what happened.
//!
//! An event is checked as far as the fold depends on it: its number, its time, a legal move of the right ply, an offer
//! that it answers. What does not fit leaves the game untouched; it means that the log is damaged.

use super::clock::Timing;
use super::offers::Answer;
use super::played::{Line, Played};
use super::{Event, EventBody, Finished, Game, Moved, Phase, Reason};
use crate::notation::{San, uci};
use crate::rules::Position;
use crate::{Seq, Timestamp};

/// Why an event cannot be the next of this game.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Misfit {
    /// Another event is due.
    #[error("event {got} where {expected} is due")]
    Seq {
        /// The number due.
        expected: Seq,
        /// The number it has.
        got: Seq,
    },
    /// It is earlier than the event before.
    #[error("event {seq} is earlier than the one before")]
    Time {
        /// Its number.
        seq: Seq,
    },
    /// It cannot happen in this game at this point.
    #[error("event {seq}: {why}")]
    Impossible {
        /// Its number.
        seq: Seq,
        /// What is wrong.
        why: &'static str,
    },
}

impl Game {
    /// The game that a log begins with.
    ///
    /// # Errors
    /// [`Misfit`] unless the event is a `game_created` with `seq` 0 and a sound position.
    pub fn start(first: &Event) -> Result<Self, Misfit> {
        if first.seq != 0 {
            return Err(Misfit::Seq {
                expected: 0,
                got: first.seq,
            });
        }
        let impossible = |why| Misfit::Impossible { seq: 0, why };
        let EventBody::GameCreated(created) = &first.body else {
            return Err(impossible("a log begins with game_created"));
        };
        let start =
            Position::from_fen(&created.fen).map_err(|_| impossible("its FEN is no position"))?;
        Ok(Self {
            id: created.game_id.clone(),
            players: [created.white_player.clone(), created.black_player.clone()],
            time_control: created.time_control,
            is_unlisted: created.unlisted,
            started_at: first.at,
            last_at: first.at,
            next_seq: 1,
            line: Line::new(start),
            draws: Default::default(),
            takebacks: Default::default(),
            taken_back: Vec::new(),
            phase: Phase::Running(Timing::new(created.time_control, start.turn(), first.at)),
        })
    }

    /// Takes in the next event.
    ///
    /// # Errors
    /// [`Misfit`] when it cannot be the next; the game is then unchanged.
    pub fn apply(&mut self, event: &Event) -> Result<(), Misfit> {
        let seq = event.seq;
        if seq != self.next_seq {
            return Err(Misfit::Seq {
                expected: self.next_seq,
                got: seq,
            });
        }
        if event.at < self.last_at {
            return Err(Misfit::Time { seq });
        }
        self.take_in(event)
            .map_err(|why| Misfit::Impossible { seq, why })?;
        self.next_seq += 1;
        self.last_at = event.at;
        Ok(())
    }

    fn take_in(&mut self, event: &Event) -> Result<(), &'static str> {
        let (seq, at, plies) = (event.seq, event.at, self.plies());
        match &mut self.phase {
            Phase::Running(timing) => {
                match &event.body {
                    EventBody::Move(moved) => {
                        let (played, position) = played(&self.line, moved, seq, at)?;
                        fits_control(moved.clock.is_some(), timing)?;
                        self.line.push(played, position);
                        self.draws.lapse();
                        self.takebacks.lapse();
                    }
                    EventBody::DrawOffered(by) => self.draws.offer(by.by, seq, plies),
                    EventBody::TakebackOffered(by) => self.takebacks.offer(by.by, seq, plies),
                    EventBody::DrawDeclined(by) => {
                        if !self.draws.can_answer(by.by, None) {
                            return Err("no draw offer to decline");
                        }
                        self.draws.answer(Answer::Declined(seq));
                    }
                    EventBody::TakebackDeclined(by) => {
                        if !self.takebacks.can_answer(by.by, None) {
                            return Err("no takeback to decline");
                        }
                        self.takebacks.answer(Answer::Declined(seq));
                    }
                    EventBody::Takeback(takeback) => {
                        if self.takebacks.open().is_none() {
                            return Err("nobody asked for a takeback");
                        }
                        if takeback.ply >= plies {
                            return Err("nothing is taken back");
                        }
                        fits_control(takeback.clock.is_some(), timing)?;
                        self.line.truncate(takeback.ply as usize);
                        self.takebacks.answer(Answer::Accepted(seq));
                        self.draws.lapse();
                        self.taken_back.push((seq, takeback.ply));
                    }
                    EventBody::ClockCredited(credited) => {
                        fits_control(credited.clock.is_some(), timing)?;
                    }
                    EventBody::GameOver(over) => {
                        match over.reason {
                            Reason::Agreement => self.draws.answer(Answer::Accepted(seq)),
                            _ => self.draws.lapse(),
                        }
                        self.takebacks.lapse();
                        self.phase = Phase::Finished(Finished::new(over.clone(), seq, at, timing));
                        return Ok(());
                    }
                    _ => return Err("not in a running game"),
                }
                timing.apply(at, &event.body);
            }
            Phase::Finished(finished) => match &event.body {
                EventBody::RematchOffered(by) => finished.rematches.offer(by.by, seq, plies),
                EventBody::RematchDeclined(by) => {
                    if !finished.rematches.can_answer(by.by, None) {
                        return Err("no rematch to decline");
                    }
                    finished.rematches.answer(Answer::Declined(seq));
                }
                EventBody::Rematch(rematch) => {
                    if finished.rematches.open().is_none() {
                        return Err("nobody offered a rematch");
                    }
                    finished.rematches.answer(Answer::Accepted(seq));
                    finished.rematch = Some((rematch.new_game_id.clone(), seq));
                }
                _ => return Err("not in a finished game"),
            },
        }
        Ok(())
    }
}

/// A timed game's events carry both clocks, an untimed game's none.
fn fits_control(has_clock: bool, timing: &Timing) -> Result<(), &'static str> {
    if has_clock == timing.reading().is_some() {
        Ok(())
    } else {
        Err("clocks do not fit the time control")
    }
}

fn played(
    line: &Line,
    moved: &Moved,
    seq: Seq,
    at: Timestamp,
) -> Result<(Played, Position), &'static str> {
    if moved.ply as usize != line.played().len() + 1 {
        return Err("another ply is due");
    }
    let mv = uci::parse(&moved.mv.uci).map_err(|_| "not a move in UCI")?;
    let position = line.position().play(mv).map_err(|_| "an illegal move")?;
    let san = San::from_stored(&moved.mv.san).ok_or("not SAN")?;
    let (key, halfmoves) = (position.key(), position.halfmoves());
    Ok((
        Played {
            uci: mv,
            san,
            at,
            seq,
            clock: moved.clock,
            key,
            halfmoves,
        },
        position,
    ))
}
