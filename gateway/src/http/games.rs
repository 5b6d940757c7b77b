//! Games by HTTP, read from their logs: the position as JSON, the score as PGN, the events as they are stored, and live.

use super::error::ApiError;
use crate::{
    node::Node,
    recovery::{self, Found},
    room::{Live, presence_of, room_of},
};
use axum::{
    Json, Router,
    body::Body,
    extract::{FromRequestParts, Path, Query, State, rejection::QueryRejection},
    response::{IntoResponse, Response},
    routing::get,
};
use bytes::{BufMut, Bytes, BytesMut};
use futures::stream;
use http::{HeaderName, HeaderValue, header, request::Parts};
use pubsub::feed::{Feed, FeedItem};
use serde::Deserialize;
use shared::{
    GameId, Seq,
    notation::pgn::Tags,
    protocol::{ErrorCode, http::LiveGames},
};
use std::{convert::Infallible, sync::Arc, time::Duration};

/// An empty line is sent in a stream after so much silence, so that proxies and clients know it lives.
const KEEP_ALIVE: Duration = Duration::from_secs(5);

/// No node has this name, so reading who is in a room takes no node's report away.
const READER: &str = "-";

const NDJSON: &str = "application/x-ndjson";

/// The routes.
pub fn router() -> Router<Arc<Node>> {
    Router::new()
        .route("/api/live", get(running))
        .route("/api/games", get(super::list::list))
        .route("/api/games/{id}", get(game))
        .route("/api/games/{id}/pgn", get(pgn))
        .route("/api/games/{id}/events", get(events))
        .route("/api/games/{id}/stream", get(live))
}

/// The id in a path. A text that can be no id is no game's.
struct Id(String);

impl<S: Send + Sync> FromRequestParts<S> for Id {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Id, ApiError> {
        let id = Path::<String>::from_request_parts(parts, state).await;
        id.map(|Path(id)| Id(id)).map_err(|_| ApiError::not_found())
    }
}

/// The log as it is played on, or else as it is archived. A running game that nobody but the archive knows is brought back.
async fn log_of(node: &Node, id: &str) -> Result<pubsub::Log, ApiError> {
    let game = GameId::parse(id).map_err(|_| ApiError::not_found())?;
    if let Some(log) = node.backplane.read(&room_of(&game), 0).await? {
        return Ok(log);
    }
    if node.settling().is_some() {
        // It may only not have been restored yet.
        return Err(pubsub::Unavailable("what was lost is being restored".into()).into());
    }
    match recovery::look(node, &game).await? {
        None => Err(ApiError::not_found()),
        Some(Found::Running(log)) => Ok(log),
        Some(Found::Finished(stored)) => Ok(pubsub::Log {
            epoch: stored.epoch,
            first: 0,
            events: stored.events,
        }),
    }
}

async fn fold_of(node: &Node, id: &str) -> Result<Live, ApiError> {
    let log = log_of(node, id).await?;
    Live::fold(log.epoch, &log.events).map_err(|misfit| {
        tracing::error!(game = id, %misfit, "the log is not a game's");
        ApiError::not_found()
    })
}

async fn game(State(node): State<Arc<Node>>, Id(id): Id) -> Result<Response, ApiError> {
    let live = fold_of(&node, &id).await?;
    // A report of nobody changes nothing, and its answer says who is there on all nodes.
    let room = room_of(live.game.id());
    let attendance = node
        .backplane
        .attend(&room, READER, &[0; 3], KEEP_ALIVE)
        .await?;
    let snapshot = live.snapshot(None, presence_of(&attendance));
    let mut value = serde_json::to_value(snapshot).unwrap_or_default();
    if let Some(fields) = value.as_object_mut() {
        // There is no seat to speak of.
        fields.remove("color");
    }
    Ok(([(header::CACHE_CONTROL, "no-store")], Json(value)).into_response())
}

async fn running(State(node): State<Arc<Node>>) -> Result<Response, ApiError> {
    let games = node.directory.most_watched(&node).await?.to_vec();
    Ok((
        [(header::CACHE_CONTROL, "no-store")],
        Json(LiveGames { games }),
    )
        .into_response())
}

