//! What a browser says. Decoding is total: any text gives a [`Request`], or a [`DecodeError`] that names what was wrong and
//! carries the request's `id` back if there was one to read.

use super::{
    CHAT_CHARS_MAX, INCREMENT_MS_MAX, INITIAL_MS_MAX, INITIAL_MS_MIN, JSON_DEPTH_MAX,
    NAME_CHARS_MAX, REQUEST_ID_LEN_MAX,
};
use crate::{
    GameId, Ply, Seq,
    game::{MoveInput, TimeControl},
    protocol::server::ErrorCode,
    rules::{Move, Role, Square},
};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A client's own mark on a request: a number or a short string, carried back by the direct answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum RequestId {
    /// A JSON number.
    Number(#[cfg_attr(test, ts(type = "number"))] serde_json::Number),
    /// At most 64 bytes.
    Text(String),
}

/// One message of a client.
#[derive(Debug, Clone, PartialEq)]
pub struct Request {
    /// Carried back with the answer.
    pub id: Option<RequestId>,
    /// What is asked.
    pub message: ClientMessage,
}

/// Why a text was not a request.
#[derive(Debug, Clone, PartialEq)]
pub struct DecodeError {
    /// The `id`, as far as it could be read.
    pub id: Option<RequestId>,
    /// `bad_json`, `bad_message`, `unknown_type` or `bad_time_control`.
    pub code: ErrorCode,
    /// What was wrong, in words.
    pub message: String,
}

/// Everything a client may say.
#[derive(Debug, Clone, PartialEq)]
pub enum ClientMessage {
    /// Seek an opponent.
    InitGame(Seek),
    /// Stop seeking.
    CancelSeek,
    /// Make an invitation.
    CreateGame(CreateGame),
    /// Take the free seat of an invitation.
    JoinGame(JoinGame),
    /// Watch, or go on playing.
    JoinRoom(JoinRoom),
    /// Stop watching.
    LeaveRoom(GameRef),
    /// Make a move.
    Move(MoveRequest),
    /// Claim a draw.
    ClaimDraw(ClaimDraw),
    /// Anything else a player asks for.
    Act(PlayerAction, OfferRef),
    /// Resign if running, then leave.
    ExitGame(GameRef),
    /// Say something.
    Chat(Chat),
    /// Measure the way.
    Ping(Ping),
}

/// Requests of a player that are but a name and a game.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum PlayerAction {
    /// `resign`
    Resign,
    /// `abort`
    Abort,
    /// `offer_draw`
    OfferDraw,
    /// `accept_draw`
    AcceptDraw,
    /// `decline_draw`
    DeclineDraw,
    /// `claim_victory`
    ClaimVictory,
    /// `offer_rematch`
    OfferRematch,
    /// `accept_rematch`
    AcceptRematch,
    /// `decline_rematch`
    DeclineRematch,
    /// `offer_takeback`
    OfferTakeback,
    /// `accept_takeback`
    AcceptTakeback,
    /// `decline_takeback`
    DeclineTakeback,
}

/// Payload of `init_game`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Seek {
    /// Null for untimed; left out for 10+0.
    #[serde(default = "ten_minutes")]
    #[cfg_attr(test, ts(optional = nullable))]
    pub time_control: Option<TimeControl>,
    /// A guest's shown name.
    #[serde(default)]
    #[cfg_attr(test, ts(optional))]
    pub name: Option<String>,
}

/// Payload of `create_game`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CreateGame {
    /// Null for untimed; left out for 10+0.
    #[serde(default = "ten_minutes")]
    #[cfg_attr(test, ts(optional = nullable))]
    pub time_control: Option<TimeControl>,
    /// The creator's colour.
    #[serde(default)]
    #[cfg_attr(test, ts(optional, as = "Option<ColorChoice>"))]
    pub color: ColorChoice,
    /// A guest's shown name.
    #[serde(default)]
    #[cfg_attr(test, ts(optional))]
    pub name: Option<String>,
    /// The same key of the same user gives the same game.
    #[serde(default)]
    #[cfg_attr(test, ts(optional))]
    pub key: Option<String>,
}

/// Which colour the creator of a game wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum ColorChoice {
    /// White.
    White,
    /// Black.
    Black,
    /// Either, by lot.
    #[default]
    Random,
}

/// Payload of `join_game`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JoinGame {
    /// The invitation's game.
    pub game_id: GameId,
    /// A guest's shown name.
    #[serde(default)]
    #[cfg_attr(test, ts(optional))]
    pub name: Option<String>,
}

