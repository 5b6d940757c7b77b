//! One connection that listens, to one primary or a replica of it: made anew when it breaks or turns out deaf.

use super::{
    super::{
        keys::Partition,
        link::{Link, jittered},
        message::{self, Heard},
        server::{Address, Dialer},
        topology::{Shard, cluster::redirection},
    },
    Owner, Subscriber,
    probe::{PATIENCE, PROBE_EVERY, Probe},
};
use bytes::Bytes;
use redis::{PushInfo, PushKind, RedisError, Value, aio::MultiplexedConnection};
use std::{
    collections::HashSet,
    pin::Pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::Notify,
    task::JoinHandle,
    time::{Instant, MissedTickBehavior},
};
use tokio_util::sync::CancellationToken;

/// Time between two looks at whether all is well.
const TICK: Duration = Duration::from_millis(250);

/// A subscription asked for and not confirmed is asked for again after this long.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(1);

/// Commands sent in one go. Each subscribes one channel: a command for several must not cross slots, and has as many
/// confirmations as channels but one error.
const BATCH: usize = 512;

/// Pauses between attempts to connect; see the link's.
const PAUSE_MIN: Duration = Duration::from_millis(25);

/// See [`PAUSE_MIN`].
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// How often a node that listens at the primary for want of a replica looks for one again.
const RETURN_EVERY: Duration = Duration::from_secs(20);

/// See the module.
#[derive(Debug)]
pub(super) struct Ear {
    primary: Arc<Link>,
    owner: Owner,
    state: Mutex<State>,
    /// Channels whose subscription may not be as wanted.
    doubtful: Mutex<HashSet<String>>,
    doubts: Notify,
    deaf: AtomicBool,
    stopped: CancellationToken,
}

#[derive(Debug, Default)]
struct State {
    partitions: HashSet<Partition>,
    replicas: Vec<Address>,
    probe: Probe,
    probe_channel: String,
}

/// Why a connection was given up.
enum End {
    Stopped,
    Broken,
    Deaf,
    /// It was only a stand-in, and this candidate hears again.
    Return(usize),
}

/// Commands under way: for these channels, with their answers unless those did not come in time.
type Answered = (Vec<String>, Option<redis::RedisResult<Vec<Value>>>);

type Asking = Pin<Box<dyn Future<Output = Answered> + Send>>;

/// One connection of an ear.
struct Session {
    connection: MultiplexedConnection,
    name: u64,
    over: CancellationToken,
}

impl Ear {
    pub fn start(owner: &Arc<Subscriber>, shard: &Shard) -> Arc<Ear> {
        let ear = Arc::new(Ear {
            primary: shard.link.clone(),
            owner: Arc::downgrade(owner),
            state: Mutex::default(),
            doubtful: Mutex::default(),
            doubts: Notify::new(),
            deaf: AtomicBool::new(false),
            stopped: owner.topology.closed.child_token(),
        });
        ear.serve(shard);
        tokio::spawn(ear.clone().run());
        ear
    }

    pub fn primary(&self) -> &Address {
        &self.primary.address
    }

    pub fn is_deaf(&self) -> bool {
        self.deaf.load(Ordering::Relaxed)
    }

    pub fn stop(&self) {
        self.stopped.cancel();
    }

    /// The partitions to listen to.
    pub fn serve(&self, shard: &Shard) {
        let mut state = self.state();
        state.partitions = shard.partitions.iter().copied().collect();
        state.replicas = shard.replicas.clone();
    }

