//! What players do, in the words of the game.

use super::Player;
use serde_json::{Value, json};

/// Three minutes and two seconds a move, as JSON.
pub const BLITZ: &str = r#"{"initialMs":180000,"incrementMs":2000}"#;
/// One second, as JSON: the shortest there is.
pub const BULLET: &str = r#"{"initialMs":1000,"incrementMs":0}"#;
/// Ten minutes, as JSON.
pub const TEN_MINUTES: &str = r#"{"initialMs":600000,"incrementMs":0}"#;
/// No clock, as JSON.
pub const UNTIMED: &str = "null";

fn control(text: &str) -> Value {
    serde_json::from_str(text).expect("one of the constants")
}

impl Player {
    /// Seeks an opponent; answers when he waits for one.
    pub async fn seeks(&mut self, time_control: &str) {
        let seek = json!({"timeControl": control(time_control), "name": self.name});
        let answer = self.asks("init_game", seek).await;
        assert_eq!(answer["type"], "waiting", "{}: {answer}", self.name);
        assert_eq!(answer["payload"]["timeControl"], control(time_control));
    }

    /// Waits until a game of his starts; answers his colour.
    pub async fn starts(&mut self) -> String {
        let start = self.hears("init_game").await;
        self.takes_seat(&start)
    }

    fn takes_seat(&mut self, start: &Value) -> String {
        let payload = &start["payload"];
        let color = payload["color"].as_str();
        let color = color.unwrap_or_else(|| panic!("{}: no seat in {start}", self.name));
        let seat = &payload[format!("{color}Player")];
        assert_eq!(seat["id"], self.id.as_str(), "the seat is his: {start}");
        self.game = payload["gameId"].as_str().expect("an id").to_owned();
        color.to_owned()
    }

    /// Makes an invitation; answers its game.
    pub async fn invites(&mut self, time_control: &str, color: &str) -> String {
        let create =
            json!({"timeControl": control(time_control), "color": color, "name": self.name});
        let answer = self.asks("create_game", create).await;
        assert_eq!(answer["type"], "game_added", "{}: {answer}", self.name);
        let game = answer["payload"]["gameId"].as_str().expect("an id");
        assert_eq!(answer["gameId"], game, "at top level too");
        assert_eq!(answer["payload"]["inviteUrl"], format!("/game/{game}"));
        self.game = game.to_owned();
        game.to_owned()
    }

    /// Takes the free seat of an invitation; answers his colour.
    pub async fn accepts(&mut self, game: &str) -> String {
        let join = json!({"gameId": game, "name": self.name});
        let answer = self.asks("join_game", join).await;
        assert_eq!(answer["type"], "init_game", "{}: {answer}", self.name);
        self.takes_seat(&answer)
    }

    /// Joins a room anew; answers the snapshot.
    pub async fn watches(&mut self, game: &str) -> Value {
        self.game = game.to_owned();
        let answer = self.asks("join_room", json!({"gameId": game})).await;
        assert_eq!(answer["type"], "game_joined", "{}: {answer}", self.name);
        answer["payload"].clone()
    }

    /// Comes back to his room with the position he knows; answers `resumed` or `game_joined`.
    pub async fn rejoins(&mut self) -> Value {
        let view = self.view();
        let join = json!({"gameId": self.game, "seq": view.seq, "epoch": view.epoch});
        let answer = self.asks("join_room", join).await;
        assert!(
            answer["type"] == "resumed" || answer["type"] == "game_joined",
            "{}: {answer}",
            self.name
        );
        answer
    }

    /// The connection ends, and he goes on in his room on that node.
    pub async fn goes_on_at(&mut self, door: std::net::SocketAddr) {
        self.reconnects_to(door).await;
        self.rejoins().await;
    }

    /// Asks for a move in whatever form, for the next ply; answers the answer.
    pub async fn tries(&mut self, mv: impl Into<Value>) -> Value {
        let mv = mv.into();
        let request = json!({"gameId": self.game, "move": mv});
        let answer = self.asks("move", request).await;
        if answer["type"] == "ack" {
            self.witness.promised(&self.name, &answer["payload"], &mv);
        }
        answer
    }

    /// Makes a move, which is acknowledged.
    pub async fn plays(&mut self, mv: &str) -> Value {
        let answer = self.tries(mv).await;
        assert_eq!(answer["type"], "ack", "{} plays {mv}: {answer}", self.name);
        answer["payload"].clone()
    }

