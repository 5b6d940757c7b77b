//! All that one client said and heard, in order, over all its connections.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// What is on a tape.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// A new connection, in no room.
    Connected,
    /// A text sent.
    Sent(String),
    /// A text heard.
    Heard(String),
}

/// One client's tape.
#[derive(Debug, Default)]
pub struct Tape {
    /// The client's name, for objections.
    pub name: String,
    entries: Mutex<Vec<Entry>>,
}

impl Tape {
    /// An empty one.
    pub fn new(name: &str) -> Tape {
        Tape {
            name: name.to_owned(),
            entries: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A connection was opened.
    pub fn connected(&self) {
        self.lock().push(Entry::Connected);
    }

    /// A text is sent.
    pub fn sent(&self, text: &str) {
        self.lock().push(Entry::Sent(text.to_owned()));
    }

    /// A text was heard.
    pub fn heard(&self, text: &str) {
        self.lock().push(Entry::Heard(text.to_owned()));
    }

    /// All of it.
    pub fn entries(&self) -> Vec<Entry> {
        self.lock().clone()
    }
}
