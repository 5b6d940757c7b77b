//! Frames that are none, frames in numbers, and messages that are nearly right; and what a gateway's own frames say.

use anyhow::{bail, ensure};
use rand::{Rng, RngExt, rngs::StdRng, seq::IndexedRandom};
use serde_json::{Value, json};

/// A frame as a client sends it, masked with zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ 0..126 => frame.push(0x80 | len as u8),
        len @ 126..65_536 => {
            frame.push(0x80 | 126);
            frame.extend((len as u16).to_be_bytes());
        }
        len => {
            frame.push(0x80 | 127);
            frame.extend((len as u64).to_be_bytes());
        }
    }
    frame.extend([0; 4]);
    frame.extend(payload);
    frame
}

/// The goodbye of a client.
pub fn close() -> Vec<u8> {
    frame(0x88, &1000u16.to_be_bytes())
}

/// Frames that break the protocol, one way or another.
pub fn bad(random: &mut StdRng) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..random.random_range(1..5) {
        let mut junk = vec![0; random.random_range(0..300)];
        random.fill_bytes(&mut junk);
        bytes.extend(match random.random_range(0..14) {
            0 => junk,
            // Reserved bits and opcodes; the first reserved bit says compressed.
            1 => frame(0x80 | (random.random_range(1..8) << 4) | 1, &junk),
            2 => frame(0xc1, &deflate_bomb()),
            3 => frame(
                0x80 | *[3, 4, 5, 6, 7, 11, 12, 13, 14, 15]
                    .choose(random)
                    .unwrap_or(&3),
                &junk,
            ),
            // Not masked.
            4 => [
                &[0x81, junk.len().min(125) as u8][..],
                &junk[..junk.len().min(125)],
            ]
            .concat(),
            // Lengths that cannot be, or that promise more than anybody would keep.
            5 => [&[0x81, 0xff][..], &u64::MAX.to_be_bytes(), &junk].concat(),
            6 => [
                &[0x82, 0xff][..],
                &(1u64 << 40).to_be_bytes(),
                &[0; 4],
                &junk,
            ]
            .concat(),
            7 => [&[0x81, 0xfe, 0, 5][..], &[0; 4], &junk].concat(),
            // Control frames in pieces, or too long.
            8 => frame(*[0x09, 0x08, 0x0a].choose(random).unwrap_or(&9), b"a"),
            9 => frame(
                *[0x89, 0x88, 0x8a].choose(random).unwrap_or(&0x89),
                &[b'a'; 200],
            ),
            // Pieces of nothing, or two messages at once.
            10 => frame(0x80, &junk),
            11 => [frame(0x01, b"a"), frame(0x81, b"b")].concat(),
            // No UTF-8; a goodbye with a code that is none.
            12 => frame(0x81, &[0xff, 0xfe, 0xed, 0xa0, 0x80]),
            _ => {
                let code: u16 = *[0, 999, 1004, 1005, 1006, 1015, 2999, 5000, 65_535]
                    .choose(random)
                    .unwrap_or(&0);
                frame(
                    0x88,
                    &[&code.to_be_bytes()[..], &junk[..junk.len().min(100)]].concat(),
                )
            }
        });
    }
    bytes
}

/// A kilobyte that would be a megabyte of zeros: deflate's block of one symbol and its longest repeats.
fn deflate_bomb() -> Vec<u8> {
    // 00 as a literal, then "repeat 258 at distance 1" over and over, in fixed codes, as zlib makes it of zeros.
    let mut bytes = vec![0x62, 0x60, 0x18, 0x05, 0xa3, 0x60, 0x14, 0x0c];
    bytes.resize(1_024, 0);
    bytes
}

