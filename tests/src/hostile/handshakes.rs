//! Opening handshakes, good and bad.

use super::attack::Target;
use rand::{Rng, RngExt, rngs::StdRng, seq::IndexedRandom};

/// A good one, with further header lines.
pub fn good(target: &Target, path: &str, more: &[String]) -> String {
    let (door, from) = (target.door, target.from);
    let more: String = more.iter().map(|line| format!("{line}\r\n")).collect();
    format!(
        "GET {path} HTTP/1.1\r\nHost: {door}\r\nX-Forwarded-For: {from}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{more}\r\n"
    )
}

/// One in which something is wrong; sometimes several things.
pub fn bad(target: &Target, random: &mut StdRng) -> Vec<u8> {
    let mut text = good(target, "/ws", &[]).into_bytes();
    for _ in 0..random.random_range(1..4) {
        text = spoil(text, target, random);
    }
    text
}

fn spoil(text: Vec<u8>, target: &Target, random: &mut StdRng) -> Vec<u8> {
    let lossy = String::from_utf8_lossy(&text).into_owned();
    let replace = |from: &str, to: &str| lossy.replacen(from, to, 1).into_bytes();
    let with = |line: String| replace("\r\n", &format!("\r\n{line}\r\n"));
    match random.random_range(0..22) {
        // A line is gone, or there twice.
        0 | 1 => {
            let lines: Vec<&str> = lossy.split("\r\n").collect();
            let place = random.random_range(0..lines.len());
            let mut changed = lines.clone();
            if random.random_bool(0.5) {
                changed.remove(place);
            } else {
                changed.insert(place, lines[place]);
            }
            changed.join("\r\n").into_bytes()
        }
        // Bytes are others, or missing, or more than there should be.
        2 | 3 => {
            let mut text = text;
            for _ in 0..random.random_range(1..6) {
                let place = random.random_range(0..text.len());
                text[place] = random.random();
            }
            text
        }
        4 => text[..random.random_range(0..text.len())].to_vec(),
        5 => {
            let mut text = text;
            let place = random.random_range(0..text.len());
            let mut more = vec![0; random.random_range(1..200)];
            random.fill_bytes(&mut more);
            text.splice(place..place, more);
            text
        }
        6 => replace("GET", ["POST", "HEAD", "CONNECT", "OPTIONS", "get", "PRI"].choose(random).unwrap_or(&"PUT")),
        7 => replace("HTTP/1.1", ["HTTP/1.0", "HTTP/2.0", "HTTP/9.9", "HTTP", ""].choose(random).unwrap_or(&"")),
        8 => replace("Version: 13", ["Version: 8", "Version: 0", "Version: 13, 8", "Version: x"].choose(random).unwrap_or(&"")),
        9 => replace("dGhlIHNhbXBsZSBub25jZQ==", ["", "short", "====", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"].choose(random).unwrap_or(&"")),
        10 => with(format!("Origin: {}", ["https://evil.example", "null", "http://", "file://", "https://127.0.0.1.evil.example"].choose(random).unwrap_or(&""))),
        // Heads that are too long, in one line or in many.
        11 => with(format!("X-Long: {}", "a".repeat(random.random_range(8_000..200_000)))),
        12 => with((0..random.random_range(50..3_000)).map(|number| format!("X-{number}: a")).collect::<Vec<_>>().join("\r\n")),
        13 => replace("/ws", &format!("/ws?token={}", "a".repeat(random.random_range(1..100_000)))),
        // A compression bomb begins with this; it is not accepted, and what is not accepted cannot be used.
        14 => with("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits=15; server_no_context_takeover".to_owned()),
        15 => with(format!("Sec-WebSocket-Protocol: {}", vec!["rookery"; random.random_range(1..500)].join(","))),
        // Two readings of where the request ends.
        16 => with("Content-Length: 10\r\nTransfer-Encoding: chunked".to_owned()),
        17 => with(format!("Content-Length: {}", ["-1", "99999999999999999999", "1e3", "0x10"].choose(random).unwrap_or(&""))),
        18 => {
            let mut text = b"PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n".to_vec();
            text.extend(good(target, "/ws", &[]).as_bytes());
            text
        }
        19 => replace("X-Forwarded-For: ", &format!("X-Forwarded-For: {}", "127.0.0.1, ".repeat(random.random_range(1..300)))),
        20 => replace("/ws", ["/ws/", "//ws", "/ws/../ws", "/%77s", "/ws%00", "http://evil.example/ws", "*"].choose(random).unwrap_or(&"")),
        _ => replace("\r\n", ["\n", "\r", "\r\n ", "\0\r\n"].choose(random).unwrap_or(&"")),
    }
}
