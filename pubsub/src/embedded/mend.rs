//! Putting back what a log lost. Within one process nothing is lost but by those tests that ask for it.

use super::{Embedded, journal::Appending, journal::Record, log::PackedLog, partition::Partition};
use crate::{
    Answer, Epoch, Log, RESTORE_SETTLE, Restore, Restored, Room, Seq, Signal, Unavailable,
};
use bytes::Bytes;
use tokio::time::Instant;

impl PackedLog {
    /// Number of the first of these events, which begin at 0, that is not the one standing there.
    fn parts_from(&self, events: &[Bytes]) -> Option<Seq> {
        let mut pairs = self.events(0).into_iter().zip(events);
        pairs
            .position(|(there, held)| there != held)
            .map(|at| at as Seq)
    }
}

impl Partition {
    /// A log that has another life tells so to all who listen.
    fn tell_life(&self, room: &Room) {
        if let Some(log) = self.log(room) {
            let (epoch, first) = (log.epoch.clone(), log.end());
            let events = Vec::new();
            self.publish(
                room,
                Signal::Events(Log {
                    epoch,
                    first,
                    events,
                }),
            );
        }
    }
}

impl Embedded {
    pub(super) fn mend(&self, room: &Room, restore: Restore) -> Answer<Restored> {
        let Restore {
            epoch: known,
            events,
            deadline,
        } = restore;
        if events.is_empty() {
            return Err(Unavailable("nothing to restore".into()));
        }
        let now = self.now_ms();
        let mut partition = self.shared.partition(room);
        let standing = partition
            .log(room)
            .map(|log| (log.epoch.clone(), log.end(), log.parts_from(&events)));
        let (mut epoch, end, parts) = standing.unwrap_or((known.clone(), 0, None));
        let raised = match parts {
            Some(_) if epoch.generation() <= known.generation() => {
                Some(Epoch::new(known.generation() + 1, &self.shared.random(8)))
            }
            None if epoch.generation() < known.generation() => Some(known),
            _ => None,
        };
        if let Some(raised) = &raised {
            self.remember(now, || Record::Life {
                room: room.clone(),
                epoch: raised.clone(),
            })?;
            epoch = raised.clone();
            partition.rename(room, epoch.clone());
            self.enqueue(room, 0, now);
            partition.tell_life(room);
        }
        if let Some(at) = parts {
            let raised = raised.is_some();
            return Ok(Restored::Forked { epoch, at, raised });
        }
        let from = usize::try_from(end).unwrap_or(usize::MAX);
        let Some(lost) = events.get(from..).filter(|lost| !lost.is_empty()) else {
            return Ok(Restored::Held { epoch, end });
        };
        if partition.log(room).is_some_and(|log| !log.fits(lost)) {
            return Err(Unavailable(format!("the log of {room} is full")));
        }
        self.remember(now, || {
            Record::Append(Appending {
                room: room.clone(),
                epoch: epoch.clone(),
                first: end,
                at: now,
                deadline,
                events: lost.to_vec(),
            })
        })?;
        self.enqueue(room, end, now);
        partition.extend(room, lost, deadline, || PackedLog::new(epoch.clone()));
        Ok(Restored::Extended { epoch, from: end })
    }

    /// Waits until nobody may be about to restore what was lost.
    pub(super) async fn settled(&self) {
        let until = *super::lock(&self.shared.settled_at);
        if let Some(until) = until.filter(|until| *until > Instant::now()) {
            tokio::time::sleep_until(until).await;
        }
    }

    /// Cuts each log to as many events as it is let keep, of those it has, and tells all nodes: what a failover does that lost the
    /// ends of logs, or a server that comes back without its data. For tests of those who must mend it; the journal does not
    /// notice.
    pub fn lose(&self, mut keeps: impl FnMut(&Room, Seq) -> Seq) {
        for partition in &self.shared.partitions {
            let mut partition = super::lock(partition);
            for room in partition.rooms() {
                let Some(log) = partition.log(&room) else {
                    continue;
                };
                let kept = keeps(&room, log.end());
                if kept >= log.end() {
                    continue;
                }
                let (mut cut, mut events) = (PackedLog::new(log.epoch.clone()), log.events(0));
                events.truncate(usize::try_from(kept).unwrap_or(usize::MAX));
                cut.extend(&events);
                cut.deadline = log.deadline;
                partition.replace(&room, (kept > 0).then_some(cut));
            }
        }
        *super::lock(&self.shared.settled_at) = Some(Instant::now() + RESTORE_SETTLE);
        self.shared.upheavals.send_modify(|count| *count += 1);
    }
}
