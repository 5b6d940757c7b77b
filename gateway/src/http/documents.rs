//! What there is to say to this server, for programs that read such things: an OpenAPI document of the HTTP interface and an
//! AsyncAPI document of the WebSocket, made of the very types that are decoded and encoded.

mod asyncapi;
mod openapi;

use axum::{
    Router,
    response::{IntoResponse, Response},
    routing::get,
};
use http::header;
use schemars::{SchemaGenerator, generate::SchemaSettings};
use serde_json::{Map, Value};
use std::sync::LazyLock;

/// Where both documents keep the schemas of their types.
const SCHEMAS: &str = "/components/schemas";

static OPENAPI: LazyLock<String> = LazyLock::new(|| openapi::document().to_string());
static ASYNCAPI: LazyLock<String> = LazyLock::new(|| asyncapi::document().to_string());

/// The routes.
pub fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/api/openapi.json", get(|| async { json(&OPENAPI) }))
        .route("/api/asyncapi.json", get(|| async { json(&ASYNCAPI) }))
}

fn json(document: &'static str) -> Response {
    let headers = [
        (header::CONTENT_TYPE, "application/json"),
        (header::CACHE_CONTROL, "no-cache"),
    ];
    (headers, document).into_response()
}

/// Describes what is written: what may be null is there all the same.
fn written(settings: SchemaSettings) -> SchemaGenerator {
    under_components(settings.for_serialize())
}

/// Describes what is read: what has a default may be left out.
fn read(settings: SchemaSettings) -> SchemaGenerator {
    under_components(settings.for_deserialize())
}

fn under_components(mut settings: SchemaSettings) -> SchemaGenerator {
    settings.definitions_path = SCHEMAS.into();
    settings.meta_schema = None;
    settings.into_generator()
}

/// All types that were referred to, by name.
fn definitions(generators: impl IntoIterator<Item = SchemaGenerator>) -> Map<String, Value> {
    let mut all = Map::new();
    for mut generator in generators {
        for (name, schema) in generator.take_definitions(true) {
            let other = all.insert(name, schema.clone());
            debug_assert!(
                other.is_none_or(|other| other == schema),
                "one name, two shapes: {schema}"
            );
        }
    }
    all
}
