//! One WebSocket of a player: a task that reads it all the time, so that nothing is missed while the test does something else.

use super::view::Views;
use crate::{chaos::Tape, cluster::PATIENCE};
use futures::{SinkExt, StreamExt, stream::SplitSink};
use serde_json::Value;
use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::{Notify, watch},
    task::JoinHandle,
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{self, Message, client::IntoClientRequest, protocol::WebSocketConfig},
};

/// How a connection ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Closed {
    /// The code of the server's Close frame; `None` if TCP just ended.
    pub code: Option<u16>,
    /// Its words.
    pub reason: String,
}

/// What came and was not taken yet.
#[derive(Debug, Default)]
pub struct Inbox {
    state: Mutex<State>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct State {
    messages: VecDeque<Value>,
    closed: Option<Closed>,
}

impl Inbox {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, message: Value) {
        self.lock().messages.push_back(message);
        self.changed.notify_waiters();
    }

    fn close(&self, closed: Closed) {
        self.lock().closed.get_or_insert(closed);
        self.changed.notify_waiters();
    }

    /// Takes the first message of that kind out.
    pub fn take(&self, mut wanted: impl FnMut(&Value) -> bool) -> Option<Value> {
        let mut state = self.lock();
        let place = state.messages.iter().position(&mut wanted)?;
        state.messages.remove(place)
    }

    /// Everything that waits, for words on failure.
    pub fn waiting(&self) -> Vec<Value> {
        self.lock().messages.iter().cloned().collect()
    }

    /// How the connection ended, if it did.
    pub fn closed(&self) -> Option<Closed> {
        self.lock().closed.clone()
    }

    /// Waits until `look` finds something; it is asked again after everything that happens.
    pub async fn until<T>(&self, mut look: impl FnMut() -> Option<T>) -> Option<T> {
        let watching = async {
            loop {
                let mut changed = std::pin::pin!(self.changed.notified());
                changed.as_mut().enable();
                if let Some(found) = look() {
                    return found;
                }
                changed.await;
            }
        };
        timeout(PATIENCE, watching).await.ok()
    }
}

/// An open WebSocket.
#[derive(Debug)]
pub struct Wire {
    // None once it was ended.
    sink: Option<SplitSink<WebSocketStream<TcpStream>, Message>>,
    /// What came.
    pub inbox: Arc<Inbox>,
    tape: Option<Arc<Tape>>,
    reads: watch::Sender<bool>,
    reader: Option<JoinHandle<()>>,
}

/// What a client wants of its connection.
#[derive(Debug, Clone, Default)]
pub struct Dial {
    /// Shown at the door.
    pub token: Option<String>,
    /// Bytes the kernel may hold for this client, if not the usual: small for one who will not read.
    pub receive_buffer_len: Option<u32>,
    /// Headers besides.
    pub headers: Vec<(&'static str, String)>,
    /// Where all that is said and heard is written down, for a judge.
    pub tape: Option<Arc<Tape>>,
}

impl Wire {
    /// Opens one; all that comes goes past `views` first.
    pub async fn open(
        door: SocketAddr,
        dial: &Dial,
        views: Arc<Mutex<Views>>,
    ) -> Result<Wire, String> {
        let opening = async {
            let socket = TcpSocket::new_v4().map_err(|error| error.to_string())?;
            if let Some(len) = dial.receive_buffer_len {
                socket
                    .set_recv_buffer_size(len)
                    .map_err(|error| error.to_string())?;
            }
            let stream = socket
                .connect(door)
                .await
                .map_err(|error| error.to_string())?;
            stream
                .set_nodelay(true)
                .map_err(|error| error.to_string())?;
            let request = request(door, dial);
            let config = WebSocketConfig::default()
                .max_message_size(Some(16 << 20))
                .max_frame_size(Some(16 << 20));
            let opened = client_async_with_config(request, stream, Some(config)).await;
            opened
                .map(|(socket, _)| socket)
                .map_err(|error| error.to_string())
        };
        let socket = timeout(PATIENCE, opening)
            .await
            .map_err(|_| "no handshake in time".to_owned())??;
        let (sink, stream) = socket.split();
        let inbox = Arc::<Inbox>::default();
        let (reads, gate) = watch::channel(true);
        let tape = dial.tape.clone();
        if let Some(tape) = &tape {
            tape.connected();
        }
        let reader = tokio::spawn(read(stream, inbox.clone(), views, gate, tape.clone()));
        Ok(Wire {
            sink: Some(sink),
            inbox,
            tape,
            reads,
            reader: Some(reader),
        })
    }

    /// Sends a frame. False if the connection does not take it.
    pub async fn send(&mut self, message: Message) -> bool {
        let Some(sink) = &mut self.sink else {
            return false;
        };
        if let (Some(tape), Message::Text(text)) = (&self.tape, &message) {
            tape.sent(text.as_str());
        }
        matches!(timeout(PATIENCE, sink.send(message)).await, Ok(Ok(())))
    }

    /// Ends the connection without a word, and waits until nothing more comes from it.
    pub async fn stop(&mut self) {
        if let Some(reader) = self.reader.take() {
            reader.abort();
            // An aborted task answers an error, which is the point.
            let _ = reader.await;
        }
        self.sink = None;
        self.give_up();
    }

    /// Takes the connection for ended.
    pub fn give_up(&self) {
        self.inbox.close(Closed {
            code: None,
            reason: "given up".to_owned(),
        });
    }

    /// Reads on, or stops reading.
    pub fn set_reading(&self, reads: bool) {
        self.reads.send_replace(reads);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        if let Some(reader) = &self.reader {
            reader.abort();
        }
    }
}

fn request(door: SocketAddr, dial: &Dial) -> http::Request<()> {
    let url = match &dial.token {
        Some(token) => format!("ws://{door}/ws?token={token}"),
        None => format!("ws://{door}/ws"),
    };
    let mut request = url.into_client_request().expect("a url");
    for (name, value) in &dial.headers {
        let value = value.parse().expect("a header's value");
        request.headers_mut().insert(*name, value);
    }
    request
}

async fn read(
    mut stream: futures::stream::SplitStream<WebSocketStream<TcpStream>>,
    inbox: Arc<Inbox>,
    views: Arc<Mutex<Views>>,
    mut gate: watch::Receiver<bool>,
    tape: Option<Arc<Tape>>,
) {
    let closed = loop {
        if gate.wait_for(|reads| *reads).await.is_err() {
            break None;
        }
        let message = tokio::select! {
            message = stream.next() => message,
            _ = gate.changed() => continue,
        };
        match message {
            Some(Ok(Message::Text(text))) => {
                if let Some(tape) = &tape {
                    tape.heard(text.as_str());
                }
                let seen = views
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner)
                    .see(text.as_str());
                if let Some(message) = seen {
                    inbox.push(message);
                } else {
                    // A violation was noted: whoever waits is to look.
                    inbox.changed.notify_waiters();
                }
            }
            Some(Ok(Message::Close(frame))) => {
                let closed = frame.map(|frame| Closed {
                    code: Some(frame.code.into()),
                    reason: frame.reason.to_string(),
                });
                // tungstenite answers the Close when it is polled on.
                while let Some(Ok(_)) = stream.next().await {}
                break closed;
            }
            Some(Ok(_)) => {}
            Some(Err(tungstenite::Error::ConnectionClosed)) | Some(Err(_)) | None => break None,
        }
    };
    inbox.close(closed.unwrap_or(Closed {
        code: None,
        reason: "the connection just ended".to_owned(),
    }));
}
