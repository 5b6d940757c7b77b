//! A running game that is not private is listed while it is open here.

use super::task::{State, Task};
use shared::{Color, protocol::http::LiveGame};

impl Task {
    /// Brings the directory up to date.
    pub(super) fn list(&self) {
        let State::Live(live) = &self.state else {
            return;
        };
        let game = &live.game;
        if game.is_unlisted() {
            return;
        }
        if game.over().is_some() || self.members.is_empty() {
            return self.node.directory.unlist(&self.game);
        }
        self.node.directory.list(LiveGame {
            game_id: self.game.clone(),
            white_player: game.player(Color::White).clone(),
            black_player: game.player(Color::Black).clone(),
            time_control: game.time_control(),
            started_at: game.started_at(),
            viewers: self.attending.viewers(),
            ply: game.plies(),
            fen: game.fen(),
            last_move: game.moves().last().map(|played| played.uci.to_string()),
        });
    }
}
