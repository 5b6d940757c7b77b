//! The AsyncAPI document: the WebSocket's messages, either way.

use super::{definitions, read, written};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use shared::{
    game::EventBody,
    protocol::{
        RequestId, ServerMessage, VERSION,
        schema::{Kind, kinds, requests},
    },
};

const DESCRIPTION: &str = "JSON text frames over `/ws`. A request may carry an `id`; its direct answer carries it back. Log events \
    carry `seq` and `at`: the same bytes for everybody in the room, in order, without gaps. Whoever loses the connection joins \
    again with the last `seq` and `epoch` and gets exactly what was missed, or a whole snapshot. Unknown fields are to be ignored.";

/// The document.
pub fn document() -> Value {
    // AsyncAPI's own schemas extend draft 7.
    let (mut said, mut asked) = (
        written(SchemaSettings::draft07()),
        read(SchemaSettings::draft07()),
    );
    let id = said.subschema_for::<RequestId>();
    let optional = requests(&mut asked);
    let optional: Vec<(Kind, bool)> = optional
        .into_iter()
        .map(|kind| {
            let needed = needs_payload(&kind, asked.definitions());
            (kind, needed)
        })
        .collect();
    let messages = kinds::<ServerMessage>(&mut said);
    let events = kinds::<EventBody>(&mut said);

    let mut components = Map::new();
    let mut listed = Map::new();
    let mut add = |group: &str, kind: Kind, payload: Value| {
        let key = format!("{group}.{}", kind.name);
        listed.insert(
            key.clone(),
            reference(&format!("components/messages/{key}")),
        );
        let message = json!({"name": kind.name, "summary": kind.summary, "payload": payload});
        components.insert(key.clone(), message);
        reference(&format!("channels/socket/messages/{key}"))
    };
    let mut received = Vec::new();
    for (kind, needed) in optional {
        let mut properties = json!({"type": {"const": kind.name}, "id": id});
        let mut required = vec!["type"];
        if let Some(payload) = &kind.payload {
            properties["payload"] = if needed {
                json!(payload)
            } else {
                json!({"anyOf": [payload, {"type": "null"}]})
            };
        }
        if needed {
            required.push("payload");
        }
        let shape = json!({"type": "object", "properties": properties, "required": required});
        received.push(add("request", kind, shape));
    }
    let mut sent = Vec::new();
    for kind in messages {
        let mut shape = json!({
            "type": "object",
            "properties": {"type": {"const": kind.name}, "id": id, "payload": kind.payload},
            "required": ["type", "payload"],
        });
        if kind.name == "game_added" {
            shape["properties"]["gameId"] =
                json!({"type": "string", "description": "The same as in the payload."});
            shape["required"] = json!(["type", "payload", "gameId"]);
        }
        sent.push(add("message", kind, shape));
    }
    let mut happened = Vec::new();
    for kind in events {
        let shape = json!({
            "type": "object",
            "properties": {
                "seq": {"type": "integer", "minimum": 0, "description": "Its number in the room's log."},
                "at": {"type": "integer", "description": "When, in milliseconds since the Unix epoch."},
                "type": {"const": kind.name},
                "payload": kind.payload,
            },
            "required": ["seq", "at", "type", "payload"],
        });
        happened.push(add("event", kind, shape));
    }
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Rookery",
            "version": format!("{VERSION}.0.0"),
            "description": DESCRIPTION,
            "license": {"name": "MIT OR Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "channels": {
            "socket": {
                "address": "/ws",
                "title": "The WebSocket",
                "description": "The token of `welcome` is sent as the query's `token` or as the subprotocol pair `rookery, <token>`; without one, the connection is a new guest.",
                "messages": listed,
                "bindings": {"ws": {"query": {"type": "object", "properties": {"token": {"type": "string"}}}}},
            },
        },
        "operations": {
            "ask": {"action": "receive", "channel": reference("channels/socket"), "messages": received,
                "summary": "What a client asks."},
            "tell": {"action": "send", "channel": reference("channels/socket"), "messages": sent,
                "summary": "What a gateway tells one connection, or a room outside its log."},
            "relay": {"action": "send", "channel": reference("channels/socket"), "messages": happened,
                "summary": "What happened in a room: its log's events."},
        },
        "components": {"messages": components, "schemas": definitions([said, asked])},
    })
}

fn reference(path: &str) -> Value {
    json!({"$ref": format!("#/{path}")})
}

/// Whether a request is nothing without its payload: something in it must be there.
fn needs_payload(kind: &Kind, definitions: &Map<String, Value>) -> bool {
    let name = kind
        .payload
        .as_ref()
        .and_then(|schema| schema.get("$ref")?.as_str()?.rsplit('/').next());
    name.and_then(|name| definitions.get(name)?.get("required")?.as_array())
        .is_some_and(|required| !required.is_empty())
}
