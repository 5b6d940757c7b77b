//! The admin port: is the process alive, should it get people, what does it count, how is the cluster; and what an operator
//! asks for. `/livez` and `/readyz` answer everybody; with an admin token, all else asks for it.

use super::{error::ApiError, status};
use crate::{
    metrics,
    node::Node,
    room::{RoomInput, room_of},
};
use ::metrics::gauge;
use axum::{
    Json, Router,
    extract::{Path, Request, State},
    middleware::{Next, from_fn_with_state},
    response::{IntoResponse, Response},
    routing::{delete, get, post},
};
use http::{HeaderMap, StatusCode, header};
use pubsub::Room;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use shared::{GameId, UserId, protocol::ErrorCode};
use std::{sync::Arc, time::Duration};
use subtle::ConstantTimeEq;

/// Longest time for which somebody is disconnected, in seconds: to keep a person out is for whoever signs his tokens.
const KEEP_OUT_SECONDS_MAX: u64 = 24 * 60 * 60;

/// Longest time for which somebody is muted, in seconds: a year.
const MUTE_SECONDS_MAX: u64 = 365 * 24 * 60 * 60;

/// The routes.
pub fn router(node: Arc<Node>) -> Router {
    let guarded = Router::new()
        .route("/metrics", get(read_metrics))
        .route("/status", get(status::status))
        .route("/drain", post(drain))
        .route("/users/{id}", delete(erase))
        .route("/disconnect", post(disconnect))
        .route("/mute", post(mute))
        .route("/games/{id}/abort", post(abort))
        .fallback(no_such_path)
        .layer(from_fn_with_state(node.clone(), bearer));
    Router::new()
        // No dependency: a process that answers this must not be restarted for another's fault.
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready))
        .merge(guarded)
        .with_state(node)
}

/// Lets nobody through without the admin token, if there is one. If there is none, the port is on loopback, where a page that the
/// operator's own browser shows could reach it.
async fn bearer(State(node): State<Arc<Node>>, request: Request, next: Next) -> Response {
    let Some(wanted) = &node.config.admin_token else {
        return match check_page(request.headers()) {
            Ok(()) => next.run(request).await,
            Err(refusal) => refusal.into_response(),
        };
    };
    let given = request.headers().get(header::AUTHORIZATION);
    let given = given.and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    // In a time that does not depend on how much of it is right.
    let right = given.is_some_and(|given| given.as_bytes().ct_eq(wanted.as_bytes()).into());
    if right {
        return next.run(request).await;
    }
    let words = "this needs the admin token: Authorization: Bearer …";
    let mut response = ApiError::new(ErrorCode::Unauthorized, words).into_response();
    let challenge = http::HeaderValue::from_static("Bearer");
    response
        .headers_mut()
        .insert(header::WWW_AUTHENTICATE, challenge);
    response
}

/// Refuses what a page from elsewhere asks for: another origin, or a name that its owner lets point here (DNS rebinding), which
/// makes the two look like one.
fn check_page(headers: &HeaderMap) -> Result<(), ApiError> {
    super::session::check_origin(headers, &[])?;
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok())
        .and_then(|host| host.parse::<http::uri::Authority>().ok());
    let is_here = host.is_none_or(|host| {
        let name = host.host().trim_start_matches('[').trim_end_matches(']');
        name == "localhost" || name.parse::<std::net::IpAddr>().is_ok()
    });
    if is_here {
        return Ok(());
    }
    let words = "without an admin token this port is called by its address, or as localhost";
    Err(ApiError::new(ErrorCode::Forbidden, words))
}

async fn no_such_path() -> Response {
    let body =
        json!({"error": {"code": "not_found", "message": "the admin port has no such path"}});
    (StatusCode::NOT_FOUND, Json(body)).into_response()
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
    /// In words, why it is not ready, or what is wrong although it is.
    reasons: Vec<&'static str>,
}

async fn ready(State(node): State<Arc<Node>>) -> Response {
    let health = node.backplane.health();
    let ready = node.is_ready();
    let mut reasons = Vec::new();
    if node.is_draining() {
        reasons.push("this node is leaving");
    }
    match (health.reachable, health.hears) {
        (true, true) => {}
        (true, false) => reasons.push("this node does not hear what the others publish; it repairs itself"),
        (false, _) => reasons.push("the backplane does not answer; if it is away for all nodes, none of them can do better"),
    }
    let body = Ready {
        ready,
        draining: node.is_draining(),
        reachable: health.reachable,
        hears: health.hears,
        connections: node.connections_len(),
        rooms: node.rooms.len(),
        reasons,
    };
    let status = match ready {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (status, Json(body)).into_response()
}

async fn read_metrics(State(node): State<Arc<Node>>) -> Response {
    fill_gauges(&node);
    let kind = "text/plain; version=0.0.4; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics::render()).into_response()
}

fn fill_gauges(node: &Node) {
    let yes = |is: bool| if is { 1.0 } else { 0.0 };
    let health = node.backplane.health();
    for (role, count) in metrics::ROLES.into_iter().zip(node.roles()) {
        gauge!("rookery_connections", "role" => role).set(count as f64);
    }
    let draining = node.is_draining();
    gauge!("rookery_connections_limit").set(node.config.max_connections as f64);
    gauge!("rookery_rooms").set(node.rooms.len() as f64);
    gauge!("rookery_ready").set(yes(node.is_ready()));
    gauge!("rookery_redis_reachable").set(yes(health.reachable));
    gauge!("rookery_redis_hears").set(yes(health.hears));
    gauge!("rookery_draining").set(yes(draining));
    let left = if draining { node.connections_len() } else { 0 };
    gauge!("rookery_drain_connections_left").set(left as f64);
    gauge!("rookery_start_time_seconds").set(node.started_at().0 as f64 / 1_000.0);
    gauge!("rookery_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
}

async fn drain(State(node): State<Arc<Node>>) -> Response {
    let body = json!({"draining": true, "connections": node.connections_len(), "withinSeconds": node.config.drain_seconds});
    node.tasks.clone().spawn(async move { node.drain().await });
    (StatusCode::ACCEPTED, Json(body)).into_response()
}

/// What a verb is given. Read by hand, so that whatever is wrong with it is answered as everything else is.
async fn body<T: for<'de> Deserialize<'de>>(request: Request) -> Result<T, ApiError> {
    const LEN_MAX: usize = 4_096;
    let bad = |why: String| ApiError::new(ErrorCode::BadMessage, why);
    let bytes = axum::body::to_bytes(request.into_body(), LEN_MAX).await;
    let bytes = bytes.map_err(|error| bad(error.to_string()))?;
    serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))
}

