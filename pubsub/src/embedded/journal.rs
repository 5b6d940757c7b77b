//! The journal: what the embedded backplane must still know after its process died.
//!
//! **What it survives.** Every record is handed to the kernel by one `write` before the call that caused it is answered and
//! before anybody hears of it. So the death of the process in any way (kill -9, a panic, out of memory) loses nothing that
//! was acknowledged or seen. There is no `fsync` on that way: if the whole machine loses power or its kernel crashes, the
//! last seconds that the kernel had not yet written out (up to about 30) are lost; the rest is kept.
//!
//! **What it holds.** Logs with their deadlines, and how far they are archived; records and sets whose time is [`TTL_MIN`] or longer; accepted pairings.
//! Not seeks, leases, attendance and chat: those ended with the connections.
//!
//! **Files.** `journal.000001`, … in the data directory, the highest one growing; `journal.lock` is locked while a process uses
//! them. When much of them is outdated they are rewritten into one: a new file is written, synced, and renamed over the
//! last of them. It begins with [`Record::Begin`], so a crash between any two steps does no harm. Logs of finished games
//! are kept until they are archived and forgotten.

mod compact;
mod files;
mod frame;
mod image;
mod record;
mod replay;

pub use image::Image;
pub use record::{Appending, Record};

use crate::Millis;
use files::Files;
use std::{
    fmt,
    fs::File,
    io::{self, Write},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// A record that lapses sooner is not written: a restart takes about as long.
pub const TTL_MIN: Duration = Duration::from_secs(10);

/// Bytes of records that may be outdated, at which a running journal is compacted.
const COMPACT_LEN: u64 = 16 * 1024 * 1024;

/// The same at the start, when it costs nobody anything but a moment.
const COMPACT_LEN_AT_START: u64 = 1024 * 1024;

/// Bytes of room kept for the next record, so that one long one does not keep its room for ever.
const BUFFER_LEN_KEPT: usize = 64 * 1024;

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process has it.
    #[error("the data directory {} is in use by another process", .0.display())]
    InUse(PathBuf),
    /// It is not what was written, and cutting its end would not mend it.
    #[error("the journal {} is damaged at byte {at}: {what}; restore it from a copy, or move it away to start without", .file.display())]
    Damaged {
        /// The file.
        file: PathBuf,
        /// From where on.
        at: u64,
        /// In what way.
        what: String,
    },
    /// The file system refuses.
    #[error("cannot use the journal {}: {source}", .file.display())]
    Io {
        /// File or directory.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
}

/// Names the file an error is about.
fn at(file: &Path) -> impl Fn(io::Error) -> OpenError {
    move |source| OpenError::Io {
        file: file.into(),
        source,
    }
}

/// An open journal.
#[derive(Debug)]
pub struct Journal {
    files: Arc<Files>,
    active: Mutex<Active>,
    compact_len: u64,
    is_compacting: Arc<AtomicBool>,
    is_failing: AtomicBool,
    /// Every record is on the disk before it counts as written.
    syncs: bool,
}

/// The file that grows.
#[derive(Debug)]
struct Active {
    file: Box<dyn Disk>,
    number: u64,
    // Bytes that are whole records.
    len: u64,
    // Whether a write failed, and may have left a part of a record behind them.
    is_torn: bool,
    // Bytes of records that may be outdated.
    outdated: u64,
    buffer: Vec<u8>,
}

/// What is asked of a file that grows.
trait Disk: fmt::Debug + Send {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()>;
    fn cut(&mut self, len: u64) -> io::Result<()>;
    fn sync(&mut self) -> io::Result<()>;
}

impl Disk for File {
    fn append(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_all(bytes)
    }

    fn cut(&mut self, len: u64) -> io::Result<()> {
        self.set_len(len)
    }

    fn sync(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

impl Journal {
    /// Takes possession of the journal in a directory and reads it; `wall` is the time now.
    pub fn open(dir: &Path, wall: Millis) -> Result<(Journal, Image), OpenError> {
        Journal::open_with(dir, wall, COMPACT_LEN)
    }

    fn open_with(
        dir: &Path,
        wall: Millis,
        compact_len: u64,
    ) -> Result<(Journal, Image), OpenError> {
        let files = Arc::new(Files::open(dir)?);
        let replayed = replay::replay(&files)?;
        let (mut image, number) = (replayed.image, replayed.last);
        let now = wall.max(image.latest);
        image.purge(now);
        let mut outdated = replayed.small_len.saturating_sub(image.small_len());
        if outdated > COMPACT_LEN_AT_START.min(compact_len) {
            compact::compact(&files, number, now).map_err(at(&files.path(number)))?;
            outdated = 0;
        }
        let active = files
            .activate(number, outdated)
            .map_err(at(&files.path(number)))?;
        let journal = Journal {
            files,
            active: Mutex::new(active),
            compact_len,
            is_compacting: Arc::default(),
            is_failing: AtomicBool::new(false),
            syncs: false,
        };
        Ok((journal, image))
    }

    /// The same, syncing each record to the disk or not.
    pub fn syncing(self, syncs: bool) -> Journal {
        Journal { syncs, ..self }
    }

    /// Writes a record. When it answers `Ok`, the record survives this process; else it does not stand in the journal.
    pub fn write(&self, record: &Record, now: Millis) -> io::Result<()> {
        let bytes = record.encode();
        let mut active = self.active.lock().unwrap_or_else(PoisonError::into_inner);
        let written = active.write(&bytes, self.syncs);
        let was_failing = self.is_failing.swap(written.is_err(), Ordering::Relaxed);
        match &written {
            Err(error) if !was_failing => {
                let dir = self.files.dir.display();
                tracing::error!(%error, %dir, "journal cannot be written; nothing is acknowledged until it can");
            }
            Ok(()) if was_failing => tracing::info!("journal can be written again"),
            _ => {}
        }
        if written.is_ok() && record.is_small() {
            // Each small record outdates about one before it, or soon lapses.
            active.outdated += bytes.len() as u64 + record.outdates();
            if active.outdated >= self.compact_len {
                self.compact_beside(&mut active, now);
            }
        }
        written
    }

    /// Whether the last write failed.
    pub fn is_failing(&self) -> bool {
        self.is_failing.load(Ordering::Relaxed)
    }

    /// Goes on in a new file, and has a thread rewrite the others meanwhile.
    fn compact_beside(&self, active: &mut Active, now: Millis) {
        active.outdated = 0;
        if self.is_compacting.swap(true, Ordering::AcqRel) {
            return;
        }
        let (files, number, is_compacting) = (
            self.files.clone(),
            active.number,
            self.is_compacting.clone(),
        );
        match files.activate(number + 1, 0) {
            Ok(next) => *active = next,
            Err(error) => {
                tracing::warn!(%error, "journal cannot go on in a new file, and goes on in the old one");
                return is_compacting.store(false, Ordering::Release);
            }
        }
        let work = move || {
            if let Err(error) = compact::compact(&files, number, now) {
                tracing::warn!(%error, "journal was not compacted; its files stay as they are");
            }
            is_compacting.store(false, Ordering::Release);
        };
        let thread = std::thread::Builder::new().name("journal".into());
        if let Err(error) = thread.spawn(work) {
            tracing::warn!(%error, "no thread to compact the journal");
            self.is_compacting.store(false, Ordering::Release);
        }
    }
}

impl Active {
    fn write(&mut self, record: &[u8], syncs: bool) -> io::Result<()> {
        self.buffer.clear();
        frame::frame(record, &mut self.buffer)?;
        if self.is_torn {
            self.file.cut(self.len)?;
            self.is_torn = false;
        }
        let mut written = self.file.append(&self.buffer);
        if syncs && written.is_ok() {
            written = self.file.sync();
        }
        if let Err(error) = written {
            self.is_torn = true;
            return Err(error);
        }
        self.len += self.buffer.len() as u64;
        self.buffer.shrink_to(BUFFER_LEN_KEPT);
        Ok(())
    }
}

#[cfg(test)]
mod tests;
