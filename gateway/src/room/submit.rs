//! The write half of a room: a command is decided on this node's view of the log and appended where that view ends. If the
//! log has gone on meanwhile, the node catches up and decides again. A refusal is told only after a look at the log's end,
//! so that a node which lags never refuses what the log allows.
//!
//! Before anything is decided in a running game, the side to move gets back what it lost to our own outage. How much that
//! is depends on nothing but the log and the outages, and a credit moves the clock's beginning behind them: so it is given
//! once, whichever node does it.

use super::{
    AskKind, Live,
    invitation::{Found, Made},
    task::{Pending, State, Task, Work},
};
use crate::{
    archive::Archive,
    connection::Conn,
    metrics::meters,
    session::{Circumstances, Notice, archive_behind, error},
};
use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use metrics::counter;
use pubsub::{Answer, Append, Appended, Log, Outages};
use shared::{
    Color, Seq, Timestamp,
    game::{Command, Decision, Event, EventBody, Game, Rejection},
    protocol::{ErrorCode, ServerMessage, close::CloseCode, server::Ack},
};
use std::{sync::Arc, time::Duration};
use tokio::time::Instant;

/// How often a command is decided anew because another append came first. Two players and a deadline cannot conflict so
/// often; something else writes.
const ATTEMPTS_MAX: u32 = 16;

/// Before what must be done is tried again; the backplane has tried for [`pubsub::CALL_TIMEOUT`] already.
const PAUSE: Duration = Duration::from_millis(250);

/// The one thing of a room that waits for the backplane.
pub(super) struct Job {
    kind: JobKind,
    future: BoxFuture<'static, Done>,
}

enum JobKind {
    Append {
        pending: Pending,
        expected: Seq,
        events: Vec<Event>,
        bytes: Vec<Bytes>,
        refused: Option<Rejection>,
        /// It gives time back, and what was asked is decided after.
        credit: bool,
    },
    Outages(Pending),
    Confirm {
        pending: Pending,
        seq: Seq,
        ply: Option<u32>,
    },
    Verify(Pending),
    Invite(Pending),
    Make(Pending, Bytes),
    Pause(Pending),
}

/// What came of a job.
pub(super) enum Done {
    Appended(Answer<Appended>),
    Read(Answer<Option<Log>>),
    Outages(Answer<Outages>),
    Confirmed(Answer<()>),
    Record(Answer<Found>),
    Made(Answer<Made>),
    Paused,
}

impl Job {
    /// Compares the node's view with the log, and reads what it lacks.
    pub fn verify(task: &Task, pending: Pending) -> Job {
        let from = match &task.state {
            State::Live(live) => live.end(),
            _ => 0,
        };
        let (backplane, room) = (task.node.backplane.clone(), task.room.clone());
        let future = async move { Done::Read(backplane.read(&room, from).await) }.boxed();
        Job {
            kind: JobKind::Verify(pending),
            future,
        }
    }

    /// Waits until what was asked, and stands in the log already, holds there as firmly as what is appended.
    fn confirm(task: &Task, live: &Live, pending: Pending, seq: Seq) -> Job {
        let (backplane, room) = (task.node.backplane.clone(), task.room.clone());
        let (epoch, ply) = (live.epoch.clone(), live.ply_of(seq));
        let future =
            async move { Done::Confirmed(backplane.confirm(&room, &epoch, seq + 1).await) };
        Job {
            kind: JobKind::Confirm { pending, seq, ply },
            future: future.boxed(),
        }
    }

    /// Asks for all outages up to now.
    fn outages(task: &Task, pending: Pending) -> Job {
        let (backplane, room) = (task.node.backplane.clone(), task.room.clone());
        let future = async move { Done::Outages(backplane.outages(&room).await) }.boxed();
        Job {
            kind: JobKind::Outages(pending),
            future,
        }
    }

    /// Looks for an invitation.
    pub fn invite(pending: Pending, future: BoxFuture<'static, Answer<Found>>) -> Job {
        Job {
            kind: JobKind::Invite(pending),
            future: future.map(Done::Record).boxed(),
        }
    }

