//! The read half of a room: what the feed brings is applied to the fold and handed to the fan-out, in the log's order.

use super::{
    Ask, AskKind, Creation, Live, RoomInput,
    repair::{Found, compare},
    submit::send_elsewhere,
    task::{Absent, State, Task},
};
use crate::{
    connection::Conn,
    fanout::{Audience, Role},
    metrics::Delivery,
    session::{Notice, error},
    websocket::Frame,
};
use bytes::Bytes;
use pubsub::{Epoch, feed::FeedItem};
use shared::{
    Color, Seq, Timestamp,
    game::{Event, EventBody, GameCreated, Rematch},
    protocol::{
        ErrorCode, RequestId, ServerMessage,
        server::{Presence, Resumed},
    },
};
use std::sync::Arc;

/// For how long the agreement to a rematch makes the next game, in milliseconds. A node that first sees it later (because
/// it opens an old room) must not make a game anew that was played and forgotten.
const REMATCH_MAKES_GAME_MS: i64 = 10 * 60 * 1_000;

impl Task {
    /// Something came from the feed.
    pub(super) fn follow(&mut self, item: FeedItem) {
        match item {
            FeedItem::Reset { epoch, events } => self.reset(epoch, &events),
            FeedItem::Events { first, events } => {
                self.events_from(first, &events);
                self.list();
            }
            FeedItem::Message(message) => self.heard(&message),
            FeedItem::Attendance(attendance) => self.attendance(attendance),
            FeedItem::Short => self.lost(),
            FeedItem::Missing => {
                if matches!(self.state, State::Live(_)) {
                    return self.lost();
                }
                match self.recall() {
                    Some(held) => self.resume_held(&held),
                    None => self.state = State::Absent(Absent::now()),
                }
            }
        }
    }

    /// The log is read for the first time, or it became another one. What this node holds of it is not given up for less.
    pub(super) fn reset(&mut self, epoch: Epoch, events: &[Bytes]) {
        if let State::Live(live) = &self.state {
            match compare(&live.held(), &epoch, events) {
                Found::Whole => return self.events_from(0, events),
                Found::Lost => return self.lost(),
                Found::Another => {}
            }
        } else if let Some(held) = self.recall()
            && compare(&held, &epoch, events) == Found::Lost
        {
            return self.resume_held(&held);
        }
        let live = match Live::fold(epoch, events) {
            Ok(live) => live,
            Err(misfit) => {
                tracing::error!(game = %self.game, %misfit, "the log is not a game's; the room stays closed");
                self.state = State::Absent(Absent::now());
                return;
            }
        };
        self.adopt(live);
    }

    /// From now on this is the room's log: members are told all anew.
    pub(super) fn adopt(&mut self, live: Live) {
        self.state = State::Live(Box::new(live));
        let members: Vec<u64> = self.members.iter().map(|(conn, _)| conn.id).collect();
        for (conn, by_room) in std::mem::take(&mut self.awaiting) {
            self.seat(conn, None, by_room);
        }
        for conn in members {
            self.send_snapshot(conn);
        }
        self.follow_rematch();
    }

    /// Takes in what of these events is new, if the others are those that are known.
    fn events_from(&mut self, first: Seq, events: &[Bytes]) {
        let State::Live(live) = &self.state else {
            return;
        };
        let start = usize::try_from(first).unwrap_or(usize::MAX);
        let known = live.frames.get(start..).unwrap_or_default();
        let same = known
            .iter()
            .zip(events)
            .all(|(known, event)| known.payload() == &event[..]);
        if !same || start > live.frames.len() {
            return self.lost();
        }
        let new = events.get(known.len()..).unwrap_or_default();
        self.events(new);
    }