#[derive(Deserialize)]
struct Disconnect {
    user: UserId,
    /// Until then his new connections are closed too.
    #[serde(default)]
    seconds: u64,
}

/// Closes a user's connections on all nodes: here at once, elsewhere with the next beat.
async fn disconnect(
    State(node): State<Arc<Node>>,
    request: Request,
) -> Result<Json<Value>, ApiError> {
    let Disconnect { user, seconds } = body(request).await?;
    if seconds > KEEP_OUT_SECONDS_MAX {
        let words = format!(
            "seconds is at most {KEEP_OUT_SECONDS_MAX}: to keep somebody out for longer, sign him no token"
        );
        return Err(ApiError::new(ErrorCode::BadMessage, words));
    }
    let closed = node.send_away(&user, seconds).await?;
    tracing::info!(%user, seconds, closed, "disconnected by an operator");
    Ok(Json(json!({"user": user, "closedHere": closed})))
}

#[derive(Deserialize)]
struct Mute {
    user: UserId,
    /// 0 lets him speak again.
    seconds: u64,
}

/// Takes the word from a user in all rooms, on all nodes.
async fn mute(State(node): State<Arc<Node>>, request: Request) -> Result<Json<Value>, ApiError> {
    let Mute { user, seconds } = body(request).await?;
    if seconds > MUTE_SECONDS_MAX {
        let words = format!("seconds is at most {MUTE_SECONDS_MAX}");
        return Err(ApiError::new(ErrorCode::BadMessage, words));
    }
    match seconds {
        0 => node.unmute(&user).await?,
        _ => node.mute(&user, Duration::from_secs(seconds)).await?,
    }
    tracing::info!(%user, seconds, "muted by an operator");
    Ok(Json(json!({"user": user, "seconds": seconds})))
}

/// Ends a running game, without a winner.
async fn abort(
    State(node): State<Arc<Node>>,
    Path(id): Path<String>,
) -> Result<Response, ApiError> {
    let game = GameId::parse(&id).map_err(|_| ApiError::not_found())?;
    if node.backplane.end(&room_of(&game)).await?.is_none() {
        return Err(ApiError::not_found());
    }
    tracing::info!(%game, "aborted by an operator");
    node.rooms.tell(&node, game.clone(), RoomInput::Abort);
    // The room does it as soon as the backplane lets it; a game that is over stays as it ended.
    Ok((StatusCode::ACCEPTED, Json(json!({"gameId": game}))).into_response())
}

#[derive(Serialize)]
struct Erased {
    games: usize,
}

/// Erases a user's id and name from the archive. His finished games leave the backplane at once, where nobody is in them; a
/// running game keeps its names until it is over, and then the request may be repeated.
async fn erase(
    State(node): State<Arc<Node>>,
    Path(user): Path<String>,
) -> Result<Json<Erased>, ApiError> {
    let unavailable = |why: String| ApiError::new(ErrorCode::Unavailable, why);
    let archive = node
        .archive
        .get()
        .ok_or_else(|| unavailable("this server keeps no archive of games".to_owned()))?;
    let games = archive
        .store
        .erase(&user)
        .await
        .map_err(|error| unavailable(error.to_string()))?;
    for (game, epoch, end, is_over) in &games {
        if let (true, Ok(room), Ok(epoch)) = (*is_over, Room::parse(game), epoch.parse()) {
            node.backplane.forget(&room, &epoch, *end).await?;
        }
    }
    tracing::info!(games = games.len(), "a user was erased from the archive");
    Ok(Json(Erased { games: games.len() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn pages_from_elsewhere_are_refused() {
        let check = |host: &'static str, origin: Option<&'static str>| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            check_page(&headers).is_ok()
        };
        assert!(check("127.0.0.1:9090", None));
        assert!(check("[::1]:9090", None));
        assert!(check("localhost:9090", Some("http://localhost:9090")));
        assert!(!check("127.0.0.1:9090", Some("https://evil.example")));
        assert!(!check("127.0.0.1:9090", Some("null")));
        assert!(!check(
            "evil.example:9090",
            Some("http://evil.example:9090")
        ));
        assert!(!check("evil.example:9090", None));
    }
}
