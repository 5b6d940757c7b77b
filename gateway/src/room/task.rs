//! The loop of one room: everything that can wake it is one `select!`, everything it knows is one struct.

use super::{
    Ask, AskKind, Creation, Live, RoomInput, chat::Chat, invitation::Invitation,
    presence::Attending, repair::Repair, submit::Job,
};
use crate::{
    connection::Conn,
    fanout::{CatchUp, Members},
    node::Node,
    session::{Notice, error},
    websocket::Frame,
};
use pubsub::{CALL_TIMEOUT, QueuePosition, Room, feed::Feed};
use shared::{
    GameId,
    protocol::{ErrorCode, ServerMessage, server::GameOnly},
};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{sync::mpsc, time::Instant};
use tracing::Instrument;

/// A flag falls this long after its deadline, for moves that are on their way, in milliseconds.
pub const FLAG_GRACE_MS: i64 = 200;

/// An empty room is kept this long, because people reload pages.
const LINGER: Duration = Duration::from_secs(2);

/// How long a node tries to make a game of which it has no player; those who have try as long as he is connected.
const CREATION_PATIENCE: Duration = Duration::from_secs(60);

/// How long the loop sleeps when no timer is set.
const LONG: Duration = Duration::from_secs(3600);

/// One room on this node.
pub(super) struct Task {
    pub node: Arc<Node>,
    pub game: GameId,
    pub room: Room,
    pub feed: Feed,
    pub state: State,
    pub members: Members,
    /// Connections that wait for the second player; true for those who asked to be in the room.
    pub awaiting: Vec<(Arc<Conn>, bool)>,
    /// What waits for the log, for the backplane, or for its turn, in order.
    pub pending: VecDeque<Pending>,
    /// The one thing that waits for the backplane now.
    pub job: Option<Job>,
    pub attending: Attending,
    pub chat: Chat,
    pub repair: Repair,
    /// Not before then is the deadline looked at again.
    pub deadline_not_before: Instant,
    empty_since: Option<Instant>,
}

/// What this node knows of the room.
pub(super) enum State {
    /// Nothing yet.
    Loading,
    /// There is no log. There may be an invitation.
    Absent(Absent),
    /// The log, folded.
    Live(Box<Live>),
}

/// What is known of a room without a log.
#[derive(Debug)]
pub(super) struct Absent {
    /// Its invitation, if one was looked for and found.
    pub invitation: Option<Invitation>,
    /// Who asked before is answered by this; who asked later might have been overtaken by the log's first event, which a
    /// node that hears badly does not know of.
    pub seen_at: Instant,
}

impl Absent {
    /// There is no log at this moment.
    pub fn now() -> Absent {
        Absent {
            invitation: None,
            seen_at: Instant::now(),
        }
    }
}

/// Something to do that may have to wait.
pub(super) struct Pending {
    pub work: Work,
    /// When it came; after [`CALL_TIMEOUT`] the asker is told `unavailable`.
    pub since: Instant,
    /// The node's view was compared with the log since then: a refusal may be told.
    pub verified: bool,
    /// All outages up to now were asked for since then.
    pub asked_outages: bool,
    /// How often it was decided and lost against another append.
    pub attempts: u32,
    /// Where its events stand in the archive's queue, if that is known.
    pub queued: Option<QueuePosition>,
}

/// Kinds of [`Pending`].
pub(super) enum Work {
    /// A connection's request.
    Ask(Arc<Conn>, Box<Ask>),
    /// A game to make.
    Create(Box<Creation>),
    /// A connection that waits for its invitation.
    Await(Arc<Conn>),
    /// The deadline has passed.
    Deadline,
    /// An operator's wish.
    Abort,
    /// Time lost to an outage may have to be given back.
    Credit,
}

impl Pending {
    pub fn new(work: Work) -> Pending {
        Pending {
            work,
            since: Instant::now(),
            verified: false,
            asked_outages: false,
            attempts: 0,
            queued: None,
        }
    }

    /// When waiting is no use any more. A game that was agreed on is made as soon as it can be, and who waits for one waits.
    pub fn lapses_at(&self) -> Option<Instant> {
        match self.work {
            Work::Create(_) | Work::Await(_) => None,
            _ => Some(self.since + CALL_TIMEOUT),
        }
    }

