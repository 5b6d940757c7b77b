//! axum's WebSocket and a broadcast channel, as its examples have it, but with a read buffer of 4 KiB: the default of 128 KiB is
//! cleared at every read, and costs three times the CPU and 137 KB a socket.

use axum::{
    Router,
    extract::{
        State,
        ws::{Message, Utf8Bytes, WebSocket, WebSocketUpgrade},
    },
    routing::get,
};
use futures_util::{SinkExt, StreamExt};
use redis::AsyncCommands;
use tokio::sync::broadcast::{self, error::RecvError};

/// Events that a slow socket may be behind.
const BEHIND_MAX: usize = 1024;

#[derive(Clone)]
struct Room {
    events: broadcast::Sender<Utf8Bytes>,
    redis: redis::aio::MultiplexedConnection,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let client = redis::Client::open(peers::redis_url()?)?;
    let events = broadcast::Sender::new(BEHIND_MAX);
    let room = Room {
        events: events.clone(),
        redis: client.get_multiplexed_async_connection().await?,
    };
    let mut heard = client.get_async_pubsub().await?;
    heard.subscribe("room").await?;
    tokio::spawn(async move {
        let mut messages = heard.on_message();
        while let Some(message) = messages.next().await {
            if let Ok(text) = message.get_payload::<String>() {
                // Nobody may be there.
                let _ = events.send(text.into());
            }
        }
    });
    let join = |upgrade: WebSocketUpgrade, State(room): State<Room>| async move {
        upgrade
            .read_buffer_size(4096)
            .write_buffer_size(0)
            .on_upgrade(move |socket| attend(socket, room))
    };
    peers::serve(Router::new().route("/", get(join)).with_state(room)).await
}

async fn attend(mut socket: WebSocket, mut room: Room) {
    let mut events = room.events.subscribe();
    loop {
        tokio::select! {
            said = socket.recv() => match said {
                Some(Ok(Message::Text(text))) => {
                    let published: redis::RedisResult<()> = room.redis.publish("room", text.as_str()).await;
                    if published.is_err() {
                        return;
                    }
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
            event = events.recv() => match event {
                Ok(text) => {
                    if socket.send(Message::Text(text)).await.is_err() {
                        return;
                    }
                }
                Err(RecvError::Lagged(_)) => {
                    let _ = socket.close().await;
                    return;
                }
                Err(RecvError::Closed) => return,
            },
        }
    }
}
