//! Everything a player may ask for besides a move.

use super::{ABSENCE_MS, Effect, OFFER_PLIES, REMATCH_MS, REMATCH_OFFERS_MAX, Stop};
use crate::game::clock::FREE_PLIES;
use crate::game::offers::{Answer, Offers};
use crate::game::{
    Action, EventBody, Finished, Game, GameResult, Outcome, Phase, Reason, Rejection, Rematch,
    Takeback,
};
use crate::{Color, GameId, Ply, Seq, Timestamp};

impl Game {
    /// `named` is the offer meant by an answer; with an offer, the last event the asker had seen.
    pub(super) fn decide_action(
        &self,
        by: Color,
        action: &Action,
        named: Option<Seq>,
        at: Timestamp,
    ) -> Effect {
        match action {
            Action::Resign => self.resign(by, at),
            Action::Abort => self.abort(at),
            Action::OfferDraw => self.offer_draw(by, named, at),
            Action::AcceptDraw => self.accept_draw(by, named, at),
            Action::DeclineDraw => self.decline_draw(by, named, at),
            Action::ClaimDraw { mv } => self.decide_claim(by, mv.as_ref(), at),
            Action::ClaimVictory { absent_since } => self.claim_victory(by, *absent_since, at),
            Action::OfferTakeback => self.offer_takeback(by, named, at),
            Action::AcceptTakeback => self.accept_takeback(by, named, at),
            Action::DeclineTakeback => self.decline_takeback(by, named, at),
            Action::OfferRematch { new_game_id } => self.offer_rematch(by, named, new_game_id, at),
            Action::AcceptRematch { new_game_id } => {
                self.accept_rematch(by, named, new_game_id, at)
            }
            Action::DeclineRematch => self.decline_rematch(by, named, at),
        }
    }

    fn resign(&self, by: Color, at: Timestamp) -> Effect {
        if let Some(end) = self
            .ended_by(Reason::Resignation)
            .filter(|end| end.over.winner == Some(by.other()))
        {
            return Err(Stop::Already(end.seq));
        }
        self.running(at)?;
        Ok(vec![
            self.game_over(Outcome::win(by.other(), Reason::Resignation)),
        ])
    }

    fn abort(&self, at: Timestamp) -> Effect {
        if let Some(end) = self.ended_by(Reason::Aborted) {
            return Err(Stop::Already(end.seq));
        }
        self.running(at)?;
        if self.plies() >= FREE_PLIES {
            let why = "both sides have moved: a game can be aborted before that, and resigned now";
            return Err(Rejection::TooLate(why.into()).into());
        }
        Ok(vec![self.game_over(Outcome::unknown(Reason::Aborted))])
    }

    fn claim_victory(&self, by: Color, absent_since: Option<Timestamp>, at: Timestamp) -> Effect {
        // It is a draw if the claimant had nothing to mate with. An untimed game that nobody played has no result.
        let claimed =
            |end: &&Finished| end.over.winner == Some(by) || end.over.result == GameResult::Draw;
        if let Some(end) = self.ended_by(Reason::Abandonment).filter(claimed) {
            return Err(Stop::Already(end.seq));
        }
        self.running(at)?;
        let early = |why: String| Err(Rejection::TooEarly(why).into());
        if self.plies() < FREE_PLIES {
            return early("before both sides have moved a game can only be aborted".into());
        }
        let Some(since) = absent_since else {
            return early("your opponent is here".into());
        };
        let left_ms = ABSENCE_MS.saturating_sub(at.since(since));
        if left_ms > 0 {
            return early(format!(
                "your opponent may come back for another {} s",
                (left_ms + 999) / 1000
            ));
        }
        Ok(vec![self.game_over(Outcome::deserted(self.position(), by))])
    }