    /// Makes the game with these bytes as its first event.
    pub fn make(pending: Pending, first: Bytes, future: BoxFuture<'static, Answer<Made>>) -> Job {
        Job {
            kind: JobKind::Make(pending, first),
            future: future.map(Done::Made).boxed(),
        }
    }

    /// Waits a little before the next try.
    fn pause(pending: Pending) -> Job {
        let future = async {
            tokio::time::sleep(PAUSE).await;
            Done::Paused
        };
        Job {
            kind: JobKind::Pause(pending),
            future: future.boxed(),
        }
    }

    /// Waits for the job; for ever if there is none.
    pub async fn finished(job: &mut Option<Job>) -> Done {
        match job {
            Some(job) => (&mut job.future).await,
            None => std::future::pending().await,
        }
    }
}

/// The answer's name among the metrics.
fn outcome(answer: &Answer<Appended>) -> &'static str {
    match answer {
        Ok(Appended::Appended { .. }) => "appended",
        Ok(Appended::AlreadyAppended { .. }) => "repeated",
        Ok(Appended::Conflict { .. }) => "conflict",
        Ok(Appended::Gone { .. }) => "gone",
        Ok(Appended::OtherEpoch { .. }) => "other_epoch",
        Ok(Appended::BadTime { .. }) => "bad_time",
        Err(_) => "unavailable",
    }
}

impl Task {
    /// Decides, and starts the append; or refuses.
    pub(super) fn submit(&mut self, mut pending: Pending) -> Option<Pending> {
        let State::Live(live) = &self.state else {
            return Some(pending);
        };
        if self.repair.is_active() {
            return Some(pending);
        }
        if !live.is_decidable() {
            self.undecidable(&pending);
            return None;
        }
        let (command, at, seen) = match self.command(live, &pending) {
            Ok(command) => command,
            Err(refusal) => {
                pending.reply(&refusal);
                return None;
            }
        };
        if seen.is_some_and(|seen| seen >= live.end()) && !pending.verified {
            self.job = Some(Job::verify(self, pending));
            return None;
        }
        if live.game.over().is_none() {
            let outages = self.node.backplane.outages_known(&self.room);
            if !outages.are_known_at(at.0) && !pending.asked_outages {
                self.job = Some(Job::outages(self, pending));
                return None;
            }
            let at = at.max(live.game.last_at());
            let ms = outages.lost_between(live.game.clock_at().0, at.0);
            if let Some(events) = credit(&live.game, ms, at) {
                pending.attempts += 1;
                self.job = Some(self.append(live, pending, events, None, true));
                return None;
            }
        }
        match live.game.decide(&command, at) {
            Ok(Decision::Append { events, .. })
                if begins_a_game(&events) && !self.node.takes_new_games() =>
            {
                pending.reply(&archive_behind(Some(self.game.clone())));
            }
            Ok(Decision::Append { events, refused }) => {
                pending.attempts += 1;
                self.job = Some(self.append(live, pending, events, refused, false));
            }
            Ok(Decision::Already { seq }) => {
                self.job = Some(Job::confirm(self, live, pending, seq));
            }
            Ok(Decision::Nothing) => {}
            Err(_) if !pending.verified => self.job = Some(Job::verify(self, pending)),
            Err(rejection) => self.reject(&pending, &rejection),
        }
        None
    }

    fn command(
        &self,
        live: &Live,
        pending: &Pending,
    ) -> Result<(Command, Timestamp, Option<Seq>), Box<ServerMessage>> {
        let now = self.node.now();
        let (ask, kind) = match &pending.work {
            Work::Ask(_, ask) => (ask, &ask.kind),
            Work::Abort => return Ok((Command::ServerAbort, now, None)),
            // It is given before this is decided.
            Work::Credit => return Ok((Command::CreditClock { ms: 0 }, now, None)),
            _ => return Ok((Command::CheckDeadline, now, None)),
        };
        let Some(by) = live.seat(&ask.user.id) else {
            let message = "only the game's two players may do that";
            let refusal = error(ErrorCode::NotAPlayer, message, Some(self.game.clone()));
            return Err(Box::new(refusal));
        };
        // The offset to the backplane's clock may have been corrected since the request came.
        let at = ask.arrived.min(now);
        Ok(match kind {
            AskKind::Move { mv, ply, seen } => (
                Command::Move {
                    by,
                    mv: mv.clone(),
                    ply: *ply,
                    seen: *seen,
                },
                at,
                *seen,
            ),
            AskKind::Act { action, offer } => (
                action.command(by, *offer, self.circumstances(by)),
                at,
                *offer,
            ),
            _ => {
                let action = shared::game::Action::Resign;
                (
                    Command::Act {
                        by,
                        action,
                        offer: None,
                    },
                    at,
                    None,
                )
            }
        })
    }

