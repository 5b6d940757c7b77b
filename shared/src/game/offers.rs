//! Offers of one kind: who has one open, and what became of the others.

use crate::{Color, Ply, Seq};

/// One offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Offer {
    pub by: Color,
    /// The event that made it.
    pub seq: Seq,
    /// Half moves on the board then.
    pub ply: Ply,
    /// What the other side said, if anything.
    pub answer: Option<Answer>,
}

/// What was said to an offer, and the event that says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Accepted(Seq),
    Declined(Seq),
}

/// The offers of one kind, draws for instance, in order. Limits on offers keep them few, so that all are remembered and
/// every repeated request finds its first answer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Offers {
    made: Vec<Offer>,
    /// Is the last one open?
    open: bool,
}

impl Offers {
    fn open_offer(&self) -> Option<&Offer> {
        self.made.last().filter(|_| self.open)
    }

    /// The side whose offer is open.
    pub fn open(&self) -> Option<Color> {
        self.open_offer().map(|offer| offer.by)
    }

    /// The offers of a side, the last one first.
    pub fn of(&self, by: Color) -> impl Iterator<Item = &Offer> {
        self.made.iter().rev().filter(move |offer| offer.by == by)
    }

    /// Can this side answer an offer now? Naming another than the open one is a late answer.
    pub fn can_answer(&self, by: Color, named: Option<Seq>) -> bool {
        self.open_offer()
            .is_some_and(|offer| offer.by != by && named.is_none_or(|seq| seq == offer.seq))
    }

    /// The offer that a request to make one repeats: one made after the last event the asker had seen, or the open one.
    pub fn repeated(&self, by: Color, seen: Option<Seq>) -> Option<Seq> {
        let later = seen.and_then(|seen| self.of(by).take_while(|offer| offer.seq > seen).last());
        later
            .or(self.open_offer().filter(|offer| offer.by == by))
            .map(|offer| offer.seq)
    }

    /// The offer of this side that was accepted last.
    pub fn accepted(&self, by: Color) -> Option<Seq> {
        self.of(by)
            .find(|offer| matches!(offer.answer, Some(Answer::Accepted(_))))
            .map(|offer| offer.seq)
    }

    /// The answer that a request of this side to give one repeats: to the offer it names, else to the opponent's last.
    pub fn answered(&self, by: Color, named: Option<Seq>) -> Option<Answer> {
        self.of(by.other())
            .find(|offer| named.is_none_or(|seq| seq == offer.seq))?
            .answer
    }

    pub fn offer(&mut self, by: Color, seq: Seq, ply: Ply) {
        self.made.push(Offer {
            by,
            seq,
            ply,
            answer: None,
        });
        self.open = true;
    }

    /// Answers the open offer, which is closed.
    pub fn answer(&mut self, answer: Answer) {
        if let Some(offer) = self.made.last_mut().filter(|_| self.open) {
            offer.answer = Some(answer);
        }
        self.open = false;
    }

    /// The open offer ends without an answer.
    pub fn lapse(&mut self) {
        self.open = false;
    }
}