    fn offer_draw(&self, by: Color, seen: Option<Seq>, at: Timestamp) -> Effect {
        if let Some(end) = self.ended_by(Reason::Agreement) {
            // Whoever offered first gets his offer, who offered back the end.
            let first = self.draws.repeated(by, seen).or(self.draws.accepted(by));
            return Err(Stop::Already(first.unwrap_or(end.seq)));
        }
        self.may_offer(&self.draws, by, seen, at)?;
        if self.draws.open() == Some(by.other()) {
            return Ok(vec![self.game_over(Outcome::draw(Reason::Agreement))]);
        }
        self.is_time_to_offer(&self.draws, by, "draw offer")?;
        Ok(vec![EventBody::DrawOffered(self.by(by))])
    }

    fn accept_draw(&self, by: Color, named: Option<Seq>, at: Timestamp) -> Effect {
        if let Some(end) = self.ended_by(Reason::Agreement) {
            return Err(Stop::Already(end.seq));
        }
        self.running(at)?;
        if !self.draws.can_answer(by, named) {
            return Err(Rejection::NoOffer.into());
        }
        Ok(vec![self.game_over(Outcome::draw(Reason::Agreement))])
    }

    fn decline_draw(&self, by: Color, named: Option<Seq>, at: Timestamp) -> Effect {
        self.may_decline(&self.draws, by, named, at)?;
        Ok(vec![EventBody::DrawDeclined(self.by(by))])
    }

    fn offer_takeback(&self, by: Color, seen: Option<Seq>, at: Timestamp) -> Effect {
        self.may_offer(&self.takebacks, by, seen, at)?;
        let early = |why: &str| Err(Rejection::TooEarly(why.into()).into());
        if self.takebacks.open() == Some(by.other()) {
            // Unlike two draw offers, two takebacks do not mean the same.
            return early("your opponent asks for a takeback: answer first");
        }
        if self.plies_after_takeback(by).is_none() {
            return early("you have made no move yet");
        }
        self.is_time_to_offer(&self.takebacks, by, "takeback")?;
        Ok(vec![EventBody::TakebackOffered(self.by(by))])
    }

    fn accept_takeback(&self, by: Color, named: Option<Seq>, at: Timestamp) -> Effect {
        let open = self.takebacks.can_answer(by, named);
        if let (false, Some(Answer::Accepted(seq))) = (open, self.takebacks.answered(by, named)) {
            return Err(Stop::Already(seq));
        }
        self.running(at)?;
        let plies = self.plies_after_takeback(by.other()).filter(|_| open);
        let Some(plies) = plies else {
            return Err(Rejection::NoOffer.into());
        };
        Ok(vec![EventBody::Takeback(Takeback {
            game_id: self.id.clone(),
            ply: plies,
            fen: self.line.position_after(plies as usize).fen(),
            // Everything since that ply is undone, thinking time too.
            clock: match plies
                .checked_sub(1)
                .and_then(|last| self.moves().get(last as usize))
            {
                Some(played) => played.clock,
                None => self.time_control.map(|control| control.start()),
            },
        })])
    }

    fn decline_takeback(&self, by: Color, named: Option<Seq>, at: Timestamp) -> Effect {
        self.may_decline(&self.takebacks, by, named, at)?;
        Ok(vec![EventBody::TakebackDeclined(self.by(by))])
    }

    fn offer_rematch(
        &self,
        by: Color,
        seen: Option<Seq>,
        new_game_id: &GameId,
        at: Timestamp,
    ) -> Effect {
        let finished = self.finished(at)?;
        let offers = &finished.rematches;
        if let Some(seq) = offers.repeated(by, seen).or(offers.accepted(by)) {
            return Err(Stop::Already(seq));
        }
        finished.may_rematch(at)?;
        if offers.open() == Some(by.other()) {
            return Ok(vec![self.rematch(new_game_id)]);
        }
        if offers.of(by).count() >= REMATCH_OFFERS_MAX {
            return Err(
                Rejection::TooLate("your opponent has declined often enough".into()).into(),
            );
        }
        Ok(vec![EventBody::RematchOffered(self.by(by))])
    }

