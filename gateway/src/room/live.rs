//! A room's log as this node knows it: the stored bytes, and the game they fold to.

use crate::websocket::Frame;
use bytes::Bytes;
use pubsub::{Epoch, Seq};
use shared::{
    Color, Ply, Timestamp, UserId,
    game::{Event, EventBody, EventError, Game, Rematch},
    protocol::{
        RequestId, ServerMessage,
        server::{MoveRecord, Presence, Snapshot, Status},
    },
};
use std::sync::Arc;

/// What this node knows of a room's log.
#[derive(Debug)]
pub struct Live {
    /// The log's life.
    pub epoch: Epoch,
    /// The fold of all events this release understands.
    pub game: Game,
    /// Every event's bytes, framed.
    pub frames: Vec<Frame>,
    /// The first event this release does not understand. From there on the room is relayed and nothing is decided in it.
    pub unknown_from: Option<Seq>,
    snapshot_text: Option<SnapshotText>,
}

#[derive(Debug)]
struct SnapshotText {
    end: Seq,
    presence: Presence,
    text: Arc<str>,
}

/// Why bytes are not the log of a game.
#[derive(Debug, thiserror::Error)]
pub enum FoldError {
    /// The first event is no `game_created`, or an event does not follow from those before: the log was written by
    /// something else, or this is our bug.
    #[error("event {seq} does not fit: {why}")]
    Misfit {
        /// Which.
        seq: Seq,
        /// Why.
        why: String,
    },
}

impl Live {
    /// Folds a whole log.
    pub fn fold(epoch: Epoch, events: &[Bytes]) -> Result<Live, FoldError> {
        let (first, rest) = events.split_first().ok_or_else(|| FoldError::Misfit {
            seq: 0,
            why: "the log is empty".into(),
        })?;
        let misfit = |why: String| FoldError::Misfit { seq: 0, why };
        let created = Event::decode(first).map_err(|error| misfit(error.to_string()))?;
        let game = Game::start(&created).map_err(|error| misfit(error.to_string()))?;
        let mut live = Live {
            epoch,
            game,
            frames: vec![frame(first)],
            unknown_from: None,
            snapshot_text: None,
        };
        for event in rest {
            live.push(event)?;
        }
        Ok(live)
    }

    /// Takes the next event in. Answers it, if this release understands it.
    pub fn push(&mut self, bytes: &Bytes) -> Result<Option<Event>, FoldError> {
        let seq = self.end();
        self.frames.push(frame(bytes));
        if self.unknown_from.is_some() {
            return Ok(None);
        }
        match Event::decode(bytes) {
            Ok(event) => {
                self.game.apply(&event).map_err(|error| FoldError::Misfit {
                    seq,
                    why: error.to_string(),
                })?;
                Ok(Some(event))
            }
            Err(EventError::UnknownType { kind, .. }) => {
                tracing::warn!(
                    seq,
                    kind,
                    "an event of a later release: relayed, and nothing decided in its room"
                );
                self.unknown_from = Some(seq);
                Ok(None)
            }
            Err(error) => Err(FoldError::Misfit {
                seq,
                why: error.to_string(),
            }),
        }
    }

    /// Number the next event will have.
    pub fn end(&self) -> Seq {
        self.frames.len() as Seq
    }

    /// Whether this release understands the whole log, and so may decide in this room.
    pub fn is_decidable(&self) -> bool {
        self.unknown_from.is_none()
    }

    /// The seat of that user.
    pub fn seat(&self, user: &UserId) -> Option<Color> {
        Color::ALL
            .into_iter()
            .find(|color| self.game.player(*color).id == *user)
    }

    /// The half move that event made.
    pub fn ply_of(&self, seq: Seq) -> Option<Ply> {
        let place = self
            .game
            .moves()
            .iter()
            .rposition(|played| played.seq == seq)?;
        Ply::try_from(place + 1).ok()
    }

    /// The rematch agreed on, and when.
    pub fn rematch(&self) -> Option<(Rematch, Timestamp)> {
        self.game.rematch_game_id()?;
        self.frames.iter().rev().find_map(|frame| {
            let event = Event::decode(frame.payload()).ok()?;
            match event.body {
                EventBody::Rematch(rematch) => Some((rematch, event.at)),
                _ => None,
            }
        })
    }

    /// A `game_joined`, framed. What thousands of spectators get is encoded once a position; only the request's `id`
    /// differs, and is added at the end.
    pub fn snapshot_frame(
        &mut self,
        color: Option<Color>,
        presence: Presence,
        id: Option<&RequestId>,
    ) -> Frame {
        let end = self.end();
        let cached = self
            .snapshot_text
            .as_ref()
            .filter(|cached| color.is_none() && cached.end == end && cached.presence == presence);
        let text = match cached {
            Some(cached) => cached.text.clone(),
            None => {
                let message = ServerMessage::GameJoined(Box::new(self.snapshot(color, presence)));
                let text: Arc<str> = message.encode(None).into();
                if color.is_none() {
                    self.snapshot_text = Some(SnapshotText {
                        end,
                        presence,
                        text: text.clone(),
                    });
                }
                text
            }
        };
        let id = id.and_then(|id| serde_json::to_string(id).ok());
        match (id, text.strip_suffix('}')) {
            (Some(id), Some(open)) => Frame::text(&format!("{open},\"id\":{id}}}")),
            _ => Frame::text(&text),
        }
    }

    /// The whole of what is understood, as a member on that seat sees it.
    pub fn snapshot(&self, color: Option<Color>, presence: Presence) -> Snapshot {
        let game = &self.game;
        let over = game.over();
        Snapshot {
            game_id: game.id().clone(),
            epoch: self.epoch.to_string(),
            seq: self.unknown_from.unwrap_or(self.end()).saturating_sub(1),
            color,
            white_player: game.player(Color::White).clone(),
            black_player: game.player(Color::Black).clone(),
            time_control: game.time_control(),
            started_at: game.started_at(),
            fen: game.fen(),
            moves: game
                .moves()
                .iter()
                .map(|played| MoveRecord {
                    uci: played.uci.to_string(),
                    san: played.san.to_string(),
                    at: played.at,
                })
                .collect(),
            clock: game.clock(),
            clock_at: game.clock_at(),
            turn: game.turn(),
            status: if over.is_some() {
                Status::Finished
            } else {
                Status::Started
            },
            result: over.map(|over| over.result),
            reason: over.map(|over| over.reason),
            winner: over.and_then(|over| over.winner),
            draw_offer: game.draw_offer(),
            takeback_offer: game.takeback_offer(),
            rematch_offer: game.rematch_offer(),
            rematch_game_id: game.rematch_game_id().cloned(),
            presence,
        }
    }
}

/// The frame of a stored event: its bytes, which are JSON text.
pub fn frame(bytes: &Bytes) -> Frame {
    // Logs hold what nodes wrote, which is UTF-8. Should one hold something else, a frame that is not text would make every
    // client close, so it is mended rather than sent.
    Frame::text(&String::from_utf8_lossy(bytes))
}
