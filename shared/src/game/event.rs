//! What happened in a game: all that a log holds. The JSON of an [`Event`] is at once what is stored in Redis, archived,
//! and written to every socket, so its shape is a promise to stored logs and to clients alike.

use crate::{Color, GameId, Ply, Seq, Timestamp, UserId, rules::Move};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

/// A player as everybody sees him.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Player {
    /// Whose seat it is.
    pub id: UserId,
    /// Shown name, at most 32 characters.
    pub name: String,
    /// True for a user without an account.
    pub is_guest: bool,
}

/// Thinking time of one side for the whole game, and what each move adds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TimeControl {
    /// Milliseconds at the start.
    pub initial_ms: i64,
    /// Milliseconds added after each move from ply 3 on.
    pub increment_ms: i64,
}

/// What both sides have left at an event's `at`, increment included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClockReading {
    /// White's milliseconds.
    pub white_ms: i64,
    /// Black's milliseconds.
    pub black_ms: i64,
}

/// One entry of a game's log.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Event {
    /// Its number in the log; the first key of the JSON, so that readers find it without parsing the rest.
    pub seq: Seq,
    /// When it happened, never earlier than the event before.
    pub at: Timestamp,
    /// What happened.
    #[serde(flatten)]
    pub body: EventBody,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "type", content = "payload", rename_all = "snake_case")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum EventBody {
    /// The room exists; always `seq` 0.
    GameCreated(GameCreated),
    /// A legal move was made.
    Move(Moved),
    /// `by` offers a draw.
    DrawOffered(By),
    /// `by` declined the draw offered to him.
    DrawDeclined(By),
    /// `by` asks to take his last move back.
    TakebackOffered(By),
    /// `by` declined to give a move back.
    TakebackDeclined(By),
    /// Moves were taken back.
    Takeback(Takeback),
    /// Time lost to the server's own outage was given back.
    ClockCredited(ClockCredited),
    /// The game ended.
    GameOver(GameOver),
    /// After the end: `by` offers another game.
    RematchOffered(By),
    /// `by` declined another game.
    RematchDeclined(By),
    /// Another game was agreed on; holds all that creates its room.
    Rematch(Rematch),
}

/// Payload of `game_created`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GameCreated {
    /// The game.
    pub game_id: GameId,
    /// Who has White.
    pub white_player: Player,
    /// Who has Black.
    pub black_player: Player,
    /// Clocks; null for untimed.
    pub time_control: Option<TimeControl>,
    /// Position at the start.
    pub fen: String,
    /// A private game: not listed, and watchable by its link; left out otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(test, ts(optional, as = "Option<bool>"))]
    pub unlisted: bool,
}

/// Payload of `move`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Moved {
    /// The game.
    pub game_id: GameId,
    /// Number of the half move, 1 is White's first.
    pub ply: Ply,
    /// The move.
    #[serde(rename = "move")]
    pub mv: MoveMade,
    /// Position after it.
    pub fen: String,
    /// Both clocks at `at`, increment included; null if untimed.
    pub clock: Option<ClockReading>,
    /// True if it gives check; left out otherwise.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    #[cfg_attr(test, ts(optional, as = "Option<bool>"))]
    pub check: bool,
}

/// A move in the notations clients want.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MoveMade {
    /// Origin square, `e2`.
    pub from: String,
    /// Target square, `e4`; a castling king's target is `g1` or its like.
    pub to: String,
    /// `q`, `r`, `b` or `n` for a promotion; left out otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, ts(optional, type = "\"q\" | \"r\" | \"b\" | \"n\""))]
    #[cfg_attr(
        feature = "schema",
        schemars(with = "Option<String>", regex(pattern = r"^[qrbn]$"))
    )]
    pub promotion: Option<char>,
    /// Standard algebraic notation with `+` and `#`.
    pub san: String,
    /// `e2e4`, `e7e8q`.
    pub uci: String,
}

impl MoveMade {
    /// Spells `mv`, whose SAN is `san`.
    pub fn new(mv: Move, san: String) -> MoveMade {
        MoveMade {
            from: mv.from.to_string(),
            to: mv.to.to_string(),
            promotion: mv.promotion.map(|role| role.letter()),
            san,
            uci: mv.to_string(),
        }
    }
}

/// Payload of offers and their refusals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct By {
    /// The game.
    pub game_id: GameId,
    /// The side that spoke.
    pub by: Color,
}

/// Payload of `takeback`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Takeback {
    /// The game.
    pub game_id: GameId,
    /// Half moves left on the board.
    pub ply: Ply,
    /// Position after the takeback.
    pub fen: String,
    /// Both clocks at `at`.
    pub clock: Option<ClockReading>,
}

