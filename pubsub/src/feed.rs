//! One room in order: turns the backplane's doorbell into the log, dense and once, with a clear cut wherever the log became
//! another one. [`sequencer`] decides what is given and what must be read; this module listens, reads and waits.

mod sequencer;
mod tail;

use crate::{
    Answer, Attendance, Backplane, CALL_TIMEOUT, Epoch, Log, Message, Room, Seq, Signal,
    Subscription, Unavailable,
};
use bytes::Bytes;
use sequencer::{Read, Sequencer};
use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    pin::Pin,
    sync::Arc,
    time::Duration,
};
use tokio::time::{Instant, sleep_until, timeout};

/// After how long without a signal the log's end is read, give or take [`CHECK_JITTER`]. A lost signal is noticed by the next
/// one; this bounds how long the last one before a silence may stay unheard, at a cost of one small read a room.
pub const CHECK_EVERY: Duration = Duration::from_secs(20);

/// Spreads the checks of many rooms that were opened at once.
pub const CHECK_JITTER: Duration = Duration::from_secs(5);

/// How long the first reading waits for the subscription to be certain. Reading before saves no time when all is well, as
/// the end must be read again after; when the channel alone is in trouble, the log is shown all the same.
pub const SUBSCRIBE_PATIENCE: Duration = Duration::from_millis(250);

/// Pause between two looks at a log that holds less than is known: time for somebody to restore it.
pub const DOUBT_PAUSE: Duration = Duration::from_secs(1);

/// First and longest pause after a reading that failed; the backplane has tried for [`CALL_TIMEOUT`] already.
const RETRY_AFTER: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(2));

/// Pause before a subscription that the backplane ended is begun again.
const RESUBSCRIBE_AFTER: Duration = Duration::from_secs(1);

/// What a room's feed gives.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum FeedItem {
    /// The whole log, the first time and whenever it has become another one: replaces all that was known.
    Reset {
        /// The log's life.
        epoch: Epoch,
        /// All events from 0.
        events: Vec<Bytes>,
    },
    /// The events that follow.
    Events {
        /// Number of the first.
        first: Seq,
        /// One or more.
        events: Vec<Bytes>,
    },
    /// Something published beside the log.
    Message(Message),
    /// Who is there changed.
    Attendance(Attendance),
    /// The log holds less than was given, or is of an older life. Who holds the events may put them back, and say so with
    /// [`Feed::look_again`]; if nobody does, what stands there is given after some seconds.
    Short,
    /// There is no log now: it was never created, or is gone. More comes when there is one.
    Missing,
}

/// One room in order, on this node.
pub struct Feed {
    backplane: Arc<dyn Backplane>,
    room: Room,
    subscription: Option<Subscription>,
    sequencer: Sequencer,
    reading: Option<Reading>,
    failures: u32,
    // That the log is short was found, and not given yet.
    found_short: bool,
    // No reading before this.
    retry_at: Option<Instant>,
    // When a subscription that ended is begun again.
    subscribe_at: Option<Instant>,
    check_at: Instant,
    checks: u64,
}

struct Reading {
    read: Read,
    answer: Pin<Box<dyn Future<Output = Answer<Option<Log>>> + Send>>,
}

impl Feed {
    /// Listens to a room. Costs nothing until the first [`Feed::next`].
    pub fn new(backplane: Arc<dyn Backplane>, room: Room) -> Feed {
        let subscription = Some(backplane.subscribe(&room));
        Feed {
            backplane,
            room,
            subscription,
            sequencer: Sequencer::default(),
            reading: None,
            failures: 0,
            found_short: false,
            retry_at: None,
            subscribe_at: None,
            check_at: Instant::now() + SUBSCRIBE_PATIENCE,
            checks: 0,
        }
    }

    /// The room.
    pub fn room(&self) -> &Room {
        &self.room
    }

    /// The next item. Cancelling the call loses nothing.
    pub async fn next(&mut self) -> FeedItem {
        loop {
            if let Some(item) = self.ready() {
                return item;
            }
            self.begin();
            let wake_at = self.wake_at();
            // In a fixed order, so that a simulation can be replayed; none of the first two can keep the third from its turn.
            tokio::select! {
                biased;
                answer = finished(&mut self.reading) => {
                    // Its failure is dealt with: tried again later.
                    let _ = self.answered(answer);
                }
                () = sleep_until(wake_at) => self.wake(),
                signal = heard(&mut self.subscription) => {
                    if let Some(item) = self.signal(signal) {
                        return item;
                    }
                }
            }
        }
    }

    /// The next item if it is known already, without waiting: all that [`Feed::appended`] and [`Feed::catch_up`] brought.
    pub fn ready(&mut self) -> Option<FeedItem> {
        if std::mem::take(&mut self.found_short) && self.sequencer.doubts() {
            return Some(FeedItem::Short);
        }
        self.sequencer.pop()
    }

    /// Whether the log was last found to hold less than was given.
    pub fn doubts(&self) -> bool {
        self.sequencer.doubts()
    }

    /// Has the log read as soon as [`Feed::next`] is called, even if it was just found to hold too little: somebody may have
    /// restored it.
    pub fn look_again(&mut self) {
        self.retry_at = None;
        self.sequencer.resync();
    }

    /// The log's life, and the number of the event after the last one given; `None` before the first and while there is no log.
    pub fn position(&self) -> Option<(Epoch, Seq)> {
        self.sequencer.position()
    }

    /// Events known to stand in the log from `first` on: this node's own successful append, or those missed by a
    /// conflict. They come out of [`Feed::next`] once, in order; their copy from the channel is dropped.
    pub fn appended(&mut self, epoch: Epoch, first: Seq, events: Vec<Bytes>) {
        self.sequencer.appended(epoch, first, events);
    }

