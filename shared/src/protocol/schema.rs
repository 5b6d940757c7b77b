//! Everything that is said on the wire, in the words of JSON Schema: what the documents of a gateway are made of. The types are
//! those that decode and encode; nothing is described twice.

use super::client::{
    Chat, ClaimDraw, CreateGame, GameRef, JoinGame, JoinRoom, MoveRequest, OfferRef, Ping, Seek,
};
use schemars::{JsonSchema, Schema, SchemaGenerator};

/// One kind of message: what is in it, without the envelope.
#[derive(Debug, Clone)]
pub struct Kind {
    /// Its `type`.
    pub name: String,
    /// What it means.
    pub summary: String,
    /// Its `payload`; `None` for a request that needs none.
    pub payload: Option<Schema>,
}

type Describe = fn(&mut SchemaGenerator) -> Schema;

fn of<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}

/// Every request by its `type`, with what it means and the type of its payload.
const REQUESTS: &[(&str, &str, Option<Describe>)] = &[
    ("init_game", "Seek an opponent.", Some(of::<Seek>)),
    ("cancel_seek", "Stop seeking.", None),
    ("create_game", "Make an invitation.", Some(of::<CreateGame>)),
    (
        "join_game",
        "Take the free seat of an invitation.",
        Some(of::<JoinGame>),
    ),
    (
        "join_room",
        "Watch, or go on playing, from the last event seen.",
        Some(of::<JoinRoom>),
    ),
    ("leave_room", "Stop watching.", Some(of::<GameRef>)),
    (
        "move",
        "Make a move. Repeated with the same ply, it gets its first answer.",
        Some(of::<MoveRequest>),
    ),
    (
        "claim_draw",
        "Claim a draw, by the board or with the intended move.",
        Some(of::<ClaimDraw>),
    ),
    ("resign", "Give up.", Some(of::<OfferRef>)),
    (
        "abort",
        "End a game that has not begun.",
        Some(of::<OfferRef>),
    ),
    ("offer_draw", "Offer a draw.", Some(of::<OfferRef>)),
    (
        "accept_draw",
        "Accept the draw offered.",
        Some(of::<OfferRef>),
    ),
    (
        "decline_draw",
        "Decline the draw offered.",
        Some(of::<OfferRef>),
    ),
    (
        "claim_victory",
        "Claim the win after the opponent's long absence.",
        Some(of::<OfferRef>),
    ),
    (
        "offer_rematch",
        "Offer another game with colours changed.",
        Some(of::<OfferRef>),
    ),
    (
        "accept_rematch",
        "Accept another game.",
        Some(of::<OfferRef>),
    ),
    (
        "decline_rematch",
        "Decline another game.",
        Some(of::<OfferRef>),
    ),
    (
        "offer_takeback",
        "Ask to take the last move back.",
        Some(of::<OfferRef>),
    ),
    (
        "accept_takeback",
        "Give the move back.",
        Some(of::<OfferRef>),
    ),
    (
        "decline_takeback",
        "Do not give the move back.",
        Some(of::<OfferRef>),
    ),
    (
        "exit_game",
        "Resign if the game runs, then leave.",
        Some(of::<GameRef>),
    ),
    (
        "chat",
        "Say something to one's own channel.",
        Some(of::<Chat>),
    ),
    (
        "ping",
        "Measure the way, and the server's clock.",
        Some(of::<Ping>),
    ),
];

/// Everything a client may say. `generator` describes what is read.
pub fn requests(generator: &mut SchemaGenerator) -> Vec<Kind> {
    let kind = |(name, summary, payload): &(&str, &str, Option<Describe>)| Kind {
        name: (*name).to_owned(),
        summary: (*summary).to_owned(),
        payload: payload.map(|describe| describe(generator)),
    };
    REQUESTS.iter().map(kind).collect()
}

/// The kinds of an enum that is written as `type` and `payload`. `generator` describes what is written.
pub fn kinds<T: JsonSchema>(generator: &mut SchemaGenerator) -> Vec<Kind> {
    let schema = T::json_schema(generator);
    let variants = schema.get("oneOf").and_then(|one| one.as_array());
    let kind = |variant: &serde_json::Value| {
        Some(Kind {
            name: variant.pointer("/properties/type/const")?.as_str()?.into(),
            summary: variant.get("description")?.as_str()?.into(),
            payload: Some(
                variant
                    .pointer("/properties/payload")?
                    .clone()
                    .try_into()
                    .ok()?,
            ),
        })
    };
    variants.into_iter().flatten().filter_map(kind).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{game::EventBody, protocol::ServerMessage};

    fn names(kinds: &[Kind]) -> Vec<&str> {
        kinds.iter().map(|kind| kind.name.as_str()).collect()
    }

    #[test]
    fn every_request_is_described() {
        let described = requests(&mut SchemaGenerator::default());
        let known: Vec<&str> = super::super::typescript::REQUESTS
            .iter()
            .map(|(name, _)| *name)
            .collect();
        assert_eq!(names(&described), known);
    }

    #[test]
    fn every_message_and_event_is_described() {
        let mut generator = SchemaGenerator::default();
        let said = kinds::<ServerMessage>(&mut generator);
        assert_eq!(said.len(), 16, "{:?}", names(&said));
        let happened = kinds::<EventBody>(&mut generator);
        assert_eq!(happened.len(), 12, "{:?}", names(&happened));
    }
}
