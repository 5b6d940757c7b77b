//! HTTP requests that nobody would make.

use super::attack::Target;
use rand::{Rng, RngExt, rngs::StdRng, seq::IndexedRandom};

const METHODS: [&str; 12] = [
    "GET", "GET", "GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "TRACE", "CONNECT",
    "BREW",
];

const PATHS: [&str; 34] = [
    "/",
    "/index.html",
    "/game/",
    "/game/x",
    "/game/../../etc/passwd",
    "/..%2f..%2fetc%2fpasswd",
    "/%00",
    "/%ff%fe",
    "/%",
    "//",
    "/./././",
    "/assets/../Cargo.toml",
    "/api/",
    "/api/games",
    "/api/games?limit=-1",
    "/api/games?limit=99999999999999999999",
    "/api/games?player=%00&before=x",
    "/api/games/x",
    "/api/games/%2e%2e",
    "/api/games/x/pgn",
    "/api/games/x/events",
    "/api/games/x/stream?after=18446744073709551616",
    "/api/games/x/stream?after=-1",
    "/api/live",
    "/api/session",
    "/api/openapi.json",
    "/ws",
    "/metrics",
    "/drain",
    "/status",
    "/readyz",
    "*",
    "http://evil.example/",
    "x",
];

/// One of them, sometimes many in one go.
pub fn bad(target: &Target, random: &mut StdRng) -> Vec<u8> {
    let pipelined = if random.random_bool(0.05) {
        random.random_range(20..200)
    } else {
        1
    };
    let mut bytes = Vec::new();
    for _ in 0..pipelined {
        bytes.extend(one(target, random));
    }
    bytes
}

fn one(target: &Target, random: &mut StdRng) -> Vec<u8> {
    let method = METHODS.choose(random).unwrap_or(&"GET");
    let mut path = PATHS
        .choose(random)
        .map_or_else(String::new, |path| (*path).to_owned());
    match random.random_range(0..10) {
        0 => path.push_str(&"a".repeat(random.random_range(100..60_000))),
        1 => path.push_str(&"/..".repeat(random.random_range(1..500))),
        2 => path.push_str(&"?a=b&".repeat(random.random_range(1..500))),
        3 => {
            let mut junk = vec![0; random.random_range(1..60)];
            random.fill_bytes(&mut junk);
            path.push_str(
                &junk
                    .iter()
                    .map(|byte| format!("%{byte:02x}"))
                    .collect::<String>(),
            );
        }
        _ => {}
    }
    let (door, from) = (target.door, target.from);
    let mut text =
        format!("{method} {path} HTTP/1.1\r\nHost: {door}\r\nX-Forwarded-For: {from}\r\n")
            .into_bytes();
    match random.random_range(0..16) {
        0 => text.extend(b"Authorization: Bearer x.y.z\r\n"),
        1 => text.extend(format!("Authorization: Bearer {}\r\n", "a".repeat(9_000)).as_bytes()),
        2 => text.extend(b"Range: bytes=0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-,0-\r\n"),
        3 => text.extend(b"Range: bytes=99999999999999999999-1\r\n"),
        4 => text.extend(b"Accept-Encoding: gzip;q=nan, br;q=99, \xff\r\n"),
        5 => text.extend(b"If-None-Match: \"\\\r\n"),
        6 => text.extend(b"Content-Encoding: gzip\r\n"),
        7 => text.extend(b"Expect: 100-continue\r\n"),
        8 => text.extend(b"Origin: https://evil.example\r\n"),
        9 => text.extend(b"Host: other\r\n"),
        10 => text.extend(b"Cookie: \x01\x02\r\n"),
        11 => text.extend(
            b"Connection: upgrade, http2-settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAA\r\n",
        ),
        _ => {}
    }
    match random.random_range(0..10) {
        // A body that is long, endless, or both of two lengths.
        0 => {
            let len = random.random_range(1..100_000);
            text.extend(format!("Content-Length: {len}\r\n\r\n").as_bytes());
            text.extend(vec![b'{'; len]);
        }
        1 => {
            text.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for _ in 0..random.random_range(1..2_000) {
                text.extend(b"1\r\na\r\n");
            }
        }
        2 => text.extend(b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello!"),
        3 => text.extend(b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /drain HTTP/1.1\r\n\r\n"),
        4 => text.extend(b"Transfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\na"),
        _ => text.extend(b"\r\n"),
    }
    text
}