    fn events(&mut self, events: &[Bytes]) {
        for bytes in events {
            let State::Live(live) = &mut self.state else {
                return;
            };
            let was_decidable = live.is_decidable();
            let pushed = live.push(bytes);
            let decidable = live.is_decidable();
            if let Some(frame) = live.frames.last() {
                let at = pushed
                    .as_ref()
                    .ok()
                    .and_then(|event| Some(event.as_ref()?.at));
                let delivery = at
                    .filter(|_| !self.members.is_empty())
                    .map(|at| Delivery::begin(&self.node.delays, self.node.now().since(at)));
                #[cfg(feature = "otel")]
                let delivery = delivery.map(|delivery| {
                    let trace = crate::traces::Trace::of(&self.room, &live.epoch, live.end() - 1);
                    delivery.traced(trace)
                });
                let delivery = delivery.map(Arc::new);
                self.members.broadcast(frame, Audience::All, delivery);
            }
            match pushed {
                Ok(Some(event)) => self.happened(&event),
                Ok(None) if was_decidable && !decidable => self.send_players_elsewhere(),
                Ok(None) => {}
                Err(misfit) => {
                    tracing::error!(game = %self.game, %misfit, "an event does not fit; nothing more is decided here");
                    let seq = live.end() - 1;
                    live.unknown_from.get_or_insert(seq);
                    self.send_players_elsewhere();
                }
            }
        }
    }

    fn happened(&mut self, event: &Event) {
        match &event.body {
            EventBody::GameOver(_) => {
                for (conn, role) in self.members.iter() {
                    if role != Role::Spectator {
                        conn.notice(Notice::Finished(self.game.clone()));
                    }
                }
            }
            EventBody::Rematch(_) => self.follow_rematch(),
            _ => {}
        }
    }

    fn send_players_elsewhere(&self) {
        for (conn, role) in self.members.iter() {
            if role != Role::Spectator {
                send_elsewhere(conn);
            }
        }
    }

    /// A rematch was agreed on: whichever node sees it makes the next game, all with the same bytes, and takes the players
    /// that are here along.
    fn follow_rematch(&mut self) {
        let State::Live(live) = &self.state else {
            return;
        };
        let Some((rematch, at)) = live.rematch() else {
            return;
        };
        if self.node.now().since(at) > REMATCH_MAKES_GAME_MS {
            return;
        }
        let seats = self
            .members
            .iter()
            .filter(|(_, role)| *role != Role::Spectator)
            .map(|(conn, _)| conn.clone())
            .collect();
        let (game, creation) = rematch_creation(&rematch, live.game.is_unlisted(), at, seats);
        self.node
            .rooms
            .tell(&self.node, game, RoomInput::Create(Box::new(creation)));
    }

    /// A connection becomes a member: the events it missed, or everything.
    pub(super) fn join(&mut self, conn: Arc<Conn>, ask: &Ask) {
        let State::Live(live) = &self.state else {
            return;
        };
        let seat = live.seat(&ask.user.id);
        if seat.is_some() && !live.is_decidable() {
            return send_elsewhere(&conn);
        }
        if !self.admit(&conn, seat) {
            return;
        }
        let State::Live(live) = &self.state else {
            return;
        };
        let AskKind::Join { seen: Some(seen) } = &ask.kind else {
            return self.snapshot_to(conn.id, ask.id.as_ref());
        };
        if !super::is_within(&live.epoch, live.end(), seen) {
            return self.snapshot_to(conn.id, ask.id.as_ref());
        }
        let from = usize::try_from(seen.1 + 1).unwrap_or(usize::MAX);
        for frame in live.frames.get(from..).unwrap_or_default() {
            self.members.send(conn.id, frame);
        }
        let resumed = Resumed {
            game_id: self.game.clone(),
            seq: live.end() - 1,
            epoch: live.epoch.to_string(),
        };
        let text = ServerMessage::Resumed(resumed).encode(ask.id.as_ref());
        self.members.send(conn.id, &Frame::text(&text));
        self.tell_newcomer(conn.id, false);
    }

