//! The contract between gateways and whatever they share: what each call promises about atomicity, order and delivery.
//! Both implementations pass one suite, `tests/contract`; how they keep the promises is theirs.

use crate::outage::Outages;
use crate::queue::{Backlog, Entry, QueuePosition, Take, Watermark};
use crate::restore::{Restore, Restored};
use async_trait::async_trait;
use bytes::Bytes;
use std::{fmt, str::FromStr, sync::Arc, time::Duration};
use tokio::sync::{mpsc, watch};

/// Number of an event in a room's log: 0, 1, 2 … without gaps.
pub type Seq = u64;

/// Milliseconds since the Unix epoch, on the backplane's own clock.
pub type Millis = i64;

/// How far ahead of the backplane's clock an event may claim to be, in milliseconds: covers the error of a node's estimate.
pub const AHEAD_MAX_MS: Millis = 50;

/// How long a call is tried, reconnecting and asking again, before it answers [`Unavailable`].
pub const CALL_TIMEOUT: Duration = Duration::from_secs(5);

/// Lines kept of each topic by [`Backplane::say`].
pub const HISTORY_LEN: usize = 50;

/// Groups a room's attendance is counted in, at most.
pub const GROUPS_MAX: usize = 4;

/// Name of a room, and of its channel: 1 to 64 characters of `[A-Za-z0-9_-]`, so that it is harmless in keys and patterns.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Room(Arc<str>);

/// A name that cannot be a room's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a room's name has 1 to 64 characters of A-Z, a-z, 0-9, _ and -")]
pub struct BadRoom;

impl Room {
    /// Checks and takes a name.
    pub fn parse(name: &str) -> Result<Room, BadRoom> {
        let harmless = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        if name.is_empty() || name.len() > 64 || !name.bytes().all(harmless) {
            return Err(BadRoom);
        }
        Ok(Room(name.into()))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Room {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Name of one life of a log, `<generation>.<random>`; the higher generation is the true one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Epoch {
    generation: u64,
    text: Arc<str>,
}

/// A text that is no epoch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an epoch is <generation>.<random>")]
pub struct BadEpoch;

impl Epoch {
    /// An epoch of that generation; `random` has 1 to 32 characters of `[A-Za-z0-9]`.
    pub fn new(generation: u64, random: &str) -> Epoch {
        Epoch {
            generation,
            text: format!("{generation}.{random}").into(),
        }
    }

    /// Which life it is, from 1.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// As clients see it.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl FromStr for Epoch {
    type Err = BadEpoch;
    fn from_str(text: &str) -> Result<Epoch, BadEpoch> {
        let (generation, random) = text.split_once('.').ok_or(BadEpoch)?;
        let number: u64 = generation.parse().map_err(|_| BadEpoch)?;
        let plain = !random.is_empty()
            && random.len() <= 32
            && random.bytes().all(|byte| byte.is_ascii_alphanumeric());
        if !plain || number.to_string() != generation {
            return Err(BadEpoch);
        }
        Ok(Epoch {
            generation: number,
            text: text.into(),
        })
    }
}

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// What [`Backplane::append`] is asked to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Append {
    /// The life of the log these events continue; `None` creates the log (then `expected` is 0).
    pub epoch: Option<Epoch>,
    /// Number the first event will have.
    pub expected: Seq,
    /// One or more events, opaque bytes.
    pub events: Vec<Bytes>,
    /// The latest moment these events claim.
    pub at: Millis,
    /// When somebody should look at the room if nothing happens before; `None` takes an earlier deadline away.
    pub deadline: Option<Millis>,
}

/// What became of an append.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Appended {
    /// The events are in the log, queued for the archive, and published; the deadline is set. All in one atomic step.
    Appended {
        /// The log's life.
        epoch: Epoch,
        /// Where they stand in the archive's queue, where there is one.
        queued: Option<QueuePosition>,
    },
    /// The same bytes stand at that place already: an earlier attempt succeeded and its reply was lost. Nothing was done.
    AlreadyAppended {
        /// The log's life.
        epoch: Epoch,
    },
    /// Other events stand there. Nothing was done.
    Conflict {
        /// The log's life.
        epoch: Epoch,
        /// All events from `expected` to the end of the log.
        missed: Vec<Bytes>,
    },
    /// The log is gone or lost its tail: it ends before `expected`. Nothing was done.
    Gone {
        /// Where the log ends; 0 if there is none.
        end: Seq,
    },
    /// The log has another life than the one named. Nothing was done.
    OtherEpoch {
        /// The log's life.
        epoch: Epoch,
    },
    /// `at` is more than [`AHEAD_MAX_MS`] ahead of the backplane's clock. Nothing was done; the estimate behind
    /// [`Backplane::now`] has been corrected.
    BadTime {
        /// The backplane's clock.
        now: Millis,
    },
}

/// A room's log, from some place to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Log {
    /// The log's life.
    pub epoch: Epoch,
    /// Number of the first of `events`.
    pub first: Seq,
    /// The events in order, up to the end.
    pub events: Vec<Bytes>,
}

