//! Repair after loss: a room whose log turns out to hold less than this node does, or something else, puts back what it
//! holds. Until then, and for [`RESTORE_SETTLE`] after, nothing is appended here. Of two true branches the log's wins: it
//! comes back under a new life, and members get it as a snapshot.

use super::{
    Live,
    task::{State, Task},
};
use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use pubsub::{Answer, Epoch, RESTORE_SETTLE, Restore, Restored};
use std::time::Duration;
use tokio::time::Instant;

/// Before a restoration that failed is tried again; the backplane has tried for [`pubsub::CALL_TIMEOUT`] already.
const PAUSE: Duration = Duration::from_millis(250);

/// What this node does about a log that lost something.
#[derive(Default)]
pub(super) struct Repair {
    /// The log was found to be short, gone, or another branch.
    is_wanted: bool,
    call: Option<BoxFuture<'static, Answer<Restored>>>,
    /// No call before.
    not_before: Option<Instant>,
    /// Nothing is appended before: others may hold more.
    settled_at: Option<Instant>,
}

impl Repair {
    /// Whether what this node knows is not the log yet, or others may not have restored what they hold.
    pub fn is_active(&self) -> bool {
        self.is_wanted
            || self.call.is_some()
            || self.settled_at.is_some_and(|at| at > Instant::now())
    }

    /// Waits for the restoration's answer; for ever if there is none under way.
    pub async fn answered(repair: &mut Repair) -> Answer<Restored> {
        match &mut repair.call {
            Some(call) => call.await,
            None => std::future::pending().await,
        }
    }

    /// When something is to be done.
    pub fn wake_at(&self) -> Option<Instant> {
        let again = self.not_before.filter(|_| self.is_wanted);
        let now = Instant::now();
        again
            .into_iter()
            .chain(self.settled_at)
            .filter(|at| *at > now)
            .min()
    }
}

/// How a log that was read compares with what this node holds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The same life, and all that is held; perhaps more.
    Whole,
    /// A newer life, or one of the same age that holds all that is held: it replaces what is held.
    Another,
    /// Less than is held, or another branch that does not know of being one.
    Lost,
}

/// Compares.
pub(super) fn compare(held: &Restore, epoch: &Epoch, events: &[Bytes]) -> Found {
    if epoch.generation() != held.epoch.generation() {
        return match epoch.generation() > held.epoch.generation() {
            true => Found::Another,
            false => Found::Lost,
        };
    }
    if !events.starts_with(&held.events) {
        return Found::Lost;
    }
    match *epoch == held.epoch {
        true => Found::Whole,
        false => Found::Another,
    }
}

/// Counts what a restoration found: a fork once in the cluster, by the node that found it first.
pub(crate) fn count(restored: &Restored) {
    match restored {
        Restored::Extended { .. } => metrics::counter!("rookery_restored_total").increment(1),
        Restored::Forked { raised: true, .. } => {
            metrics::counter!("rookery_forks_total").increment(1);
        }
        Restored::Forked { .. } | Restored::Held { .. } => {}
    }
}

impl Live {
    /// All that is held of the log.
    pub(super) fn held(&self) -> Restore {
        let frames = self.frames.iter();
        Restore {
            epoch: self.epoch.clone(),
            events: frames
                .map(|frame| Bytes::copy_from_slice(frame.payload()))
                .collect(),
            deadline: self.game.next_deadline().map(|at| at.0),
        }
    }
}

impl Task {
    /// The log was found to hold less than this node does, or something else.
    pub(super) fn lost(&mut self) {
        if !self.repair.is_wanted {
            tracing::warn!(game = %self.game, "the log lost something that this node holds: it is put back");
        }
        self.repair.is_wanted = true;
        self.repair.settled_at = Some(Instant::now() + RESTORE_SETTLE);
    }

    /// What this node held of the room when it was last open here.
    pub(super) fn recall(&mut self) -> Option<Restore> {
        self.node.held.get(&self.room)
    }

    /// Takes up what this node held when the room was last open here, because the log holds less.
    pub(super) fn resume_held(&mut self, held: &Restore) {
        match Live::fold(held.epoch.clone(), &held.events) {
            Ok(live) => {
                self.adopt(live);
                self.lost();
            }
            Err(misfit) => {
                tracing::error!(game = %self.game, %misfit, "what was held is not a game's");
            }
        }
    }

    /// Begins to put back what was lost, if that is due.
    pub(super) fn mend(&mut self) {
        let now = Instant::now();
        let repair = &self.repair;
        if !repair.is_wanted
            || repair.call.is_some()
            || repair.not_before.is_some_and(|at| at > now)
        {
            return;
        }
        let State::Live(live) = &self.state else {
            self.repair.is_wanted = false;
            return;
        };
        let (held, backplane, room) = (live.held(), self.node.backplane.clone(), self.room.clone());
        self.repair.is_wanted = false;
        let call = async move { backplane.restore(&room, held).await };
        self.repair.call = Some(call.boxed());
    }

    /// The restoration was answered.
    pub(super) fn mended(&mut self, answer: Answer<Restored>) {
        self.repair.call = None;
        self.repair.not_before = None;
        match answer {
            Ok(Restored::Forked { epoch, at, raised }) => {
                tracing::error!(game = %self.game, %epoch, at, "two branches of one log: the backplane's holds");
                count(&Restored::Forked { epoch, at, raised });
            }
            Ok(restored) => {
                count(&restored);
                tracing::info!(game = %self.game, ?restored, "the log is whole");
            }
            Err(unavailable) => {
                tracing::debug!(game = %self.game, %unavailable, "not restored yet");
                self.repair.is_wanted = true;
                self.repair.not_before = Some(Instant::now() + PAUSE);
                return;
            }
        }
        // Whatever stands there now: it is read, and compared with what is held.
        self.feed.look_again();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn events(text: &'static str) -> Vec<Bytes> {
        text.split(' ')
            .map(|event| Bytes::from_static(event.as_bytes()))
            .collect()
    }

    #[test]
    fn what_was_read_is_compared_with_what_is_held() {
        let held = Restore {
            epoch: Epoch::new(2, "a"),
            events: events("x y z"),
            deadline: None,
        };
        for (epoch, read, found) in [
            (Epoch::new(2, "a"), "x y z", Found::Whole),
            (Epoch::new(2, "a"), "x y z more", Found::Whole),
            (Epoch::new(2, "a"), "x y", Found::Lost),
            (Epoch::new(2, "a"), "x y other", Found::Lost),
            (Epoch::new(2, "b"), "x y z", Found::Another),
            (Epoch::new(2, "b"), "x", Found::Lost),
            (Epoch::new(2, "b"), "other", Found::Lost),
            (Epoch::new(3, "b"), "x other", Found::Another),
            (Epoch::new(3, "b"), "x", Found::Another),
            (Epoch::new(1, "b"), "x y z", Found::Lost),
        ] {
            assert_eq!(
                compare(&held, &epoch, &events(read)),
                found,
                "{epoch} {read}"
            );
        }
    }
}
