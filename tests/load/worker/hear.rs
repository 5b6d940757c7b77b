//! What servers say, and what is answered.

use super::{
    Role, Stage, Worker, frame,
    tally::micros,
    text::{self, Said},
};
use crate::{meter, orders::Dialect};

/// Before an event in Socket.IO's dialect: a message (4) that is an event (2) of this name.
pub(super) const SOCKET_IO_EVENT: &str = r#"42["event","#;

impl Worker {
    /// Takes whole frames from these bytes; answers how many bytes they were.
    pub(super) fn hear(&mut self, index: usize, bytes: &[u8]) -> usize {
        let mut at = 0;
        if self.conns[index].stage == Stage::Handshaking {
            let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
                return 0;
            };
            if !bytes.starts_with(b"HTTP/1.1 101 ") {
                let line = bytes.split(|byte| *byte == b'\r').next().unwrap_or(bytes);
                let why = format!("refused: {}", String::from_utf8_lossy(line));
                self.lose(index, &why);
                return 0;
            }
            at = end + 4;
            self.conns[index].stage = Stage::Joining;
            if self.duty.dialect == Dialect::WebSocket {
                self.joined(index);
            }
        }
        while let Some(frame) = frame::first(&bytes[at..]) {
            at += frame.len;
            match frame.opcode {
                frame::TEXT => match std::str::from_utf8(frame.payload) {
                    Ok(text) => self.text(index, text, frame.len),
                    Err(_) => self.lose(index, "text that is not UTF-8"),
                },
                frame::PING => {
                    self.counts.tally.pings += 1;
                    let mut pong = Vec::new();
                    frame::write(&mut pong, frame::PONG, frame.payload);
                    self.send(index, &pong);
                }
                frame::PONG => {}
                frame::CLOSE => {
                    let code = frame.payload.first_chunk().map(|c| u16::from_be_bytes(*c));
                    let why = format!("closed with {}", code.unwrap_or(1005));
                    self.lose(index, &why);
                }
                opcode => self.lose(index, &format!("a frame of type {opcode}")),
            }
            if self.conns[index].fd.is_none() {
                break;
            }
        }
        at
    }

    fn text(&mut self, index: usize, text: &str, len: usize) {
        let text = match self.duty.dialect {
            Dialect::SocketIo => match text.strip_prefix(SOCKET_IO_EVENT) {
                Some(event) => event,
                None => return self.socket_io(index, text),
            },
            _ => text,
        };
        match text::said(text) {
            Some(Said::Event { seq }) => {
                let conn = &self.conns[index];
                let who = (
                    u32::try_from(index).unwrap_or(u32::MAX),
                    conn.role != Role::Spectator,
                );
                let next = self.counts.event(who, conn.room, seq, conn.next, len);
                self.conns[index].next = Some(next);
                if let Role::Player(table, _) = self.conns[index].role {
                    let over = text::string(text, "type") == Some("game_over");
                    self.tables.heard(table as usize, seq, over);
                }
            }
            Some(Said::Other(kind)) => self.said(index, kind, text),
            None => self.lose(index, "words we do not know"),
        }
    }

    /// Engine.IO's and Socket.IO's own words.
    fn socket_io(&mut self, index: usize, text: &str) {
        match text.as_bytes() {
            // The session is open: join the default namespace.
            [b'0', ..] => self.send_text(index, "40"),
            b"2" => {
                self.counts.tally.pings += 1;
                self.send_text(index, "3");
            }
            [b'4', b'0', ..] => self.joined(index),
            _ => self.lose(index, "words of Socket.IO we do not know"),
        }
    }

    fn said(&mut self, index: usize, kind: &str, text: &str) {
        match kind {
            "welcome" => self.greeted(index),
            "game_added" => {
                let conn = &self.conns[index];
                let game = text::string(text, "gameId").map(str::to_owned);
                self.rooms.entry(conn.room).or_default().game = game;
                if let Role::Player(table, 0) = conn.role {
                    let black = self.tables.conns(table as usize)[1];
                    if self.conns[black].stage == Stage::Joining {
                        self.ask_for_seat(black);
                    }
                }
            }
            "game_joined" | "init_game" => {
                let Some(seq) = text::number(text, "seq") else {
                    return self.lose(index, "a snapshot without a number");
                };
                let conn = &self.conns[index];
                if let Some(room) = self.rooms.get_mut(&conn.room)
                    && room.epoch.is_none()
                {
                    room.epoch = text::string(text, "epoch").map(str::to_owned);
                }
                let next = self.counts.snapshot(seq, conn.next);
                if let Role::Player(table, _) = conn.role {
                    self.tables.begun(table as usize, seq);
                }
                self.joined(index);
                self.conns[index].next = Some(next);
            }
            "resumed" => self.joined(index),
            "chat" => {
                self.counts.tally.chat_delivered += 1;
                let sent = text::string(text, "text")
                    .and_then(|said| said.strip_prefix("load ")?.parse::<u64>().ok());
                if let Some(sent) = sent {
                    let delay = micros(meter::now(), sent);
                    self.counts.chat.saturating_record(delay);
                }
            }
            "error" => {
                let code = text::string(text, "code").unwrap_or("?");
                self.counts.trouble(&format!("error {code}"));
                if self.conns[index].stage == Stage::Joining {
                    self.lose(index, "not let into the room");
                } else if let Role::Player(table, _) = self.conns[index].role {
                    self.tables.refused(table as usize);
                }
            }
            "game_not_found" => self.lose(index, "the game is not found"),
            "drain" => self.counts.trouble("a server drains"),
            "ack" | "viewers" | "presence" | "chat_history" | "waiting" | "pong" | "invitation" => {
            }
            other => self.counts.trouble(&format!("said {other}")),
        }
    }

    /// The server knows who it is; now it may ask for its room.
    fn greeted(&mut self, index: usize) {
        let conn = &self.conns[index];
        let room = self.rooms.entry(conn.room).or_default();
        match (conn.role, &room.game) {
            (Role::Player(_, 0), None) => self.send_text(
                index,
                r#"{"type":"create_game","payload":{"timeControl":null,"color":"white"}}"#,
            ),
            (Role::Player(_, 1), Some(_)) => self.ask_for_seat(index),
            // Black waits until White has made the game.
            (Role::Player(..), _) => {}
            (Role::Spectator, Some(game)) => {
                let from = match (conn.next, &room.epoch) {
                    (Some(next), Some(epoch)) => {
                        format!(r#","seq":{},"epoch":"{epoch}""#, next.saturating_sub(1))
                    }
                    _ => String::new(),
                };
                let text =
                    format!(r#"{{"type":"join_room","payload":{{"gameId":"{game}"{from}}}}}"#);
                self.send_text(index, &text);
            }
            (Role::Spectator, None) => self.lose(index, "its room has no game"),
        }
    }

    fn ask_for_seat(&mut self, index: usize) {
        let room = self.rooms.get(&self.conns[index].room);
        if let Some(game) = room.and_then(|room| room.game.as_deref()) {
            let text = format!(r#"{{"type":"join_game","payload":{{"gameId":"{game}"}}}}"#);
            self.send_text(index, &text);
        }
    }
}