    /// Has the log's end read as soon as [`Feed::next`] is called.
    pub fn resync(&mut self) {
        self.wish();
    }

    /// Reads the log's end now. When it answers `Ok`, [`Feed::ready`] gives everything that was in the log when it was
    /// called. [`Unavailable`] also while the log holds less than is known, which [`Feed::next`] clears up within
    /// seconds. Cancelling the call loses nothing.
    pub async fn catch_up(&mut self) -> Answer<()> {
        let wish = self.wish();
        while !self.sequencer.has_read(wish) {
            if self.sequencer.doubts() {
                return Err(Unavailable(format!("the log of {} lost events", self.room)));
            }
            self.begin();
            let answer = finished(&mut self.reading).await;
            self.answered(answer)?;
        }
        Ok(())
    }

    /// Wishes the end to be read at once, unless it was just found to hold too little.
    fn wish(&mut self) -> u64 {
        if !self.sequencer.doubts() {
            self.retry_at = None;
        }
        self.sequencer.resync()
    }

    /// Begins to read, if that is wanted and not to be put off.
    fn begin(&mut self) {
        if self.reading.is_some() || self.retry_at.is_some() {
            return;
        }
        let Some(read) = self.sequencer.wants() else {
            return;
        };
        self.sequencer.begin();
        let (backplane, room) = (self.backplane.clone(), self.room.clone());
        let answer = Box::pin(async move {
            // The backplane keeps its own time; this is in case it does not.
            let limit = CALL_TIMEOUT + Duration::from_secs(1);
            let answer = timeout(limit, backplane.read(&room, read.from)).await;
            answer.unwrap_or_else(|_| Err(Unavailable("no answer to a read".into())))
        });
        self.reading = Some(Reading { read, answer });
    }

    fn answered(&mut self, (read, answer): (Read, Answer<Option<Log>>)) -> Answer<()> {
        match answer {
            Ok(log) => {
                self.failures = 0;
                let doubted = self.sequencer.doubts();
                let had_gap = self.sequencer.has_gap();
                self.sequencer.answer(read, log);
                if had_gap && !self.sequencer.has_gap() {
                    metrics::counter!("rookery_feed_gaps_filled_total").increment(1);
                }
                if self.sequencer.doubts() {
                    self.found_short |= !doubted;
                    tracing::warn!(room = %self.room, "log is shorter than known, gone, or of an older life");
                    self.retry_at = Some(Instant::now() + DOUBT_PAUSE);
                }
                Ok(())
            }
            Err(unavailable) => {
                let (first, longest) = RETRY_AFTER;
                let pause = first.saturating_mul(1 << self.failures.min(8)).min(longest);
                self.failures += 1;
                let pause = pause.mul_f64(0.5 + self.jitter() / 2.0);
                self.retry_at = Some(Instant::now() + pause);
                tracing::debug!(room = %self.room, %unavailable, ?pause, "read failed");
                Err(unavailable)
            }
        }
    }

    /// Takes a signal; what is not about the log is given at once.
    fn signal(&mut self, signal: Option<Signal>) -> Option<FeedItem> {
        match signal {
            Some(Signal::Events(log)) => {
                self.sequencer.heard(log);
                self.check_later();
            }
            Some(Signal::Resync) => {
                // The first one after every subscription is how things should be.
                if self.sequencer.position().is_some() {
                    metrics::counter!("rookery_feed_resyncs_total").increment(1);
                }
                self.resync();
                self.check_later();
            }
            Some(Signal::Message(message)) => return Some(FeedItem::Message(message)),
            Some(Signal::Attendance(attendance)) => return Some(FeedItem::Attendance(attendance)),
            None => {
                self.subscription = None;
                self.subscribe_at = Some(Instant::now() + RESUBSCRIBE_AFTER);
            }
        }
        None
    }

    fn wake_at(&self) -> Instant {
        let others = self.retry_at.into_iter().chain(self.subscribe_at);
        others.fold(self.check_at, Instant::min)
    }

    fn wake(&mut self) {
        let now = Instant::now();
        self.retry_at = self.retry_at.filter(|at| *at > now);
        if self.subscribe_at.is_some_and(|at| at <= now) {
            self.subscribe_at = None;
            self.subscription = Some(self.backplane.subscribe(&self.room));
        }
        if self.check_at <= now {
            self.sequencer.resync();
            self.check_later();
        }
    }

    fn check_later(&mut self) {
        self.check_at =
            Instant::now() + CHECK_EVERY - CHECK_JITTER + CHECK_JITTER.mul_f64(2.0 * self.jitter());
    }

    /// From 0 to 1, from the room's name and not from chance, so that a simulation can be replayed.
    fn jitter(&mut self) -> f64 {
        self.checks += 1;
        let mut hasher = DefaultHasher::new();
        (&self.room, self.checks).hash(&mut hasher);
        f64::from(hasher.finish() as u32) / f64::from(u32::MAX)
    }
}

/// The answer of the reading under way, which it ends; never, if there is none.
async fn finished(reading: &mut Option<Reading>) -> (Read, Answer<Option<Log>>) {
    let Some(Reading { read, answer }) = reading else {
        return std::future::pending().await;
    };
    let answer = (*read, answer.await);
    *reading = None;
    answer
}

async fn heard(subscription: &mut Option<Subscription>) -> Option<Signal> {
    match subscription {
        Some(subscription) => subscription.recv().await,
        None => std::future::pending().await,
    }
}

impl fmt::Debug for Feed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feed")
            .field("room", &self.room)
            .field("sequencer", &self.sequencer)
            .field("reading", &self.reading.is_some())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
