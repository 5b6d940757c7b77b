//! Sockets that are not a TCP stream in our own server's hands: `axum::serve`, and streams that cannot be unwrapped.

use axum::serve::ListenerExt;
use gateway::fanout::Engine;
use gateway::websocket::{CloseCode, Frame, Handler, Limits, Next, Outbox, Socket, run};
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use std::sync::Arc;
use std::time::Instant;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::client::{Client, frame};
use crate::echo;

async fn talk<S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin>(client: &mut Client<S>) {
    client.send(&frame(0x81, b"hello")).await;
    assert_eq!(client.frame().await.payload, b"hello");
    client.send(&frame(0x88, &1000u16.to_be_bytes())).await;
    assert_eq!(client.closed_with().await, 1000);
}

fn router() -> axum::Router {
    let engine = Engine::start(1).unwrap();
    let (sockets, stop) = (TaskTracker::new(), CancellationToken::new());
    echo::router(engine, echo::limits(), sockets, stop)
}

#[tokio::test]
async fn under_axum_serve() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let listener = listener.tap_io(|_| {});
    let serving = tokio::spawn(async move { axum::serve(listener, router()).await });
    let mut client = Client::open(address).await;
    talk(&mut client).await;
    serving.abort();
}

#[tokio::test]
async fn over_a_stream_in_memory() {
    let (ours, theirs) = tokio::io::duplex(1000);
    let service = TowerToHyperService::new(router());
    let serving = tokio::spawn(
        hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(ours), service)
            .with_upgrades(),
    );
    let mut client = Client::over(theirs);
    client.shake_hands().await;
    talk(&mut client).await;
    serving.await.unwrap().unwrap();
}

struct Deaf;

impl Handler for Deaf {
    fn on_text(&mut self, _text: &str, _at: Instant) -> Next {
        Next::Read
    }

    fn on_too_large(&mut self, _at: Instant) -> Next {
        Next::Read
    }
}

/// A stream that takes three bytes at a time tears every frame.
#[tokio::test]
async fn frames_that_are_torn_stay_in_order() {
    let (ours, theirs) = tokio::io::duplex(3);
    let outbox = Arc::new(Outbox::new(1 << 20));
    let running = tokio::spawn(run(
        Socket::new(ours),
        Deaf,
        Arc::clone(&outbox),
        Arc::new(Limits::default()),
    ));
    let mut client = Client::over(theirs);
    let pushing = tokio::spawn({
        let outbox = Arc::clone(&outbox);
        async move {
            for n in 0..500 {
                outbox.push(Frame::text(&format!("message {n}"))).unwrap();
                if n % 7 == 0 {
                    tokio::task::yield_now().await;
                }
            }
            outbox.close(CloseCode::Restart, "done");
        }
    });
    for n in 0..500 {
        assert_eq!(
            client.frame().await.payload,
            format!("message {n}").as_bytes()
        );
    }
    assert_eq!(client.frame().await.payload[..2], 1012u16.to_be_bytes());
    client.send(&frame(0x88, &1012u16.to_be_bytes())).await;
    assert_eq!(client.frame_or_end().await, None);
    drop(client);
    pushing.await.unwrap();
    running.await.unwrap();
}
