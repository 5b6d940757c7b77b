//! Redis behind TLS with a CA of the operator's own, and a user who may do the least.

use crate::nodes::*;
use pubsub::{Backplane, Redis, RedisOptions, redis::ACL_RULE};
use redis::cmd;
use std::sync::Arc;
use tests::{
    cluster::{SECRET, config},
    player::{BLITZ, Player},
    servers::{Certificates, RedisServer, free_port},
    witness::Witness,
};

/// A server that speaks TLS on a second port.
async fn secured() -> (RedisServer, Certificates, u16) {
    provider();
    let certificates = Certificates::new();
    let port = free_port();
    let file = |path: std::path::PathBuf| path.to_string_lossy().into_owned();
    let arguments = [
        "--tls-port".to_owned(),
        port.to_string(),
        "--tls-cert-file".to_owned(),
        file(certificates.server()),
        "--tls-key-file".to_owned(),
        file(certificates.key()),
        "--tls-ca-cert-file".to_owned(),
        file(certificates.ca()),
        "--tls-auth-clients".to_owned(),
        "no".to_owned(),
    ];
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    (
        RedisServer::start_with(&arguments).await,
        certificates,
        port,
    )
}

/// `rookery` does so at start.
fn provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}

fn options(url: String, ca: &Certificates) -> RedisOptions {
    let mut options = RedisOptions::new(url, "a");
    options.queue = true;
    options.ca = Some(std::fs::read(ca.ca()).unwrap());
    options
}

#[tokio::test]
async fn everything_works_over_tls_with_an_own_ca_and_nothing_without() {
    let (_server, certificates, port) = secured().await;
    let node = Redis::connect(options(format!("rediss://localhost:{port}"), &certificates))
        .await
        .unwrap();
    until("it hears", async || node.health().hears).await;
    everything(&node).await;

    // Vouched for by nobody the system knows, by another CA, and under another name.
    let other = Certificates::new();
    let untrusted = [
        RedisOptions::new(format!("rediss://localhost:{port}"), "a"),
        options(format!("rediss://localhost:{port}"), &other),
        options(format!("rediss://127.0.0.1:{port}"), &certificates),
    ];
    let refusals = untrusted.map(|options| async move {
        let error = Redis::connect(options).await.expect_err("it was believed");
        error.to_string()
    });
    for refusal in futures::future::join_all(refusals).await {
        println!("{refusal}");
        assert!(refusal.contains("certificate"), "{refusal}");
    }
}

/// A whole game on two gateways over TLS, as a user who may do nothing but what Rookery does. Redis keeps a list of what it denied.
#[tokio::test]
async fn a_game_over_tls_by_a_user_with_least_rights() {
    let (server, certificates, port) = secured().await;
    let mut user = cmd("ACL");
    user.arg("SETUSER")
        .arg("rookery")
        .arg("on")
        .arg(">a-password");
    user.arg(ACL_RULE.split_whitespace().collect::<Vec<_>>());
    server.ask::<()>(&user).await;
    // Who has no name may do nothing.
    let mut nobody = cmd("ACL");
    nobody.arg("SETUSER").arg("default").arg("off");
    let mut admin = cmd("ACL");
    admin
        .arg("SETUSER")
        .arg("admin")
        .arg("on")
        .arg(">admin-password")
        .arg("~*")
        .arg("&*")
        .arg("+@all");
    server.ask::<()>(&admin).await;
    server.ask::<()>(&nobody).await;

    let url = format!("rediss://rookery:a-password@localhost:{port}");
    let mut gateways = Vec::new();
    let data = tempfile::tempdir().unwrap();
    for name in ["one", "two"] {
        let dir = data.path().join(name);
        let flags = [
            "--listen",
            "127.0.0.1:0",
            "--admin-listen",
            "127.0.0.1:0",
            "--redis-url",
            &url,
            "--redis-ca",
            &certificates.ca().to_string_lossy(),
            "--token-secret",
            SECRET,
            "--node-id",
            name,
            "--data-dir",
            &dir.to_string_lossy(),
        ]
        .map(str::to_owned);
        gateways.push(gateway::start(config(&flags), None).await.unwrap());
    }
    let witness: Arc<Witness> = Arc::default();
    let mut white = Player::comes("White", gateways[0].http, witness.clone()).await;
    let mut black = Player::comes("Black", gateways[1].http, witness.clone()).await;
    // By a seek, so that the pool is used too.
    white.seeks(BLITZ).await;
    let seek = serde_json::json!({"timeControl": serde_json::from_str::<serde_json::Value>(BLITZ).unwrap(), "name": "Black"});
    black.sends("init_game", seek).await;
    let colors = (white.starts().await, black.starts().await);
    let (first, second) = match colors.0.as_str() {
        "white" => (&mut white, &mut black),
        _ => (&mut black, &mut white),
    };
    first.plays("f2f3").await;
    second.plays("e7e5").await;
    first.does("offer_takeback").await;
    second.does("decline_takeback").await;
    first.plays("g2g4").await;
    second
        .asks(
            "chat",
            serde_json::json!({"gameId": second.game, "text": "sorry"}),
        )
        .await;
    second.plays("d8h4").await;
    first.hears("game_over").await;
    second.hears("game_over").await;
    first.does("offer_rematch").await;
    second.does("accept_rematch").await;
    second.starts().await;
    witness.assert_clean();

    let mut as_admin =
        redis::Client::open(format!("redis://admin:admin-password@{}", server.address()))
            .unwrap()
            .get_multiplexed_async_connection()
            .await
            .unwrap();
    let denied: redis::Value = cmd("ACL")
        .arg("LOG")
        .query_async(&mut as_admin)
        .await
        .unwrap();
    assert_eq!(
        denied,
        redis::Value::Array(Vec::new()),
        "something was denied"
    );

    // The rule is worth something: of what it leaves out, nothing is to be had.
    let mut as_rookery =
        redis::Client::open(format!("redis://rookery:a-password@{}", server.address()))
            .unwrap()
            .get_multiplexed_async_connection()
            .await
            .unwrap();
    for words in [
        "GET others:key",
        "SET others:key 1",
        "KEYS *",
        "SCAN 0",
        "FLUSHALL",
        "FLUSHDB",
        "CONFIG GET *",
        "ACL LIST",
        "SAVE",
        "SHUTDOWN NOSAVE",
        "REPLICAOF NO ONE",
        "CLIENT LIST",
        "MONITOR",
        "SLOWLOG GET",
        "FUNCTION LIST",
        "MODULE LIST",
        "SPUBLISH others 1",
        "PUBLISH rookery:x 1",
        "EVAL return{redis.call('keys','*')} 0",
        "SCRIPT FLUSH",
        "SWAPDB 0 1",
        "SORT rookery:x",
    ] {
        let mut words = words.split(' ');
        let mut command = cmd(words.next().unwrap());
        for word in words {
            command.arg(word);
        }
        let answer = command.query_async::<redis::Value>(&mut as_rookery).await;
        let error = answer.expect_err("it was allowed");
        // Asked directly it is NOPERM; of what a script calls, Redis 7.0 says so in words alone.
        let error = error.to_string();
        let refused =
            error.to_uppercase().contains("PERM") || error.contains("can't run this command");
        assert!(refused, "{error}");
    }
    for running in gateways {
        running.kill();
    }
}