    /// Whether anybody, or the other node of a pairing, would miss it if it were dropped after the backplane could not be
    /// reached.
    pub fn is_wanted(&self) -> bool {
        match &self.work {
            Work::Create(creation) => {
                let waits = creation.seats.iter().any(|conn| !conn.outbox.is_closed());
                waits || self.since.elapsed() < CREATION_PATIENCE
            }
            Work::Await(conn) => !conn.outbox.is_closed(),
            _ => false,
        }
    }

    /// Answers the asker, if there is one.
    pub fn reply(&self, message: &ServerMessage) {
        if let Work::Ask(conn, ask) = &self.work {
            conn.say(message, ask.id.as_ref());
        }
    }
}

/// Starts a room's task.
pub(super) fn spawn(node: Arc<Node>, game: GameId, inbox: mpsc::Receiver<RoomInput>) {
    // Of whoever opened it the room is independent.
    let span = tracing::error_span!(parent: None, "room", room = %game);
    let room = super::room_of(&game);
    let feed = Feed::new(node.backplane.clone(), room.clone());
    let task = Task {
        game: game.clone(),
        room,
        feed,
        state: State::Loading,
        members: Members::new(Arc::new(Skips {
            node: node.clone(),
            game: game.clone(),
        })),
        awaiting: Vec::new(),
        pending: VecDeque::new(),
        job: None,
        attending: Attending::default(),
        chat: Chat::default(),
        repair: Repair::default(),
        deadline_not_before: Instant::now(),
        empty_since: None,
        node: node.clone(),
    };
    node.tasks.spawn(task.run(inbox).instrument(span));
}

/// Tells a room of members whom the fan-out skipped.
struct Skips {
    node: Arc<Node>,
    game: GameId,
}

impl CatchUp for Skips {
    fn caught_up(&self, member: u64) {
        let input = RoomInput::Skipped(member);
        self.node.rooms.tell(&self.node, self.game.clone(), input);
    }
}

impl Task {
    async fn run(mut self, mut inbox: mpsc::Receiver<RoomInput>) {
        tracing::debug!("room opened");
        loop {
            self.mend();
            self.work();
            if self.is_done() {
                break;
            }
            let wake_at = self.wake_at();
            tokio::select! {
                biased;
                item = self.feed.next() => self.follow(item),
                done = Job::finished(&mut self.job) => self.finish(done).await,
                answer = Repair::answered(&mut self.repair) => self.mended(answer),
                answer = Attending::answered(&mut self.attending) => self.attended(answer),
                history = Chat::loaded(&mut self.chat) => self.history_loaded(history),
                input = inbox.recv() => match input {
                    Some(input) => self.take(input),
                    None => break,
                },
                () = tokio::time::sleep_until(wake_at) => self.tick(),
            }
        }
        tracing::debug!("room closed");
        // What came in the meantime is for a room opened anew.
        inbox.close();
        let node = self.node.clone();
        if let State::Live(live) = &self.state {
            node.held.keep(self.room.clone(), &live.held());
        }
        let game = self.game.clone();
        node.rooms.closed(&game);
        node.directory.unlist(&game);
        drop(self);
        while let Ok(input) = inbox.try_recv() {
            node.rooms.tell(&node, game.clone(), input);
        }
    }

    fn take(&mut self, input: RoomInput) {
        match input {
            RoomInput::Ask(conn, ask) => self.asked(conn, ask),
            RoomInput::Create(creation) => {
                self.pending.push_back(Pending::new(Work::Create(creation)))
            }
            RoomInput::Await(conn) => self.pending.push_back(Pending::new(Work::Await(conn))),
            RoomInput::Abort => self.pending.push_back(Pending::new(Work::Abort)),
            RoomInput::Gone(conn) => {
                self.pending.retain(|pending| !matches!(&pending.work, Work::Ask(c, ask) if c.id == conn && !ask.kind.acts()));
                self.leave(conn);
            }
            RoomInput::Drained(conn) => {
                if self.members.drained(conn) {
                    self.send_snapshot(conn);
                }
            }
            RoomInput::Skipped(conn) => {
                if self.members.caught_up(conn) {
                    self.send_snapshot(conn);
                }
            }
            RoomInput::Upheaval => self.feed.look_again(),
            RoomInput::Outage => self.pending.push_back(Pending::new(Work::Credit)),
            // Opening the room was all: its own timer does the rest.
            RoomInput::Sweep => {}
        }
    }

