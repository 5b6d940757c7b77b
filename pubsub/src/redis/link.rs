//! The one command connection to one primary: shared by all callers, pipelined, made anew when it breaks.
//!
//! Each connection begins with the question who answers there. If that is another server than before, or the same one restarted,
//! data may have been lost: those who hold events are told, and appends wait for [`RESTORE_SETTLE`].
//!
//! A heartbeat each second finds a connection whose other end is gone without a word, and tells the server's clock. Nothing
//! that blocks ever goes over it.

use super::{
    clock::{Clock, local_us},
    server::{Address, Dialer, Hello, timed_out},
};
use crate::{Ack, RESTORE_SETTLE};
use arc_swap::ArcSwapOption;
use rand::RngExt;
use redis::{Cmd, Pipeline, PushKind, RedisError, RedisResult, Value, aio::MultiplexedConnection};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI64, Ordering},
    },
    time::Duration,
};
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

/// Time between two heartbeats.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// A heartbeat unanswered for this long ends the connection. Shorter than a call's patience, so that it can try again.
const HEARTBEAT_TIMEOUT: Duration = Duration::from_millis(1500);

/// The last answer may be this old while a server still counts as reachable: a missed heartbeat and its time limit.
const REACHABLE_FOR: Duration = Duration::from_millis(2750);

/// The same, where a judgement waits for a server that certainly answers: a heartbeat and some delay. Less than the patience of
/// a probe, so that a server that stops makes nobody look deaf.
const ANSWERS_FOR: Duration = Duration::from_millis(1500);

/// Pause before the second attempt to connect; it doubles to [`PAUSE_MAX`], less a random part.
const PAUSE_MIN: Duration = Duration::from_millis(25);

/// Longest pause between attempts: how much later than necessary, and than the others, a node may find that its server is
/// back. A quarter of [`RESTORE_SETTLE`], in which all must have found it.
const PAUSE_MAX: Duration = Duration::from_millis(250);

/// A connection that stood for less does not shorten the pause before the next: one that was cut at once is not worth a hurry.
const STOOD_MIN: Duration = Duration::from_secs(1);

/// What `Ack::Fsync` asks of a server.
pub(super) const FSYNC_NEEDS: &str = "--ack fsync needs `appendonly yes` and `appendfsync always`, and `+config|get` for a user of an access list";

/// Why a request has no answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// There is no connection. The text says why.
    Down(Arc<str>),
    /// Appends wait until then, so that nobody appends to a log that another node is about to complete.
    Settling(Instant),
    /// The server's error, or the connection broke with the request on its way.
    Redis(RedisError),
}

/// What a link tells its owner.
pub(super) trait Watch: Send + Sync + 'static {
    /// A connection stands, or broke.
    fn changed(&self, link: &Link, up: bool);
    /// Another server answers than before, or it was restarted: it may have lost something.
    fn upheaval(&self, link: &Link);
    /// The estimate of the server's clock may have changed.
    fn clock_learnt(&self);
}

/// See the module.
pub(super) struct Link {
    pub address: Address,
    dialer: Dialer,
    current: ArcSwapOption<Current>,
    /// Why there is no connection.
    broken: Mutex<Arc<str>>,
    clock: Mutex<Clock>,
    /// When the last answer came, by [`local_us`]; far in the past at first.
    answered_us: AtomicI64,
    closed: CancellationToken,
}

struct Current {
    connection: MultiplexedConnection,
    over: CancellationToken,
    identity: Option<String>,
    /// Appends wait until then.
    settled_at: Option<Instant>,
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Link({})", self.address)
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.closed.cancel();
    }
}