/// What rings at a subscriber. May be lost, repeated, delayed or out of order, except that after every (re)subscription, and
/// after every loss the node itself can notice (a full queue, a broken connection), there comes a [`Signal::Resync`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signal {
    /// Events were appended.
    Events(Log),
    /// Something was published beside the log.
    Message(Message),
    /// Who is there changed.
    Attendance(Attendance),
    /// Signals may have been missed before this one: read the log's end.
    Resync,
}

/// Something published beside the log, at most once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// What it is about, `[a-z_]{1,32}`.
    pub topic: String,
    /// Opaque bytes.
    pub body: Bytes,
}

/// Who is in a room on all nodes together.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Attendance {
    /// One for each group that nodes report, in their order.
    pub groups: Vec<Group>,
}

/// One group of a room's attendance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Group {
    /// Connections on all nodes whose lease holds.
    pub count: u64,
    /// Since when the count has been 0, on the backplane's clock; `None` while it is not. A lease that ran out counts from
    /// when it ran out. Time in which no node could report is not counted: when no lease held in the room, the absence of
    /// all starts anew with the next report.
    pub absent_since: Option<Millis>,
}

/// A seat in a pool of seekers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seeker {
    /// Name of this seek, unique in the cluster, `[A-Za-z0-9_-]{1,64}`.
    pub id: String,
    /// Whose it is: seeks of one user are never paired.
    pub user: String,
    /// Room whose subscribers are told of offers and pairings: the seeker's node.
    pub mailbox: Room,
    /// What the other side needs to know.
    pub data: Bytes,
}

/// Answer to a seek.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sought {
    /// In the pool, until paired, cancelled, or not renewed in time.
    Waiting,
    /// The longest-waiting live seeker of another user was taken out of the pool and told, in his mailbox
    /// (topic [`topic::OFFER`]); his node accepts or refuses within [`OFFER_TTL`]. This seeker is not in the pool meanwhile.
    Offered {
        /// Name of the offer.
        offer: String,
    },
}

/// How long an offer stands. A live node answers in a few milliseconds; a dead one must not keep a seeker waiting.
pub const OFFER_TTL: Duration = Duration::from_millis(1500);

/// How long an accepted pairing can be looked up.
pub const PAIRING_TTL: Duration = Duration::from_secs(60);

/// A seek lapses when it has not been renewed for this long.
pub const SEEK_TTL: Duration = Duration::from_secs(4);

/// Topics of the messages that matchmaking sends to mailboxes.
pub mod topic {
    /// To the longest-waiting seeker's node; the body is an encoded [`super::Offer`].
    pub const OFFER: &str = "offer";
    /// To the other's node, when accepted; the body is the offer's name, a line feed, and the pairing record.
    pub const PAIRED: &str = "paired";
    /// To the other's node, when refused; the body is the offer's name.
    pub const REFUSED: &str = "refused";
}

/// An offer as it comes to the node of the seeker who waited.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Its name.
    pub id: String,
    /// The pool.
    pub pool: String,
    /// The `id` of the seeker who waited.
    pub waiting: String,
    /// `user` of the other.
    pub user: String,
    /// `data` of the other.
    pub data: Bytes,
}

impl Offer {
    /// As it travels: `id LF pool LF waiting LF <bytes in user> LF user data`, simple enough for a script to make.
    /// `user` and `data` may hold any bytes; the other three are harmless names.
    pub fn encode(&self) -> Bytes {
        let Offer {
            id,
            pool,
            waiting,
            user,
            data,
        } = self;
        let head = format!("{id}\n{pool}\n{waiting}\n{}\n{user}", user.len());
        Bytes::from([head.as_bytes(), data].concat())
    }

