//! Looks at the readiness of nodes all the time.

use pubsub::{Backplane, Redis};
use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::{task::JoinHandle, time::sleep};

/// Notes each time a node was not ready.
pub struct Readiness {
    task: JoinHandle<()>,
    seen: Arc<Mutex<Seen>>,
}

#[derive(Debug, Default)]
struct Seen {
    looks: usize,
    not_ready: usize,
    unreachable: usize,
}

impl Readiness {
    /// Begins to look at one node.
    pub fn of(node: Arc<Redis>) -> Readiness {
        let seen = Arc::<Mutex<Seen>>::default();
        let noted = seen.clone();
        let task = tokio::spawn(async move {
            loop {
                let health = node.health();
                {
                    let mut noted = noted.lock().unwrap_or_else(PoisonError::into_inner);
                    noted.looks += 1;
                    noted.unreachable += usize::from(!health.reachable);
                    noted.not_ready += usize::from(!health.is_ready());
                }
                sleep(Duration::from_millis(10)).await;
            }
        });
        Readiness { task, seen }
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether it was at no look ready.
    pub fn never_ready(&self) -> bool {
        let seen = self.seen();
        seen.looks > 10 && seen.not_ready == seen.looks
    }

    /// Whether it was found unreachable at any time.
    pub fn was_unreachable(&self) -> bool {
        self.seen().unreachable > 0
    }

    /// It must have been ready at every look.
    #[track_caller]
    pub fn assert_always(&self) {
        let seen = self.seen();
        assert!(seen.looks > 10, "hardly looked");
        assert!(
            seen.not_ready == 0,
            "not ready at {} of {} looks",
            seen.not_ready,
            seen.looks
        );
    }
}

impl Drop for Readiness {
    fn drop(&mut self) {
        self.task.abort();
    }
}
