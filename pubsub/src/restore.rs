//! Putting back what a backplane lost: what is asked by those who know more than it does, and how it answers.

use crate::{Epoch, Millis, Seq};
use bytes::Bytes;
use std::time::Duration;

/// How long nobody appends after the servers became others (a restart, a failover) or a log was found short or gone: time for
/// all nodes to put back what they hold, so that nobody appends to a log that another is about to complete. Nodes find their
/// servers again within a quarter of it, and a restoration is one call.
pub const RESTORE_SETTLE: Duration = Duration::from_secs(1);

/// What [`crate::Backplane::restore`] is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restore {
    /// The life of the log, as known by who holds the events.
    pub epoch: Epoch,
    /// All events from 0 that it is known to have held.
    pub events: Vec<Bytes>,
    /// The deadline that goes with the last of them.
    pub deadline: Option<Millis>,
}

/// What became of a restoration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Restored {
    /// The log was gone or ended too early: the events from `from` on were put back, queued for the archive and published, and
    /// the deadline was set.
    Extended {
        /// The log's life: of the one that stood there and the one named, that of the higher generation.
        epoch: Epoch,
        /// Number of the first event put back; 0 if the log was gone.
        from: Seq,
    },
    /// The log holds all of these events, and perhaps more.
    Held {
        /// The log's life, as above.
        epoch: Epoch,
        /// Where it ends.
        end: Seq,
    },
    /// There are two branches: another event than the one named stands at `at`. The log's branch holds. Its life has a higher
    /// generation than the one named, so that all who know the other branch begin anew.
    Forked {
        /// The log's life.
        epoch: Epoch,
        /// Where the branches part.
        at: Seq,
        /// Whether it was this call that began the new life, queued the log again under it, and rang at all who listen.
        /// Of several calls about one fork, one does.
        raised: bool,
    },
}