    fn accept_rematch(
        &self,
        by: Color,
        named: Option<Seq>,
        new_game_id: &GameId,
        at: Timestamp,
    ) -> Effect {
        let finished = self.finished(at)?;
        finished.may_rematch(at)?;
        if !finished.rematches.can_answer(by, named) {
            return Err(Rejection::NoOffer.into());
        }
        Ok(vec![self.rematch(new_game_id)])
    }

    fn decline_rematch(&self, by: Color, named: Option<Seq>, at: Timestamp) -> Effect {
        let Phase::Finished(finished) = &self.phase else {
            self.running(at)?;
            return Err(Rejection::NoOffer.into());
        };
        if finished.rematches.can_answer(by, named) {
            return Ok(vec![EventBody::RematchDeclined(self.by(by))]);
        }
        match finished.rematches.answered(by, named) {
            Some(Answer::Declined(seq)) => Err(Stop::Already(seq)),
            _ => Err(Rejection::NoOffer.into()),
        }
    }

    fn finished(&self, at: Timestamp) -> Result<&Finished, Stop> {
        match &self.phase {
            Phase::Finished(finished) => Ok(finished),
            Phase::Running(_) => {
                self.running(at)?;
                Err(Rejection::TooEarly("the game is not over yet".into()).into())
            }
        }
    }

    /// The next game; colours change.
    fn rematch(&self, new_game_id: &GameId) -> EventBody {
        EventBody::Rematch(Rematch {
            game_id: self.id.clone(),
            new_game_id: new_game_id.clone(),
            white_player: self.player(Color::Black).clone(),
            black_player: self.player(Color::White).clone(),
            time_control: self.time_control,
        })
    }

    /// Stops an offer in a running game that repeats one, or comes after the end.
    fn may_offer(
        &self,
        offers: &Offers,
        by: Color,
        seen: Option<Seq>,
        at: Timestamp,
    ) -> Result<(), Stop> {
        if let Some(seq) = offers.repeated(by, seen) {
            return Err(Stop::Already(seq));
        }
        self.running(at).map(|_| ())
    }

    fn is_time_to_offer(&self, offers: &Offers, by: Color, what: &str) -> Result<(), Stop> {
        match offers
            .of(by)
            .next()
            .map(|offer| offer.ply.saturating_add(OFFER_PLIES))
        {
            Some(from) if self.plies() < from => {
                let why =
                    format!("one {what} in {OFFER_PLIES} plies: again once ply {from} is made");
                Err(Rejection::TooEarly(why).into())
            }
            _ => Ok(()),
        }
    }

    /// Stops an answer that repeats one, comes after the end, or has no offer to answer.
    fn may_decline(
        &self,
        offers: &Offers,
        by: Color,
        named: Option<Seq>,
        at: Timestamp,
    ) -> Result<(), Stop> {
        let open = offers.can_answer(by, named);
        if let (false, Some(Answer::Declined(seq))) = (open, offers.answered(by, named)) {
            return Err(Stop::Already(seq));
        }
        self.running(at)?;
        if open {
            Ok(())
        } else {
            Err(Rejection::NoOffer.into())
        }
    }

    /// How many plies stay when this side's last move is taken back: all but one or two.
    fn plies_after_takeback(&self, by: Color) -> Option<Ply> {
        let back = if self.turn() == by { 2 } else { 1 };
        self.plies().checked_sub(back)
    }
}

impl Finished {
    /// Stops what would agree on another game when one is agreed on, or too late.
    fn may_rematch(&self, at: Timestamp) -> Result<(), Stop> {
        if let Some((_, seq)) = &self.rematch {
            return Err(Stop::Already(*seq));
        }
        if at.since(self.at) > REMATCH_MS {
            let why = "a rematch can be agreed on for ten minutes after the game";
            return Err(Rejection::TooLate(why.into()).into());
        }
        Ok(())
    }
}