impl Link {
    /// Starts to connect, and goes on until `closed` or dropped. `takes_over`: it takes the place of another server's.
    pub fn open(
        address: Address,
        dialer: Dialer,
        watch: Arc<dyn Watch>,
        closed: &CancellationToken,
        takes_over: bool,
        ack: Ack,
    ) -> Arc<Link> {
        let link = Arc::new(Link {
            address,
            dialer,
            current: ArcSwapOption::empty(),
            broken: Mutex::new("not connected yet".into()),
            clock: Mutex::default(),
            answered_us: AtomicI64::new(i64::MIN / 2),
            closed: closed.child_token(),
        });
        let keeper = Keeper {
            link: Arc::downgrade(&link),
            address: link.address.clone(),
            dialer: link.dialer.clone(),
            closed: link.closed.clone(),
            watch,
            known: takes_over.then_some(None),
            ack,
        };
        tokio::spawn(keeper.run());
        link
    }

    /// Asks, and waits for the answer until the connection breaks or `until` comes.
    pub async fn ask(&self, cmd: &Cmd, until: Instant) -> Result<Value, Failure> {
        self.exchange(until, false, async |connection| {
            connection.send_packed_command(cmd).await?.extract_error()
        })
        .await
    }

    /// The same for what must not be sent while others restore.
    pub async fn ask_settled(&self, cmd: &Cmd, until: Instant) -> Result<Value, Failure> {
        self.exchange(until, true, async |connection| {
            connection.send_packed_command(cmd).await?.extract_error()
        })
        .await
    }

    /// Asks several things in one go; the answers may hold errors.
    pub async fn ask_all(
        &self,
        pipeline: &Pipeline,
        until: Instant,
    ) -> Result<Vec<Value>, Failure> {
        self.exchange(until, false, async |connection| {
            connection
                .send_packed_commands(pipeline, 0, pipeline.len())
                .await
        })
        .await
    }

    async fn exchange<T>(
        &self,
        until: Instant,
        settled: bool,
        send: impl AsyncFnOnce(&mut MultiplexedConnection) -> RedisResult<T>,
    ) -> Result<T, Failure> {
        let Some(current) = self.current.load_full() else {
            let broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
            return Err(Failure::Down(broken.clone()));
        };
        // Asked of the very connection that is used, so that no other can slip in between.
        match current.settled_at {
            Some(at) if settled && at > Instant::now() => return Err(Failure::Settling(at)),
            _ => {}
        }
        let mut connection = current.connection.clone();
        let answer = tokio::select! {
            // An answer that came before the end counts.
            biased;
            answer = send(&mut connection) => answer,
            () = current.over.cancelled() => Err(timed_out("the connection broke before the answer came")),
            () = tokio::time::sleep_until(until) => Err(timed_out("no answer in time")),
        };
        match &answer {
            Err(error) if error.is_io_error() => {}
            _ => self.answered_us.store(local_us(), Ordering::Relaxed),
        }
        answer.map_err(Failure::Redis)
    }

    /// Whether the server answered lately.
    pub fn reachable(&self) -> bool {
        let age_us = local_us().saturating_sub(self.answered_us.load(Ordering::Relaxed));
        age_us <= i64::try_from(REACHABLE_FOR.as_micros()).unwrap_or(i64::MAX)
    }

    /// Whether there is a connection and it is in use: not so when it broke, nor some while after the server fell silent.
    pub fn answers(&self) -> bool {
        let age_us = local_us().saturating_sub(self.answered_us.load(Ordering::Relaxed));
        let fresh = age_us <= i64::try_from(ANSWERS_FOR.as_micros()).unwrap_or(i64::MAX);
        fresh && self.current.load().is_some()
    }

    /// The server's clock minus the local one, in microseconds.
    pub fn offset_us(&self) -> Option<i64> {
        self.lock_clock().offset_us()
    }

    /// The server's clock is other than thought: `server_us` in an answer asked at `sent_us`.
    pub fn correct_clock(&self, server_us: i64, sent_us: i64) {
        let mut clock = self.lock_clock();
        clock.reset();
        clock.learn(server_us, sent_us, local_us());
    }