/// Payload of `clock_credited`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClockCredited {
    /// The game.
    pub game_id: GameId,
    /// Whose clock.
    pub color: Color,
    /// Milliseconds given back.
    pub ms: i64,
    /// Both clocks at `at`, credit included.
    pub clock: Option<ClockReading>,
    /// Why.
    pub cause: CreditCause,
}

/// Why time was given back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum CreditCause {
    /// The servers were away.
    Outage,
}

/// Payload of `rematch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Rematch {
    /// The finished game.
    pub game_id: GameId,
    /// The next one.
    pub new_game_id: GameId,
    /// Who has White in it.
    pub white_player: Player,
    /// Who has Black in it.
    pub black_player: Player,
    /// Its clocks.
    pub time_control: Option<TimeControl>,
}

/// Payload of `game_over`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GameOver {
    /// The game.
    pub game_id: GameId,
    /// As in a PGN's `Result` tag.
    pub result: GameResult,
    /// Who won; null for a draw or no result.
    pub winner: Option<Color>,
    /// Why.
    pub reason: Reason,
}

/// A result as PGN spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum GameResult {
    /// White won.
    #[serde(rename = "1-0")]
    WhiteWins,
    /// Black won.
    #[serde(rename = "0-1")]
    BlackWins,
    /// A draw.
    #[serde(rename = "1/2-1/2")]
    Draw,
    /// No result: aborted or abandoned.
    #[serde(rename = "*")]
    Unknown,
}

/// Why a game ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Reason {
    /// Mate on the board.
    Checkmate,
    /// No legal move, not in check.
    Stalemate,
    /// Claimed: the position stood three times (FIDE 9.2).
    ThreefoldRepetition,
    /// At once: the position stood five times (FIDE 9.6.1).
    FivefoldRepetition,
    /// Claimed: fifty moves by each side without capture or pawn move (FIDE 9.3).
    FiftyMoves,
    /// At once: seventy-five such moves (FIDE 9.6.2).
    SeventyfiveMoves,
    /// At once: neither side has material to mate.
    InsufficientMaterial,
    /// A player gave up.
    Resignation,
    /// A flag fell.
    Timeout,
    /// A flag fell against a side that cannot mate: a draw.
    TimeoutInsufficientMaterial,
    /// Draw agreed.
    Agreement,
    /// A player left and the other claimed; or nobody came back to an untimed game.
    Abandonment,
    /// Ended before it began.
    Aborted,
}

/// Why bytes are not an event this release understands.
#[derive(Debug, thiserror::Error)]
pub enum EventError {
    /// A type from a later release: relay it, decide nothing in its room.
    #[error("event {seq} has the unknown type {kind:?}")]
    UnknownType {
        /// Its number.
        seq: Seq,
        /// The type it names.
        kind: String,
    },
    /// Not an event at all.
    #[error("not an event: {0}")]
    Malformed(#[from] serde_json::Error),
}

#[derive(Deserialize)]
struct Envelope<'a> {
    seq: Seq,
    at: Timestamp,
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
    #[serde(borrow)]
    payload: &'a RawValue,
}

impl Event {
    /// The bytes that are appended, published, archived and sent.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(320);
        serde_json::to_writer(&mut bytes, self)
            .expect("an event has no map keys or IO that could fail");
        bytes
    }

    /// Reads the bytes of one event.
    pub fn decode(bytes: &[u8]) -> Result<Event, EventError> {
        let envelope: Envelope<'_> = serde_json::from_slice(bytes)?;
        let payload = envelope.payload.get();
        let body = match envelope.kind.as_ref() {
            "game_created" => EventBody::GameCreated(serde_json::from_str(payload)?),
            "move" => EventBody::Move(serde_json::from_str(payload)?),
            "draw_offered" => EventBody::DrawOffered(serde_json::from_str(payload)?),
            "draw_declined" => EventBody::DrawDeclined(serde_json::from_str(payload)?),
            "takeback_offered" => EventBody::TakebackOffered(serde_json::from_str(payload)?),
            "takeback_declined" => EventBody::TakebackDeclined(serde_json::from_str(payload)?),
            "takeback" => EventBody::Takeback(serde_json::from_str(payload)?),
            "clock_credited" => EventBody::ClockCredited(serde_json::from_str(payload)?),
            "game_over" => EventBody::GameOver(serde_json::from_str(payload)?),
            "rematch_offered" => EventBody::RematchOffered(serde_json::from_str(payload)?),
            "rematch_declined" => EventBody::RematchDeclined(serde_json::from_str(payload)?),
            "rematch" => EventBody::Rematch(serde_json::from_str(payload)?),
            unknown => {
                return Err(EventError::UnknownType {
                    seq: envelope.seq,
                    kind: unknown.to_owned(),
                });
            }
        };
        Ok(Event {
            seq: envelope.seq,
            at: envelope.at,
            body,
        })
    }
}
