//! Tokens that are none: a real one, changed in any way, is nobody's.

use super::{
    attack::{Target, send, upgraded},
    frames, handshakes,
};
use anyhow::{Context, ensure};
use gateway::identity::Tokens;
use rand::{Rng, RngExt, rngs::StdRng, seq::IndexedRandom};
use std::time::Duration;
use tokio::{io::AsyncReadExt, time::timeout};

/// How long a refusal may take.
const PATIENCE: Duration = Duration::from_secs(40);

/// Shows a bad token in one of the two ways; it must be refused with 4501.
pub async fn attack(target: Target, random: &mut StdRng) -> anyhow::Result<String> {
    let token = bad(random);
    let request = if random.random_bool(0.5) {
        handshakes::good(&target, &format!("/ws?token={token}"), &[])
    } else {
        let offer = format!("Sec-WebSocket-Protocol: rookery, {token}");
        handshakes::good(&target, "/ws", &[offer])
    };
    let mut stream = target.connect().await?;
    send(&mut stream, request.as_bytes()).await;
    let Some(mut heard) = upgraded(&mut stream).await? else {
        return Ok("429".to_owned());
    };
    let code = loop {
        if let Some(code) = frames::close_code(&heard)? {
            break code;
        }
        let read = timeout(PATIENCE, stream.read_buf(&mut heard)).await;
        let len = read.context("a bad token is not refused in time")??;
        ensure!(len > 0, "a bad token {token} is let go without a word");
    };
    ensure!(code == 4501, "the bad token {token} is answered {code}");
    ensure!(
        !heard.windows(7).any(|window| window == b"welcome"),
        "the bad token {token} is welcome"
    );
    Ok(code.to_string())
}

fn bad(random: &mut StdRng) -> String {
    let other = Tokens::new(
        &[b"the secret of somebody else, long enough".to_vec()],
        &[],
        &[],
    );
    let foreign = other.issue(&Tokens::guest());
    let base64 = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut junk = |len: usize| -> String {
        (0..len)
            .filter_map(|_| base64.choose(random))
            .map(|byte| char::from(*byte))
            .collect()
    };
    let parts: Vec<&str> = foreign.split('.').collect();
    let headers = [
        // {"alg":"none"}, {"alg":"RS256","kid":"../../etc/passwd"}, {"alg":"HS512"}, {"alg":"ES256","jwk":{}}
        "eyJhbGciOiJub25lIn0",
        "eyJhbGciOiJSUzI1NiIsImtpZCI6Ii4uLy4uL2V0Yy9wYXNzd2QifQ",
        "eyJhbGciOiJIUzUxMiJ9",
        "eyJhbGciOiJFUzI1NiIsImp3ayI6e319",
    ];
    let texts = [
        foreign.clone(),
        junk(1),
        junk(300),
        junk(4_000),
        junk(6_000),
        format!("{}.{}.{}", junk(20), junk(80), junk(43)),
        format!("{}.{}.", headers[0], parts[1]),
        format!("{}.{}.{}", headers[1], parts[1], parts[2]),
        format!("{}.{}.{}", headers[2], parts[1], parts[2]),
        format!("{}.{}.{}", headers[3], parts[1], junk(86)),
        format!("{}.{}", parts[0], parts[1]),
        format!("{foreign}.{}", junk(10)),
        format!("{}..{}", parts[0], parts[2]),
        "...".to_owned(),
    ];
    let _ = random.next_u32();
    texts.choose(random).cloned().unwrap_or_default()
}
