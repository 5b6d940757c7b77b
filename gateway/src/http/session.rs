//! The doors: `/ws`, where a browser becomes a connection, and `POST /api/session`, where a program gets a guest.

use super::error::ApiError;
use crate::{
    connection::{Connection, OUTBOX_LEN_MAX},
    fanout::Engine,
    identity::Known,
    node::Node,
    websocket::{CloseCode, Handler, Limits, Next, Outbox, Socket, Upgrade},
};
use axum::{
    Json, Router,
    extract::{Query, State},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use http::{HeaderMap, Uri, header};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use shared::{game::Player, protocol::ErrorCode};
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// How long `welcome` waits for the list of the user's running games.
const RUNNING_PATIENCE: Duration = Duration::from_millis(500);

/// What the doors need.
#[derive(Debug, Clone)]
pub struct Door {
    /// The node behind.
    pub node: Arc<Node>,
    /// Limits of every socket.
    pub limits: Arc<Limits>,
    /// What runs the sockets.
    pub engine: Arc<Engine>,
}

/// The routes.
pub fn router() -> Router<Door> {
    Router::new()
        .route("/ws", get(socket))
        .route("/api/session", post(session))
}

#[derive(Debug, Deserialize)]
struct TokenQuery {
    token: Option<String>,
}

async fn socket(
    State(door): State<Door>,
    Query(query): Query<TokenQuery>,
    headers: HeaderMap,
    upgrade: Upgrade,
) -> Result<Response, ApiError> {
    check_origin(&headers, &door.node.config.allowed_origins)?;
    // After `rookery` in the subprotocols comes the token; browsers can send no header of their own with a WebSocket.
    let offered = upgrade.offered();
    let after = offered
        .iter()
        .position(|name| name == crate::websocket::handshake::SUBPROTOCOL);
    let token = after
        .and_then(|place| offered.get(place + 1).cloned())
        .or(query.token)
        .filter(|token| !token.is_empty());
    let known = door.node.tokens.know(token.as_deref()).await;
    let is_new = token.is_none();
    let (response, upgrading) = upgrade.accept();
    door.node.tasks.clone().spawn(async move {
        let Ok(socket) = upgrading.socket().await else {
            return;
        };
        match known {
            Ok(known) => connected(door, known, is_new, socket).await,
            Err(bad) => {
                // Browsers cannot read an HTTP error of a WebSocket, but they can read a close code.
                let outbox = Arc::new(Outbox::new(OUTBOX_LEN_MAX));
                outbox.close(CloseCode::BadToken, bad.to_string());
                let admission = door.engine.admission().await;
                let tasks = &door.node.tasks;
                door.engine
                    .adopt(admission, socket, Refused, outbox, door.limits, tasks);
            }
        }
    });
    Ok(response)
}

async fn connected(door: Door, known: Known, is_new: bool, socket: Socket) {
    let node = door.node;
    // Who was nobody a moment ago plays nowhere: most of a crowd, and so a call less for each. While the backplane is away the list
    // is not known, and nobody is kept waiting for it: a client that comes back joins the rooms it knows of.
    let running = if is_new {
        Vec::new()
    } else {
        let asked = tokio::time::timeout(RUNNING_PATIENCE, node.running(&known.user.id)).await;
        asked.map_or_else(|_| Vec::new(), Result::unwrap_or_default)
    };
    let admission = door.engine.admission().await;
    let token = node.tokens.renew(&known);
    let (connection, conn) = Connection::open(node.clone(), known.user, token, running);
    if node.is_draining() {
        conn.outbox
            .close(CloseCode::Restart, "this node is leaving");
    }
    let outbox = conn.outbox.clone();
    door.engine.adopt(
        admission,
        socket,
        connection,
        outbox,
        door.limits,
        &node.tasks,
    );
}

/// The handler of a connection that was refused: nothing it says matters.
struct Refused;

impl Handler for Refused {
    fn on_text(&mut self, _text: &str, _at: Instant) -> Next {
        Next::Read
    }

    fn on_too_large(&mut self, _at: Instant) -> Next {
        Next::Read
    }
}

/// Who a program is.
#[derive(Serialize, JsonSchema)]
pub(super) struct Session {
    /// The user.
    user: Player,
    /// Token that is this user, on every node.
    token: String,
}

async fn session(State(door): State<Door>, headers: HeaderMap) -> Result<Response, ApiError> {
    check_origin(&headers, &door.node.config.allowed_origins)?;
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    let tokens = &door.node.tokens;
    let known = tokens.know(bearer).await;
    let known = known.map_err(|bad| ApiError::new(ErrorCode::Unauthorized, bad.to_string()))?;
    let token = tokens.renew(&known);
    let user = known.user;
    Ok((
        [(header::CACHE_CONTROL, "no-store")],
        Json(Session { user, token }),
    )
        .into_response())
}

/// A page of another site must not open a WebSocket in its visitor's name. Browsers always say where a page is from;
/// programs that are no browsers say nothing, and are let in.
pub(super) fn check_origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), ApiError> {
    let Some(origin) = headers.get(header::ORIGIN) else {
        return Ok(());
    };
    let origin = origin.to_str().unwrap_or_default();
    let host = headers
        .get(header::HOST)
        .and_then(|host| host.to_str().ok());
    let same = origin
        .parse::<Uri>()
        .ok()
        .is_some_and(|uri| uri.authority().map(|a| a.as_str()) == host && host.is_some());
    if same
        || allowed
            .iter()
            .any(|allowed| allowed.trim_end_matches('/') == origin)
    {
        return Ok(());
    }
    let message = format!(
        "pages of {origin:?} may not connect here; the operator can allow them by --allowed-origin"
    );
    Err(ApiError::new(ErrorCode::Forbidden, message))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn only_pages_of_this_host_and_of_those_allowed_may_connect() {
        let allowed = ["https://friends.example".to_owned()];
        let check = |origin: Option<&'static str>, host: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            check_origin(&headers, &allowed).is_ok()
        };
        assert!(check(None, "chess.example"));
        assert!(check(Some("https://chess.example"), "chess.example"));
        assert!(check(Some("http://127.0.0.1:8080"), "127.0.0.1:8080"));
        assert!(check(Some("https://friends.example"), "chess.example"));
        assert!(!check(Some("https://evil.example"), "chess.example"));
        assert!(!check(
            Some("https://chess.example.evil.example"),
            "chess.example"
        ));
        assert!(!check(Some("http://chess.example:81"), "chess.example"));
        assert!(!check(Some("null"), "chess.example"));
    }
}
