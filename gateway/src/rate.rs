//! Rate limits, on the runtime's clock: where that is paused, as in a simulation, so are they.

use governor::{
    RateLimiter,
    clock::{Clock, Reference},
    middleware::NoOpMiddleware,
    nanos::Nanos,
    state::{InMemoryState, NotKeyed, keyed::DashMapStateStore},
};
use std::{ops::Add, time::Duration};

/// A limit for one.
pub type Limiter =
    RateLimiter<NotKeyed, InMemoryState, RuntimeClock, NoOpMiddleware<RuntimeInstant>>;

/// A limit for each of many.
pub type KeyedLimiter<K> =
    RateLimiter<K, DashMapStateStore<K>, RuntimeClock, NoOpMiddleware<RuntimeInstant>>;

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