    /// Reads what [`Offer::encode`] made; `None` for anything else.
    pub fn decode(body: &Bytes) -> Option<Offer> {
        let mut parts = body.splitn(5, |byte| *byte == b'\n');
        let mut text = || std::str::from_utf8(parts.next()?).ok();
        let (id, pool, waiting, user_len) = (text()?, text()?, text()?, text()?);
        let user_len: usize = user_len.parse().ok()?;
        let rest = body.slice_ref(parts.next()?);
        let user = std::str::from_utf8(rest.get(..user_len)?).ok()?;
        Some(Offer {
            id: id.into(),
            pool: pool.into(),
            waiting: waiting.into(),
            user: user.into(),
            data: rest.slice(user_len..),
        })
    }
}

/// What this node can say of its link to the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Health {
    /// Commands are answered.
    pub reachable: bool,
    /// What this node publishes to itself, through the real path, comes back on every subscriber connection.
    pub hears: bool,
}

impl Health {
    /// A node that alone is deaf is not ready. When the backplane is away for everybody, all stay ready.
    pub fn is_ready(self) -> bool {
        self.hears || !self.reachable
    }
}

/// A server behind the backplane, as this node sees it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ServerStatus {
    /// Host and port.
    pub address: String,
    /// It answered lately.
    pub reachable: bool,
    /// How many partitions it owns.
    pub partitions: usize,
    /// Who copies it.
    pub replicas: Vec<String>,
    /// Its clock less this machine's, in milliseconds, once it is known.
    pub clock_offset_ms: Option<i64>,
}

/// The backplane could not be reached for [`CALL_TIMEOUT`]. Whether the call took effect is unknown; every call of this
/// trait may be repeated.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the backplane cannot be reached: {0}")]
pub struct Unavailable(pub String);

/// Answer of every call that goes to the backplane.
pub type Answer<T> = Result<T, Unavailable>;

/// The signals of one subscription. Dropping it ends the subscription, a little later if it was the node's last for the room.
#[derive(Debug)]
pub struct Subscription {
    receiver: mpsc::Receiver<Signal>,
    lagged: Arc<std::sync::atomic::AtomicBool>,
    // Dropped with the subscription: tells the implementation.
    _guard: Box<dyn Guard>,
}

/// Whatever an implementation wants dropped together with a [`Subscription`].
pub trait Guard: Send + Sync + fmt::Debug {}
impl<T: Send + Sync + fmt::Debug> Guard for T {}

/// The implementation's end of a [`Subscription`].
#[derive(Debug, Clone)]
pub struct SignalSender {
    sender: mpsc::Sender<Signal>,
    lagged: Arc<std::sync::atomic::AtomicBool>,
}

/// Signals kept for a subscriber that is busy. When more come they are dropped, and he is told to resynchronise: the log has
/// them all, and a chat line may be lost.
pub const SIGNALS_LEN_MAX: usize = 256;

impl Subscription {
    /// Both ends of a subscription.
    pub fn new(guard: impl Guard + 'static) -> (SignalSender, Subscription) {
        let (sender, receiver) = mpsc::channel(SIGNALS_LEN_MAX);
        let lagged = Arc::<std::sync::atomic::AtomicBool>::default();
        let subscription = Subscription {
            receiver,
            lagged: lagged.clone(),
            _guard: Box::new(guard),
        };
        (SignalSender { sender, lagged }, subscription)
    }

    /// The next signal; `None` when the backplane is closed. Cancelling the call loses nothing.
    pub async fn recv(&mut self) -> Option<Signal> {
        if self.lagged.swap(false, std::sync::atomic::Ordering::AcqRel) {
            return Some(Signal::Resync);
        }
        self.receiver.recv().await
    }
}

impl SignalSender {
    /// Hands a signal over without waiting. False if the subscriber is gone.
    pub fn send(&self, signal: Signal) -> bool {
        match self.sender.try_send(signal) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Full(_)) => {
                self.lagged
                    .store(true, std::sync::atomic::Ordering::Release);
                // The subscriber may have emptied the queue meanwhile, and wait without having seen the flag.
                let _ = self.sender.try_send(Signal::Resync);
                true
            }
            Err(mpsc::error::TrySendError::Closed(_)) => false,
        }
    }
}

/// How [`Backplane::put`] treats a record that exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Put {
    /// Overwrite it.
    Replace,
    /// Leave it, and say what it is.
    IfAbsent,
}

/// What gateways share. All calls may be repeated without harm; all that reach out try for [`CALL_TIMEOUT`], through
/// reconnections and failovers, before they say [`Unavailable`].
#[async_trait]
pub trait Backplane: Send + Sync + fmt::Debug {
    /// The backplane's clock as this node estimates it. Does not wait.
    fn now(&self) -> Millis;

