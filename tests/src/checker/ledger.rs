//! What clients asked and were answered, by request: a request sent again is the same request.

use serde_json::Value;
use std::collections::BTreeMap;

/// Everything asked and answered.
#[derive(Debug, Default)]
pub struct Ledger {
    requests: BTreeMap<(String, String), Request>,
}

/// One request, however often it was sent.
#[derive(Debug)]
pub struct Request {
    /// Whose.
    pub user: String,
    /// The message, as JSON.
    pub body: Value,
    /// How often it was sent.
    pub sent: u32,
    /// Its move was legal after the event it names as the last seen: it may be refused only if something came between.
    pub is_sound: bool,
    /// Every message that came back with its id, in order.
    pub answers: Vec<Value>,
}

impl Request {
    /// Its type.
    pub fn kind(&self) -> &str {
        self.body["type"].as_str().unwrap_or_default()
    }

    /// The game it names.
    pub fn game(&self) -> &str {
        self.body["payload"]["gameId"].as_str().unwrap_or_default()
    }

    /// Its positive answers.
    pub fn acks(&self) -> impl Iterator<Item = &Value> {
        self.answers.iter().filter(|answer| answer["type"] == "ack")
    }

    /// Whether it was answered for good: by anything but "ask again".
    pub fn is_settled(&self) -> bool {
        self.answers.iter().any(|answer| {
            let code = answer["payload"]["code"].as_str();
            !matches!(code, Some("unavailable" | "rate_limited"))
        })
    }
}

impl Ledger {
    /// A user sends this request, for the first time or again; its `id` must be the user's own.
    pub fn sent(&mut self, user: &str, text: &str, is_sound: bool) {
        let Ok(body) = serde_json::from_str::<Value>(text) else {
            return;
        };
        let key = (user.to_owned(), body["id"].to_string());
        let request = self.requests.entry(key).or_insert_with(|| Request {
            user: user.to_owned(),
            body,
            sent: 0,
            is_sound,
            answers: Vec::new(),
        });
        request.sent += 1;
    }

    /// A frame came to a user.
    pub fn heard(&mut self, user: &str, text: &str) {
        // Log events are nobody's answer.
        if text.starts_with("{\"seq\":") || !text.contains("\"id\":") {
            return;
        }
        let Ok(answer) = serde_json::from_str::<Value>(text) else {
            return;
        };
        let key = (user.to_owned(), answer["id"].to_string());
        if let Some(request) = self.requests.get_mut(&key) {
            request.answers.push(answer);
        }
    }

    /// All requests.
    pub fn requests(&self) -> impl Iterator<Item = &Request> {
        self.requests.values()
    }
}
