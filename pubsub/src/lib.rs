//! What a cluster agrees on: rooms of bytes in order, who is there, who seeks whom. Knows nothing of the game that is
//! played; anyone could build another one on it.
//!
//! [`Backplane`] is the contract. [`embedded`] keeps it within one process, [`redis`] between many. [`feed`] turns a room's
//! unreliable doorbell into an ordered stream. [`queue`] is what an archive takes events from, and [`progress`] how others
//! know how far it is.

pub mod ack;
pub mod backplane;
pub mod embedded;
pub mod feed;
pub mod outage;
pub mod progress;
pub mod queue;
pub mod redis;
pub mod restore;

pub use ack::Ack;
pub use backplane::*;
pub use embedded::Embedded;
pub use feed::{Feed, FeedItem};
pub use outage::{BEAT_EVERY, OUTAGE_MIN_MS, OUTAGES_FOR, OUTAGES_LEN, Outage, Outages};
pub use progress::Progress;
pub use queue::{Backlog, Content, Entry, QueuePosition, Take, Watermark};
pub use redis::{Redis, RedisOptions};
pub use restore::{RESTORE_SETTLE, Restore, Restored};