    /// The state of this node's link. Does not wait.
    fn health(&self) -> Health;

    /// The servers behind it, if there are any. Does not wait.
    fn servers(&self) -> Vec<ServerStatus> {
        Vec::new()
    }

    /// Compares, appends, enqueues for the archive, sets the deadline and publishes, in one atomic step and one round trip:
    /// either all of it happened or, by any other answer than [`Appended::Appended`], nothing did. Of two appends with the
    /// same `expected`, exactly one wins. A log never changes but at its end.
    async fn append(&self, room: &Room, append: Append) -> Answer<Appended>;

    /// Waits until a log that holds events up to `end` in that life holds them as firmly as [`crate::Ack`] asks before an append is
    /// answered: for who finds that what he was asked to append stands there already. [`Unavailable`] if that is not certain in
    /// time, or the log does not hold them any more.
    async fn confirm(&self, _room: &Room, _epoch: &Epoch, _end: Seq) -> Answer<()> {
        Ok(())
    }

    /// Puts back what the log lost, in one atomic step: extends it if it is a beginning of what the caller holds (all its bytes
    /// are compared), creates it if it is gone, and enqueues for the archive, sets the deadline and publishes as an append does.
    /// Touches no event that stands there; of two branches the log's holds, under a new life. To be called only with events that
    /// were in the log once; or, under a new life, by the only one who makes that. May be called at any time, and is not held up by [`crate::RESTORE_SETTLE`].
    async fn restore(&self, room: &Room, restore: Restore) -> Answer<Restored>;

    /// A number that changes when the servers may have lost something: they were restarted, or another took the place of one.
    /// Whoever holds events restores them then. Appends wait for [`crate::RESTORE_SETTLE`] after that moment.
    fn upheavals(&self) -> watch::Receiver<u64>;

    /// The log from `from` to its end, `None` if there is none; no events if it ends at or before `from`. Sees every
    /// append answered before the call, and every one whose signal was heard before.
    async fn read(&self, room: &Room, from: Seq) -> Answer<Option<Log>>;

    /// Life and end (the next event's number) of the log, `None` if there is none. Sees every append answered before.
    async fn end(&self, room: &Room) -> Answer<Option<(Epoch, Seq)>>;

    /// Listens to a room, whether it exists or not. The first signal is [`Signal::Resync`], once it is certain that
    /// whatever is published from then on is heard; it may take as long as the backplane is away.
    fn subscribe(&self, room: &Room) -> Subscription;

    /// Publishes beside the log: at most once, to those who listen now.
    async fn publish(&self, room: &Room, message: Message) -> Answer<()>;

    /// Publishes, and keeps the last [`HISTORY_LEN`] bodies of the topic for a day.
    async fn say(&self, room: &Room, message: Message) -> Answer<()>;

    /// Bodies kept by [`Backplane::say`], oldest first.
    async fn history(&self, room: &Room, topic: &str) -> Answer<Vec<Bytes>>;

    /// Reports how many of each group this node has in the room, for `ttl`; a node that does not report again is forgotten.
    /// Answers with the sum over all nodes, and publishes it as [`Signal::Attendance`] if a group came to or left 0, or
    /// (at most once a second a room) if a count changed. All zeros takes the node's report away.
    async fn attend(
        &self,
        room: &Room,
        node: &str,
        counts: &[u32],
        ttl: Duration,
    ) -> Answer<Attendance>;

    /// Rooms whose deadline lies before `before`, earliest first, at most `limit`, of those partitions whose lease for
    /// sweeping `node` holds or could take for `ttl`. So at one time one node sweeps a partition.
    async fn sweep(
        &self,
        node: &str,
        before: Millis,
        limit: usize,
        ttl: Duration,
    ) -> Answer<Vec<(Room, Millis)>>;

    /// Says everywhere that this node is there; to be called each [`crate::BEAT_EVERY`]. Where nobody was for
    /// [`crate::OUTAGE_MIN_MS`] or longer, an outage is noted, which all nodes get to know, and remember also when the backplane
    /// loses its data. True if this node learnt of one.
    async fn beat(&self) -> Answer<bool>;

    /// The outages in the room's part of the backplane, up to now.
    async fn outages(&self, room: &Room) -> Answer<Outages>;

    /// The same as this node knows it. Does not wait.
    fn outages_known(&self, room: &Room) -> Outages;