/// Frames in numbers: each is right, all together are too many.
pub fn flood(random: &mut StdRng) -> Vec<u8> {
    let many = random.random_range(500..5_000);
    match random.random_range(0..6) {
        0 => frame(0x89, b"ping").repeat(many),
        1 => frame(0x8a, b"pong").repeat(many),
        // A message in pieces of one byte, and in pieces of none.
        2 => [
            frame(0x01, b""),
            frame(0x00, b"a").repeat(many),
            frame(0x80, b""),
        ]
        .concat(),
        3 => [
            frame(0x01, b""),
            frame(0x00, b"").repeat(many),
            frame(0x80, b""),
        ]
        .concat(),
        4 => frame(0x81, br#"{"type":"ping"}"#).repeat(many),
        _ => frame(0x81, &vec![b'x'; 60_000]).repeat(many / 100),
    }
}

/// Messages that are nearly right: names that are known with values of any kind.
pub fn messages(random: &mut StdRng) -> Vec<u8> {
    const KINDS: [&str; 26] = [
        "init_game",
        "cancel_seek",
        "create_game",
        "join_game",
        "join_room",
        "leave_room",
        "move",
        "resign",
        "abort",
        "offer_draw",
        "accept_draw",
        "decline_draw",
        "claim_draw",
        "claim_victory",
        "offer_rematch",
        "accept_rematch",
        "offer_takeback",
        "accept_takeback",
        "exit_game",
        "chat",
        "ping",
        "welcome",
        "ack",
        "game_over",
        "__proto__",
        "",
    ];
    const KEYS: [&str; 16] = [
        "gameId",
        "move",
        "ply",
        "seq",
        "epoch",
        "timeControl",
        "initialMs",
        "incrementMs",
        "name",
        "color",
        "key",
        "text",
        "from",
        "to",
        "promotion",
        "t",
    ];
    let mut bytes = Vec::new();
    for _ in 0..random.random_range(1..60) {
        let mut payload = json!({});
        for _ in 0..random.random_range(0..6) {
            payload[*KEYS.choose(random).unwrap_or(&"t")] = value(random, 3);
        }
        let mut message = json!({"type": KINDS.choose(random), "payload": payload});
        if random.random_bool(0.3) {
            message["id"] = value(random, 1);
        }
        let mut text = message.to_string();
        match random.random_range(0..12) {
            0 => text.truncate(text.floor_char_boundary(text.len() / 2)),
            1 => text = "[".repeat(random.random_range(1..4_000)),
            2 => text.push_str(&" ".repeat(5_000)),
            3 => text = text.replace(':', "::"),
            _ => {}
        }
        bytes.extend(frame(0x81, text.as_bytes()));
    }
    bytes
}

fn value(random: &mut StdRng, depth: usize) -> Value {
    match random.random_range(0..if depth == 0 { 9 } else { 11 }) {
        0 => Value::Null,
        1 => json!(random.random::<bool>()),
        2 => json!(random.random::<i64>()),
        3 => json!(random.random::<f64>()),
        4 => json!(u64::MAX),
        5 => json!("e2e4"),
        6 => json!("\u{202e}\u{0}<script>alert(1)</script>"),
        7 => json!("x".repeat(random.random_range(0..900))),
        8 => json!({"initialMs": 60_000, "incrementMs": 0}),
        9 => (0..random.random_range(0..4))
            .map(|_| value(random, depth - 1))
            .collect(),
        _ => json!({"from": value(random, depth - 1), "to": value(random, depth - 1)}),
    }
}

/// The code of the close frame among a gateway's frames, which must all be in good form; `None` if there is none (yet).
pub fn close_code(bytes: &[u8]) -> anyhow::Result<Option<u16>> {
    let mut rest = bytes;
    loop {
        let [first, second, ..] = *rest else {
            return Ok(None);
        };
        ensure!(second & 0x80 == 0, "a gateway's frame is masked");
        ensure!(first & 0x70 == 0, "a gateway's frame has a reserved bit");
        let (len, from) = match second {
            126 if rest.len() >= 4 => (usize::from(u16::from_be_bytes([rest[2], rest[3]])), 4),
            127 if rest.len() >= 10 => {
                let len: [u8; 8] = rest[2..10].try_into()?;
                (usize::try_from(u64::from_be_bytes(len))?, 10)
            }
            126 | 127 => return Ok(None),
            len => (usize::from(len), 2),
        };
        let Some(payload) = rest.get(from..from + len) else {
            return Ok(None);
        };
        match first {
            0x81 => {
                let text = std::str::from_utf8(payload)?;
                let message: Value = serde_json::from_str(text)?;
                ensure!(
                    message["type"].is_string(),
                    "a message without a type: {text:.200}"
                );
            }
            0x89 | 0x8a => {}
            0x88 => {
                ensure!(len >= 2, "a gateway closes without a code");
                let code = u16::from_be_bytes([payload[0], payload[1]]);
                let good = [
                    1000, 1001, 1002, 1003, 1007, 1008, 1009, 1012, 1013, 4008, 4010, 4501,
                ];
                ensure!(good.contains(&code), "a gateway closes with {code}");
                return Ok(Some(code));
            }
            other => bail!("a gateway sends a frame {other:02x}"),
        }
        rest = &rest[from + len..];
    }
}