/// Payload of `join_room`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct JoinRoom {
    /// The game.
    pub game_id: GameId,
    /// Last event seen.
    #[serde(default)]
    #[cfg_attr(test, ts(optional))]
    pub seq: Option<Seq>,
    /// The life of the log it was seen in.
    #[serde(default)]
    #[cfg_attr(test, ts(optional))]
    pub epoch: Option<String>,
}

/// Payload that names a game only.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct GameRef {
    /// The game.
    pub game_id: GameId,
}

/// Payload of a player's actions.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OfferRef {
    /// The game.
    pub game_id: GameId,
    /// The offer meant.
    #[serde(default)]
    #[cfg_attr(test, ts(optional))]
    pub seq: Option<Seq>,
}

/// Payload of `move`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct MoveRequest {
    /// May be left out with exactly one running game.
    #[serde(default)]
    #[cfg_attr(test, ts(optional))]
    pub game_id: Option<GameId>,
    /// The move.
    #[serde(rename = "move", deserialize_with = "move_input")]
    #[cfg_attr(test, ts(type = "MoveInput"))]
    #[cfg_attr(feature = "schema", schemars(with = "WrittenMove"))]
    pub mv: MoveInput,
    /// Which half move it is meant to be.
    #[serde(default)]
    #[cfg_attr(test, ts(optional))]
    pub ply: Option<Ply>,
    /// Last event seen.
    #[serde(default)]
    #[cfg_attr(test, ts(optional))]
    pub seq: Option<Seq>,
}

/// Payload of `claim_draw`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct ClaimDraw {
    /// The game.
    pub game_id: GameId,
    /// The intended move.
    #[serde(rename = "move", default, deserialize_with = "optional_move_input")]
    #[cfg_attr(test, ts(optional, type = "MoveInput"))]
    #[cfg_attr(feature = "schema", schemars(with = "Option<WrittenMove>"))]
    pub mv: Option<MoveInput>,
    /// Last event seen.
    #[serde(default)]
    #[cfg_attr(test, ts(optional))]
    pub seq: Option<Seq>,
}

/// Payload of `chat`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Chat {
    /// The game.
    pub game_id: GameId,
    /// At most 500 characters.
    pub text: String,
}

/// Payload of `ping`.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Ping {
    /// Anything; carried back.
    #[serde(default)]
    #[cfg_attr(test, ts(optional, type = "unknown"))]
    pub t: Option<serde_json::Value>,
}

fn ten_minutes() -> Option<TimeControl> {
    Some(TimeControl {
        initial_ms: 600_000,
        increment_ms: 0,
    })
}

#[derive(Deserialize)]
#[serde(untagged)]
enum WireMove<'a> {
    Text(#[serde(borrow)] Cow<'a, str>),
    Squares {
        #[serde(borrow)]
        from: Cow<'a, str>,
        #[serde(borrow)]
        to: Cow<'a, str>,
        #[serde(default, borrow)]
        promotion: Option<Cow<'a, str>>,
    },
}

