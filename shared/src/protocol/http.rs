//! What the HTTP interface answers with, where that is no message of the WebSocket.

use crate::{
    Color, GameId, Ply, Timestamp,
    game::{GameResult, Player, Reason, TimeControl},
};
use serde::{Deserialize, Serialize};

/// Answer of `GET /api/live`: games that run and are connected to, the most watched first. Private games are not listed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct LiveGames {
    /// At most 50.
    pub games: Vec<LiveGame>,
}

/// A game that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(ts_rs::TS))]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "camelCase")]
pub struct LiveGame {
    /// The game.
    pub game_id: GameId,
    /// Who has White.
    pub white_player: Player,
    /// Who has Black.
    pub black_player: Player,
    /// Clocks; null for untimed.
    pub time_control: Option<TimeControl>,
    /// When it began.
    pub started_at: Timestamp,
    /// Spectators' connections on all nodes.
    pub viewers: u64,
    /// Half moves made.
    pub ply: Ply,
    /// Position on the board, a few seconds old at most.
    pub fen: String,
    /// The last move, `e2e4`; null before the first.
    pub last_move: Option<String>,
}

/// Answer of `GET /api/games`: finished games, the newest first. Private games are listed to their players only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(test, derive(ts_rs::TS))]
pub struct GameList {
    /// The games of this page.
    pub games: Vec<ListedGame>,
    /// The `before` of the next page; null if this is the last.
    pub next: Option<String>,
}

/// A finished game of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[cfg_attr(test, derive(ts_rs::TS))]
#[serde(rename_all = "camelCase")]
pub struct ListedGame {
    /// The game.
    pub game_id: GameId,
    /// Who had White.
    pub white_player: Player,
    /// Who had Black.
    pub black_player: Player,
    /// Clocks; null for untimed.
    pub time_control: Option<TimeControl>,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Timestamp,
    /// As PGN spells it.
    pub result: GameResult,
    /// Who won; null for a draw or no result.
    pub winner: Option<Color>,
    /// Why it ended.
    pub reason: Reason,
    /// Half moves on the board at the end.
    pub plies: Ply,
    /// Position at the end.
    pub fen: String,
}
