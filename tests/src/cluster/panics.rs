//! Panics of gateways in this process: a runtime swallows a task's panic, a test must not.

use std::{
    backtrace::Backtrace,
    sync::{Mutex, Once, PoisonError},
};

static SEEN: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Folders whose code must not panic, whatever comes from outside.
const OURS: [&str; 3] = ["gateway/src/", "pubsub/src/", "shared/src/"];

/// Has panics noted from now on.
pub fn watch() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let trace = Backtrace::force_capture().to_string();
            // Also when another crate panicked that ours called; not when the checker called ours.
            if !trace.contains("tests::") && OURS.iter().any(|folder| trace.contains(folder)) {
                note(info.to_string());
            }
            usual(info);
        }));
    });
}

/// Notes one.
pub fn note(panic: String) {
    SEEN.lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(panic);
}

/// Those noted so far.
pub fn seen() -> Vec<String> {
    SEEN.lock().unwrap_or_else(PoisonError::into_inner).clone()
}