/// A move as clients write it: what [`move_input`] reads, in the words of JSON Schema.
#[cfg(feature = "schema")]
#[derive(schemars::JsonSchema)]
#[schemars(untagged, rename = "MoveInput")]
#[allow(dead_code)] // Only its shape is used.
enum WrittenMove {
    /// UCI (`e2e4`, `e7e8q`) or SAN (`Nf3`).
    Text(#[schemars(length(max = 16))] String),
    /// By its squares.
    Squares {
        /// `e2`
        #[schemars(regex(pattern = r"^[a-h][1-8]$"))]
        from: String,
        /// `e4`; for castling, where the king goes.
        #[schemars(regex(pattern = r"^[a-h][1-8]$"))]
        to: String,
        /// What a pawn becomes; ignored on any other move.
        #[schemars(regex(pattern = r"^[qrbnQRBN]?$"))]
        promotion: Option<String>,
    },
}

/// Longest text taken for a move: `Qa1xb2=Q+` and the like have at most 9 characters, with room for marks of comment.
const MOVE_TEXT_LEN_MAX: usize = 16;

fn move_input<'de, D: Deserializer<'de>>(deserializer: D) -> Result<MoveInput, D::Error> {
    use serde::de::Error;
    let wire = WireMove::deserialize(deserializer).map_err(|_| {
        D::Error::custom("`move` is {from, to, promotion?}, or text such as \"e2e4\" or \"Nf3\"")
    })?;
    let square = |text: &str| {
        text.parse::<Square>()
            .map_err(|_| D::Error::custom(format!("`move` has no square {text:.8?}")))
    };
    Ok(match wire {
        WireMove::Text(text) if text.len() > MOVE_TEXT_LEN_MAX => {
            return Err(D::Error::custom("`move` is longer than any move"));
        }
        WireMove::Text(text) => MoveInput::Text(text.into_owned()),
        WireMove::Squares {
            from,
            to,
            promotion,
        } => {
            let promotion = match promotion.as_deref() {
                None | Some("") => None,
                Some(text) => Some(
                    promotion_role(text)
                        .ok_or_else(|| D::Error::custom("`promotion` is one of q, r, b, n"))?,
                ),
            };
            MoveInput::Squares(Move {
                from: square(&from)?,
                to: square(&to)?,
                promotion,
            })
        }
    })
}

fn promotion_role(text: &str) -> Option<Role> {
    match text {
        "q" | "Q" | "queen" => Some(Role::Queen),
        "r" | "R" | "rook" => Some(Role::Rook),
        "b" | "B" | "bishop" => Some(Role::Bishop),
        "n" | "N" | "knight" => Some(Role::Knight),
        _ => None,
    }
}

fn optional_move_input<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<MoveInput>, D::Error> {
    let raw = Option::<&RawValue>::deserialize(deserializer)?;
    raw.filter(|raw| raw.get() != "null")
        .map(|raw| {
            move_input(&mut serde_json::Deserializer::from_str(raw.get()))
                .map_err(serde::de::Error::custom)
        })
        .transpose()
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: &'a RawValue,
    #[serde(default, borrow)]
    payload: Option<&'a RawValue>,
    #[serde(default, borrow)]
    id: Option<&'a RawValue>,
}

impl Request {
    /// Reads one text message.
    pub fn decode(text: &str) -> Result<Request, DecodeError> {
        let refuse = |code, message: String| DecodeError {
            id: None,
            code,
            message,
        };
        if depth(text) > JSON_DEPTH_MAX {
            return Err(refuse(
                ErrorCode::BadJson,
                format!("nested deeper than {JSON_DEPTH_MAX} levels"),
            ));
        }
        let value: &RawValue = serde_json::from_str(text)
            .map_err(|error| refuse(ErrorCode::BadJson, format!("not JSON: {error}")))?;
        let shape = |why: &dyn std::fmt::Display| {
            refuse(
                ErrorCode::BadMessage,
                format!("a message is {{\"type\": text, \"payload\": object, \"id\"?}}: {why}"),
            )
        };
        if !is_object(value) {
            return Err(shape(&"not an object"));
        }
        let envelope: Envelope<'_> =
            serde_json::from_str(value.get()).map_err(|error| shape(&error))?;
        let id =
            request_id(envelope.id).map_err(|message| refuse(ErrorCode::BadMessage, message))?;
        let fail = |(code, message)| DecodeError {
            id: id.clone(),
            code,
            message,
        };
        let kind: Cow<'_, str> = serde_json::from_str(envelope.kind.get())
            .map_err(|_| fail((ErrorCode::BadMessage, "`type` is text".into())))?;
        let payload = match envelope.payload {
            Some(payload) if is_object(payload) => payload.get(),
            Some(payload) if payload.get() != "null" => {
                let message = format!("payload of {kind:.40?} is not an object");
                return Err(fail((ErrorCode::BadMessage, message)));
            }
            _ => "{}",
        };
        let message = message(&kind, payload).map_err(fail)?;
        Ok(Request { id, message })
    }
}

/// The fields of a struct may also be given as an array, by serde's reading; not here.
fn is_object(value: &RawValue) -> bool {
    value.get().starts_with('{')
}

fn request_id(raw: Option<&RawValue>) -> Result<Option<RequestId>, String> {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else {
        return Ok(None);
    };
    match serde_json::from_str(raw.get()) {
        Ok(RequestId::Text(text)) if text.len() > REQUEST_ID_LEN_MAX => {
            Err(format!("`id` is longer than {REQUEST_ID_LEN_MAX} bytes"))
        }
        Ok(id) => Ok(Some(id)),
        Err(_) => Err("`id` is a number or a short string".into()),
    }
}

type Refusal = (ErrorCode, String);

fn message(kind: &str, payload: &str) -> Result<ClientMessage, Refusal> {
    use PlayerAction as Act;
    let act = |action| {
        payload_of::<OfferRef>(kind, payload).map(|offer| ClientMessage::Act(action, offer))
    };
    Ok(match kind {
        "init_game" => {
            let seek: Seek = payload_of(kind, payload)?;
            check_name(seek.name.as_deref())?;
            check_time_control(seek.time_control)?;
            ClientMessage::InitGame(seek)
        }
        "cancel_seek" => ClientMessage::CancelSeek,
        "create_game" => {
            let create: CreateGame = payload_of(kind, payload)?;
            check_name(create.name.as_deref())?;
            check_time_control(create.time_control)?;
            if create
                .key
                .as_ref()
                .is_some_and(|key| key.is_empty() || key.len() > REQUEST_ID_LEN_MAX)
            {
                return Err((
                    ErrorCode::BadMessage,
                    format!("`key` has 1 to {REQUEST_ID_LEN_MAX} bytes"),
                ));
            }
            ClientMessage::CreateGame(create)
        }
        "join_game" => {
            let join: JoinGame = payload_of(kind, payload)?;
            check_name(join.name.as_deref())?;
            ClientMessage::JoinGame(join)
        }
        "join_room" => ClientMessage::JoinRoom(payload_of(kind, payload)?),
        "leave_room" => ClientMessage::LeaveRoom(payload_of(kind, payload)?),
        "move" => ClientMessage::Move(payload_of(kind, payload)?),
        "claim_draw" => ClientMessage::ClaimDraw(payload_of(kind, payload)?),
        "resign" => act(Act::Resign)?,
        "abort" => act(Act::Abort)?,
        "offer_draw" => act(Act::OfferDraw)?,
        "accept_draw" => act(Act::AcceptDraw)?,
        "decline_draw" => act(Act::DeclineDraw)?,
        "claim_victory" => act(Act::ClaimVictory)?,
        "offer_rematch" => act(Act::OfferRematch)?,
        "accept_rematch" => act(Act::AcceptRematch)?,
        "decline_rematch" => act(Act::DeclineRematch)?,
        "offer_takeback" => act(Act::OfferTakeback)?,
        "accept_takeback" => act(Act::AcceptTakeback)?,
        "decline_takeback" => act(Act::DeclineTakeback)?,
        "exit_game" => ClientMessage::ExitGame(payload_of(kind, payload)?),
        "chat" => {
            let chat: Chat = payload_of(kind, payload)?;
            check_chat(&chat.text)?;
            ClientMessage::Chat(chat)
        }
        "ping" => ClientMessage::Ping(payload_of(kind, payload)?),
        unknown => {
            return Err((
                ErrorCode::UnknownType,
                format!("there is no message type {unknown:.40?}"),
            ));
        }
    })
}

fn payload_of<'a, T: Deserialize<'a>>(kind: &str, payload: &'a str) -> Result<T, Refusal> {
    serde_json::from_str(payload)
        .map_err(|error| (ErrorCode::BadMessage, format!("payload of {kind}: {error}")))
}

fn check_name(name: Option<&str>) -> Result<(), Refusal> {
    let Some(name) = name else { return Ok(()) };
    if name.chars().count() > NAME_CHARS_MAX {
        return Err((
            ErrorCode::BadMessage,
            format!("`name` is longer than {NAME_CHARS_MAX} characters"),
        ));
    }
    if name.chars().any(is_forbidden) {
        return Err((
            ErrorCode::BadMessage,
            "`name` has control characters".into(),
        ));
    }
    Ok(())
}

fn check_chat(text: &str) -> Result<(), Refusal> {
    if text.trim().is_empty() {
        return Err((ErrorCode::BadMessage, "`text` is empty".into()));
    }
    if text.chars().count() > CHAT_CHARS_MAX {
        return Err((
            ErrorCode::BadMessage,
            format!("`text` is longer than {CHAT_CHARS_MAX} characters"),
        ));
    }
    if text.chars().any(is_forbidden) {
        return Err((
            ErrorCode::BadMessage,
            "`text` has control characters".into(),
        ));
    }
    Ok(())
}

/// Control characters, line breaks of Unicode, those that turn the direction of other people's text around, and those
/// that are nothing but invisible. (Joiners stay: emoji and Persian need them.)
pub fn is_forbidden(c: char) -> bool {
    c.is_control()
        || matches!(c,
            '\u{061c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}'
            | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

fn check_time_control(time_control: Option<TimeControl>) -> Result<(), Refusal> {
    let Some(TimeControl {
        initial_ms,
        increment_ms,
    }) = time_control
    else {
        return Ok(());
    };
    if !(INITIAL_MS_MIN..=INITIAL_MS_MAX).contains(&initial_ms) {
        let message = format!(
            "`initialMs` is {INITIAL_MS_MIN} to {INITIAL_MS_MAX}; null time control for untimed"
        );
        return Err((ErrorCode::BadTimeControl, message));
    }
    if !(0..=INCREMENT_MS_MAX).contains(&increment_ms) {
        return Err((
            ErrorCode::BadTimeControl,
            format!("`incrementMs` is 0 to {INCREMENT_MS_MAX}"),
        ));
    }
    Ok(())
}

/// Deepest nesting of brackets outside strings: checked before parsing, so that no parser recurses on a stranger's word.
fn depth(text: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0usize, 0usize, false, false);
    for byte in text.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}
