//! A player or watcher that only does what a replay needs: so thousands fit into one process.

use anyhow::{Context, anyhow, bail};
use futures::{SinkExt, StreamExt};
use serde_json::{Value, json};
use std::{net::SocketAddr, time::Duration};
use tokio::{net::TcpStream, time::Instant};
use tokio_tungstenite::{WebSocketStream, client_async, tungstenite::Message};

/// How long a message may take. Far more than any needs.
const PATIENCE: Duration = Duration::from_secs(30);

/// An `error` in answer to a request.
#[derive(Debug, thiserror::Error)]
#[error("refused: {0}")]
pub struct Refused(Value);

/// Whether a request was refused because the game is over.
pub fn is_over(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<Refused>()
        .is_some_and(|Refused(why)| why["code"] == "game_over")
}

/// Somebody connected to a gateway.
pub struct Seat {
    socket: WebSocketStream<TcpStream>,
    next_id: u64,
    /// Log events heard, in the order they came.
    pub events: Vec<Value>,
}

impl Seat {
    /// Connects as a guest.
    pub async fn take(door: SocketAddr) -> anyhow::Result<Seat> {
        let stream = TcpStream::connect(door)
            .await
            .with_context(|| format!("connecting to {door}"))?;
        stream.set_nodelay(true)?;
        let (socket, _) = client_async(format!("ws://{door}/ws"), stream).await?;
        let mut seat = Seat {
            socket,
            next_id: 1,
            events: Vec::new(),
        };
        seat.until(|message| message["type"] == "welcome").await?;
        Ok(seat)
    }

    /// Sends a request; answers its id.
    pub async fn ask(&mut self, kind: &str, payload: Value) -> anyhow::Result<u64> {
        let id = self.next_id;
        self.next_id += 1;
        let text = json!({"type": kind, "payload": payload, "id": id}).to_string();
        self.socket.send(Message::text(text)).await?;
        Ok(id)
    }

    /// Sends a request and waits for its answer.
    pub async fn asks(&mut self, kind: &str, payload: Value) -> anyhow::Result<Value> {
        let id = self.ask(kind, payload).await?;
        self.answer(id).await.with_context(|| kind.to_owned())
    }

    /// Waits for the answer to a request.
    pub async fn answer(&mut self, id: u64) -> anyhow::Result<Value> {
        let answer = self.until(|message| message["id"] == id).await?;
        if answer["type"] == "error" {
            return Err(Refused(answer["payload"].clone()).into());
        }
        Ok(answer)
    }

    /// Waits until that many log events were heard (or are stored already).
    pub async fn hears_event(&mut self, seq: u64) -> anyhow::Result<Instant> {
        while self.last_seq() < Some(seq) {
            self.hear().await?;
        }
        Ok(Instant::now())
    }

    fn last_seq(&self) -> Option<u64> {
        self.events.last().and_then(|event| event["seq"].as_u64())
    }

    /// Waits for a message.
    pub async fn until(&mut self, wanted: impl Fn(&Value) -> bool) -> anyhow::Result<Value> {
        loop {
            let message = self.hear().await?;
            if wanted(&message) {
                return Ok(message);
            }
        }
    }

    async fn hear(&mut self) -> anyhow::Result<Value> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next())
                .await
                .context("nothing more is heard")?;
            match message.ok_or_else(|| anyhow!("the connection ended"))?? {
                Message::Text(text) => {
                    let value: Value = serde_json::from_str(&text)?;
                    if let Some(seq) = value["seq"].as_u64() {
                        let expected = self.last_seq().map(|last| last + 1);
                        if expected.is_some_and(|expected| expected != seq) {
                            bail!("event {seq} was heard where {expected:?} follows");
                        }
                        self.events.push(value.clone());
                    }
                    return Ok(value);
                }
                Message::Close(frame) => bail!("closed: {frame:?}"),
                _ => {}
            }
        }
    }
}
