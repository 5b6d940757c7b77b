//! A client that sends exactly the bytes it is told to.

use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// A wait that long is a failure; nothing here takes a second.
const PATIENCE: Duration = Duration::from_secs(30);

pub const HANDSHAKE: &str = "GET / HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
    Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";

pub struct Client<S = TcpStream> {
    pub stream: S,
    read: Vec<u8>,
}

/// A frame from the server.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame {
    pub first: u8,
    pub payload: Vec<u8>,
}

impl Client {
    pub async fn tcp(address: SocketAddr) -> Client {
        Client::over(TcpStream::connect(address).await.unwrap())
    }

    pub async fn open(address: SocketAddr) -> Client {
        let mut client = Client::tcp(address).await;
        client.shake_hands().await;
        client
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    pub fn over(stream: S) -> Client<S> {
        Client {
            stream,
            read: Vec::new(),
        }
    }

    pub async fn shake_hands(&mut self) {
        self.send(HANDSHAKE.as_bytes()).await;
        let head = self.head().await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        assert!(head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    }

    pub async fn send(&mut self, bytes: &[u8]) {
        patiently(self.stream.write_all(bytes)).await.unwrap();
    }

    /// A response's head, lower case but for its values.
    pub async fn head(&mut self) -> String {
        loop {
            if let Some(end) = self.read.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = self.read.drain(..end + 4).collect();
                return String::from_utf8(head).unwrap();
            }
            assert!(self.more().await, "ended: {:?}", self.read.escape_ascii());
        }
    }

    pub async fn frame(&mut self) -> Frame {
        self.frame_or_end().await.expect("a frame")
    }

    pub async fn frame_or_end(&mut self) -> Option<Frame> {
        loop {
            if let Some((frame, len)) = parse(&self.read) {
                self.read.drain(..len);
                return Some(frame);
            }
            if !self.more().await {
                assert!(self.read.is_empty(), "a torn frame");
                return None;
            }
        }
    }

    /// The code of the Close that must come next, and then the end of the stream, without a reset.
    pub async fn closed_with(&mut self) -> u16 {
        let close = self.frame().await;
        assert_eq!(close.first, 0x88);
        let code = u16::from_be_bytes([close.payload[0], close.payload[1]]);
        assert_eq!(self.frame_or_end().await, None);
        code
    }

    /// All that comes until the end.
    pub async fn rest(&mut self) -> Vec<u8> {
        while self.more().await {}
        std::mem::take(&mut self.read)
    }

    async fn more(&mut self) -> bool {
        let mut buffer = vec![0; 64 * 1024];
        let len = patiently(self.stream.read(&mut buffer)).await.unwrap();
        self.read.extend_from_slice(&buffer[..len]);
        len > 0
    }
}

pub async fn patiently<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .expect("the server does something")
}

/// A masked frame; `first` is FIN, RSV and opcode as on the wire.
pub fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mask = [1, 2, 3, 4];
    let mut out = header(first, 0x80, payload.len());
    out.extend(mask);
    out.extend(payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m));
    out
}

pub fn unmasked(first: u8, payload: &[u8]) -> Vec<u8> {
    [&header(first, 0, payload.len()), payload].concat()
}

fn header(first: u8, masked: u8, len: usize) -> Vec<u8> {
    let mut out = vec![first];
    match len {
        0..=125 => out.push(masked | len as u8),
        126..=0xFFFF => {
            out.push(masked | 126);
            out.extend((len as u16).to_be_bytes());
        }
        _ => {
            out.push(masked | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
    out
}

fn parse(bytes: &[u8]) -> Option<(Frame, usize)> {
    let (at, len) = match *bytes.get(1)? {
        126 => (
            4,
            u16::from_be_bytes(bytes.get(2..4)?.try_into().unwrap()) as usize,
        ),
        127 => (
            10,
            u64::from_be_bytes(bytes.get(2..10)?.try_into().unwrap()) as usize,
        ),
        len => (2, len as usize),
    };
    let payload = bytes.get(at..at + len)?.to_vec();
    let first = bytes[0];
    Some((Frame { first, payload }, at + len))
}
