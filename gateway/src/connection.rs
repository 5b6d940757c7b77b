//! One connection on this node: the end that rooms and the lobby hold ([`Conn`]), and the end that the socket drives
//! ([`Connection`]), which runs the session and carries its effects out.

use crate::{
    metrics::meters,
    node::Node,
    rate::{self, Limiter, RuntimeClock},
    room::RoomInput,
    session::{Effect, Notice, Session},
    websocket::{CloseCode, End, Frame, Handler, Next, Outbox},
};
use governor::Quota;
use shared::{
    GameId, Timestamp, UserId,
    game::Player,
    protocol::{ErrorCode, RequestId, ServerMessage},
};
use std::{
    num::NonZeroU32,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};
use tokio::sync::oneshot;
use tracing::Span;

/// Bytes queued for one connection. A room's longest snapshot (10,000 events) has some 500 KB and fits by itself; beyond
/// that, 256 KiB are some 800 events, many seconds of the busiest game.
pub const OUTBOX_LEN_MAX: usize = 256 * 1024;

/// Places in [`crate::metrics::ROLES`].
const PLAYER: usize = 0;
const SPECTATOR: usize = 1;
const LOBBY: usize = 2;

/// Of the messages a connection may send for long, one in so many may be of a kind that asks the backplane for more than a
/// room's next event: seeks, invitations, joins. At once it may be a second's, and one for each room there may be: whoever comes
/// back joins all of his.
const COSTLY_PART: u32 = 4;

/// What rooms and the lobby hold of a connection.
#[derive(Debug)]
pub struct Conn {
    /// Unique on this node.
    pub id: u64,
    /// Whose it is.
    pub user: UserId,
    /// What is to be written to it, in order.
    pub outbox: Arc<Outbox>,
    notices: Mutex<Notices>,
}

/// A request's place in the order of its connection's requests to the lobby, which are answered one after the other.
#[derive(Debug)]
pub struct Turn {
    before: Option<oneshot::Receiver<()>>,
    /// Dropped when this request is answered.
    _mine: oneshot::Sender<()>,
}

impl Turn {
    /// Waits for it. It ends when this is dropped.
    pub async fn come(&mut self) {
        if let Some(before) = &mut self.before {
            // Nothing is ever sent: it is dropped.
            let _ = before.await;
            self.before = None;
        }
    }
}

/// Under one lock, so that a room either tells a connection in time or learns that it is gone.
#[derive(Debug)]
struct Notices {
    /// `None` once the connection is gone.
    waiting: Option<Vec<Notice>>,
    /// Ends when the lobby has answered the request before.
    lobby_before: Option<oneshot::Receiver<()>>,
}

impl Conn {
    /// Says something, in answer to the request of that id.
    pub fn say(&self, message: &ServerMessage, id: Option<&RequestId>) {
        self.push(&Frame::text(&message.encode(id)));
    }

    /// Queues a frame that must not be lost: a connection that has no room for it is too slow.
    pub fn push(&self, frame: &Frame) {
        if self.outbox.push(frame.clone()) == Err(crate::websocket::outbox::Refused::Full) {
            self.outbox
                .close_now(CloseCode::Slow, "answers are not taken fast enough");
        }
    }

    /// Tells the session something about its own state. False if it is gone and will not hear it: whoever holds something
    /// for this connection lets go of it then.
    pub fn notice(&self, notice: Notice) -> bool {
        match &mut self.notices().waiting {
            Some(waiting) => waiting.push(notice),
            None => return false,
        }
        self.outbox.wake();
        true
    }

    /// The next turn with the lobby.
    pub fn lobby_turn(&self) -> Turn {
        let (mine, ended) = oneshot::channel();
        Turn {
            before: self.notices().lobby_before.replace(ended),
            _mine: mine,
        }
    }

    fn take_notices(&self) -> Vec<Notice> {
        let mut notices = self.notices();
        notices
            .waiting
            .as_mut()
            .map(std::mem::take)
            .unwrap_or_default()
    }

    /// The last notices; none is taken any more.
    fn end_notices(&self) -> Vec<Notice> {
        self.notices().waiting.take().unwrap_or_default()
    }

    fn notices(&self) -> MutexGuard<'_, Notices> {
        // A list is whole whoever panicked beside it.
        self.notices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The end that the socket's owner drives.
pub struct Connection {
    node: Arc<Node>,
    conn: Arc<Conn>,
    // Taken when the connection ends.
    session: Option<Session>,
    limiter: Limiter,
    /// For what costs more than a look at memory.
    costly: Limiter,
    /// What it counts as, see [`crate::metrics::ROLES`].
    role: usize,
}

impl Connection {
    /// Opens a connection of this user, who has these games running, and says welcome with that token for the next time.
    pub fn open(
        node: Arc<Node>,
        user: Player,
        token: String,
        running: Vec<GameId>,
    ) -> (Connection, Arc<Conn>) {
        let outbox = Arc::new(Outbox::new(OUTBOX_LEN_MAX));
        let conn = node.register(|id| Conn {
            id,
            user: user.id.clone(),
            outbox,
            notices: Mutex::new(Notices {
                waiting: Some(Vec::new()),
                lobby_before: None,
            }),
        });
        let session = Session::new(user, running, node.config.rooms_per_connection as usize);
        let heartbeat_ms = node.config.heartbeat_seconds * 1_000;
        conn.say(
            &session.welcome(token, &node.name, node.now(), heartbeat_ms),
            None,
        );
        let rate = NonZeroU32::new(node.config.messages_per_second).unwrap_or(NonZeroU32::MIN);
        let quota = |rate: NonZeroU32, burst: u32| {
            let quota = Quota::per_second(rate).allow_burst(rate.saturating_add(burst));
            Limiter::direct_with_clock(quota, RuntimeClock)
        };
        let costly = NonZeroU32::new(rate.get() / COSTLY_PART).unwrap_or(NonZeroU32::MIN);
        let rooms = node.config.rooms_per_connection;
        let connection = Connection {
            node,
            conn: conn.clone(),
            session: Some(session),
            limiter: quota(rate, rate.get()),
            costly: quota(costly, rooms),
            role: LOBBY,
        };
        connection.node.change_role(None, Some(LOBBY));
        ::metrics::counter!("rookery_connections_opened_total").increment(1);
        (connection, conn)
    }

