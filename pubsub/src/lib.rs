//! What a cluster agrees on: rooms of bytes in order, who is there, who seeks whom. Knows nothing of the game that is
//! played; anyone could build another one on it.
//!
//! [`Backplane`] is the contract. [`embedded`] keeps it within one process, [`redis`] between many. [`feed`] turns a room's
//! unreliable doorbell into an ordered stream.

pub mod backplane;
pub mod embedded;
pub mod feed;
pub mod redis;

pub use backplane::*;
pub use embedded::Embedded;
pub use feed::{Feed, FeedItem};
pub use redis::{Redis, RedisOptions};