    fn circumstances(&self, by: Color) -> Circumstances {
        Circumstances {
            new_game_id: self.node.random.game_id(),
            opponent_absent_since: self.absent_since(by.other()),
        }
    }

    fn append(
        &self,
        live: &Live,
        pending: Pending,
        events: Vec<Event>,
        refused: Option<Rejection>,
        credit: bool,
    ) -> Job {
        let bytes: Vec<Bytes> = events
            .iter()
            .map(|event| Bytes::from(event.encode()))
            .collect();
        let expected = live.end();
        let append = Append {
            epoch: Some(live.epoch.clone()),
            expected,
            events: bytes.clone(),
            at: events.last().map_or(0, |event| event.at.0),
            deadline: live.game.deadline_after(&events).map(|at| at.0),
        };
        let (backplane, room) = (self.node.backplane.clone(), self.room.clone());
        #[cfg(feature = "otel")]
        let came = pending.since;
        let future = async move {
            let asked = Instant::now();
            let answer = backplane.append(&room, append).await;
            meters().append_seconds.record(asked.elapsed());
            #[cfg(feature = "otel")]
            if let Ok(Appended::Appended { epoch, .. }) = &answer
                && let Some(trace) = crate::traces::Trace::of(&room, epoch, expected)
            {
                trace.appended(came.into_std(), asked.into_std());
            }
            counter!("rookery_appends_total", "outcome" => outcome(&answer)).increment(1);
            Done::Appended(answer)
        }
        .boxed();
        Job {
            kind: JobKind::Append {
                pending,
                expected,
                events,
                bytes,
                refused,
                credit,
            },
            future,
        }
    }

    /// A job is done.
    pub(super) async fn finish(&mut self, done: Done) {
        let Some(Job { kind, .. }) = self.job.take() else {
            return;
        };
        match (kind, done) {
            (
                JobKind::Append {
                    pending,
                    expected,
                    events,
                    bytes,
                    refused,
                    credit,
                },
                Done::Appended(answer),
            ) => match answer {
                Ok(answer @ (Appended::Appended { .. } | Appended::AlreadyAppended { .. })) => {
                    let (epoch, queued) = match answer {
                        Appended::Appended { epoch, queued } => (epoch, queued),
                        Appended::AlreadyAppended { epoch } => (epoch, None),
                        _ => return,
                    };
                    let mut pending = pending;
                    pending.queued = queued;
                    self.feed.appended(epoch, expected, bytes);
                    if credit {
                        metrics::counter!("rookery_clocks_credited_total").increment(1);
                        self.drain_feed();
                        return self.pending.push_front(pending);
                    }
                    self.answer(&pending, expected, &events, refused.as_ref());
                    self.settle_users(&events);
                    self.drain_feed();
                }
                Ok(answer) => self.try_again(pending, expected, answer).await,
                Err(unavailable) => {
                    tracing::warn!(game = %self.game, %unavailable, "append failed");
                    self.unavailable(&pending);
                }
            },
            (JobKind::Confirm { pending, seq, ply }, Done::Confirmed(answer)) => match answer {
                Ok(()) => self.acknowledge(&pending, seq, ply),
                Err(unavailable) => {
                    tracing::debug!(game = %self.game, %unavailable, "not confirmed");
                    self.unavailable(&pending);
                }
            },
            (JobKind::Outages(mut pending), Done::Outages(answer)) => {
                if answer.is_err() {
                    return self.later(pending);
                }
                pending.asked_outages = true;
                self.pending.push_front(pending);
            }
            (JobKind::Verify(mut pending), Done::Read(answer)) => {
                let taken = match answer {
                    Ok(log) => self.took(log).await,
                    Err(unavailable) => Err(unavailable),
                };
                if taken.is_err() {
                    // The log is about to be restored: that is waited for, as long as any answer is.
                    let lapsed = pending.lapses_at().is_some_and(|at| at <= Instant::now());
                    let doubts = self.feed.doubts() && matches!(self.state, State::Live(_));
                    if doubts && !lapsed {
                        self.job = Some(Job::pause(pending));
                        return;
                    }
                    return self.later(pending);
                }
                match &mut self.state {
                    State::Absent(absent) => absent.seen_at = absent.seen_at.max(pending.since),
                    _ => pending.verified = true,
                }
                self.pending.push_front(pending);
            }
            (JobKind::Invite(pending), Done::Record(answer)) => {
                self.looked_up(pending, answer).await
            }
            (JobKind::Make(pending, first), Done::Made(answer)) => {
                self.made(pending, first, answer).await
            }
            (JobKind::Pause(mut pending), Done::Paused) => {
                pending.attempts = 0;
                self.pending.push_front(pending);
            }
            // Each kind's future gives its own kind of result.
            _ => debug_assert!(false, "a job ended as another"),
        }
    }

