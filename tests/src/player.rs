//! Players who speak in verbs over a real WebSocket, on any node. Whatever a player sees goes past a checker first; every
//! wait is for a fact, and fails with what was heard instead.

mod board;
mod steady;
mod verbs;
mod view;
mod wire;

pub use board::Board;
pub use verbs::{BLITZ, BULLET, TEN_MINUTES, UNTIMED};
pub use view::{View, Views};
pub use wire::{Closed, Dial};

use crate::witness::Witness;
use serde_json::{Value, json};
use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};
use tokio_tungstenite::tungstenite::Message;
use wire::Wire;

/// Somebody at a browser, and what the browser remembers.
#[derive(Debug)]
pub struct Player {
    /// What the test calls him; also his shown name, where a verb gives one.
    pub name: String,
    /// Who he is to the servers.
    pub id: String,
    /// The game the verbs are about.
    pub game: String,
    /// The first message of this connection.
    pub welcome: Value,
    dial: Dial,
    wire: Wire,
    views: Arc<Mutex<Views>>,
    witness: Arc<Witness>,
    next_id: u64,
}

impl Player {
    /// Comes in by that door, as a guest.
    pub async fn comes(name: &str, door: SocketAddr, witness: Arc<Witness>) -> Player {
        Player::dials(name, door, witness, Dial::default()).await
    }

    /// Comes in by that door in some special way.
    pub async fn dials(name: &str, door: SocketAddr, witness: Arc<Witness>, dial: Dial) -> Player {
        let player = Player::try_dial(name, door, witness, dial).await;
        player.unwrap_or_else(|why| panic!("{name} does not come in: {why}"))
    }

    /// As [`Player::dials`], where that may fail.
    pub async fn try_dial(
        name: &str,
        door: SocketAddr,
        witness: Arc<Witness>,
        dial: Dial,
    ) -> Result<Player, String> {
        let views = Arc::new(Mutex::new(Views::new(name, witness.clone())));
        let wire = Wire::open(door, &dial, views.clone()).await?;
        let mut player = Player {
            name: name.to_owned(),
            id: String::new(),
            game: String::new(),
            welcome: Value::Null,
            dial,
            wire,
            views,
            witness,
            next_id: 0,
        };
        player.take_welcome().await?;
        Ok(player)
    }

    async fn take_welcome(&mut self) -> Result<(), String> {
        let inbox = self.wire.inbox.clone();
        let welcome = inbox
            .until(
                || match inbox.take(|message| message["type"] == "welcome") {
                    Some(welcome) => Some(Ok(welcome)),
                    None => inbox.closed().map(Err),
                },
            )
            .await
            .ok_or("no welcome in time")?
            .map_err(|closed| format!("closed: {closed:?}"))?;
        let payload = &welcome["payload"];
        let id = payload["user"]["id"].as_str().ok_or("no user")?.to_owned();
        if !self.id.is_empty() && self.id != id {
            return Err(format!("was {}, became {id}", self.id));
        }
        self.id = id;
        self.dial.token = payload["token"].as_str().map(str::to_owned);
        self.welcome = payload.clone();
        Ok(())
    }

    /// The same user in another tab, on whatever node.
    pub async fn opens_tab(&self, name: &str, door: SocketAddr) -> Player {
        let dial = self.dial.clone();
        let tab = Player::dials(name, door, self.witness.clone(), dial).await;
        assert_eq!(tab.id, self.id, "the token is the user");
        tab
    }

    /// The connection ends without a word.
    pub async fn hangs_up(&mut self) {
        self.wire.stop().await;
    }

    /// The connection ends without a word, and another begins; what was seen is remembered, no room is joined.
    pub async fn reconnects_to(&mut self, door: SocketAddr) {
        let connected = self.try_reconnect(door).await;
        connected.unwrap_or_else(|why| panic!("{} does not come back: {why}", self.name));
    }

    /// As [`Player::reconnects_to`], where that may fail.
    pub async fn try_reconnect(&mut self, door: SocketAddr) -> Result<(), String> {
        // The old reader must be silent before the checker starts anew.
        let views = self.views.clone();
        self.wire.stop().await;
        lock(&views).connects();
        self.wire = Wire::open(door, &self.dial, views).await?;
        self.take_welcome().await
    }

    /// The token that is this user.
    pub fn token(&self) -> &str {
        self.dial.token.as_deref().expect("welcome brought one")
    }

    /// Sends a request and waits for the direct answer that carries its id.
    pub async fn asks(&mut self, kind: &str, payload: Value) -> Value {
        let id = self.sends(kind, payload).await;
        self.answer_to(id).await
    }

    /// Sends a request; answers the id it was given.
    pub async fn sends(&mut self, kind: &str, payload: Value) -> u64 {
        self.next_id += 1;
        let id = self.next_id;
        self.says(&json!({"type": kind, "payload": payload, "id": id}).to_string())
            .await;
        id
    }

    /// Waits for the direct answer with that id.
    pub async fn answer_to(&mut self, id: u64) -> Value {
        self.hears_what(&format!("the answer to {id}"), |message| {
            message["id"] == id
        })
        .await
    }

    /// The id of the last request.
    pub fn last_id(&self) -> u64 {
        self.next_id
    }

