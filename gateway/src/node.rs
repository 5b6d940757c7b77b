//! One gateway: what all its connections, rooms and tasks share. It holds nothing that another node could not rebuild.

use crate::{
    archive::Archive,
    config::Config,
    connection::Conn,
    directory::Directory,
    held::Held,
    identity::Tokens,
    lobby::Lobby,
    metrics::Delays,
    random::Random,
    rate::Keyed,
    room::Rooms,
    session::{LobbyAsk, LobbyKind},
    status::Reports,
};
use dashmap::DashMap;
use governor::Quota;
use pubsub::{Answer, Backplane, Put, RESTORE_SETTLE};
use shared::{
    GameId, Timestamp, UserId,
    protocol::{ServerMessage, close::CloseCode, server::Drain},
};
use std::{
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::time::Instant;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// The time in which [`Config::chat_per_user`] lines may be said.
const CHAT_PERIOD: Duration = Duration::from_secs(10);

/// Set of the users who are sent away.
const SENT_AWAY: &str = "sent-away";

/// Shortest time for which a user is sent away: every node's beat comes a few times within.
const SENT_AWAY_MIN: Duration = Duration::from_secs(10);

/// How long a game may be listed as running without anybody touching it: its longest silence is 14 days.
const RUNNING_TTL: Duration = Duration::from_secs(16 * 24 * 60 * 60);

/// Shortest pause between two connections that are sent away by a drain, so that a handful does not wait for the whole window.
const DRAIN_PAUSE_MAX: Duration = Duration::from_millis(50);

/// Part of the drain time in which connections are closed; the rest is for closing handshakes and last answers.
const DRAIN_WINDOW: f64 = 0.8;

/// One gateway.
#[derive(Debug)]
pub struct Node {
    /// Its settings.
    pub config: Config,
    /// Its name, unique in the cluster.
    pub name: String,
    /// What it shares with the others.
    pub backplane: Arc<dyn Backplane>,
    /// Who is who.
    pub tokens: Tokens,
    /// The archive, where there is one: set before a port opens.
    pub archive: OnceLock<Archive>,
    /// Rooms open here.
    pub rooms: Rooms,
    /// Where its ids and lots come from.
    pub random: Random,
    /// Logs of rooms that are no longer open here.
    pub held: Held,
    /// Games to watch.
    pub directory: Directory,
    /// Seeks and invitations.
    pub lobby: Lobby,
    /// How late events came to the sockets here.
    pub delays: Arc<Delays>,
    /// What this node last told of itself.
    pub reports: Reports,
    /// Everything that runs.
    pub tasks: TaskTracker,
    /// Cancelled when the node takes no new connections.
    pub leaving: CancellationToken,
    /// Cancelled when the node stops.
    pub stopped: CancellationToken,
    connections: DashMap<u64, Arc<Conn>>,
    next_connection: AtomicU64,
    is_draining: AtomicBool,
    /// Connections by [`crate::metrics::ROLES`].
    roles: [AtomicUsize; 3],
    started_at: OnceLock<Timestamp>,
    chat: Keyed<UserId>,
    seeks: Keyed<UserId>,
    /// When the backplane last may have lost something, and until when that is being restored.
    upheaval: Mutex<Option<(Timestamp, Instant)>>,
}

impl Node {
    /// A node on that backplane.
    pub fn new(
        config: Config,
        name: String,
        backplane: Arc<dyn Backplane>,
        tokens: Tokens,
        random: Random,
    ) -> Arc<Node> {
        let some = |count: u32| NonZeroU32::new(count).unwrap_or(NonZeroU32::MIN);
        let lines = some(config.chat_per_user);
        let chat = Quota::with_period(CHAT_PERIOD / lines.get())
            .unwrap_or(Quota::per_second(lines))
            .allow_burst(lines);
        let seeks = some(config.seeks_per_minute);
        let seeks = Quota::per_minute(seeks).allow_burst(some(seeks.get() / 2));
        let node = Arc::new(Node {
            lobby: Lobby::new(&random),
            random,
            config,
            name,
            backplane,
            tokens,
            archive: OnceLock::new(),
            rooms: Rooms::default(),
            held: Held::default(),
            directory: Directory::default(),
            tasks: TaskTracker::new(),
            leaving: CancellationToken::new(),
            stopped: CancellationToken::new(),
            connections: DashMap::new(),
            next_connection: AtomicU64::new(1),
            is_draining: AtomicBool::new(false),
            delays: Arc::default(),
            reports: Reports::default(),
            roles: Default::default(),
            started_at: OnceLock::new(),
            chat: Keyed::new("chat_per_user", chat),
            seeks: Keyed::new("seeks_per_user", seeks),
            upheaval: Mutex::default(),
        });
        node.tasks.spawn(crate::lobby::run(node.clone()));
        node.tasks.spawn(crate::sweeper::run(node.clone()));
        node.tasks.spawn(crate::directory::run(node.clone()));
        node.tasks.spawn(crate::held::run(node.clone()));
        node.tasks.spawn(crate::pulse::run(node.clone()));
        node.tasks.spawn(crate::status::run(node.clone()));
        node
    }

    /// The backplane's clock.
    pub fn now(&self) -> Timestamp {
        Timestamp(self.backplane.now())
    }

    /// Whether a load balancer should send people here.
    pub fn is_ready(&self) -> bool {
        !self.is_draining() && self.backplane.health().is_ready()
    }

    /// Whether games may begin here: what must be held of games until they are archived has a bound. Counts a refusal.
    pub fn takes_new_games(&self) -> bool {
        let refuses = self.archive.get().is_some() && self.held.is_full();
        if refuses {
            crate::rate::limited("archive_behind");
        }
        !refuses
    }

    /// Whether the node is leaving.
    pub fn is_draining(&self) -> bool {
        self.is_draining.load(Ordering::Acquire)
    }

    /// How many connections are open.
    pub fn connections_len(&self) -> usize {
        self.connections.len()
    }

    /// The backplane may have lost something, which all nodes are about to restore.
    pub fn upheaval(&self) {
        let upheaval = (self.now(), Instant::now() + RESTORE_SETTLE);
        *self.last_upheaval() = Some(upheaval);
    }

    /// When this node last saw that the backplane may have lost something.
    pub fn lost_at(&self) -> Option<Timestamp> {
        self.last_upheaval().map(|(at, _)| at)
    }

    /// Until when a log that is not there may only not be there yet.
    pub fn settling(&self) -> Option<Instant> {
        let until = self.last_upheaval().map(|(_, until)| until);
        until.filter(|until| *until > Instant::now())
    }

    fn last_upheaval(&self) -> MutexGuard<'_, Option<(Timestamp, Instant)>> {
        self.upheaval.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// When the node started, by the clock that is known when somebody first asks: its own beat, which begins at once.
    pub fn started_at(&self) -> Timestamp {
        *self.started_at.get_or_init(|| self.now())
    }

    /// Connections by [`crate::metrics::ROLES`].
    pub fn roles(&self) -> [usize; 3] {
        [0, 1, 2].map(|role| self.roles[role].load(Ordering::Relaxed))
    }

    /// A connection is something else now; `None` if it comes, or goes.
    pub fn change_role(&self, from: Option<usize>, to: Option<usize>) {
        if let Some(role) = from.and_then(|role| self.roles.get(role)) {
            role.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(role) = to.and_then(|role| self.roles.get(role)) {
            role.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Closes the user's connections on this node now, and on all others with their next beat, and those he opens within
    /// these seconds. How many it were here.
    pub async fn send_away(&self, user: &UserId, seconds: u64) -> Answer<usize> {
        let time = Duration::from_secs(seconds).max(SENT_AWAY_MIN);
        self.backplane
            .join_set(SENT_AWAY, user.as_str(), time)
            .await?;
        Ok(self.close_all_of(&[user.as_str()]))
    }

    /// The users whom an operator sent away lately.
    pub async fn obey(&self) -> Answer<()> {
        let away = self.backplane.set(SENT_AWAY).await?;
        let away: Vec<&str> = away.iter().map(String::as_str).collect();
        if !away.is_empty() {
            self.close_all_of(&away);
        }
        Ok(())
    }

    fn close_all_of(&self, users: &[&str]) -> usize {
        let theirs = self
            .connections
            .iter()
            .filter(|conn| users.contains(&conn.user.as_str()));
        theirs
            .map(|conn| {
                conn.outbox
                    .close(CloseCode::Policy, "an operator closed this connection")
            })
            .count()
    }

    /// Adds a connection under a new number.
    pub fn register(&self, make: impl FnOnce(u64) -> Conn) -> Arc<Conn> {
        let id = self.next_connection.fetch_add(1, Ordering::Relaxed);
        let conn = Arc::new(make(id));
        self.connections.insert(id, conn.clone());
        conn
    }

    /// Takes a connection off the list.
    pub fn unregister(&self, id: u64) {
        self.connections.remove(&id);
    }

    /// A connection that is open.
    pub fn connection(&self, id: u64) -> Option<Arc<Conn>> {
        self.connections
            .get(&id)
            .map(|conn| conn.clone())
            .filter(|conn| !conn.outbox.is_closed())
    }

    /// Counts a line of chat. False if the user says too much.
    pub fn may_chat(&self, user: &UserId) -> bool {
        self.chat.check(user)
    }

    /// Counts a seek or an invitation. False if the user asks for too many.
    pub fn may_ask_lobby(&self, ask: &LobbyAsk) -> bool {
        matches!(ask.kind, LobbyKind::CancelSeek) || self.seeks.check(&ask.user.id)
    }

    /// Takes the word from a user on every node for so long.
    pub async fn mute(&self, user: &UserId, time: Duration) -> Answer<()> {
        let put = Put::Replace;
        let muted = bytes::Bytes::from_static(b"1");
        self.backplane
            .put(&mute_key(user), muted, time, put)
            .await?;
        Ok(())
    }

    /// Gives it back.
    pub async fn unmute(&self, user: &UserId) -> Answer<()> {
        self.backplane.remove(&mute_key(user)).await
    }

    /// Whether this user may say nothing.
    pub async fn is_muted(&self, user: &UserId) -> Answer<bool> {
        Ok(self.backplane.get(&mute_key(user)).await?.is_some())
    }

    /// The user's running games.
    pub async fn running(&self, user: &UserId) -> Answer<Vec<GameId>> {
        let games = self.backplane.set(&running_key(user)).await?;
        Ok(games
            .iter()
            .filter_map(|game| GameId::parse(game).ok())
            .collect())
    }

    /// Lists a game as running.
    pub async fn remember_running(&self, user: &UserId, game: &GameId) -> Answer<()> {
        self.backplane
            .join_set(&running_key(user), game.as_str(), RUNNING_TTL)
            .await
    }

    /// Takes it off the list. If that fails the entry is found out when the user next joins the game.
    pub async fn forget_running(&self, user: &UserId, game: &GameId) {
        if let Err(error) = self
            .backplane
            .leave_set(&running_key(user), game.as_str())
            .await
        {
            tracing::warn!(%user, %game, %error, "a finished game stays on its player's list");
        }
    }

    /// Leaves: takes no new connections, tells everybody, closes them with 1012 spread over the drain window, and waits for
    /// them and for what is under way until the drain time is up.
    pub async fn drain(&self) {
        if self.is_draining.swap(true, Ordering::AcqRel) {
            return self.stopped.cancelled().await;
        }
        self.leaving.cancel();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(self.config.drain_seconds);
        let mut connections: Vec<Arc<Conn>> = self
            .connections
            .iter()
            .map(|entry| entry.value().clone())
            .collect();
        connections.sort_by_key(|conn| conn.id);
        let count = u32::try_from(connections.len()).unwrap_or(u32::MAX).max(1);
        let window = Duration::from_secs(self.config.drain_seconds)
            .mul_f64(DRAIN_WINDOW)
            .min(DRAIN_PAUSE_MAX * count);
        tracing::info!(
            connections = connections.len(),
            window_ms = window.as_millis() as u64,
            "draining"
        );
        let reconnect_within_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX).max(1);
        let drain = ServerMessage::Drain(Drain {
            reconnect_within_ms,
        });
        for conn in &connections {
            conn.say(&drain, None);
        }
        let pause = window / count;
        for conn in &connections {
            tokio::time::sleep(pause).await;
            conn.outbox
                .close(CloseCode::Restart, "this node is leaving");
        }
        let gone = async {
            // Late comers whose handshake was under way are sent on too.
            while !self.connections.is_empty() {
                for conn in &self.connections {
                    conn.outbox
                        .close(CloseCode::Restart, "this node is leaving");
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        let complete = tokio::time::timeout_at(deadline, gone).await.is_ok();
        tracing::info!(complete, left = self.connections.len(), "drained");
        self.stopped.cancel();
    }
}

fn mute_key(user: &UserId) -> String {
    key_of("mute", &[user.as_str()])
}

fn running_key(user: &UserId) -> String {
    key_of("running", &[user.as_str()])
}

/// Name of a record or set. Its parts may hold anything (user ids, clients' keys), a backplane's key may not: all but
/// letters, digits, `_` and `-` is spelled `.xx`, and parts are parted by `:`.
pub fn key_of(kind: &str, parts: &[&str]) -> String {
    let mut key = kind.to_owned();
    for part in parts {
        key.push(':');
        for byte in part.bytes() {
            match byte {
                b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => key.push(char::from(byte)),
                _ => key.push_str(&format!(".{byte:02x}")),
            }
        }
    }
    key
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_users_share_a_key() {
        let key = |id| running_key(&UserId::parse(id).expect("an id"));
        assert_eq!(key("guest-a1"), "running:guest-a1");
        assert_ne!(key("a.2e"), key("a."));
        assert_eq!(key("a|b{c}"), "running:a.7cb.7bc.7d");
    }
}