    /// A text message came.
    pub fn text(&mut self, text: &str, arrived: Timestamp) {
        self.apply_notices();
        let limited = self.is_limited();
        let Some(session) = &mut self.session else {
            return;
        };
        let may_cost = || {
            let may = self.costly.check().is_ok();
            if !may {
                rate::limited("costly_messages");
            }
            may
        };
        // The list lives no longer than this: a connection that is quiet, as nearly all are, keeps no buffer.
        let mut effects = Vec::new();
        session.text(text, arrived, limited, may_cost, &mut effects);
        self.carry_out(effects);
    }

    /// The connection is gone: its rooms and its seek are told.
    pub fn close(&mut self) {
        self.apply(self.conn.end_notices());
        let Some(session) = self.session.take() else {
            return;
        };
        for game in session.close() {
            self.node
                .rooms
                .tell(&self.node, game, RoomInput::Gone(self.conn.id));
        }
        self.node.change_role(Some(self.role), None);
        ::metrics::counter!("rookery_connections_closed_total").increment(1);
        self.node.lobby.gone(&self.node, self.conn.id);
        self.node.unregister(self.conn.id);
    }

    /// Names it in the lines that are logged while it is served. Of the highest level, so that every line has it; made when it says
    /// something, because a span that is kept costs a quiet connection more memory than all else.
    fn span(&self) -> Span {
        tracing::error_span!(parent: None, "connection", connection = self.conn.id, user = %self.conn.user)
    }

    /// Counts a message. True if it came over the rate.
    fn is_limited(&self) -> bool {
        let is_limited = self.limiter.check().is_err();
        if is_limited {
            rate::limited("messages");
        }
        is_limited
    }

    fn apply_notices(&mut self) {
        self.apply(self.conn.take_notices());
    }

    fn apply(&mut self, notices: Vec<Notice>) {
        let Some(session) = &mut self.session else {
            return;
        };
        if notices.is_empty() {
            return;
        }
        for notice in notices {
            session.notice(notice);
        }
        let role = match (session.is_playing(), session.rooms().next()) {
            (true, _) => PLAYER,
            (false, Some(_)) => SPECTATOR,
            (false, None) => LOBBY,
        };
        let before = std::mem::replace(&mut self.role, role);
        if before != role {
            self.node.change_role(Some(before), Some(role));
        }
    }

    fn carry_out(&self, effects: Vec<Effect>) {
        for effect in effects {
            match effect {
                Effect::Say(message, id) => self.conn.say(&message, id.as_ref()),
                Effect::Room(game, ask) => {
                    self.node
                        .rooms
                        .ask(&self.node, game, self.conn.clone(), ask)
                }
                Effect::Lobby(ask) if !self.node.may_ask_lobby(&ask) => {
                    let why = "too many games sought; slow down";
                    let refusal = crate::session::error(ErrorCode::RateLimited, why, None);
                    self.conn.say(&refusal, ask.id.as_ref());
                }
                Effect::Lobby(ask) => self.node.lobby.ask(&self.node, self.conn.clone(), ask),
                Effect::Close(code, reason) => self.conn.outbox.close(code, reason),
            }
        }
    }
}

impl Handler for Connection {
    fn on_text(&mut self, text: &str, at: Instant) -> Next {
        let _within = self.span().entered();
        meters().received.add(1);
        // A message may have waited in this process; the time it came counts.
        let waited = i64::try_from(at.elapsed().as_millis()).unwrap_or(0);
        self.text(text, self.node.now().plus_ms(-waited));
        Next::Read
    }

    fn on_too_large(&mut self, _at: Instant) -> Next {
        let _within = self.span().entered();
        let limited = self.is_limited();
        let now = self.node.now();
        let mut effects = Vec::new();
        if let Some(session) = &mut self.session {
            session.too_large(now, limited, &mut effects);
        }
        self.carry_out(effects);
        Next::Read
    }

    fn on_drained(&mut self) -> Next {
        self.apply_notices();
        if let Some(session) = &self.session {
            for game in session.rooms() {
                self.node
                    .rooms
                    .tell(&self.node, game.clone(), RoomInput::Drained(self.conn.id));
            }
        }
        Next::Read
    }

    fn on_wake(&mut self) -> Next {
        self.apply_notices();
        Next::Read
    }

    fn on_end(&mut self, end: End) {
        let _within = self.span().entered();
        tracing::debug!(?end, "connection ended");
        self.close();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for Connection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connection")
            .field("conn", &self.conn)
            .finish_non_exhaustive()
    }
}
