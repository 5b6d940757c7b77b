//! What a client's program knows of a game: enough to choose the next request. Learned from frames, as a page would.

use serde_json::Value;
use shared::{Color, rules::Position};

/// One game as its client sees it.
#[derive(Debug, Clone)]
pub struct View {
    pub epoch: String,
    pub seq: u64,
    pub color: Option<Color>,
    pub fen: String,
    pub ply: u64,
    pub over: bool,
    /// Open offers of a draw, a takeback, a rematch: whose, and which event if that was seen.
    pub offers: [Option<(Color, Option<u64>)>; 3],
    pub rematch: Option<String>,
    /// On this connection.
    pub joined: bool,
    /// The user's last move, to take it back on the board: shuffled pieces bring repetitions.
    pub last: Option<String>,
}

fn color(value: &Value) -> Option<Color> {
    match value.as_str()? {
        "white" => Some(Color::White),
        _ => Some(Color::Black),
    }
}

impl View {
    /// From a snapshot.
    pub fn of(snapshot: &Value, last: Option<String>) -> View {
        let text = |key: &str| snapshot[key].as_str().unwrap_or_default().to_owned();
        View {
            epoch: text("epoch"),
            seq: snapshot["seq"].as_u64().unwrap_or_default(),
            color: color(&snapshot["color"]),
            fen: text("fen"),
            ply: snapshot["moves"].as_array().map_or(0, Vec::len) as u64,
            over: snapshot["status"] == "finished",
            offers: ["drawOffer", "takebackOffer", "rematchOffer"]
                .map(|key| Some((color(&snapshot[key])?, None))),
            rematch: snapshot["rematchGameId"].as_str().map(str::to_owned),
            joined: true,
            last,
        }
    }

    /// An event came.
    pub fn event(&mut self, event: &Value) {
        let payload = &event["payload"];
        self.seq = event["seq"].as_u64().unwrap_or_default();
        let by = color(&payload["by"]).map(|by| (by, Some(self.seq)));
        match event["type"].as_str().unwrap_or_default() {
            "move" | "takeback" => {
                self.fen = payload["fen"].as_str().unwrap_or_default().to_owned();
                self.ply = payload["ply"].as_u64().unwrap_or_default();
                self.offers = [None; 3];
            }
            "draw_offered" => self.offers[0] = by,
            "draw_declined" => self.offers[0] = None,
            "takeback_offered" => self.offers[1] = by,
            "takeback_declined" => self.offers[1] = None,
            "rematch_offered" => self.offers[2] = by,
            "rematch_declined" => self.offers[2] = None,
            "rematch" => {
                self.offers[2] = None;
                self.rematch = payload["newGameId"].as_str().map(str::to_owned);
            }
            "game_over" => {
                self.over = true;
                self.offers = [None; 3];
            }
            _ => {}
        }
    }

    /// The board.
    pub fn position(&self) -> Option<Position> {
        Position::from_fen(&self.fen).ok()
    }

    /// Whether the user is to move.
    pub fn is_my_turn(&self) -> bool {
        let white = self.ply.is_multiple_of(2);
        !self.over && self.color == Some(if white { Color::White } else { Color::Black })
    }
}
