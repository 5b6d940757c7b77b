//! One attack: what is sent on one connection, and whether what came back is in good form.

use super::{frames, handshakes, requests, tokens};
use anyhow::{Context, bail, ensure};
use rand::{Rng, RngExt, rngs::StdRng};
use std::{net::SocketAddr, time::Duration};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

/// How long a gateway may take to answer or close, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(40);

/// How long an attacker goes on listening to a connection that is neither answered nor closed: some attacks are nothing a server
/// must answer, and only stop.
const GIVES_UP: Duration = Duration::from_millis(300);

/// Most that is read of an answer.
const ANSWER_LEN_MAX: usize = 256 * 1024;

/// Kinds of attack.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attack {
    /// Bytes of any kind.
    Garbage,
    /// A handshake that is nearly right.
    Handshake,
    /// Frames that are none, after a good handshake.
    Frames,
    /// Frames in numbers: pings, tiny fragments.
    Flood,
    /// Messages that are nearly right.
    Messages,
    /// A token that is none.
    Token,
    /// An HTTP request.
    Request,
}

/// Where an attack goes, and from where it seems to come.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// The gateway.
    pub door: SocketAddr,
    /// The address a proxy would name.
    pub from: std::net::Ipv4Addr,
}

impl Target {
    /// At that door, from one of a few addresses: so some of them pass their limits.
    pub fn at(door: SocketAddr, random: &mut StdRng) -> Target {
        let from = [203, 0, 113, random.random_range(1..=24)];
        Target {
            door,
            from: from.into(),
        }
    }

    /// A connection.
    pub async fn connect(&self) -> anyhow::Result<TcpStream> {
        let connecting = timeout(PATIENCE, TcpStream::connect(self.door));
        let stream = connecting.await.context("no connection in time")??;
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

impl Attack {
    /// Any of them.
    pub fn any(random: &mut StdRng) -> Attack {
        match random.random_range(0..20) {
            0..2 => Attack::Garbage,
            2..6 => Attack::Handshake,
            6..9 => Attack::Frames,
            9 => Attack::Flood,
            10..13 => Attack::Messages,
            13..16 => Attack::Token,
            _ => Attack::Request,
        }
    }

    /// Makes it; answers in a word what the gateway did.
    pub async fn make(self, target: Target, random: &mut StdRng) -> anyhow::Result<String> {
        match self {
            Attack::Garbage => {
                let mut bytes = vec![0; random.random_range(1..4_000)];
                random.fill_bytes(&mut bytes);
                let mut stream = target.connect().await?;
                send(&mut stream, &bytes).await;
                http_answer(&listen(&mut stream).await)
            }
            Attack::Handshake => {
                let mut stream = target.connect().await?;
                send(&mut stream, &handshakes::bad(&target, random)).await;
                http_answer(&listen(&mut stream).await)
            }
            Attack::Request => {
                let mut stream = target.connect().await?;
                send(&mut stream, &requests::bad(&target, random)).await;
                http_answer(&listen(&mut stream).await)
            }
            Attack::Token => tokens::attack(target, random).await,
            Attack::Frames => socket(target, frames::bad(random)).await,
            Attack::Flood => socket(target, frames::flood(random)).await,
            Attack::Messages => socket(target, frames::messages(random)).await,
        }
    }
}

/// Shakes hands, sends all that, says goodbye in good form, and reads to the end.
async fn socket(target: Target, bytes: Vec<u8>) -> anyhow::Result<String> {
    let mut stream = target.connect().await?;
    send(
        &mut stream,
        handshakes::good(&target, "/ws", &[]).as_bytes(),
    )
    .await;
    let Some(rest) = upgraded(&mut stream).await? else {
        return Ok("429".to_owned());
    };
    let (mut reading, mut writing) = stream.split();
    let write = async {
        // Whoever is closed in the midst of it hears so by reading.
        let _ = timeout(PATIENCE, writing.write_all(&bytes)).await;
        let _ = timeout(PATIENCE, writing.write_all(&frames::close())).await;
    };
    let mut heard = rest;
    let read = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            match timeout(PATIENCE, reading.read(&mut buffer)).await {
                Ok(Ok(0) | Err(_)) => return Ok(()),
                Ok(Ok(len)) if heard.len() < ANSWER_LEN_MAX => heard.extend(&buffer[..len]),
                Ok(Ok(_)) => {}
                Err(_) => bail!("a connection that said goodbye is not closed"),
            }
        }
    };
    let ((), read) = tokio::join!(write, read);
    read?;
    let code = frames::close_code(&heard)?;
    // A flood may be cut off before its close frame could be read by us: TCP is reset when we go on writing.
    Ok(code.map_or_else(|| "cut off".to_owned(), |code| code.to_string()))
}

/// Reads the answer to a handshake; what came after it, or `None` if this address has had too many.
pub async fn upgraded(stream: &mut TcpStream) -> anyhow::Result<Option<Vec<u8>>> {
    let mut heard = Vec::new();
    loop {
        if let Some(end) = heard.windows(4).position(|four| four == b"\r\n\r\n") {
            let rest = heard.split_off(end + 4);
            let head = String::from_utf8_lossy(&heard).into_owned();
            if head.starts_with("HTTP/1.1 429 ") {
                return Ok(None);
            }
            ensure!(
                head.starts_with("HTTP/1.1 101 "),
                "a good handshake is answered {head}"
            );
            ensure!(
                !head
                    .to_ascii_lowercase()
                    .contains("sec-websocket-extensions"),
                "{head}"
            );
            return Ok(Some(rest));
        }
        let read = timeout(PATIENCE, stream.read_buf(&mut heard)).await;
        let len = read.context("a good handshake is not answered")??;
        ensure!(len > 0, "a good handshake is not answered");
    }
}

/// Sends it, as far as the other end takes it.
pub async fn send(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = timeout(PATIENCE, stream.write_all(bytes)).await;
}

/// What is said back until nothing is for a moment.
async fn listen(stream: &mut TcpStream) -> Vec<u8> {
    let mut heard = Vec::new();
    while heard.len() < ANSWER_LEN_MAX {
        match timeout(GIVES_UP, stream.read_buf(&mut heard)).await {
            Ok(Ok(1..)) => {}
            _ => break,
        }
    }
    heard
}

/// Answers the first status, having looked at the form: an error is the client's, never the server's.
fn http_answer(heard: &[u8]) -> anyhow::Result<String> {
    if heard.is_empty() {
        return Ok("no answer".to_owned());
    }
    let text = String::from_utf8_lossy(&heard[..heard.len().min(2_000)]);
    let status = text.strip_prefix("HTTP/1.").and_then(|rest| rest.get(2..5));
    let status = status.with_context(|| format!("no HTTP answer: {text:.200}"))?;
    ensure!(
        // 503 is `unavailable`: on a busy machine Redis may not answer in time. The canaries see whether it is more than that.
        !status.starts_with('5') || matches!(status, "501" | "503" | "505"),
        "the server says it is at fault: {text}"
    );
    for word in ["panicked", "RUST_BACKTRACE", ".rs:"] {
        ensure!(
            !text.contains(word),
            "the answer tells of the inside: {text}"
        );
    }
    Ok(status.to_owned())
}