    /// The backplane cannot be reached: what must be done all the same is tried again, and who asked is told.
    pub(super) fn later(&mut self, pending: Pending) {
        if pending.is_wanted() {
            self.job = Some(Job::pause(pending));
        } else {
            self.unavailable(&pending);
        }
    }

    async fn try_again(&mut self, mut pending: Pending, expected: Seq, answer: Appended) {
        match answer {
            Appended::Conflict { epoch, missed } => {
                self.feed.appended(epoch, expected, missed);
                self.drain_feed();
            }
            Appended::BadTime { now } => {
                tracing::info!(game = %self.game, now, "this node's clock was ahead");
                if let Work::Ask(_, ask) = &mut pending.work {
                    ask.arrived = ask.arrived.min(Timestamp(now));
                }
            }
            Appended::Gone { end } => {
                tracing::warn!(game = %self.game, end, expected, "the log lost its tail");
                self.lost();
            }
            _ => {
                if self.feed.catch_up().await.is_err() && !self.feed.doubts() {
                    return self.unavailable(&pending);
                }
                self.drain_feed();
            }
        }
        if pending.attempts >= ATTEMPTS_MAX {
            return self.unavailable(&pending);
        }
        pending.verified = false;
        pending.asked_outages = false;
        self.pending.push_front(pending);
    }

    /// Takes in what the log has beyond this node's view.
    pub(super) async fn took(&mut self, log: Option<Log>) -> Answer<()> {
        let State::Live(live) = &self.state else {
            if let Some(log) = log {
                self.feed.appended(log.epoch, log.first, log.events);
                self.drain_feed();
            }
            return Ok(());
        };
        match log {
            Some(log) if log.epoch == live.epoch && log.first == live.end() => {
                if !log.events.is_empty() {
                    self.feed.appended(log.epoch, log.first, log.events);
                    self.drain_feed();
                }
            }
            _ => {
                self.feed.catch_up().await?;
                self.drain_feed();
            }
        }
        Ok(())
    }

    /// Follows what the feed has ready.
    pub(super) fn drain_feed(&mut self) {
        while let Some(item) = self.feed.ready() {
            self.follow(item);
        }
    }

    fn answer(
        &mut self,
        pending: &Pending,
        first: Seq,
        events: &[Event],
        refused: Option<&Rejection>,
    ) {
        if let Some(rejection) = refused {
            return self.reject(pending, rejection);
        }
        let ply = events.iter().find_map(|event| match &event.body {
            EventBody::Move(moved) => Some(moved.ply),
            _ => None,
        });
        self.acknowledge(pending, first, ply);
    }

    fn acknowledge(&mut self, pending: &Pending, seq: Seq, ply: Option<u32>) {
        let epoch = match &self.state {
            State::Live(live) => Some(live.epoch.to_string()),
            _ => None,
        };
        self.exit(pending);
        let ack = ServerMessage::Ack(Ack {
            game_id: Some(self.game.clone()),
            epoch,
            seq: Some(seq),
            ply,
        });
        self.reply_when_settled(pending, ack);
    }