    /// Waits for the answer with that id, and for something besides. False if the connection is closed first.
    pub async fn is_answered_besides(&mut self, id: u64) -> bool {
        let (mut answered, mut besides) = (false, false);
        let inbox = self.wire.inbox.clone();
        while !(answered && besides) {
            let next = inbox.until(|| match inbox.take(|_| true) {
                Some(message) => Some(Some(message)),
                None => inbox.closed().map(|_| None),
            });
            let next = next.await;
            let next = next.unwrap_or_else(|| {
                panic!("{}: no answer: {answered} {besides}", self.name);
            });
            let Some(message) = next else {
                return false;
            };
            if message["id"] == id {
                answered = true;
            } else {
                besides = true;
            }
        }
        true
    }

    /// Sends a text, whatever it is.
    pub async fn says(&mut self, text: &str) -> bool {
        self.wire.send(Message::text(text)).await
    }

    /// Sends a frame, whatever it is.
    pub async fn sends_frame(&mut self, frame: Message) -> bool {
        self.wire.send(frame).await
    }

    /// Waits for a message of that type.
    pub async fn hears(&mut self, kind: &str) -> Value {
        self.hears_what(kind, |message| message["type"] == kind)
            .await
    }

    /// Waits for the first message that is wanted, and takes it; others stay for later.
    pub async fn hears_what(
        &mut self,
        what: &str,
        mut wanted: impl FnMut(&Value) -> bool,
    ) -> Value {
        let inbox = self.wire.inbox.clone();
        let witness = self.witness.clone();
        let heard = inbox
            .until(|| {
                if !witness.is_clean() {
                    return Some(None);
                }
                match inbox.take(&mut wanted) {
                    Some(message) => Some(Some(message)),
                    None => inbox.closed().map(|_| None),
                }
            })
            .await
            .flatten();
        if let Some(message) = heard {
            return message;
        }
        witness.assert_clean();
        let closed = inbox.closed();
        panic!(
            "{} waits for {what}; closed: {closed:?}; heard: {:#?}",
            self.name,
            inbox
                .waiting()
                .iter()
                .map(Value::to_string)
                .collect::<Vec<_>>()
        );
    }

    /// Takes a message that came already.
    pub fn has_heard(&mut self, wanted: impl FnMut(&Value) -> bool) -> Option<Value> {
        self.wire.inbox.take(wanted)
    }

    /// Fails if a message of that type came. To be called after an answer that must have come later than it.
    pub fn has_not_heard(&mut self, kind: &str) {
        if let Some(message) = self.has_heard(|message| message["type"] == kind) {
            panic!("{} heard {message}", self.name);
        }
    }

    /// Waits until the server closes the connection; answers how.
    pub async fn is_closed(&mut self) -> Closed {
        let inbox = self.wire.inbox.clone();
        let closed = inbox.until(|| inbox.closed()).await;
        closed.unwrap_or_else(|| panic!("{} is not closed", self.name))
    }

    /// How the connection ended, if it did.
    pub fn closed(&self) -> Option<Closed> {
        self.wire.inbox.closed()
    }

    /// Closes the connection in good manners, and goes.
    pub async fn goes(mut self) {
        self.wire.send(Message::Close(None)).await;
        self.is_closed().await;
    }

    /// Stops reading from the socket, as a stalled phone does.
    pub fn stops_reading(&self) {
        self.wire.set_reading(false);
    }

    /// Reads on.
    pub fn reads_on(&self) {
        self.wire.set_reading(true);
    }

    /// Waits until what he has seen of his game is so.
    pub async fn sees_until<T>(&mut self, what: &str, mut so: impl FnMut(&View) -> Option<T>) -> T {
        let inbox = self.wire.inbox.clone();
        let (views, witness) = (self.views.clone(), self.witness.clone());
        let game = self.game.clone();
        let found = inbox
            .until(|| {
                if !witness.is_clean() {
                    return Some(None);
                }
                match lock(&views).room(&game).and_then(&mut so) {
                    Some(found) => Some(Some(found)),
                    None => inbox.closed().map(|_| None),
                }
            })
            .await
            .flatten();
        witness.assert_clean();
        let closed = self.closed();
        found.unwrap_or_else(|| {
            let view = self.view();
            panic!(
                "{} never saw {what}; closed: {closed:?}; sees {} at {} of {}",
                self.name,
                view.board.fen(),
                view.seq,
                self.game
            )
        })
    }

    /// What he sees of his game now.
    pub fn view(&self) -> View {
        let views = lock(&self.views);
        let view = views.room(&self.game);
        view.unwrap_or_else(|| panic!("{} sees no game", self.name))
            .clone()
    }

    /// Forgets what came after that event of his game.
    pub fn goes_back_to(&mut self, seq: u64) {
        lock(&self.views).go_back(&self.game, seq);
    }

    /// Forgets his game: the next snapshot is the first.
    pub fn forgets(&mut self) {
        lock(&self.views).forget(&self.game);
    }
}

fn lock(views: &Mutex<Views>) -> std::sync::MutexGuard<'_, Views> {
    views.lock().unwrap_or_else(PoisonError::into_inner)
}
