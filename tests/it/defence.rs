//! Keeping people out of where they do not belong: addresses and what each may do, operators' keys, and secrets that stay secret.

use crate::scenarios;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode, jwk::Jwk};
use serde_json::json;
use std::{
    fs::File,
    net::SocketAddr,
    process::{Command, Stdio},
    time::{SystemTime, UNIX_EPOCH},
};
use tests::{
    cluster::{Listening, Over, rookery, until},
    http,
    player::{BLITZ, Dial, Player, UNTIMED},
    scene::Scene,
    servers::RedisServer,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

scenarios![only Embedded as embedded:
    one_address_floods_and_others_do_not_notice,
    one_address_has_so_many_sockets,
    a_proxy_that_passes_bytes_on_says_whose_they_are,
    an_operators_key_set_is_taken,
];

/// What a client of that address says through a proxy here.
fn from(address: &str) -> Vec<(&'static str, String)> {
    vec![("x-forwarded-for", address.to_owned())]
}

async fn one_address_floods_and_others_do_not_notice(over: Over) {
    let flags = [
        "--trusted-proxy",
        "127.0.0.0/8",
        "--requests-per-address",
        "2",
    ];
    let scene = Scene::with(over, 1, &flags).await;
    let door = scene.door(0);
    let ask = async |address: &str| {
        let reply = http::send(door, "GET", "/api/live", &[("x-forwarded-for", address)]).await;
        if reply.status == 429 {
            assert_eq!(reply.json()["error"]["code"], "rate_limited");
            assert!(reply.header("retry-after").is_some());
        }
        reply.status.as_u16()
    };
    let mut refused = 0;
    for number in 0..200 {
        // He writes a new address in front each time; the proxy adds the real one behind it.
        refused += usize::from(ask(&format!("10.1.1.{number}, 203.0.113.9")).await == 429);
    }
    assert!(
        refused > 0,
        "200 requests, 20 at once and 2 a second are allowed"
    );
    assert_eq!(ask("203.0.113.10").await, 200);
    // Who comes by no proxy is this machine itself.
    for _ in 0..100 {
        assert_eq!(http::get(door, "/api/live").await.status, 200);
    }
    scene.ends().await;
}

async fn one_address_has_so_many_sockets(over: Over) {
    let flags = [
        "--trusted-proxy",
        "127.0.0.1",
        "--connections-per-address",
        "2",
    ];
    let scene = Scene::with(over, 1, &flags).await;
    let dial = |address: &str| Dial {
        headers: from(address),
        ..Dial::default()
    };
    let mut first = scene.dials("First", 0, dial("203.0.113.9")).await;
    let second = scene.dials("Second", 0, dial("203.0.113.9")).await;
    let third = Player::try_dial(
        "Third",
        scene.door(0),
        scene.witness.clone(),
        dial("203.0.113.9"),
    );
    let why = third.await.expect_err("he was let in");
    assert!(why.contains("429"), "{why}");
    scene.dials("Other", 0, dial("203.0.113.10")).await;
    first.pings().await;
    // A place comes back.
    second.goes().await;
    until("there is a place again", async || {
        let third = dial("203.0.113.9");
        Player::try_dial("Third", scene.door(0), scene.witness.clone(), third)
            .await
            .is_ok()
    })
    .await;
    scene.ends().await;
}

/// Sends all that on a connection of its own; answers what is said back.
async fn exchange(door: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(door).await.unwrap();
    // It may be closed before all was taken.
    let _ = stream.write_all(bytes).await;
    let mut heard = Vec::new();
    let read = stream.read_to_end(&mut heard);
    let _ = tokio::time::timeout(tests::cluster::PATIENCE, read)
        .await
        .expect("it is closed");
    String::from_utf8_lossy(&heard).into_owned()
}

async fn a_proxy_that_passes_bytes_on_says_whose_they_are(over: Over) {
    let flags = [
        "--trusted-proxy",
        "127.0.0.1",
        "--proxy-protocol",
        "--requests-per-address",
        "1",
    ];
    let scene = Scene::with(over, 1, &flags).await;
    let door = scene.door(0);
    let request = "GET /api/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let v1 = |address: &str| format!("PROXY TCP4 {address} 10.0.0.1 4000 80\r\n{request}");
    let v2 = |last: u8| {
        let mut bytes = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
        bytes.extend([203, 0, 113, last, 10, 0, 0, 1, 0x10, 0, 0, 80]);
        bytes.extend(request.as_bytes());
        bytes
    };
    assert!(
        exchange(door, v1("203.0.113.9").as_bytes())
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    assert!(exchange(door, &v2(10)).await.starts_with("HTTP/1.1 200 "));
    let own = format!("PROXY UNKNOWN\r\n{request}");
    assert!(
        exchange(door, own.as_bytes())
            .await
            .starts_with("HTTP/1.1 200 ")
    );
    // An address is the same in both versions, and floods are told by it.
    let mut refused = 0;
    for number in 0..40 {
        let heard = if number % 2 == 0 {
            exchange(door, v1("203.0.113.11").as_bytes()).await
        } else {
            exchange(door, &v2(11)).await
        };
        refused += usize::from(heard.starts_with("HTTP/1.1 429 "));
    }
    assert!(refused > 0);
    assert!(exchange(door, &v2(12)).await.starts_with("HTTP/1.1 200 "));
    // A trusted proxy that leaves it out, or says nonsense, is not guessed at.
    assert_eq!(exchange(door, request.as_bytes()).await, "");
    assert_eq!(
        exchange(door, b"PROXY TCP4 1 2 3 4\r\nGET / HTTP/1.1\r\n\r\n").await,
        ""
    );
    // A WebSocket comes the same way.
    let mut stream = TcpStream::connect(door).await.unwrap();
    let handshake = "PROXY TCP4 203.0.113.13 10.0.0.1 4000 80\r\nGET /ws HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\
        Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    stream.write_all(handshake.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    while !String::from_utf8_lossy(&heard).contains("welcome") {
        let read = tokio::time::timeout(tests::cluster::PATIENCE, stream.read_buf(&mut heard));
        assert!(read.await.expect("in time").unwrap() > 0);
    }
    scene.ends().await;
}

async fn an_operators_key_set_is_taken(over: Over) {
    let pair = rcgen::KeyPair::generate().unwrap();
    let key = EncodingKey::from_ec_der(&pair.serialize_der());
    let mut jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
    jwk.common.key_id = Some("one".into());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("jwks.json");
    std::fs::write(&file, json!({ "keys": [jwk] }).to_string()).unwrap();
    let file = file.to_string_lossy();
    let flags = [
        "--jwks",
        &file,
        "--jwt-audience",
        "chess",
        "--jwt-issuer",
        "https://id.example",
    ];
    let scene = Scene::with(over, 2, &flags).await;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs();
    let sign = |audience: &str, name: &str| {
        let mut header = Header::new(Algorithm::ES256);
        header.kid = Some("one".into());
        let claims = json!({"sub": format!("user|{name}"), "name": name, "exp": now + 600, "aud": audience,
            "iss": "https://id.example"});
        Dial {
            token: Some(encode(&header, &claims, &key).unwrap()),
            ..Dial::default()
        }
    };
    let mut magda = scene.dials("Magda", 0, sign("chess", "Magda")).await;
    let expected = json!({"id": "user|Magda", "name": "Magda", "isGuest": false});
    assert_eq!(magda.welcome["user"], expected);
    let mut jan = scene.dials("Jan", 1, sign("chess", "Jan")).await;
    scene.seats(&mut magda, &mut jan, BLITZ).await;
    magda.plays("e4").await;
    // The token of the welcome is ours, and as good as the operator's on any node.
    magda.reconnects_to(scene.door(1)).await;
    let other = Player::try_dial(
        "Eve",
        scene.door(0),
        scene.witness.clone(),
        sign("shop", "Eve"),
    );
    let why = other.await.expect_err("she was let in");
    assert!(why.contains("Some(4501)"), "{why}");
    scene.ends().await;
}

/// Everything a node writes, at its most talkative, while it is told secrets, shown tokens, and its Redis goes away.
#[tokio::test]
async fn no_secret_is_ever_written() {
    let server = RedisServer::start().await;
    let mut require = redis::cmd("CONFIG");
    require.arg("SET").arg("requirepass").arg("redis-hunter2");
    server.ask::<()>(&require).await;
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let url = format!("redis://:redis-hunter2@{}", server.address());
    let secret = "token-hunter2-0123456789abcdef-0123456789abcdef";
    let start = |url: &str| {
        Command::new(rookery())
            .args([
                "serve",
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
            ])
            .args(["--data-dir", &dir.path().to_string_lossy()])
            .env("ROOKERY_REDIS_URL", url)
            .env("ROOKERY_TOKEN_SECRET", secret)
            .env("RUST_LOG", "trace")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(
                File::options()
                    .create(true)
                    .append(true)
                    .open(&log)
                    .unwrap(),
            )
            .spawn()
            .unwrap()
    };
    let mut child = start(&url);
    let listening = Listening::read(&mut child).unwrap();
    let door = listening.http;
    let witness = std::sync::Arc::default();
    let mut alice = Player::comes("Alice", door, witness).await;
    let token = alice.token().to_owned();
    alice.invites(BLITZ, "white").await;
    alice.reconnects_to(door).await;
    let bearer = format!("Bearer {token}");
    let session = http::send(door, "POST", "/api/session", &[("authorization", &bearer)]).await;
    assert_eq!(session.status, 200);
    let bad = http::get(door, "/ws?token=bad-hunter2").await;
    assert!(!bad.text().contains("hunter2"));
    server.kill();
    until("it notices", async || {
        std::fs::read_to_string(&log).unwrap().contains("reconnect")
            || std::fs::read_to_string(&log).unwrap().contains("refused")
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    // Settings that are wrong are said, without what is secret in them.
    for wrong in [
        "redis://:redis-hunter2@127.0.0.1:1",
        "redis://:redis-hunter2@nowhere.invalid:x",
        "http://:redis-hunter2@a",
    ] {
        let mut child = start(wrong);
        until("it gives up", async || child.try_wait().unwrap().is_some()).await;
    }
    let said = std::fs::read_to_string(&log).unwrap() + &listening.line;
    assert!(said.len() > 1_000, "{said}");
    for secret in ["hunter2", token.as_str(), token.split('.').nth(2).unwrap()] {
        if let Some(place) = said.find(secret) {
            let from = said[..place].rfind('\n').map_or(0, |line| line + 1);
            panic!("{secret} was written: {:.500}", &said[from..]);
        }
    }
}

/// What an operator's log search needs: who, where, and which node, in every line that is about somebody or a room.
#[tokio::test]
async fn lines_name_the_room_the_user_and_the_node() {
    let dir = tempfile::tempdir().unwrap();
    let log = dir.path().join("log");
    let mut child = Command::new(rookery())
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(["--admin-listen", "127.0.0.1:0", "--node-id", "a \"node\""])
        .args(["--data-dir", &dir.path().to_string_lossy()])
        .env("RUST_LOG", "gateway=debug")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(File::create(&log).unwrap())
        .spawn()
        .unwrap();
    let door = Listening::read(&mut child).unwrap().http;
    let witness: std::sync::Arc<tests::witness::Witness> = std::sync::Arc::default();
    let mut alice = Player::comes("Alice", door, witness.clone()).await;
    let mut bob = Player::comes("Bob", door, witness).await;
    alice.seeks(UNTIMED).await;
    bob.seeks(UNTIMED).await;
    alice.starts().await;
    bob.starts().await;
    let (game, users) = (alice.game.clone(), [alice.id.clone(), bob.id.clone()]);
    alice.hangs_up().await;
    bob.hangs_up().await;
    let lines = || -> Vec<serde_json::Value> {
        let text = std::fs::read_to_string(&log).unwrap();
        let whole = text
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n'));
        whole
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    };
    let of = |message: &'static str| {
        let lines = lines().into_iter();
        lines.filter(move |line| line["message"] == message)
    };
    until("the room is closed", async || {
        of("room closed").count() == 1
    })
    .await;
    child.kill().unwrap();
    child.wait().unwrap();
    for message in ["room opened", "room closed"] {
        let line = of(message).next().unwrap();
        // Whoever opened the room is not in it.
        assert_eq!(
            line["spans"],
            serde_json::json!([{"name": "room", "room": game}])
        );
    }
    let mut ended: Vec<String> = of("connection ended")
        .map(|line| {
            assert!(line["span"]["connection"].is_u64(), "{line}");
            line["span"]["user"].as_str().unwrap().to_owned()
        })
        .collect();
    ended.sort();
    let mut users = users.to_vec();
    users.sort();
    assert_eq!(ended, users);
    assert!(
        lines().iter().all(|line| line["node"] == "a \"node\""),
        "{:#?}",
        lines()
    );
}
