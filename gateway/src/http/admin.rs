//! The admin port: is the process alive, should it get people, and please leave.

use crate::node::Node;
use axum::{
    Json, Router,
    extract::State,
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::StatusCode;
use serde::Serialize;
use std::sync::Arc;

/// The routes.
pub fn router(node: Arc<Node>) -> Router {
    Router::new()
        // No dependency: a process that answers this must not be restarted for another's fault.
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .route("/drain", post(drain))
        .with_state(node)
}

#[derive(Serialize)]
struct Ready {
    ready: bool,
    draining: bool,
    /// The backplane answers.
    reachable: bool,
    /// What this node publishes to itself comes back.
    hears: bool,
    connections: usize,
    rooms: usize,
}

async fn ready(State(node): State<Arc<Node>>) -> Response {
    let health = node.backplane.health();
    let ready = node.is_ready();
    let body = Ready {
        ready,
        draining: node.is_draining(),
        reachable: health.reachable,
        hears: health.hears,
        connections: node.connections_len(),
        rooms: node.rooms.len(),
    };
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(body)).into_response()
}

async fn drain(State(node): State<Arc<Node>>) -> StatusCode {
    node.tasks.clone().spawn(async move { node.drain().await });
    StatusCode::ACCEPTED
}
