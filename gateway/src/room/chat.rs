//! Chat in its two channels. It is beside the log: at most once, the last lines kept for those who come later. Players
//! hear the spectators only after the game, so that nobody whispers a move.

use super::{
    Ask,
    task::{State, Task},
};
use crate::{
    connection::Conn,
    fanout::{Audience, Role},
    rate::{Limiter, RuntimeClock, limited},
    recovery::LOOK,
    session::error,
    websocket::Frame,
};
use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use governor::Quota;
use pubsub::{Answer, HISTORY_LEN, Message};
use serde_json::value::RawValue;
use shared::protocol::{
    ErrorCode, ServerMessage,
    server::{ChatChannel, ChatHistory, ChatLine, ChatRole},
};
use std::{collections::VecDeque, num::NonZeroU32, sync::Arc};

const PLAYERS: &str = "chat_players";
const SPECTATORS: &str = "chat_spectators";

/// Lines among which a repeat is looked for: what a room may say in three seconds, far longer than a call is tried again.
const HEARD_LEN: usize = 15;

type Lines = VecDeque<Bytes>;

/// The room's last lines on this node.
#[derive(Default)]
pub(super) struct Chat {
    loading: Option<BoxFuture<'static, Answer<[Vec<Bytes>; 2]>>>,
    /// Players' and spectators' last lines; before the history is here, those that were heard meanwhile.
    lines: [Lines; 2],
    is_loaded: bool,
    /// The last lines heard, to know a repeat.
    heard: Lines,
    /// What was said from here and is not heard yet, to tell other nodes' lines from ours.
    own: Lines,
    /// Of the whole room: lines of other nodes count when they are heard. (Two nodes that speak in the same moment may both
    /// be within it.) Made when something is said.
    limiter: Option<Limiter>,
}

impl Chat {
    /// Counts a line. False if the room says too much.
    fn counts(&mut self, per_second: u32) -> bool {
        let limiter = self.limiter.get_or_insert_with(|| {
            let lines = NonZeroU32::new(per_second).unwrap_or(NonZeroU32::MIN);
            Limiter::direct_with_clock(Quota::per_second(lines), RuntimeClock)
        });
        limiter.check().is_ok()
    }

    /// Notes a line that is said from here.
    fn speaks(&mut self, line: Bytes) {
        self.own.push_back(line);
        while self.own.len() > HEARD_LEN {
            self.own.pop_front();
        }
    }

    /// Whether a line was said from here, once.
    fn is_own(&mut self, line: &Bytes) -> bool {
        let place = self.own.iter().position(|own| own == line);
        place.is_some_and(|place| self.own.remove(place).is_some())
    }

    /// Waits for the history; for ever if it is not being loaded.
    pub async fn loaded(chat: &mut Chat) -> Answer<[Vec<Bytes>; 2]> {
        match &mut chat.loading {
            Some(loading) => loading.await,
            None => std::future::pending().await,
        }
    }
}

impl Task {
    /// Somebody says something.
    pub(super) fn say(&mut self, conn: Arc<Conn>, ask: &Ask, text: &str) {
        let State::Live(live) = &self.state else {
            return;
        };
        let refuse = |code, message: &str| {
            conn.say(
                &error(code, message, Some(self.game.clone())),
                ask.id.as_ref(),
            )
        };
        if self.members.role(conn.id).is_none() {
            return refuse(ErrorCode::Forbidden, "join the room first");
        }
        if !self.node.may_chat(&conn.user) {
            let lines = self.node.config.chat_per_user;
            let why = format!("at most {lines} lines in 10 seconds");
            return refuse(ErrorCode::RateLimited, &why);
        }
        if !self.chat.counts(self.node.config.chat_per_room) {
            limited("chat_per_room");
            return refuse(ErrorCode::RateLimited, "this room is talking too fast");
        }
        let seat = live.seat(&conn.user);
        let (channel, topic) = match seat {
            Some(_) => (ChatChannel::Players, PLAYERS),
            None => (ChatChannel::Spectators, SPECTATORS),
        };
        let role = match seat {
            Some(shared::Color::White) => ChatRole::White,
            Some(shared::Color::Black) => ChatRole::Black,
            None => ChatRole::Spectator,
        };
        let line = ChatLine {
            game_id: self.game.clone(),
            channel,
            user: ask.user.clone(),
            role,
            text: text.to_owned(),
            at: ask.arrived,
        };
        let body = Bytes::from(
            serde_json::to_vec(&line).expect("a line has no map keys or IO that could fail"),
        );
        self.chat.speaks(body.clone());
        let (node, room, game, id) = (
            self.node.clone(),
            self.room.clone(),
            self.game.clone(),
            ask.id.clone(),
        );
        self.node.tasks.spawn(async move {
            let message = Message {
                topic: topic.to_owned(),
                body,
            };
            // One look a line, of which there are few.
            let said = match node.is_muted(&conn.user).await {
                Ok(true) => {
                    limited("muted");
                    let why = "the operator has taken the word from you for a while";
                    let muted = error(ErrorCode::Forbidden, why, Some(game));
                    return conn.say(&muted, id.as_ref());
                }
                Ok(false) => node.backplane.say(&room, message).await,
                Err(unavailable) => Err(unavailable),
            };
            let answer = match said {
                Ok(()) => crate::session::ack(Some(game)),
                Err(_) => error(
                    ErrorCode::Unavailable,
                    "the servers cannot be reached just now",
                    Some(game),
                ),
            };
            conn.say(&answer, id.as_ref());
        });
    }