    /// A channel may need a command.
    pub fn look_at(&self, channel: String) {
        self.doubtful().insert(channel);
        self.doubts.notify_one();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn doubtful(&self) -> MutexGuard<'_, HashSet<String>> {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run(self: Arc<Ear>) {
        let mut pause = Duration::ZERO;
        // Which candidate is next; counts on over all, the primary last.
        let mut turn = 0;
        let mut silent = Silence::default();
        let mut is_first = true;
        loop {
            let Some(owner) = self.owner.upgrade() else {
                return;
            };
            let replicas = self.state().replicas.clone();
            let mut places = owner.candidates(&replicas);
            places.push((self.primary.address.clone(), owner.topology.dialer.clone()));
            turn %= places.len();
            let stand_in = owner.prefers_replicas() && turn == places.len() - 1;
            let (address, dialer) = places.swap_remove(turn);
            let dialed = tokio::select! {
                () = self.stopped.cancelled() => return,
                dialed = self.dial(&owner, &address, &dialer) => dialed,
            };
            match dialed {
                Ok(session) => {
                    tracing::info!(server = %address, "listening");
                    if !std::mem::take(&mut is_first) {
                        metrics::counter!("rookery_redis_reconnects_total", "link" => "subscriber")
                            .increment(1);
                    }
                    let (name, begun) = (session.name, Instant::now());
                    let end = self.listen(&owner, session, stand_in, &mut silent).await;
                    owner.table.lose_all(name);
                    // One that was cut at once is not worth a hurry.
                    if begun.elapsed() > PAUSE_MAX {
                        pause = Duration::ZERO;
                    }
                    match end {
                        End::Stopped => return,
                        End::Return(place) => turn = place,
                        End::Broken => {
                            tracing::warn!(server = %address, "the connection that listens broke");
                            owner.topology.report_trouble();
                            turn += 1;
                        }
                        End::Deaf => {
                            tracing::warn!(server = %address, "deaf: what is published does not come back; connecting anew");
                            turn += 1;
                        }
                    }
                }
                Err(error) => {
                    tracing::debug!(server = %address, %error, "cannot listen");
                    owner.topology.report_trouble();
                    turn += 1;
                }
            }
            drop(owner);
            let until = Instant::now() + jittered(pause);
            loop {
                self.judge(&mut silent, false);
                let next = until.min(Instant::now() + TICK);
                tokio::select! {
                    () = self.stopped.cancelled() => return,
                    () = tokio::time::sleep_until(next) => {}
                }
                if Instant::now() >= until {
                    break;
                }
            }
            pause = (pause * 2).clamp(PAUSE_MIN, PAUSE_MAX);
        }
    }

    async fn dial(
        self: &Arc<Ear>,
        owner: &Arc<Subscriber>,
        address: &Address,
        dialer: &Dialer,
    ) -> redis::RedisResult<Session> {
        let name = owner.next_connection();
        let over = self.stopped.child_token();
        let (ear, on_end) = (Arc::downgrade(self), over.clone());
        let push = move |push: PushInfo| {
            if push.kind == PushKind::Disconnection {
                on_end.cancel();
            } else if let Some(ear) = ear.upgrade() {
                ear.hear(name, push);
            }
        };
        let (connection, _) = dialer.dial(address, push).await?;
        Ok(Session {
            connection,
            name,
            over,
        })
    }

    /// A push message came. Runs on the connection's own task.
    fn hear(&self, connection: u64, push: PushInfo) {
        let Some(owner) = self.owner.upgrade() else {
            return;
        };
        let mut data = push.data.into_iter();
        let Some(Value::BulkString(channel)) = data.next() else {
            return;
        };
        let Ok(channel) = String::from_utf8(channel) else {
            return;
        };
        match push.kind {
            PushKind::SMessage => {
                let Some(Value::BulkString(body)) = data.next() else {
                    return;
                };
                match message::hear(Bytes::from(body)) {
                    Some(Heard::Probe(number)) => {
                        self.hear_probe(&owner, connection, &channel, number)
                    }
                    Some(heard) => owner.table.deliver(&channel, heard),
                    None => tracing::debug!(channel, "a message of an unknown kind"),
                }
            }
            PushKind::SSubscribe => owner.table.confirm(&channel, connection),
            // Unasked: the slot has moved away.
            PushKind::SUnsubscribe if owner.table.lose(&channel, connection) => {
                owner.topology.report_trouble();
                self.look_at(channel);
            }
            _ => {}
        }
    }

    fn hear_probe(&self, owner: &Subscriber, connection: u64, channel: &str, number: u64) {
        let lost = {
            let mut state = self.state();
            channel == state.probe_channel && state.probe.heard(number)
        };
        owner.heard.store(true, Ordering::Relaxed);
        if self.deaf.swap(false, Ordering::Relaxed) {
            tracing::info!(primary = %self.primary.address, "hearing again");
        }
        if lost {
            // For instance a replica that had lost its primary and began anew.
            tracing::info!(primary = %self.primary.address, "probes were lost: all rooms look at their logs");
            owner.table.resync_all(connection);
        }
    }

