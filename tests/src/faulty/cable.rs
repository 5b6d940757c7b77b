//! How a node hangs on the network, and who waits for that to change: like tokio's `watch`, which wakes those who wait in
//! an order drawn by lot; here they are woken as they came, so that a simulation can be replayed.

use super::Link;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::Notify;

#[derive(Debug, Default)]
pub struct Cable {
    state: Mutex<(Link, u64)>,
    changed: Notify,
}

impl Cable {
    /// How it is, and how often that changed.
    pub fn get(&self) -> (Link, u64) {
        *self.lock()
    }

    pub fn set(&self, link: Link) {
        let mut state = self.lock();
        if state.0 != link {
            *state = (link, state.1 + 1);
            drop(state);
            self.changed.notify_waiters();
        }
    }

    /// Waits until it is as wanted.
    pub async fn wait_for(&self, wanted: impl Fn(Link) -> bool) {
        self.wait(|(link, _)| wanted(link)).await;
    }

    /// Waits until it has changed more often, and says how it is and how often that was.
    pub async fn changed_since(&self, changes: u64) -> (Link, u64) {
        self.wait(|(_, now)| now != changes).await
    }

    async fn wait(&self, wanted: impl Fn((Link, u64)) -> bool) -> (Link, u64) {
        loop {
            let changed = self.changed.notified();
            let state = self.get();
            if wanted(state) {
                return state;
            }
            changed.await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, (Link, u64)> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
