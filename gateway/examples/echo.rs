//! Sends back what it gets, through the same socket code as the gateway: the server that conformance suites talk to.
//!
//! `cargo run -p gateway --example echo -- --listen 127.0.0.1:9001` serves `/` and `/echo`; port 0 takes a free port. The
//! first line on standard output says where. `gateway/tests/websocket` runs the same router in its own process.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::Router;
use axum::response::Response;
use axum::routing::any;
use clap::Parser;
use gateway::fanout::Engine;
use gateway::websocket::frame::Rules;
use gateway::websocket::listen::{HttpLimits, bind};
use gateway::websocket::serve;
use gateway::websocket::{CloseCode, End, Frame, Handler, Limits, Next, Outbox, Refused, Upgrade};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The longest message that Autobahn sends, bytes.
const MESSAGE_LEN_MAX: usize = 16 * 1024 * 1024;

/// Echoes that wait for a peer that sends faster than it reads, bytes; then it is not read from until they are gone.
const OUTBOX_LEN_MAX: usize = 64 * 1024;

/// Echo server over the gateway's WebSocket code.
#[derive(Parser)]
struct Args {
    /// Where to listen.
    #[arg(long, default_value = "127.0.0.1:9001")]
    listen: SocketAddr,
    /// Connections at a time.
    #[arg(long, default_value_t = HttpLimits::default().connections_max)]
    max_connections: usize,
    /// Seconds of silence before a ping.
    #[arg(long, default_value_t = 30)]
    heartbeat_seconds: u64,
    /// Threads that own the sockets; 0: sockets are tasks. Default: one a core.
    #[arg(long)]
    socket_threads: Option<usize>,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let args = Args::parse();
    let listener = bind(args.listen)?;
    println!("listening http={}", listener.local_addr()?);
    let limits = Limits {
        heartbeat: Duration::from_secs(args.heartbeat_seconds),
        ..limits()
    };
    let http = HttpLimits {
        connections_max: args.max_connections,
        ..HttpLimits::default()
    };
    let stop = CancellationToken::new();
    let sockets = TaskTracker::new();
    let engine = Engine::start(args.socket_threads.unwrap_or_else(Engine::threads))?;
    let router = router(engine, limits, sockets.clone(), stop.clone());
    tokio::spawn({
        let stop = stop.clone();
        async move {
            if tokio::signal::ctrl_c().await.is_ok() {
                stop.cancel();
            }
        }
    });
    serve(listener, router, http, stop).await;
    sockets.close();
    sockets.wait().await;
    Ok(())
}

/// An echo takes binary messages too, and large ones.
pub fn limits() -> Limits {
    Limits {
        rules: Rules {
            message_len_max: MESSAGE_LEN_MAX,
            message_skip_max: MESSAGE_LEN_MAX,
            binary: true,
        },
        ..Limits::default()
    }
}

/// The echo at `/` and `/echo`. Its sockets run in `sockets` until `stop` is cancelled.
pub fn router(
    engine: Arc<Engine>,
    limits: Limits,
    sockets: TaskTracker,
    stop: CancellationToken,
) -> Router {
    let limits = Arc::new(limits);
    let open = Arc::new(Open::default());
    tokio::spawn({
        let open = Arc::clone(&open);
        async move {
            stop.cancelled().await;
            open.close();
        }
    });
    let echo = any(move |upgrade| echo(upgrade, engine, limits, sockets, open));
    Router::new().route("/", echo.clone()).route("/echo", echo)
}

async fn echo(
    upgrade: Upgrade,
    engine: Arc<Engine>,
    limits: Arc<Limits>,
    sockets: TaskTracker,
    open: Arc<Open>,
) -> Response {
    let (response, upgrading) = upgrade.accept();
    sockets.clone().spawn(async move {
        let Ok(socket) = upgrading.socket().await else {
            return;
        };
        let outbox = Arc::new(Outbox::new(OUTBOX_LEN_MAX));
        let echo = Echo {
            number: open.insert(&outbox),
            open,
            outbox: Arc::clone(&outbox),
            refused: None,
        };
        let admission = engine.admission().await;
        engine.adopt(admission, socket, echo, outbox, limits, &sockets);
    });
    response
}

/// Sockets to say goodbye to.
#[derive(Default)]
struct Open(Mutex<Outboxes>);

#[derive(Default)]
struct Outboxes {
    by_number: HashMap<u64, Arc<Outbox>>,
    next: u64,
    is_closed: bool,
}

impl Open {
    fn insert(&self, outbox: &Arc<Outbox>) -> u64 {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if open.is_closed {
            outbox.close(CloseCode::GoingAway, "leaving");
        }
        open.next += 1;
        let number = open.next;
        open.by_number.insert(number, Arc::clone(outbox));
        number
    }

    fn remove(&self, number: u64) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.by_number.remove(&number);
    }

    fn close(&self) {
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.is_closed = true;
        for outbox in open.by_number.values() {
            outbox.close(CloseCode::GoingAway, "leaving");
        }
    }
}

struct Echo {
    open: Arc<Open>,
    number: u64,
    outbox: Arc<Outbox>,
    /// The echo for which there was no room.
    refused: Option<Frame>,
}

impl Echo {
    fn send(&mut self, frame: Frame) -> Next {
        match self.outbox.push(frame.clone()) {
            Err(Refused::Full) => {
                self.refused = Some(frame);
                Next::Pause
            }
            Ok(()) | Err(Refused::Closed) => Next::Read,
        }
    }
}

impl Handler for Echo {
    fn on_text(&mut self, text: &str, _at: Instant) -> Next {
        self.send(Frame::text(text))
    }

    fn on_binary(&mut self, payload: &[u8], _at: Instant) -> Next {
        self.send(Frame::binary(payload))
    }

    fn on_too_large(&mut self, _at: Instant) -> Next {
        self.outbox.close(CloseCode::TooLarge, "message too large");
        Next::Read
    }

    fn on_drained(&mut self) -> Next {
        match self.refused.take() {
            Some(frame) => self.send(frame),
            None => Next::Read,
        }
    }

    fn on_end(&mut self, _end: End) {
        self.open.remove(self.number);
    }
}
