//! Sends back what it gets, through the same socket code as the gateway: the server that conformance suites talk to.
//!
//! `cargo run -p gateway --example echo -- --listen 127.0.0.1:9001` serves `/` and `/echo`; port 0 takes a free port. The
//! first line on standard output says where. `gateway/tests/websocket` runs the same router in its own process.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Router;
use axum::response::Response;
use axum::routing::any;
use clap::Parser;
use gateway::websocket::frame::Rules;
use gateway::websocket::listen::{HttpLimits, bind};
use gateway::websocket::{CloseCode, Frame, Handler, Limits, Next, Outbox, Refused, Upgrade};
use gateway::websocket::{run, serve};
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
    let router = router(limits, sockets.clone(), stop.clone());
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
pub fn router(limits: Limits, sockets: TaskTracker, stop: CancellationToken) -> Router {
    let limits = Arc::new(limits);
    let echo = any(move |upgrade| echo(upgrade, limits, sockets, stop));
    Router::new().route("/", echo.clone()).route("/echo", echo)
}

async fn echo(
    upgrade: Upgrade,
    limits: Arc<Limits>,
    sockets: TaskTracker,
    stop: CancellationToken,
) -> Response {
    let (response, upgrading) = upgrade.accept();
    sockets.spawn(async move {
        let Ok(socket) = upgrading.socket().await else {
            return;
        };
        let outbox = Arc::new(Outbox::new(OUTBOX_LEN_MAX));
        let echo = Echo {
            outbox: Arc::clone(&outbox),
            refused: None,
        };
        let mut running = pin!(run(socket, echo, Arc::clone(&outbox), limits));
        tokio::select! {
            _ = &mut running => {}
            () = stop.cancelled() => {
                outbox.close(CloseCode::GoingAway, "leaving");
                running.await;
            }
        }
    });
    response
}

struct Echo {
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
}
