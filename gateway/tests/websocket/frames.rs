//! After the handshake: messages, mistakes and goodbyes on a real connection.

use std::time::Duration;

use gateway::websocket::Limits;
use gateway::websocket::frame::Rules;
use gateway::websocket::listen::HttpLimits;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::client::{Client, Frame, frame, patiently, unmasked};
use crate::echo;
use crate::server::Server;

#[tokio::test]
async fn text_and_binary_come_back() {
    let server = Server::start();
    let mut client = Client::open(server.address).await;
    for first in [0x81, 0x82] {
        for len in [0, 1, 125, 126, 4096, 65_535, 65_536, 1_000_000] {
            let payload = vec![b'x'; len];
            client.send(&frame(first, &payload)).await;
            assert_eq!(client.frame().await, Frame { first, payload });
        }
    }
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn mistakes_are_told_and_the_stream_ends_in_order() {
    let server = Server::with(
        Limits {
            rules: Rules::default(),
            ..echo::limits()
        },
        HttpLimits::default(),
    );
    let cases: [(&str, Vec<u8>, u16); 8] = [
        ("unmasked", unmasked(0x81, b"hello"), 1002),
        ("opcode", frame(0x83, b""), 1002),
        ("long ping", frame(0x89, &[0; 126]), 1002),
        ("binary", frame(0x82, b"x"), 1003),
        ("not UTF-8", frame(0x81, b"\xFF"), 1007),
        ("not UTF-8, unfinished", frame(0x01, b"\xFF"), 1007),
        ("too large", frame(0x81, &[b'x'; 70_000]), 1009),
        (
            "over the echo's own limit",
            frame(0x81, &[b'x'; 5_000]),
            1009,
        ),
    ];
    for (name, bytes, code) in cases {
        let mut client = Client::open(server.address).await;
        client.send(&bytes).await;
        let got = async {
            let close = client.frame().await;
            assert_eq!(close.first, 0x88, "{name}");
            u16::from_be_bytes([close.payload[0], close.payload[1]])
        };
        assert_eq!(got.await, code, "{name}");
        client.send(&frame(0x88, &code.to_be_bytes())).await;
        assert_eq!(client.frame_or_end().await, None, "{name}");
    }
    server.stop().await;
}

/// The server stops understanding at the first header. If it closed TCP with bytes unread, the kernel's reset would take
/// the Close away from the client.
#[tokio::test]
async fn a_client_that_goes_on_sending_still_gets_the_close() {
    let server = Server::with(
        Limits {
            rules: Rules::default(),
            ..echo::limits()
        },
        HttpLimits::default(),
    );
    for _ in 0..20 {
        let mut client = Client::open(server.address).await;
        let (mut reading, mut writing) = client.stream.split();
        let flood = async {
            let chunk = frame(0x81, &[b'x'; 100_000]);
            for _ in 0..20 {
                writing.write_all(&chunk).await.unwrap();
            }
            // Only now is anything read: the Close must have lasted.
            let mut got = vec![];
            reading.read_to_end(&mut got).await.unwrap();
            got
        };
        let got = patiently(flood).await;
        assert_eq!(&got[..1], [0x88]);
        assert_eq!(&got[2..4], 1009u16.to_be_bytes());
    }
    server.stop().await;
}

#[tokio::test]
async fn a_goodbye_is_returned() {
    let server = Server::start();
    for code in [1000u16, 1001, 3000, 4999] {
        let mut client = Client::open(server.address).await;
        client.send(&frame(0x81, b"before")).await;
        client.send(&frame(0x88, &code.to_be_bytes())).await;
        assert_eq!(client.frame().await.payload, b"before");
        assert_eq!(client.closed_with().await, code);
    }
    let mut client = Client::open(server.address).await;
    client.send(&frame(0x88, b"")).await;
    assert_eq!(
        client.frame().await,
        Frame {
            first: 0x88,
            payload: vec![]
        }
    );
    assert_eq!(client.frame_or_end().await, None);
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn a_flood_of_pings_is_answered_as_far_as_it_is_read() {
    const PINGS: u32 = 300_000;
    let server = Server::start();
    let mut client = Client::open(server.address).await;
    let mut flood = Vec::new();
    for n in 0..PINGS {
        flood.extend(frame(0x89, &n.to_be_bytes()));
    }
    // Nothing is read until all is written: the server must not wait for us either.
    client.send(&flood).await;
    let mut last = None;
    let mut pongs = 0;
    while last != Some(PINGS - 1) {
        let pong = client.frame().await;
        assert_eq!(pong.first, 0x8A);
        let n = u32::from_be_bytes(pong.payload.try_into().unwrap());
        assert!(last.is_none_or(|last| last < n), "pongs keep their order");
        last = Some(n);
        pongs += 1;
    }
    println!("{pongs} of {PINGS} pings were answered");
    client.send(&frame(0x81, b"alive")).await;
    assert_eq!(client.frame().await.payload, b"alive");
    drop(client);
    server.stop().await;
}

#[tokio::test]
async fn tiny_fragments_without_end_are_only_counted() {
    let server = Server::start();
    let mut client = Client::open(server.address).await;
    client.send(&frame(0x01, b"")).await;
    client.send(&frame(0x00, b"").repeat(200_000)).await;
    client.send(&frame(0x80, b"end")).await;
    assert_eq!(client.frame().await.payload, b"end");
    drop(client);
    server.stop().await;
}

/// The echo pauses at 64 KiB of unread echoes; without that it would hold all of this.
#[tokio::test]
async fn a_client_that_sends_before_it_reads_is_slowed_down_not_cut_off() {
    const MESSAGES: u32 = 2_000;
    let server = Server::start();
    let client = Client::open(server.address).await;
    let (reading, mut writing) = client.stream.into_split();
    let sending = tokio::spawn(async move {
        for n in 0..MESSAGES {
            let mut payload = vec![b'x'; 20_000];
            payload[..4].copy_from_slice(&n.to_be_bytes());
            writing.write_all(&frame(0x82, &payload)).await.unwrap();
        }
        writing
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(
        !sending.is_finished(),
        "40 MB fit nowhere but in a queue without bound"
    );
    let mut client = Client::over(tokio::io::join(reading, tokio::io::sink()));
    for n in 0..MESSAGES {
        let echo = client.frame().await;
        assert_eq!(echo.payload[..4], n.to_be_bytes());
        assert_eq!(echo.payload.len(), 20_000);
    }
    drop(sending.await.unwrap());
    drop(client);
    server.stop().await;
}