    /// Makes a connection a member. False if it is gone.
    fn admit(&mut self, conn: &Arc<Conn>, seat: Option<Color>) -> bool {
        if !conn.notice(Notice::Joined(self.game.clone())) {
            return false;
        }
        let over = matches!(&self.state, State::Live(live) if live.game.over().is_some());
        if seat.is_some() {
            let notice = if over {
                Notice::Finished
            } else {
                Notice::Playing
            };
            conn.notice(notice(self.game.clone()));
        }
        let role = seat.map_or(Role::Spectator, Role::Player);
        self.members.insert(conn.clone(), role);
        self.attending.is_due = true;
        true
    }

    /// A player of a game that has just begun (or that he asks for again) becomes a member: `init_game`, and `game_joined`
    /// too for one who had asked to be in the room. Anybody else just joins.
    pub(super) fn seat(&mut self, conn: Arc<Conn>, id: Option<&RequestId>, by_room: bool) {
        let State::Live(live) = &self.state else {
            return;
        };
        let seat = live.seat(&conn.user);
        if seat.is_some() && !live.is_decidable() {
            return send_elsewhere(&conn);
        }
        let snapshot = Box::new(live.snapshot(seat, self.attending.presence_with(seat)));
        if !self.admit(&conn, seat) {
            return;
        }
        if seat.is_some() {
            let text = ServerMessage::InitGame(snapshot.clone()).encode(id);
            self.members.send(conn.id, &Frame::text(&text));
        }
        if by_room || seat.is_none() {
            let text = ServerMessage::GameJoined(snapshot).encode(None);
            self.members.send(conn.id, &Frame::text(&text));
        }
        self.tell_newcomer(conn.id, true);
        self.send_history(conn.id);
    }

    /// Somebody wants the free seat of a game that has both players.
    pub(super) fn seat_taken(&mut self, conn: Arc<Conn>, ask: &Ask) {
        let State::Live(live) = &self.state else {
            return;
        };
        if live.seat(&conn.user).is_some() {
            return self.seat(conn, ask.id.as_ref(), false);
        }
        self.stays_out(&conn);
        let full = error(
            ErrorCode::GameFull,
            "both seats are taken; you may watch",
            Some(self.game.clone()),
        );
        conn.say(&full, ask.id.as_ref());
    }

    /// Gives a member everything anew.
    pub(super) fn send_snapshot(&mut self, conn: u64) {
        self.snapshot_to(conn, None);
    }

    fn snapshot_to(&mut self, conn: u64, id: Option<&RequestId>) {
        let State::Live(live) = &mut self.state else {
            return;
        };
        let Some(role) = self.members.role(conn) else {
            return;
        };
        let presence = self.attending.presence_with(role.color());
        let frame = live.snapshot_frame(role.color(), presence, id);
        self.members.send(conn, &frame);
        // The snapshot ends where understanding does; what follows is relayed.
        if let Some(unknown) = live.unknown_from {
            let from = usize::try_from(unknown).unwrap_or(usize::MAX);
            for frame in live.frames.get(from..).unwrap_or_default() {
                self.members.send(conn, frame);
            }
        }
        self.tell_newcomer(conn, true);
        self.send_history(conn);
    }
}

/// The game that a rematch makes.
pub(super) fn rematch_creation(
    rematch: &Rematch,
    unlisted: bool,
    at: Timestamp,
    seats: Vec<Arc<Conn>>,
) -> (shared::GameId, Creation) {
    let created = GameCreated {
        game_id: rematch.new_game_id.clone(),
        white_player: rematch.white_player.clone(),
        black_player: rematch.black_player.clone(),
        time_control: rematch.time_control,
        fen: super::initial_fen(),
        unlisted,
    };
    (rematch.new_game_id.clone(), Creation { created, at, seats })
}

/// Whether both are here, given that this side is.
pub(super) fn with_self(mut presence: Presence, seat: Option<Color>) -> Presence {
    match seat {
        Some(Color::White) => presence.white = true,
        Some(Color::Black) => presence.black = true,
        None => {}
    }
    presence
}
