//! Rate limits, on the runtime's clock: where that is paused, as in a simulation, so are they. Whoever passes a limit is
//! counted under its name.

use arc_swap::ArcSwap;
use governor::{
    Quota, RateLimiter,
    clock::{Clock, Reference},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, keyed::DashMapStateStore},
};
use std::{
    hash::Hash,
    ops::Add,
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

/// Checks between two times that those who are quiet again are forgotten; so many keys can come meanwhile.
const TIDY_EVERY: usize = 10_000;

/// Keys that are remembered though all were heard of a moment ago, at some 100 bytes each. Beyond it everybody is forgotten
/// and begins anew: whoever commands so many addresses is not held by a limit for each, and memory must be.
const KEYS_MAX: usize = 100_000;

/// A limit for one.
pub type Limiter =
    RateLimiter<NotKeyed, InMemoryState, RuntimeClock, NoOpMiddleware<RuntimeInstant>>;

type KeyedLimiter<K> =
    RateLimiter<K, DashMapStateStore<K>, RuntimeClock, NoOpMiddleware<RuntimeInstant>>;

/// Counts one who passed the limit of that name.
pub fn limited(limit: &'static str) {
    metrics::counter!("rookery_limited_total", "limit" => limit).increment(1);
}

/// A limit for each of many, in bounded memory.
pub struct Keyed<K: Hash + Eq + Clone> {
    name: &'static str,
    quota: Quota,
    limiter: ArcSwap<KeyedLimiter<K>>,
    checks: AtomicUsize,
}

impl<K: Hash + Eq + Clone> Keyed<K> {
    /// A limit of that name.
    pub fn new(name: &'static str, quota: Quota) -> Keyed<K> {
        Keyed {
            name,
            quota,
            limiter: ArcSwap::from_pointee(KeyedLimiter::dashmap_with_clock(quota, RuntimeClock)),
            checks: AtomicUsize::new(0),
        }
    }

    /// Counts one. False if it was one too many.
    pub fn check(&self, key: &K) -> bool {
        if self.checks.fetch_add(1, Ordering::Relaxed) % TIDY_EVERY == TIDY_EVERY - 1 {
            self.tidy();
        }
        let is_within = self.limiter.load().check_key(key).is_ok();
        if !is_within {
            limited(self.name);
        }
        is_within
    }

    fn tidy(&self) {
        let limiter = self.limiter.load();
        limiter.retain_recent();
        if limiter.len() > KEYS_MAX {
            let anew = KeyedLimiter::dashmap_with_clock(self.quota, RuntimeClock);
            self.limiter.store(anew.into());
            tracing::warn!(
                limit = self.name,
                "more keys than can be told apart; all begin anew"
            );
        }
    }

    /// Keys remembered.
    pub fn len(&self) -> usize {
        self.limiter.load().len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<K: Hash + Eq + Clone> std::fmt::Debug for Keyed<K> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keyed")
            .field("name", &self.name)
            .field("quota", &self.quota)
            .finish_non_exhaustive()
    }
}

/// The runtime's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct RuntimeClock;

/// What it shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct RuntimeInstant(tokio::time::Instant);

impl Clock for RuntimeClock {
    type Instant = RuntimeInstant;

    fn now(&self) -> RuntimeInstant {
        RuntimeInstant(tokio::time::Instant::now())
    }
}

impl Add<Nanos> for RuntimeInstant {
    type Output = RuntimeInstant;

    fn add(self, nanos: Nanos) -> RuntimeInstant {
        RuntimeInstant(self.0 + Duration::from(nanos))
    }
}

impl Reference for RuntimeInstant {
    fn duration_since(&self, earlier: RuntimeInstant) -> Nanos {
        self.0.saturating_duration_since(earlier.0).into()
    }

    fn saturating_sub(&self, nanos: Nanos) -> RuntimeInstant {
        RuntimeInstant(self.0.checked_sub(nanos.into()).unwrap_or(self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU32;

    fn limit() -> Keyed<u32> {
        Keyed::new(
            "test",
            Quota::per_second(NonZeroU32::new(2).expect("not zero")),
        )
    }

    #[tokio::test(start_paused = true)]
    async fn each_has_his_own_and_gets_it_back() {
        let limit = limit();
        for _ in 0..2 {
            for key in 0..100 {
                assert!(limit.check(&key));
            }
        }
        assert!(!limit.check(&7));
        tokio::time::advance(Duration::from_millis(501)).await;
        assert!(limit.check(&7));
        assert!(!limit.check(&7));
    }

    #[tokio::test(start_paused = true)]
    async fn memory_is_bounded_however_many_come() {
        let limit = limit();
        // All at once, so that nobody is quiet again.
        let mut most = 0;
        for key in 0..1_000_000 {
            limit.check(&key);
            if key % 1_000 == 0 {
                most = most.max(limit.len());
            }
        }
        assert!(
            most > KEYS_MAX / 2 && most <= KEYS_MAX + TIDY_EVERY,
            "{most}"
        );
        // The quiet ones are forgotten.
        tokio::time::advance(Duration::from_secs(2)).await;
        for key in 0..2 * TIDY_EVERY as u32 {
            limit.check(&(key % 10));
        }
        assert!(limit.len() <= 10, "{}", limit.len());
    }
}
