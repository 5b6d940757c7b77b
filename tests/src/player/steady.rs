//! A client as a good one is written: when its connection ends, or the servers cannot be reached, it comes back, resumes where it
//! was, and asks again for what it has no answer to.

use super::Player;
use crate::cluster::{Doors, PATIENCE};
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// Pause before another try: short, so that tests are.
const PAUSE: Duration = Duration::from_millis(50);

impl Player {
    /// Makes that move as that ply, whatever happens to nodes meanwhile; answers when it is acknowledged. Says how long
    /// that took.
    pub async fn insists(&mut self, doors: &Doors, mv: &str, ply: u64) -> Duration {
        let begun = Instant::now();
        loop {
            assert!(
                begun.elapsed() < 2 * PATIENCE,
                "{}: {mv} at {ply}",
                self.name
            );
            self.keeps_connected(doors).await;
            let request = json!({"gameId": self.game, "move": mv, "ply": ply});
            let Some(answer) = self.try_ask("move", request).await else {
                continue;
            };
            match answer["type"].as_str() {
                Some("ack") => {
                    self.witness
                        .promised(&self.name, &answer["payload"], &json!(mv));
                    return begun.elapsed();
                }
                _ if answer["payload"]["retryable"] == true => tokio::time::sleep(PAUSE).await,
                _ => panic!("{}: {mv} at {ply}: {answer}", self.name),
            }
        }
    }

    /// Waits until that ply stands on his board, whatever happens to nodes meanwhile.
    pub async fn awaits_ply(&mut self, doors: &Doors, ply: usize) {
        let end = Instant::now() + 2 * PATIENCE;
        loop {
            assert!(Instant::now() < end, "{} waits for ply {ply}", self.name);
            self.keeps_connected(doors).await;
            let (inbox, views) = (self.wire.inbox.clone(), self.views.clone());
            let (game, witness) = (self.game.clone(), self.witness.clone());
            let stands = inbox.until(|| {
                let views = super::lock(&views);
                let here = views
                    .room(&game)
                    .is_some_and(|view| view.board.plies() >= ply);
                (here || inbox.closed().is_some() || !witness.is_clean()).then_some(here)
            });
            if stands.await == Some(true) {
                return;
            }
            self.witness.assert_clean();
        }
    }

    /// Comes back to his room by some open door, if he has no connection.
    pub async fn keeps_connected(&mut self, doors: &Doors) {
        let end = Instant::now() + 2 * PATIENCE;
        while self.closed().is_some() {
            assert!(Instant::now() < end, "{} finds no door", self.name);
            if !(self.comes_back(doors).await && self.try_rejoin().await) {
                self.wire.give_up();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Comes back by some open door, if he has no connection, into no room.
    pub async fn keeps_a_connection(&mut self, doors: &Doors) {
        let end = Instant::now() + 2 * PATIENCE;
        while self.closed().is_some() {
            assert!(Instant::now() < end, "{} finds no door", self.name);
            if !self.comes_back(doors).await {
                self.wire.give_up();
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Tries one of the open doors.
    async fn comes_back(&mut self, doors: &Doors) -> bool {
        let open = doors.open();
        let place = rand::random_range(0..open.len().max(1));
        match open.get(place) {
            Some(door) => self.try_reconnect(*door).await.is_ok(),
            None => false,
        }
    }

    /// True if the node let him into his room, with or without a snapshot.
    async fn try_rejoin(&mut self) -> bool {
        let view = self.view();
        let join = json!({"gameId": self.game, "seq": view.seq, "epoch": view.epoch});
        let answer = self.try_ask("join_room", join).await;
        answer.is_some_and(|answer| answer["type"] == "resumed" || answer["type"] == "game_joined")
    }

    /// The answer, unless the connection ends before it comes.
    pub async fn try_ask(&mut self, kind: &str, payload: Value) -> Option<Value> {
        let id = self.sends(kind, payload).await;
        let inbox = self.wire.inbox.clone();
        let answer = inbox
            .until(|| match inbox.take(|message| message["id"] == id) {
                Some(answer) => Some(Some(answer)),
                None => inbox.closed().map(|_| None),
            })
            .await;
        answer.unwrap_or_else(|| panic!("{}: no answer to {kind} in time", self.name))
    }
}
