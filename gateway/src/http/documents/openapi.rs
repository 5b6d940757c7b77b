//! The OpenAPI document: the HTTP interface of the public port.

use super::{definitions, written};
use crate::http::{error, session};
use schemars::{JsonSchema, SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value, json};
use shared::protocol::{
    http::{GameList, LiveGames},
    server::Snapshot,
};

/// The document.
pub fn document() -> Value {
    let mut types = written(SchemaSettings::draft2020_12());
    let mut paths = Map::new();
    let mut get = |path: &str, operation: Value| {
        paths.insert(path.to_owned(), json!({"get": operation}));
    };
    get(
        "/api/live",
        json!({
            "operationId": "liveGames",
            "summary": "Games that run and are connected to, the most watched first.",
            "responses": {"200": answer::<LiveGames>(&mut types, "At most 50."), "503": away(&mut types)},
        }),
    );
    let query = |name: &str, description: &str, schema: Value| json!({"name": name, "in": "query", "description": description, "schema": schema});
    get(
        "/api/games",
        json!({
            "operationId": "games",
            "summary": "Finished games, the newest first. Private ones are listed to their players only.",
            "security": [{}, {"token": []}],
            "parameters": [
                query("player", "Only this user's.", json!({"type": "string"})),
                query("before", "The `next` of another page, or milliseconds since 1970: only games that began before.", json!({"type": "string"})),
                query("since", "Milliseconds since 1970: only games that began then or later.", json!({"type": "integer"})),
                query("result", "Only games that ended so.", json!({"enum": ["1-0", "0-1", "1/2-1/2", "*"]})),
                query("limit", "Games of a page; 50 if left out.", json!({"type": "integer", "minimum": 1, "maximum": 200})),
            ],
            "responses": {
                "200": answer::<GameList>(&mut types, "A page of games."),
                "400": refusal(&mut types, "A parameter is not of its form."),
                "503": away(&mut types),
            },
        }),
    );
    get(
        "/api/games/{id}",
        json!({
            "operationId": "game",
            "summary": "A game as it stands.",
            "parameters": [game()],
            "responses": {
                "200": json_answer("All there is to know of it.", &position(&mut types)),
                "404": missing(&mut types),
                "503": away(&mut types),
            },
        }),
    );
    get(
        "/api/games/{id}/pgn",
        json!({
            "operationId": "pgn",
            "summary": "Its score, with clock times.",
            "parameters": [game()],
            "responses": {
                "200": text("PGN", "application/x-chess-pgn"),
                "404": missing(&mut types),
                "503": away(&mut types),
            },
        }),
    );
    get(
        "/api/games/{id}/events",
        json!({
            "operationId": "events",
            "summary": "Its log: one event a line, the stored bytes; the events of the AsyncAPI document.",
            "parameters": [game()],
            "responses": {
                "200": log("The log so far."),
                "404": missing(&mut types),
                "503": away(&mut types),
            },
        }),
    );
    get(
        "/api/games/{id}/stream",
        json!({
            "operationId": "stream",
            "summary": "Its log, and then every event as it happens. An empty line is sent after 5 s of silence.",
            "parameters": [game(), {
                "name": "after",
                "in": "query",
                "description": "Only events after this number.",
                "schema": {"type": "integer", "minimum": 0},
            }],
            "responses": {
                "200": log("Ends when the node leaves: ask again with `after`."),
                "400": refusal(&mut types, "`after` is no number."),
                "404": missing(&mut types),
                "503": away(&mut types),
            },
        }),
    );
    for (path, id, what) in [
        ("/api/openapi.json", "openapi", "This document."),
        (
            "/api/asyncapi.json",
            "asyncapi",
            "The WebSocket's messages.",
        ),
    ] {
        let object = json!({"type": "object"});
        get(
            path,
            json!({"operationId": id, "summary": what, "responses": {"200": json_answer(what, &object)}}),
        );
    }
    paths.insert(
        "/api/session".to_owned(),
        json!({"post": {
            "operationId": "session",
            "summary": "A new guest and the token that is this guest everywhere; or, with a token, the same user and a fresh one.",
            "security": [{}, {"token": []}],
            "responses": {
                "200": answer::<session::Session>(&mut types, "Who you are."),
                "401": refusal(&mut types, "The token is not accepted."),
                "403": refusal(&mut types, "A page of another site asks."),
            },
        }}),
    );
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Rookery",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Games by HTTP. They are played over the WebSocket at `/ws`, which `/api/asyncapi.json` describes.",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": definitions([types]),
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    })
}

fn game() -> Value {
    json!({
        "name": "id",
        "in": "path",
        "required": true,
        "description": "The game.",
        "schema": {"type": "string", "pattern": "^[A-Za-z0-9]{1,32}$"},
    })
}

/// A snapshot without a seat.
fn position(types: &mut SchemaGenerator) -> Value {
    let mut schema = Snapshot::json_schema(types);
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.remove("color");
    }
    if let Some(required) = schema.get_mut("required").and_then(Value::as_array_mut) {
        required.retain(|name| name != "color");
    }
    json!(schema)
}

fn json_answer(description: &str, schema: &Value) -> Value {
    json!({"description": description, "content": {"application/json": {"schema": schema}}})
}

fn answer<T: JsonSchema>(types: &mut SchemaGenerator, description: &str) -> Value {
    json_answer(description, &json!(types.subschema_for::<T>()))
}

fn text(description: &str, media_type: &str) -> Value {
    json!({"description": description, "content": {media_type: {"schema": {"type": "string"}}}})
}

fn log(description: &str) -> Value {
    let mut answer = text(description, "application/x-ndjson");
    answer["headers"] = json!({"x-rookery-epoch": {
        "description": "Life of the log: with the number of an event, a position to join the room from.",
        "schema": {"type": "string"},
    }});
    answer
}

fn refusal(types: &mut SchemaGenerator, description: &str) -> Value {
    answer::<error::Body>(types, description)
}

fn missing(types: &mut SchemaGenerator) -> Value {
    refusal(types, "There is no such game.")
}

fn away(types: &mut SchemaGenerator) -> Value {
    refusal(types, "The backplane cannot be reached; ask again.")
}
