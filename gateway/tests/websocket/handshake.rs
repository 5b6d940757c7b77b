//! Handshakes, and what only pretends to be one.

use std::time::{Duration, Instant};

use gateway::websocket::listen::HttpLimits;

use crate::client::{Client, HANDSHAKE, frame};
use crate::echo;
use crate::server::Server;

/// Short enough to wait for, long enough for a busy machine.
const HEAD_TIMEOUT: Duration = Duration::from_millis(400);

fn impatient() -> Server {
    let http = HttpLimits {
        head_timeout: HEAD_TIMEOUT,
        ..HttpLimits::default()
    };
    Server::with(echo::limits(), http)
}

#[tokio::test]
async fn frames_may_come_with_the_handshake() {
    let server = Server::start();
    let mut client = Client::tcp(server.address).await;
    let mut bytes = HANDSHAKE.as_bytes().to_vec();
    bytes.extend(frame(0x81, b"early"));
    bytes.extend(&frame(0x81, b"half")[..8]);
    client.send(&bytes).await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    assert_eq!(client.frame().await.payload, b"early");
    client.send(&frame(0x81, b"half")[8..]).await;
    assert_eq!(client.frame().await.payload, b"half");
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_handshake_in_single_bytes() {
    let server = Server::start();
    let mut client = Client::tcp(server.address).await;
    client.stream.set_nodelay(true).unwrap();
    for byte in HANDSHAKE.bytes() {
        client.send(&[byte]).await;
    }
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn wrong_handshakes_are_told_what_is_wrong() {
    let server = Server::start();
    let key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";
    let version = "Sec-WebSocket-Version: 13\r\n";
    let cases = [
        (HANDSHAKE.replace(key, ""), 400, "bad_handshake"),
        (HANDSHAKE.replace(key, &key.repeat(2)), 400, "bad_handshake"),
        (HANDSHAKE.replace("dGhl", "!!!!"), 400, "bad_handshake"),
        (HANDSHAKE.replace("dGhlIHNh", ""), 400, "bad_handshake"),
        (
            HANDSHAKE.replace("HTTP/1.1", "HTTP/1.0"),
            400,
            "bad_handshake",
        ),
        (HANDSHAKE.replace(version, ""), 426, "upgrade_required"),
        (HANDSHAKE.replace(": 13", ": 12"), 426, "upgrade_required"),
        (
            HANDSHAKE.replace("Upgrade: websocket\r\n", ""),
            426,
            "upgrade_required",
        ),
        (
            HANDSHAKE.replace("Connection: Upgrade\r\n", ""),
            426,
            "upgrade_required",
        ),
        (HANDSHAKE.replace("GET", "POST"), 405, "method_not_allowed"),
    ];
    for (request, status, code) in cases {
        let mut client = Client::tcp(server.address).await;
        client.send(request.as_bytes()).await;
        client.stream.set_nodelay(true).unwrap();
        let head = client.head().await;
        assert_eq!(
            head.split(' ').nth(1),
            Some(&*status.to_string()),
            "{request}"
        );
        assert!(head.contains("content-type: application/json"), "{head}");
        if status == 426 {
            assert!(head.contains("sec-websocket-version: 13"), "{head}");
        }
        // The connection may be kept, so the body is taken by its length.
        tokio::io::AsyncWriteExt::shutdown(&mut client.stream)
            .await
            .unwrap();
        let body = String::from_utf8(client.rest().await).unwrap();
        assert!(
            body.starts_with(&format!("{{\"error\":{{\"code\":\"{code}\",\"message\":")),
            "{body}"
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn what_is_not_http_is_not_answered_as_if_it_were() {
    let server = Server::start();
    for garbage in [
        &b"\x16\x03\x01\x02\x00\x01"[..],
        b"\r\n\r\nhello\r\n\r\n",
        &[0xFF; 100],
    ] {
        let mut client = Client::tcp(server.address).await;
        client.send(garbage).await;
        let answer = client.rest().await;
        assert!(
            answer.is_empty() || answer.starts_with(b"HTTP/1.1 400 "),
            "{}",
            answer.escape_ascii()
        );
    }
    server.stop().await;
}

#[tokio::test]
async fn half_a_handshake_is_not_waited_for() {
    let server = impatient();
    for begin in ["", "G", &HANDSHAKE[..100]] {
        let mut client = Client::tcp(server.address).await;
        let since = Instant::now();
        client.send(begin.as_bytes()).await;
        let answer = client.rest().await;
        assert!(!answer.starts_with(b"HTTP/1.1 101"));
        assert!(since.elapsed() >= HEAD_TIMEOUT / 2, "it had a fair chance");
    }
    server.stop().await;
}

#[tokio::test]
async fn a_handshake_that_drips_is_not_waited_for() {
    let server = impatient();
    let mut client = Client::tcp(server.address).await;
    let mut sent = 0;
    for byte in HANDSHAKE.bytes() {
        // An error is the close we wait for.
        let write = tokio::io::AsyncWriteExt::write_all(&mut client.stream, &[byte]).await;
        if write.is_err() {
            break;
        }
        sent += 1;
        tokio::time::sleep(HEAD_TIMEOUT / 10).await;
    }
    assert!(sent < HANDSHAKE.len(), "every byte of it was taken");
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn an_idle_connection_is_not_kept_for_ever() {
    let server = impatient();
    let mut client = Client::tcp(server.address).await;
    client
        .send(b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n")
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 404 "));
    client.rest().await;
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn huge_heads_are_refused() {
    let server = Server::start();
    let cases = [
        format!("X-Large: {}\r\n\r\n", "x".repeat(17 * 1024)),
        format!("X-Large: {}\r\n\r\n", "x".repeat(400 * 1024)),
        format!("{}\r\n", "X-Many: x\r\n".repeat(200)),
    ];
    for headers in cases {
        let mut client = Client::tcp(server.address).await;
        let request = HANDSHAKE.replace("\r\n\r\n", &format!("\r\n{headers}"));
        // The server need not read all of it, so neither writing nor reading has to end well.
        let _ = tokio::io::AsyncWriteExt::write_all(&mut client.stream, request.as_bytes()).await;
        let mut answer = [0; 12];
        if tokio::io::AsyncReadExt::read_exact(&mut client.stream, &mut answer)
            .await
            .is_ok()
        {
            assert_eq!(&answer, b"HTTP/1.1 431");
        }
    }
    // Ours is well below that, with a long token and many cookies.
    let mut client = Client::tcp(server.address).await;
    let head = format!("\r\nCookie: {}\r\n\r\n", "x".repeat(8 * 1024));
    client
        .send(HANDSHAKE.replace("\r\n\r\n", &head).as_bytes())
        .await;
    assert!(client.head().await.starts_with("HTTP/1.1 101 "));
    drop(client);
    server.stop().await;
}