    /// Listens until the connection ends.
    async fn listen(
        self: &Arc<Ear>,
        owner: &Arc<Subscriber>,
        session: Session,
        stand_in: bool,
        silent: &mut Silence,
    ) -> End {
        self.begin(owner, &session);
        // Channels asked for and not known to be confirmed, and when to ask again.
        let mut asked = HashSet::new();
        let mut asking: Option<Asking> = None;
        let mut ask_again = Instant::now() + CONFIRM_TIMEOUT;
        let mut probe_at = Instant::now();
        let mut return_at = Instant::now() + RETURN_EVERY;
        let mut returning: Option<JoinHandle<Option<usize>>> = None;
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = self.stopped.cancelled() => return End::Stopped,
                () = session.over.cancelled() => return End::Broken,
                () = self.doubts.notified(), if asking.is_none() => {
                    asking = self.ask(owner, &session, &mut asked);
                }
                answered = async { asking.as_mut().expect("looked at before").await }, if asking.is_some() => {
                    asking = None;
                    if !self.answered(owner, &session, answered, &mut asked) {
                        return End::Broken;
                    }
                    // There may be more than one batch.
                    self.doubts.notify_one();
                }
                _ = tick.tick() => {
                    let now = Instant::now();
                    if now >= probe_at {
                        probe_at = now + PROBE_EVERY;
                        self.choose_probe(owner, &session);
                        self.publish_probe();
                    }
                    if now >= ask_again {
                        ask_again = now + CONFIRM_TIMEOUT;
                        for channel in asked.drain() {
                            self.look_at(channel);
                        }
                    }
                    if self.judge(silent, true) {
                        return End::Deaf;
                    }
                    if stand_in && now >= return_at {
                        let search = returning.get_or_insert_with(|| {
                            let places = owner.candidates(&self.state().replicas);
                            tokio::spawn(place_that_hears(self.clone(), owner.clone(), places))
                        });
                        if search.is_finished() {
                            let found = search.await.ok().flatten();
                            returning = None;
                            return_at = Instant::now() + RETURN_EVERY;
                            if let Some(place) = found {
                                return End::Return(place);
                            }
                        }
                    }
                }
            }
        }
    }

    /// A new connection: everything is to be asked for.
    fn begin(&self, owner: &Subscriber, session: &Session) {
        {
            let mut state = self.state();
            state.probe = Probe::default();
            state.probe_channel.clear();
        }
        let partitions = self.state().partitions.clone();
        let wanted = owner.table.all().into_iter();
        let ours = wanted.filter(|(_, partition)| partitions.contains(partition));
        self.doubtful().extend(ours.map(|(channel, _)| channel));
        self.choose_probe(owner, session);
        self.doubts.notify_one();
    }

    /// The probe's channel must be in a partition that this server serves.
    fn choose_probe(&self, owner: &Subscriber, session: &Session) {
        let mut state = self.state();
        let Some(partition) = state.partitions.iter().min().copied() else {
            return;
        };
        let who = format!("{}:{}", owner.node, session.name);
        let channel = owner.keys.probe(partition, &who);
        if channel != state.probe_channel {
            state.probe = Probe::default();
            let old = std::mem::replace(&mut state.probe_channel, channel.clone());
            if !old.is_empty() {
                // Its partition is another server's now.
                self.doubtful().insert(old);
            }
        } else if state.probe.missing_since().is_none() {
            return;
        }
        drop(state);
        self.look_at(channel);
    }

    fn publish_probe(self: &Arc<Ear>) {
        let (channel, number) = {
            let state = self.state();
            (state.probe_channel.clone(), state.probe.number())
        };
        if channel.is_empty() {
            return;
        }
        let ear = self.clone();
        tokio::spawn(async move {
            let mut command = redis::cmd("SPUBLISH");
            command.arg(&channel).arg(message::probe(number));
            let until = Instant::now() + PROBE_EVERY;
            if ear.primary.ask(&command, until).await.is_ok() {
                let mut state = ear.state();
                if state.probe_channel == channel {
                    state.probe.published(number);
                }
            }
        });
    }

    /// What the next of the doubtful channels need, on its way to the server. It is not waited for here: whether all is well must be
    /// looked at meanwhile, above all when no answer comes.
    fn ask(
        &self,
        owner: &Subscriber,
        session: &Session,
        asked: &mut HashSet<String>,
    ) -> Option<Asking> {
        let mut pipeline = redis::pipe();
        let mut sent = Vec::new();
        while sent.is_empty() {
            let channels: Vec<String> = self.doubtful().extract_if(|_| true).take(BATCH).collect();
            if channels.is_empty() {
                return None;
            }
            let state = self.state();
            for channel in channels {
                let wanted = match owner.table.state(&channel) {
                    _ if channel == state.probe_channel => true,
                    Some((partition, by)) if state.partitions.contains(&partition) => {
                        if by == Some(session.name) {
                            continue;
                        }
                        true
                    }
                    _ => false,
                };
                let name = if wanted { "SSUBSCRIBE" } else { "SUNSUBSCRIBE" };
                pipeline.cmd(name).arg(&channel);
                if wanted {
                    asked.insert(channel.clone());
                }
                sent.push(channel);
            }
        }
        let mut connection = session.connection.clone();
        Some(Box::pin(async move {
            let answers = connection.send_packed_commands(&pipeline, 0, pipeline.len());
            let answers = tokio::time::timeout(CONFIRM_TIMEOUT, answers).await;
            (sent, answers.ok())
        }))
    }

    /// The answers of a batch came, or did not come in time. False if the connection broke.
    fn answered(
        &self,
        owner: &Subscriber,
        session: &Session,
        (sent, answers): Answered,
        asked: &mut HashSet<String>,
    ) -> bool {
        let Some(answers) = answers else {
            // They are asked for again.
            return true;
        };
        let Ok(answers) = answers else {
            return false;
        };
        for (channel, answer) in sent.iter().zip(answers) {
            if let Value::ServerError(error) = answer {
                self.refused(owner, channel, &RedisError::from(error));
            }
        }
        let state = self.state();
        asked.retain(|channel| match owner.table.state(channel) {
            Some((partition, by)) => {
                by != Some(session.name) && state.partitions.contains(&partition)
            }
            None => false,
        });
        true
    }

    /// A server does not take a subscription. It will be asked for again, here or elsewhere.
    fn refused(&self, owner: &Subscriber, channel: &str, error: &RedisError) {
        let asked = self.primary();
        match redirection(error, asked) {
            Some((slot, to)) if to != *asked => owner.topology.moved(slot, &to, asked),
            _ => {
                tracing::warn!(channel, %error, "a subscription was refused");
                owner.topology.report_trouble();
            }
        }
    }

    /// Notes how long nothing has been heard although the primary answers; true when that is too long.
    fn judge(&self, silent: &mut Silence, connected: bool) -> bool {
        let missing = self.state().probe.missing_since();
        let hearing = connected && missing.is_none();
        // When the primary is away for everybody, nobody is deaf.
        if hearing || !self.primary.answers() {
            silent.since = None;
            return false;
        }
        let began = missing.unwrap_or_else(Instant::now);
        let since = *silent.since.get_or_insert(began);
        let deaf = since.elapsed() >= PATIENCE;
        if deaf {
            self.deaf.store(true, Ordering::Relaxed);
            // The next connection has its own time.
            if connected {
                silent.since = None;
            }
        }
        deaf
    }
}