    /// Makes a move as that ply, told what he has seen; answers the answer.
    pub async fn tries_ply(&mut self, mv: &str, ply: u64, seq: Option<u64>) -> Value {
        let mut request = json!({"gameId": self.game, "move": mv, "ply": ply});
        if let Some(seq) = seq {
            request["seq"] = json!(seq);
        }
        let answer = self.asks("move", request).await;
        if answer["type"] == "ack" {
            self.witness
                .promised(&self.name, &answer["payload"], &json!(mv));
        }
        answer
    }

    /// Sees a move, by its SAN, as the next of its kind.
    pub async fn sees_move(&mut self, san: &str) -> Value {
        let game = self.game.clone();
        let seen = self
            .hears_what(san, |message| {
                message["type"] == "move" && message["payload"]["gameId"] == game.as_str()
            })
            .await;
        assert_eq!(seen["payload"]["move"]["san"], san, "{}", self.name);
        seen
    }

    /// Sees an event or message of that type in his game.
    pub async fn sees(&mut self, kind: &str) -> Value {
        let game = self.game.clone();
        self.hears_what(kind, |message| {
            message["type"] == kind && message["payload"]["gameId"] == game.as_str()
        })
        .await
    }

    /// Sees the end of his game.
    pub async fn sees_end(&mut self, result: &str, reason: &str) -> Value {
        let end = self.sees("game_over").await;
        let payload = &end["payload"];
        assert_eq!(
            (payload["result"].as_str(), payload["reason"].as_str()),
            (Some(result), Some(reason)),
            "{}: {end}",
            self.name
        );
        end
    }

    /// Asks for something that has a name and a game; answers the answer.
    pub async fn requests(&mut self, kind: &str) -> Value {
        let game = self.game.clone();
        self.asks(kind, json!({"gameId": game})).await
    }

    /// Does something that has a name and a game, which is acknowledged.
    pub async fn does(&mut self, kind: &str) -> Value {
        let answer = self.requests(kind).await;
        assert_eq!(answer["type"], "ack", "{}: {kind}: {answer}", self.name);
        answer["payload"].clone()
    }

    /// Resigns.
    pub async fn resigns(&mut self) {
        self.does("resign").await;
    }

    /// Is refused with that code when he asks.
    pub async fn is_refused(&mut self, code: &str, kind: &str, payload: Value) -> Value {
        let answer = self.asks(kind, payload.clone()).await;
        self.assert_refusal(code, &answer, &format!("{kind} {payload}"));
        answer["payload"].clone()
    }

    /// Is refused with that code when he makes that move.
    pub async fn may_not_play(&mut self, mv: impl Into<Value>, code: &str) {
        let mv = mv.into();
        let answer = self.tries(mv.clone()).await;
        self.assert_refusal(code, &answer, &mv.to_string());
    }

    /// Is refused with that code when he does that.
    pub async fn may_not(&mut self, kind: &str, code: &str) {
        let answer = self.requests(kind).await;
        self.assert_refusal(code, &answer, kind);
    }

    fn assert_refusal(&self, code: &str, answer: &Value, asked: &str) {
        assert_eq!(answer["type"], "error", "{}: {asked}: {answer}", self.name);
        let payload = &answer["payload"];
        assert_eq!(payload["code"], code, "{}: {asked}: {answer}", self.name);
        let retryable = matches!(code, "unavailable" | "rate_limited");
        assert_eq!(payload["retryable"], retryable, "{answer}");
        assert!(
            payload["message"]
                .as_str()
                .is_some_and(|text| !text.is_empty()),
            "no words: {answer}"
        );
    }

    /// Says something in his game's chat, which is acknowledged.
    pub async fn chats(&mut self, text: &str) {
        let chat = json!({"gameId": self.game, "text": text});
        let answer = self.asks("chat", chat).await;
        assert_eq!(answer["type"], "ack", "{}: {answer}", self.name);
    }

    /// Makes sure that this node has dealt with everything he sent, and he has heard everything it had said by then.
    pub async fn pings(&mut self) {
        let answer = self.asks("ping", json!({"t": "barrier"})).await;
        assert_eq!(answer["type"], "pong");
    }
}