    /// Answers at once, or, where the archive is written through, when it has committed what is acknowledged. Everybody else has
    /// seen it by then.
    fn reply_when_settled(&self, pending: &Pending, ack: ServerMessage) {
        let archive = self.node.archive.get();
        if !archive.is_some_and(Archive::is_write_through) {
            return pending.reply(&ack);
        }
        let Work::Ask(conn, ask) = &pending.work else {
            return;
        };
        let (node, room, game) = (self.node.clone(), self.room.clone(), self.game.clone());
        let (conn, id, queued) = (conn.clone(), ask.id.clone(), pending.queued);
        self.node.tasks.spawn(async move {
            let Some(archive) = node.archive.get() else {
                return;
            };
            match archive.settled(&*node.backplane, &room, queued).await {
                Ok(()) => conn.say(&ack, id.as_ref()),
                Err(unavailable) => {
                    tracing::debug!(%game, %unavailable, "not acknowledged");
                    let message = "the move is made and not archived yet; ask again";
                    conn.say(
                        &error(ErrorCode::Unavailable, message, Some(game)),
                        id.as_ref(),
                    );
                }
            }
        });
    }

    fn reject(&mut self, pending: &Pending, rejection: &Rejection) {
        // Who leaves a game that is over has nothing to resign.
        if self.exit(pending) {
            return pending.reply(&crate::session::ack(Some(self.game.clone())));
        }
        pending.reply(&error(
            code_of(rejection),
            rejection.to_string(),
            Some(self.game.clone()),
        ));
    }

    /// The second half of `exit_game`.
    fn exit(&mut self, pending: &Pending) -> bool {
        let Work::Ask(conn, ask) = &pending.work else {
            return false;
        };
        if ask.kind != AskKind::Exit {
            return false;
        }
        self.leave(conn.id);
        conn.notice(Notice::Left(self.game.clone()));
        true
    }

    /// An event of a later release stands in this log: this node decides nothing here, and its players go elsewhere.
    fn undecidable(&mut self, pending: &Pending) {
        if let Work::Ask(conn, _) = &pending.work {
            send_elsewhere(conn);
        }
    }

    /// The players' running games are indexed by user; this node ended one.
    fn settle_users(&self, events: &[Event]) {
        if !events
            .iter()
            .any(|event| matches!(event.body, EventBody::GameOver(_)))
        {
            return;
        }
        counter!("rookery_games_finished_total").increment(1);
        let State::Live(live) = &self.state else {
            return;
        };
        let users = Color::ALL.map(|color| live.game.player(color).id.clone());
        let (node, game) = (self.node.clone(), self.game.clone());
        self.node.tasks.spawn(async move {
            for user in users {
                node.forget_running(&user, &game).await;
            }
        });
    }
}

fn begins_a_game(events: &[Event]) -> bool {
    let rematch = |event: &Event| matches!(event.body, EventBody::Rematch(_));
    events.iter().any(rematch)
}

/// The events that give the side to move so many milliseconds back, if that is worth any.
pub(crate) fn credit(game: &Game, ms: i64, at: Timestamp) -> Option<Vec<Event>> {
    match game.decide(&Command::CreditClock { ms }, at) {
        Ok(Decision::Append { events, .. }) => Some(events),
        _ => None,
    }
}

/// Tells a player's connection to come back, which will be to a node of the newer release sooner or later.
pub(super) fn send_elsewhere(conn: &Arc<Conn>) {
    conn.outbox.close(
        CloseCode::Restart,
        "this node is of an earlier release than the game's events",
    );
}

fn code_of(rejection: &Rejection) -> ErrorCode {
    match rejection {
        Rejection::NotYourTurn => ErrorCode::NotYourTurn,
        Rejection::IllegalMove(_) => ErrorCode::IllegalMove,
        Rejection::StalePly(_) => ErrorCode::StalePly,
        Rejection::GameOver => ErrorCode::GameOver,
        Rejection::TooEarly(_) => ErrorCode::TooEarly,
        Rejection::TooLate(_) => ErrorCode::TooLate,
        Rejection::NoOffer => ErrorCode::NoOffer,
        Rejection::NoClaim(_) => ErrorCode::NoClaim,
    }
}
