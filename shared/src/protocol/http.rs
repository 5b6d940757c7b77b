//! What the HTTP interface answers with, where that is no message of the WebSocket.

use crate::{
    GameId, Ply, Timestamp,
    game::{Player, TimeControl},
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