    /// Writes a small record that lapses after `ttl`. With [`Put::IfAbsent`], answers the record that was in the way.
    /// Keys have 1 to 200 characters of `[A-Za-z0-9_:.-]`, elsewhere percent-encoded by the caller.
    async fn put(&self, key: &str, value: Bytes, ttl: Duration, put: Put) -> Answer<Option<Bytes>>;

    /// Reads a record.
    async fn get(&self, key: &str) -> Answer<Option<Bytes>>;

    /// Takes a record away.
    async fn remove(&self, key: &str) -> Answer<()>;

    /// Puts a member into a set, for `ttl`. Keys as in [`Backplane::put`].
    async fn join_set(&self, key: &str, member: &str, ttl: Duration) -> Answer<()>;

    /// Takes a member out of a set.
    async fn leave_set(&self, key: &str, member: &str) -> Answer<()>;

    /// The members whose time has not passed, oldest joining first.
    async fn set(&self, key: &str) -> Answer<Vec<String>>;

    /// Seeks an opponent in a pool (named as a key): atomically offers to pair with the longest-waiting live seeker of
    /// another user, else waits. Repeated with the same `id` while waiting: waits on, its place kept; after its own offer,
    /// while that stands or a pairing came of it: the same offer again. An offer made to this `id` that was not accepted
    /// yet is refused by it.
    async fn seek(&self, pool: &str, seeker: &Seeker) -> Answer<Sought>;

    /// Keeps waiting seeks alive for another [`SEEK_TTL`]. Answers the ids that are no longer in the pool: offered or lapsed.
    async fn renew_seeks(&self, pool: &str, ids: &[String]) -> Answer<Vec<String>>;

    /// Takes a waiting seek out of the pool. False if it was not there: offered, paired or lapsed.
    async fn cancel_seek(&self, pool: &str, id: &str) -> Answer<bool>;

    /// The waiting seeker's node accepts: atomically, if the offer stands, keeps `pairing` for [`PAIRING_TTL`] and tells
    /// the other's mailbox. Answers the pairing that holds, `None` if the offer had lapsed.
    async fn accept_offer(&self, pool: &str, offer: &str, pairing: Bytes) -> Answer<Option<Bytes>>;

    /// The waiting seeker's node refuses, because he is gone: the other's mailbox is told.
    async fn refuse_offer(&self, pool: &str, offer: &str) -> Answer<()>;

    /// The seeker who made the offer asks what became of it, and withdraws it if nothing yet: answers the pairing if it was
    /// accepted; otherwise it can no longer be.
    async fn settle_offer(&self, pool: &str, offer: &str) -> Answer<Option<Bytes>>;

    /// Takes the next entries of the archive's queue that nobody has taken yet, oldest first in each partition; does not wait
    /// for any. An entry taken stays in the queue until it is acknowledged. While several consumers read, one at a time has
    /// the lease of a partition; the lease saves work and keeps order, but an entry may come to two consumers all the same,
    /// and twice to one ([`Backplane::reclaim`]).
    async fn take(&self, consumer: &str, take: &Take) -> Answer<Vec<Entry>>;

    /// Takes over entries that anybody, this consumer too, took at least `idle` ago and has not acknowledged: he died, or his
    /// answer was lost. At most about `limit`.
    async fn reclaim(&self, consumer: &str, idle: Duration, limit: usize) -> Answer<Vec<Entry>>;

    /// These entries are committed. Then the queue is trimmed up to the lowest entry that is not, never beyond; and the
    /// watermarks that rose are told to [`crate::queue::queue_room`] (topic [`crate::queue::ARCHIVED`]).
    async fn acknowledge(&self, positions: &[QueuePosition]) -> Answer<()>;

    /// How far each partition's queue is archived; none of partitions that never had an entry.
    async fn watermarks(&self) -> Answer<Vec<Watermark>>;

    /// A position that all entries of this room stand at or below which were answered before the call; `None` where there is no
    /// queue, or nothing was ever put into it.
    async fn queue_end(&self, room: &Room) -> Answer<Option<QueuePosition>>;

    /// How much waits for the archive.
    async fn backlog(&self) -> Answer<Backlog>;

    /// Forgets a room's log and deadline, if it is of this life and ends at `end`, nobody is in the room, and its entries, as far
    /// as the backplane can tell, are archived. That they are is for the caller to know: he has seen them in the database. True if
    /// the log is gone afterwards.
    async fn forget(&self, room: &Room, epoch: &Epoch, end: Seq) -> Answer<bool>;
}