    fn lock_clock(&self) -> std::sync::MutexGuard<'_, Clock> {
        self.clock.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The task that keeps a link connected. Holds the link weakly, so that dropping the link ends it.
struct Keeper {
    link: std::sync::Weak<Link>,
    address: Address,
    dialer: Dialer,
    closed: CancellationToken,
    watch: Arc<dyn Watch>,
    /// Who answered last. `Some(None)` if that was somebody else or is not known.
    known: Option<Option<String>>,
    ack: Ack,
}

impl Keeper {
    async fn run(mut self) {
        let mut pause = Duration::ZERO;
        let mut is_first = true;
        loop {
            let dialed = tokio::select! {
                () = self.closed.cancelled() => return,
                dialed = self.dial() => dialed,
            };
            let why = match dialed {
                Ok(current) => {
                    if !std::mem::take(&mut is_first) {
                        metrics::counter!("rookery_redis_reconnects_total", "link" => "commands")
                            .increment(1);
                    }
                    let begun = Instant::now();
                    let why = self.keep(current).await;
                    if begun.elapsed() > STOOD_MIN {
                        pause = Duration::ZERO;
                    }
                    why
                }
                Err(why) => why,
            };
            let Some(link) = self.link.upgrade() else {
                return;
            };
            self.note_broken(&link, &why);
            drop(link);
            tokio::select! {
                () = self.closed.cancelled() => return,
                () = tokio::time::sleep(jittered(pause)) => {}
            }
            pause = (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        }
    }

    async fn dial(&self) -> Result<Current, String> {
        let over = self.closed.child_token();
        let on_push = over.clone();
        let dialed = self.dialer.dial(&self.address, move |push| {
            if push.kind == PushKind::Disconnection {
                on_push.cancel();
            }
        });
        let (connection, hello) = dialed.await.map_err(|error| error.to_string())?;
        check(&hello)?;
        let mut connection = connection;
        let identity = tokio::time::timeout(HEARTBEAT_TIMEOUT, identity(&mut connection)).await;
        let identity = identity.unwrap_or_else(|_| Err("it does not say who it is".to_owned()))?;
        if self.ack == Ack::Fsync {
            let synced = tokio::time::timeout(HEARTBEAT_TIMEOUT, syncs(&mut connection)).await;
            synced.unwrap_or_else(|_| Err("it does not say how it syncs".to_owned()))?;
        }
        Ok(Current {
            connection,
            over,
            identity,
            settled_at: None,
        })
    }

    /// Serves until the connection breaks; answers why it did.
    async fn keep(&mut self, mut current: Current) -> String {
        let (mut connection, over) = (current.connection.clone(), current.over.clone());
        let is_same = |known: &Option<String>| known.is_some() && *known == current.identity;
        let upheaval = self.known.as_ref().is_some_and(|known| !is_same(known));
        self.known = Some(current.identity.clone());
        if upheaval {
            current.settled_at = Some(Instant::now() + RESTORE_SETTLE);
        }
        {
            let Some(link) = self.link.upgrade() else {
                return String::new();
            };
            link.current.store(Some(Arc::new(current)));
            *link.broken.lock().unwrap_or_else(PoisonError::into_inner) = "".into();
            link.answered_us.store(local_us(), Ordering::Relaxed);
            tracing::info!(server = %self.address, upheaval, "connected to redis");
            if upheaval {
                self.watch.upheaval(&link);
            }
            self.watch.changed(&link, true);
        }
        let mut beat = tokio::time::interval(HEARTBEAT);
        beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let why = loop {
            tokio::select! {
                () = over.cancelled() => break "the connection was closed".to_owned(),
                _ = beat.tick() => {}
            }
            if let Err(error) = self.beat(&mut connection, &over).await {
                break error.to_string();
            }
        };
        over.cancel();
        if let Some(link) = self.link.upgrade() {
            link.current.store(None);
        }
        why
    }

    async fn beat(
        &self,
        connection: &mut MultiplexedConnection,
        over: &CancellationToken,
    ) -> RedisResult<()> {
        let time = redis::cmd("TIME");
        let sent_us = local_us();
        let answer = tokio::select! {
            biased;
            answer = connection.send_packed_command(&time) => answer?.extract_error()?,
            () = over.cancelled() => return Err(timed_out("the connection was closed")),
            () = tokio::time::sleep(HEARTBEAT_TIMEOUT) => return Err(timed_out("the heartbeat was not answered")),
        };
        let received_us = local_us();
        let (seconds, us): (i64, i64) = redis::from_redis_value(answer)?;
        let Some(link) = self.link.upgrade() else {
            return Ok(());
        };
        link.answered_us.store(received_us, Ordering::Relaxed);
        link.lock_clock().learn(
            seconds.saturating_mul(1_000_000).saturating_add(us),
            sent_us,
            received_us,
        );
        self.watch.clock_learnt();
        Ok(())
    }

    fn note_broken(&self, link: &Link, why: &str) {
        if self.closed.is_cancelled() {
            return;
        }
        let mut broken = link.broken.lock().unwrap_or_else(PoisonError::into_inner);
        // A server that stays away is reported once, not at every attempt.
        if broken.as_ref() != why {
            tracing::warn!(server = %self.address, why, "no connection to redis");
            *broken = why.into();
        }
        drop(broken);
        self.watch.changed(link, false);
    }
}

/// Whether commands may go there at all.
fn check(hello: &Hello) -> Result<(), String> {
    if !hello.is_primary() {
        return Err("it is a replica at the moment".to_owned());
    }
    if !hello.is_new_enough() {
        return Err(format!("it runs version {}", hello.version));
    }
    Ok(())
}

/// Who answers: the process, and the history of the data it serves, which another promotion changes. `None` if this user may
/// not ask. An error while the server is reading its data back.
async fn identity(connection: &mut MultiplexedConnection) -> Result<Option<String>, String> {
    let mut info = redis::cmd("INFO");
    info.arg("server").arg("replication").arg("persistence");
    let answer = connection.send_packed_command(&info).await;
    let text = match answer.and_then(Value::extract_error) {
        Ok(value) => redis::from_redis_value::<String>(value).unwrap_or_default(),
        Err(error) if error.is_io_error() => return Err(error.to_string()),
        Err(error) => {
            tracing::debug!(%error, "redis does not say who it is: every new connection counts as another server");
            return Ok(None);
        }
    };
    let line = |name: &str| {
        let mut lines = text.lines().filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| *key == name).map(|(_, is)| is.trim())
    };
    if line("loading") == Some("1") {
        return Err("it is reading its data".to_owned());
    }
    Ok(line("run_id")
        .zip(line("master_replid"))
        .map(|(process, history)| format!("{process} {history}")))
}

/// An error if it answers before what it was told is on its disk.
async fn syncs(connection: &mut MultiplexedConnection) -> Result<(), String> {
    let mut config = redis::cmd("CONFIG");
    config.arg("GET").arg("append*");
    let answer = connection.send_packed_command(&config).await;
    let settings = answer
        .and_then(Value::extract_error)
        .and_then(|value| Ok(redis::from_redis_value::<HashMap<String, String>>(value)?))
        .map_err(|error| format!("it does not say how it syncs: {error}; {FSYNC_NEEDS}"))?;
    let is = |name: &str, value: &str| settings.get(name).is_some_and(|is| is == value);
    match is("appendonly", "yes") && is("appendfsync", "always") {
        true => Ok(()),
        false => Err(format!(
            "it answers before it has synced to its disk; {FSYNC_NEEDS}"
        )),
    }
}

/// Half to the whole of it, so that nodes do not come back all at once.
pub(super) fn jittered(pause: Duration) -> Duration {
    pause.mul_f64(rand::rng().random_range(0.5..=1.0))
}