#[derive(Debug, Default)]
struct Silence {
    since: Option<Instant>,
}

/// The first of these places that not only answers but hears: a replica that copies its primary anew does the one for minutes
/// before it does the other.
async fn place_that_hears(
    ear: Arc<Ear>,
    owner: Arc<Subscriber>,
    places: Vec<(Address, Dialer)>,
) -> Option<usize> {
    let partition = ear.state().partitions.iter().min().copied()?;
    for (index, (address, dialer)) in places.into_iter().enumerate() {
        let who = format!("{}:{}", owner.node, owner.next_connection());
        let channel = owner.keys.probe(partition, &who);
        let heard = Arc::new(Notify::new());
        let on_push = heard.clone();
        let dialed = dialer.dial(&address, move |push| {
            if push.kind == PushKind::SMessage {
                on_push.notify_one();
            }
        });
        let Ok((mut connection, _)) = dialed.await else {
            continue;
        };
        let mut subscribe = redis::cmd("SSUBSCRIBE");
        subscribe.arg(&channel);
        let mut publish = redis::cmd("SPUBLISH");
        publish.arg(&channel).arg(message::probe(0));
        let proof = async {
            connection.send_packed_command(&subscribe).await.ok()?;
            ear.primary
                .ask(&publish, Instant::now() + PATIENCE)
                .await
                .ok()?;
            heard.notified().await;
            Some(())
        };
        if let Ok(Some(())) = tokio::time::timeout(PATIENCE, proof).await {
            return Some(index);
        }
    }
    None
}