    /// A message came beside the log.
    pub(super) fn heard(&mut self, message: &Message) {
        let channel = match message.topic.as_str() {
            PLAYERS => 0,
            SPECTATORS => 1,
            LOOK => return self.feed.look_again(),
            // Of a later release.
            _ => return,
        };
        let Ok(body) = std::str::from_utf8(&message.body) else {
            return;
        };
        // A line that a lost answer had sent again, or the channel repeated, is the same to the millisecond.
        if self.chat.heard.contains(&message.body) {
            return;
        }
        if !self.chat.is_own(&message.body) {
            self.chat.counts(self.node.config.chat_per_room);
        }
        self.chat.heard.push_back(message.body.clone());
        while self.chat.heard.len() > HEARD_LEN {
            self.chat.heard.pop_front();
        }
        let lines = &mut self.chat.lines[channel];
        lines.push_back(message.body.clone());
        while lines.len() > HISTORY_LEN {
            lines.pop_front();
        }
        let frame = Frame::text(&format!(r#"{{"type":"chat","payload":{body}}}"#));
        let over = matches!(&self.state, State::Live(live) if live.game.over().is_some());
        let audience = match (channel, over) {
            (0, _) => Audience::Players,
            (_, true) => Audience::All,
            (_, false) => Audience::Spectators,
        };
        self.members.broadcast(&frame, audience, None);
    }

    /// After a snapshot: what was said before, if anything was. Loaded once a room; who comes before it is there gets it
    /// when it is.
    pub(super) fn send_history(&mut self, conn: u64) {
        if !self.chat.is_loaded {
            if self.chat.loading.is_none() {
                let (backplane, room) = (self.node.backplane.clone(), self.room.clone());
                let load = async move {
                    Ok([
                        backplane.history(&room, PLAYERS).await?,
                        backplane.history(&room, SPECTATORS).await?,
                    ])
                };
                self.chat.loading = Some(load.boxed());
            }
            return;
        }
        let lines = &self.chat.lines;
        let State::Live(live) = &self.state else {
            return;
        };
        let Some(role) = self.members.role(conn) else {
            return;
        };
        let mut said: Vec<&Bytes> = Vec::new();
        if role != Role::Spectator {
            said.extend(&lines[0]);
        }
        if role == Role::Spectator || live.game.over().is_some() {
            said.extend(&lines[1]);
        }
        let messages: Vec<Box<RawValue>> = said
            .into_iter()
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect();
        if !messages.is_empty() {
            let history = ServerMessage::ChatHistory(ChatHistory {
                game_id: self.game.clone(),
                messages,
            });
            self.members.send(conn, &Frame::text(&history.encode(None)));
        }
    }

    /// The history is here.
    pub(super) fn history_loaded(&mut self, history: Answer<[Vec<Bytes>; 2]>) {
        self.chat.loading = None;
        // Without it chat goes on; the next member to come has it asked for again.
        let Ok(history) = history else { return };
        self.chat.is_loaded = true;
        for (lines, mut told) in self.chat.lines.iter_mut().zip(history) {
            told.dedup();
            // What was heard since it was asked for may be in it or not.
            told.retain(|line| !lines.contains(line));
            lines.extend(told.iter().cloned());
            lines.rotate_right(told.len());
            while lines.len() > HISTORY_LEN {
                lines.pop_front();
            }
        }
        let members: Vec<u64> = self.members.iter().map(|(conn, _)| conn.id).collect();
        for conn in members {
            self.send_history(conn);
        }
    }
}
