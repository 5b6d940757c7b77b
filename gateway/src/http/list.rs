//! `GET /api/games`: games of the archive, by player, time and result, a page at a time.

use super::error::ApiError;
use crate::node::Node;
use archive::{Filter, GameRow};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    response::{IntoResponse, Response},
};
use http::{HeaderMap, header};
use serde::Deserialize;
use shared::{
    Color, GameId, Timestamp, UserId,
    game::{GameResult, Player, TimeControl},
    protocol::{
        ErrorCode,
        http::{GameList, ListedGame},
    },
};
use std::sync::Arc;

/// Games of a page when nothing is said.
const LIMIT: u32 = 50;

/// Games of a page at most.
const LIMIT_MAX: u32 = 200;

/// What may be asked.
#[derive(Debug, Deserialize)]
pub struct Asked {
    player: Option<String>,
    before: Option<String>,
    since: Option<i64>,
    result: Option<String>,
    limit: Option<u32>,
}

/// The handler.
pub async fn list(
    State(node): State<Arc<Node>>,
    headers: HeaderMap,
    query: Result<Query<Asked>, QueryRejection>,
) -> Result<Response, ApiError> {
    let bad = |why: String| ApiError::new(ErrorCode::BadMessage, why);
    let Query(asked) = query.map_err(|rejection| bad(rejection.body_text()))?;
    let limit = asked.limit.unwrap_or(LIMIT).clamp(1, LIMIT_MAX);
    let before = match &asked.before {
        None => None,
        Some(text) => Some(cursor(text).ok_or_else(|| {
            bad("`before` is the `next` of another page, or milliseconds since 1970".into())
        })?),
    };
    if let Some(result) = &asked.result
        && GameResult::from_text(result).is_none()
    {
        return Err(bad("`result` is 1-0, 0-1, 1/2-1/2 or *".into()));
    }
    let archive = node.archive.get().ok_or_else(|| {
        ApiError::new(
            ErrorCode::Unavailable,
            "this server keeps no archive of games",
        )
    })?;
    let filter = Filter {
        // Whoever shows that a player is he sees his private games too.
        unlisted: asked.player.is_some() && asker(&node, &headers).await == asked.player,
        player: asked.player,
        before,
        since: asked.since,
        result: asked.result,
        running: false,
        limit: i64::from(limit) + 1,
    };
    let mut rows = archive.store.games(&filter).await.map_err(|error| {
        tracing::warn!(%error, "games cannot be listed");
        ApiError::new(
            ErrorCode::Unavailable,
            "the archive cannot be reached just now",
        )
    })?;
    let is_more = rows.len() > limit as usize;
    rows.truncate(limit as usize);
    let next = rows
        .last()
        .filter(|_| is_more)
        .map(|row| format!("{}:{}", row.started_at, row.id));
    let games = rows.into_iter().filter_map(listed).collect();
    Ok((
        [(header::CACHE_CONTROL, "no-store")],
        Json(GameList { games, next }),
    )
        .into_response())
}

/// Where a page begins: a moment, or a moment and a game.
fn cursor(text: &str) -> Option<(i64, String)> {
    let (at, id) = text.split_once(':').unwrap_or((text, ""));
    if !id.is_empty() {
        GameId::parse(id).ok()?;
    }
    Some((at.parse().ok()?, id.to_owned()))
}

async fn asker(node: &Node, headers: &HeaderMap) -> Option<String> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let token = value.strip_prefix("Bearer ")?;
    let known = node.tokens.verify(token).await.ok()?;
    Some(known.user.id.to_string())
}

fn listed(row: GameRow) -> Option<ListedGame> {
    let player = |id: &str, name: String, is_guest| {
        Some(Player {
            id: UserId::parse(id).ok()?,
            name,
            is_guest,
        })
    };
    let word = |text: String| serde_json::Value::String(text);
    Some(ListedGame {
        game_id: GameId::parse(&row.id).ok()?,
        white_player: player(&row.white_id, row.white_name, row.white_guest)?,
        black_player: player(&row.black_id, row.black_name, row.black_guest)?,
        time_control: row.initial_ms.map(|initial_ms| TimeControl {
            initial_ms,
            increment_ms: row.increment_ms.unwrap_or(0),
        }),
        started_at: Timestamp(row.started_at),
        ended_at: Timestamp(row.ended_at?),
        result: GameResult::from_text(&row.result?)?,
        winner: match row.winner.as_deref() {
            Some("white") => Some(Color::White),
            Some("black") => Some(Color::Black),
            _ => None,
        },
        reason: serde_json::from_value(word(row.reason?)).ok()?,
        plies: u32::try_from(row.plies).ok()?,
        fen: row.fen,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_begins_where_another_ended_or_at_a_moment() {
        assert_eq!(cursor("17:Ab3"), Some((17, "Ab3".to_owned())));
        assert_eq!(cursor("17"), Some((17, String::new())));
        for nonsense in ["", "x", "17:a b", ":Ab3"] {
            assert_eq!(cursor(nonsense), None, "{nonsense:?}");
        }
    }
}
