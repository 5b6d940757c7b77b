//! Time and numbers: peers that do not read, do not answer, or are too many.

use std::io::ErrorKind;
use std::time::Duration;

use gateway::websocket::Limits;
use gateway::websocket::listen::HttpLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;

use crate::client::{Client, HANDSHAKE, frame, patiently};
use crate::echo;
use crate::server::Server;

#[tokio::test]
async fn silence_is_pinged_and_then_closed() {
    let limits = Limits {
        heartbeat: Duration::from_secs(1),
        ..echo::limits()
    };
    let server = Server::with(limits, HttpLimits::default());
    let mut client = Client::open(server.address).await;
    let mut answering = Client::open(server.address).await;
    let answers = tokio::spawn(async move {
        for _ in 0..5 {
            assert_eq!(answering.frame().await.first, 0x89);
            answering.send(&frame(0x8A, b"")).await;
        }
    });
    for _ in 0..2 {
        assert_eq!(client.frame().await.first, 0x89);
    }
    assert_eq!(client.frame().await.payload[..2], 4010u16.to_be_bytes());
    // Five heartbeats are more than the other one had.
    patiently(answers).await.unwrap();
    drop(client);
    server.stop().await;
}

/// One echo that is larger than all buffers on the way, so that nothing is left unread at the server: what resets TCP here
/// is not the kernel's habit but our wish that it forgets what this peer does not take.
#[tokio::test]
async fn a_peer_that_does_not_read_is_reset() {
    let limits = Limits {
        write_stall: Duration::from_millis(300),
        close_wait: Duration::from_millis(300),
        ..echo::limits()
    };
    let server = Server::with(limits, HttpLimits::default());
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = Client::over(socket.connect(server.address).await.unwrap());
    client.shake_hands().await;
    client.send(&frame(0x82, &vec![0; 10_000_000])).await;
    // The server has given up when its task is gone; only then is anything read.
    server.sockets.close();
    patiently(server.sockets.wait()).await;
    let mut taken = vec![];
    let end = patiently(client.stream.read_to_end(&mut taken)).await;
    assert_eq!(end.unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert!(taken.len() < 1_000_000);
    server.stop().await;
}

#[tokio::test]
async fn a_response_that_nobody_reads_is_given_up() {
    let http = HttpLimits {
        unacknowledged: Duration::from_millis(500),
        connections_max: 1,
        turned_away_max: 0,
        ..HttpLimits::default()
    };
    let body = axum::routing::get(|| async { vec![0; 10_000_000] });
    let server = Server::serving(axum::Router::new().route("/large", body), http);
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4096).unwrap();
    let mut client = Client::over(socket.connect(server.address).await.unwrap());
    let request = b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n";
    client.send(request).await;
    assert!(client.head().await.starts_with("HTTP/1.1 200 "));
    // The peer is alive; it only makes no room. Its place is the only one, and becomes free.
    let free = async {
        let mut refused = 0;
        loop {
            let mut next = Client::tcp(server.address).await;
            let mut byte = [0];
            if next.stream.write_all(request).await.is_ok()
                && matches!(next.stream.read(&mut byte).await, Ok(1))
            {
                return refused;
            }
            refused += 1;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    assert!(patiently(free).await > 0, "the place was not even taken");
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_peer_that_does_not_answer_our_close_is_dropped() {
    let server = Server::start();
    let client = Client::open(server.address).await;
    // Two seconds of patience, and no more.
    server.stop().await;
    drop(client);
}

#[tokio::test]
async fn a_stopping_server_says_so() {
    let server = Server::start();
    let mut client = Client::open(server.address).await;
    let mut idle = Client::tcp(server.address).await;
    idle.send(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").await;
    assert!(idle.head().await.starts_with("HTTP/1.1 404 "));
    server.stop.cancel();
    idle.rest().await;
    let close = client.frame().await;
    assert_eq!(close.payload[..2], 1001u16.to_be_bytes());
    client.send(&frame(0x88, &close.payload[..2])).await;
    assert_eq!(client.frame_or_end().await, None);
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn who_comes_too_many_is_told_and_places_come_back() {
    let http = HttpLimits {
        connections_max: 2,
        turned_away_max: 2,
        ..HttpLimits::default()
    };
    let server = Server::with(echo::limits(), http);
    let mut first = Client::open(server.address).await;
    let second = Client::open(server.address).await;

    let mut third = Client::open(server.address).await;
    assert_eq!(third.frame().await.payload[..2], 1013u16.to_be_bytes());
    third.send(&frame(0x88, &1013u16.to_be_bytes())).await;
    assert_eq!(third.frame_or_end().await, None);

    let mut plain = Client::tcp(server.address).await;
    plain.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await;
    let head = plain.head().await;
    assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
    assert!(head.contains("retry-after: "), "{head}");
    plain.rest().await;

    // Two who say nothing take the places for those who are turned away; the next one is dropped without a word.
    let silent = [
        Client::tcp(server.address).await,
        Client::tcp(server.address).await,
    ];
    loop {
        let mut next = Client::tcp(server.address).await;
        let sent = next.stream.write_all(HANDSHAKE.as_bytes()).await;
        let mut byte = [0];
        let read = patiently(next.stream.read(&mut byte)).await;
        if sent.is_err() || !matches!(read, Ok(1..)) {
            break;
        }
        // The two had not been accepted yet.
    }
    drop(silent);

    first.send(&frame(0x81, b"undisturbed")).await;
    assert_eq!(first.frame().await.payload, b"undisturbed");

    drop(second);
    loop {
        let mut next = Client::tcp(server.address).await;
        if next.stream.write_all(HANDSHAKE.as_bytes()).await.is_err() {
            continue;
        }
        let mut one = [0; 13];
        let read = patiently(tokio::io::AsyncReadExt::read_exact(
            &mut next.stream,
            &mut one,
        ))
        .await;
        if read.is_err() {
            continue;
        }
        next.head().await;
        next.send(&frame(0x81, b"in")).await;
        // Either the echo, or 1013 because the place was not free yet.
        if next.frame().await.payload == b"in" {
            break;
        }
    }
    drop(first);
    server.stop().await;
}