    /// What needs no word from the backplane is done at once, unless it would overtake an earlier request of the same
    /// connection; the rest waits its turn.
    fn asked(&mut self, conn: Arc<Conn>, ask: Box<Ask>) {
        let waits = self
            .pending
            .iter()
            .any(|earlier| matches!(&earlier.work, Work::Ask(c, _) if c.id == conn.id));
        let pending = Pending::new(Work::Ask(conn, ask));
        if waits || !self.is_immediate(&pending) {
            self.pending.push_back(pending);
        } else if let Some(back) = self.attempt(pending) {
            self.pending.push_back(back);
        }
    }

    fn is_immediate(&self, pending: &Pending) -> bool {
        let State::Live(live) = &self.state else {
            return false;
        };
        match &pending.work {
            Work::Ask(_, ask) => match &ask.kind {
                AskKind::Join { seen } => seen
                    .as_ref()
                    .is_none_or(|seen| super::is_within(&live.epoch, live.end(), seen)),
                AskKind::Leave | AskKind::Chat(_) => true,
                _ => false,
            },
            _ => false,
        }
    }

    /// Does what can be done of what waits, in order.
    fn work(&mut self) {
        while self.job.is_none()
            && let Some(pending) = self.pending.pop_front()
        {
            if let Some(back) = self.attempt(pending) {
                self.pending.push_front(back);
                break;
            }
        }
    }

    /// Does it, or starts the job that does it; gives it back if it must wait.
    fn attempt(&mut self, pending: Pending) -> Option<Pending> {
        match &self.state {
            State::Loading => Some(pending),
            State::Absent(_) => self.attempt_absent(pending),
            State::Live(_) => self.attempt_live(pending),
        }
    }

    fn attempt_live(&mut self, pending: Pending) -> Option<Pending> {
        let State::Live(live) = &self.state else {
            return Some(pending);
        };
        match &pending.work {
            Work::Ask(conn, ask) => match &ask.kind {
                AskKind::Join { seen } => {
                    let ahead = seen
                        .as_ref()
                        .is_some_and(|seen| super::may_be_ahead(&live.epoch, live.end(), seen));
                    if ahead && !pending.verified {
                        // Until the log is whole, a look at it tells less than this node knows.
                        if self.repair.is_active() {
                            return Some(pending);
                        }
                        self.job = Some(Job::verify(self, pending));
                        return None;
                    }
                    let (conn, ask) = (conn.clone(), ask.clone());
                    self.join(conn, &ask);
                    None
                }
                AskKind::TakeSeat => {
                    let (conn, ask) = (conn.clone(), ask.clone());
                    self.seat_taken(conn, &ask);
                    None
                }
                // A spectator who exits has nothing to resign.
                AskKind::Exit if live.seat(&ask.user.id).is_some() => self.submit(pending),
                AskKind::Leave | AskKind::Exit => {
                    let (conn, ask) = (conn.clone(), ask.clone());
                    let ack = crate::session::ack(Some(self.game.clone()));
                    // Said in the room's order: nothing of the room comes after it.
                    if self.members.role(conn.id).is_some() {
                        let frame = Frame::text(&ack.encode(ask.id.as_ref()));
                        self.members.send(conn.id, &frame);
                    } else {
                        conn.say(&ack, ask.id.as_ref());
                    }
                    self.leave(conn.id);
                    conn.notice(Notice::Left(self.game.clone()));
                    None
                }
                AskKind::Chat(text) => {
                    let (conn, ask, text) = (conn.clone(), ask.clone(), text.clone());
                    self.say(conn, &ask, &text);
                    None
                }
                AskKind::Move { .. } | AskKind::Act { .. } => self.submit(pending),
            },
            Work::Create(creation) => {
                let seats = creation.seats.clone();
                for conn in seats {
                    self.seat(conn, None, false);
                }
                None
            }
            Work::Await(conn) => {
                let conn = conn.clone();
                self.seat(conn, None, false);
                None
            }
            Work::Deadline | Work::Abort | Work::Credit => self.submit(pending),
        }
    }

    /// There is no such game.
    pub fn not_found(&self, pending: &Pending) {
        let Work::Ask(conn, ask) = &pending.work else {
            return;
        };
        self.stays_out(conn);
        let game_id = self.game.clone();
        let message = match ask.kind {
            AskKind::Join { .. } | AskKind::TakeSeat => {
                ServerMessage::GameNotFound(GameOnly { game_id })
            }
            AskKind::Leave | AskKind::Exit => crate::session::ack(Some(game_id)),
            _ => error(
                ErrorCode::GameNotFound,
                "there is no such game",
                Some(game_id),
            ),
        };
        pending.reply(&message);
    }

