//! The archive: games moved from the backplane's queue into a database, PostgreSQL or SQLite, and read from there when nobody
//! else remembers them.
//!
//! [`archiver`] is the consumer of the queue: it writes in batches and acknowledges after the commit. [`store`] is the
//! database. What the archive does not know: sockets, rooms, who may see what.

pub mod archiver;
mod batch;
mod erase;
mod inspect;
pub mod store;

pub use archiver::{Archiver, Options};
pub use inspect::{Facts, sqlite_file};
pub use store::{Filter, GameRow, Store, StoreError, StoredLog};