async fn pgn(State(node): State<Arc<Node>>, Id(id): Id) -> Result<Response, ApiError> {
    let live = fold_of(&node, &id).await?;
    let text = shared::notation::pgn::write(&live.game.pgn(&Tags::default()));
    let disposition =
        HeaderValue::from_str(&format!("inline; filename=\"{}.pgn\"", live.game.id()))
            .unwrap_or(HeaderValue::from_static("inline"));
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/x-chess-pgn; charset=utf-8"),
        ),
        (header::CONTENT_DISPOSITION, disposition),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    Ok((headers, text).into_response())
}

async fn events(State(node): State<Arc<Node>>, Id(id): Id) -> Result<Response, ApiError> {
    let log = log_of(&node, &id).await?;
    Ok(ndjson(Body::from(lines(&log.events)), &log.epoch))
}

#[derive(Debug, Deserialize)]
struct After {
    after: Option<Seq>,
}

async fn live(
    State(node): State<Arc<Node>>,
    Id(id): Id,
    query: Result<Query<After>, QueryRejection>,
) -> Result<Response, ApiError> {
    let Query(After { after }) = query.map_err(|rejection| {
        ApiError::new(
            ErrorCode::BadMessage,
            format!(
                "`after` is the number of an event: {}",
                rejection.body_text()
            ),
        )
    })?;
    let log = log_of(&node, &id).await?;
    let game = GameId::parse(&id).map_err(|_| ApiError::not_found())?;
    if node.backplane.end(&room_of(&game)).await?.is_none() {
        // It is archived and forgotten: there is nothing to wait for.
        let first = after.map_or(0, |seq| seq.saturating_add(1));
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        let rest = log.events.get(first..).unwrap_or_default();
        return Ok(ndjson(Body::from(lines(rest)), &log.epoch));
    }
    let feed = Feed::new(node.backplane.clone(), room_of(&game));
    let following = Following {
        node,
        feed,
        epoch: log.epoch.clone(),
        next: after.map_or(0, |seq| seq.saturating_add(1)),
    };
    let body = stream::unfold(following, |mut following| async move {
        let lines = following.next_lines().await?;
        Some((Ok::<Bytes, Infallible>(lines), following))
    });
    Ok(ndjson(Body::from_stream(body), &log.epoch))
}

struct Following {
    node: Arc<Node>,
    feed: Feed,
    epoch: pubsub::Epoch,
    next: Seq,
}

impl Following {
    /// The next lines, or an empty one; `None` when the stream ends: the node leaves, or the log's life is another, and the
    /// reader must begin anew.
    async fn next_lines(&mut self) -> Option<Bytes> {
        loop {
            let item = tokio::select! {
                () = self.node.leaving.cancelled() => return None,
                item = tokio::time::timeout(KEEP_ALIVE, self.feed.next()) => item,
            };
            let (first, events) = match item {
                Err(_) => return Some(Bytes::from_static(b"\n")),
                Ok(FeedItem::Reset { epoch, events }) if epoch == self.epoch => (0, events),
                Ok(FeedItem::Events { first, events }) => (first, events),
                Ok(FeedItem::Reset { .. } | FeedItem::Missing) => return None,
                Ok(_) => continue,
            };
            let end = first + events.len() as Seq;
            let skip = usize::try_from(self.next.saturating_sub(first)).unwrap_or(usize::MAX);
            if let Some(new) = events.get(skip..).filter(|new| !new.is_empty()) {
                self.next = end;
                return Some(lines(new));
            }
        }
    }
}

fn lines(events: &[Bytes]) -> Bytes {
    let mut body = BytesMut::with_capacity(events.iter().map(|event| event.len() + 1).sum());
    for event in events {
        body.put_slice(event);
        body.put_u8(b'\n');
    }
    body.freeze()
}

fn ndjson(body: Body, epoch: &pubsub::Epoch) -> Response {
    let epoch =
        HeaderValue::from_str(epoch.as_str()).unwrap_or(HeaderValue::from_static("unknown"));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(NDJSON)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (HeaderName::from_static("x-rookery-epoch"), epoch),
    ];
    (headers, body).into_response()
}