    /// A request to come in was refused. The connection's session forgets the room, unless it is in already: then the room
    /// must still be told when it goes.
    pub fn stays_out(&self, conn: &Conn) {
        let awaits = self
            .awaiting
            .iter()
            .any(|(waiting, _)| waiting.id == conn.id);
        if !awaits && self.members.role(conn.id).is_none() {
            conn.notice(Notice::Left(self.game.clone()));
        }
    }

    /// The backplane cannot be reached: the outcome is unknown.
    pub fn unavailable(&self, pending: &Pending) {
        let message = "the servers cannot be reached just now; ask again";
        pending.reply(&error(
            ErrorCode::Unavailable,
            message,
            Some(self.game.clone()),
        ));
    }

    /// A connection ceases to be a member.
    pub fn leave(&mut self, conn: u64) {
        self.awaiting.retain(|(waiting, _)| waiting.id != conn);
        if self.members.remove(conn) {
            self.attending.is_due = true;
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        // Only what nothing has been done about lapses here; a job has its own time limit.
        let (lapsed, pending): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.pending)
            .into_iter()
            .partition(|pending| pending.lapses_at().is_some_and(|at| at <= now));
        self.pending = pending;
        for lapsed in lapsed {
            self.unavailable(&lapsed);
        }
        let waits = self
            .pending
            .iter()
            .any(|pending| matches!(pending.work, Work::Deadline));
        if !waits && self.deadline_at(now).is_some_and(|at| at <= now) {
            self.deadline_not_before = now + Duration::from_millis(100);
            self.pending.push_back(Pending::new(Work::Deadline));
        }
        self.attend();
        self.tell_viewers();
    }

    /// When the room's deadline is to be looked at; `now` itself if it has passed.
    fn deadline_at(&self, now: Instant) -> Option<Instant> {
        let State::Live(live) = &self.state else {
            return None;
        };
        let deadline = live.game.next_deadline().filter(|_| live.is_decidable())?;
        let wait_ms = deadline
            .plus_ms(FLAG_GRACE_MS)
            .since(self.node.now())
            .max(0);
        let at = now + Duration::from_millis(wait_ms.unsigned_abs()).min(LONG);
        Some(at.max(self.deadline_not_before))
    }

    fn wake_at(&mut self) -> Instant {
        let now = Instant::now();
        self.empty_since = if self.is_empty() {
            self.empty_since.or(Some(now))
        } else {
            None
        };
        let lapse = self.pending.iter().filter_map(Pending::lapses_at).min();
        let linger = self
            .empty_since
            .map(|since| since + LINGER)
            .filter(|at| *at > now);
        // Nothing is done about a deadline while something else waits for the backplane, which may be away for long.
        let deadline = self.deadline_at(now).filter(|_| self.job.is_none());
        [
            deadline,
            self.attending.wake_at(&self.members),
            self.repair.wake_at(),
            self.node.settling().filter(|_| !self.pending.is_empty()),
            lapse,
            linger,
        ]
        .into_iter()
        .flatten()
        .min()
        .unwrap_or(now + LONG)
        // A timer that is due but waits for a job must not spin.
        .max(now + Duration::from_millis(5))
    }

    fn is_empty(&self) -> bool {
        self.members.is_empty() && self.awaiting.is_empty()
    }

    fn is_done(&self) -> bool {
        let busy = self.job.is_some()
            || !self.pending.is_empty()
            || self.attending.is_busy()
            || self.repair.is_active();
        let now = Instant::now();
        let deadline_near = self
            .deadline_at(now)
            .is_some_and(|at| at <= now + Duration::from_secs(1));
        // Somebody may have come in this very turn, after a long time that the room was empty and could not close.
        !busy
            && self.is_empty()
            && !deadline_near
            && self.empty_since.is_some_and(|since| since + LINGER <= now)
    }
}

impl AskKind {
    /// Whether it changes the game, and so is carried out even if the asker is gone by then.
    fn acts(&self) -> bool {
        matches!(
            self,
            AskKind::Exit | AskKind::Move { .. } | AskKind::Act { .. } | AskKind::TakeSeat
        )
    }
}
