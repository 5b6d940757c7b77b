//! What an operator is told when a node cannot start.

use crate::nodes::*;
use pubsub::{
    Backplane, Redis, RedisOptions,
    redis::{Mode, StartError},
};
use redis::cmd;
use tests::servers::{Data, RedisCluster, RedisSentinels, RedisServer, free_port};

async fn refusal(url: String, change: impl FnOnce(&mut RedisOptions)) -> StartError {
    let mut options = RedisOptions::new(url, "a");
    change(&mut options);
    let error = Redis::connect(options).await.expect_err("it started");
    println!("{error}");
    error
}

fn mode(mode: Mode) -> impl FnOnce(&mut RedisOptions) {
    move |options| options.mode = mode
}

#[tokio::test]
async fn nobody_is_there() {
    let url = format!("redis://127.0.0.1:{}", free_port());
    let begun = std::time::Instant::now();
    let error = refusal(url, |_| {}).await;
    assert!(matches!(error, StartError::Unreachable { .. }));
    assert!(begun.elapsed().as_secs() < 10);
}

#[tokio::test]
async fn a_server_that_comes_late_is_waited_for() {
    let server = RedisServer::start().await;
    server.kill();
    let options = RedisOptions::new(server.url(), "a");
    let (connected, ()) = tokio::join!(Redis::connect(options), server.restart(Data::Kept));
    connected.unwrap();
}

#[tokio::test]
async fn passwords_and_permissions() {
    let server = RedisServer::start().await;
    let mut require = cmd("CONFIG");
    server
        .ask::<()>(require.arg("SET").arg("requirepass").arg("secret"))
        .await;
    let port = server.port();
    for user in ["", ":wrong@", "nobody:secret@"] {
        let error = refusal(format!("redis://{user}127.0.0.1:{port}"), |_| {}).await;
        assert!(
            matches!(error, StartError::WrongPassword { .. }),
            "{error:?}"
        );
        assert!(!error.to_string().contains("secret"));
    }
    Redis::connect(RedisOptions::new(
        format!("redis://:secret@127.0.0.1:{port}"),
        "a",
    ))
    .await
    .unwrap();
}

/// The rule that the options' documentation gives is enough for everything.
#[tokio::test]
async fn a_user_with_least_rights() {
    let server = RedisServer::start().await;
    let rule = pubsub::redis::ACL_RULE;
    let mut set = cmd("ACL");
    set.arg("SETUSER").arg("rookery").arg("on").arg(">pw");
    set.arg(rule.split(' ').collect::<Vec<_>>());
    server.ask::<()>(&set).await;
    let mut options = RedisOptions::new(format!("redis://rookery:pw@{}", server.address()), "a");
    options.queue = true;
    let node = Redis::connect(options).await.unwrap();
    until("it hears", async || node.health().hears).await;
    everything(&node).await;
    let mut log = cmd("ACL");
    log.arg("LOG");
    let denied: redis::Value = server.ask(&log).await;
    assert_eq!(
        denied,
        redis::Value::Array(Vec::new()),
        "something was denied"
    );

    // Less is not: without channels the node says so.
    let mut set = cmd("ACL");
    set.arg("SETUSER")
        .arg("rookery")
        .arg("resetkeys")
        .arg("~other:*");
    server.ask::<()>(&set).await;
    let error = refusal(format!("redis://rookery:pw@{}", server.address()), |_| {}).await;
    assert!(
        matches!(error, StartError::NotPermitted { .. }),
        "{error:?}"
    );
}

#[tokio::test]
async fn other_arrangements_than_was_said() {
    let single = RedisServer::start().await;
    let cluster = RedisCluster::start().await;
    for (url, said, fits) in [
        (single.url(), Mode::Cluster, Mode::Single),
        (single.url(), Mode::Sentinel, Mode::Single),
        (cluster.servers[0].url(), Mode::Single, Mode::Cluster),
        (cluster.servers[4].url(), Mode::Sentinel, Mode::Cluster),
    ] {
        match refusal(url, mode(said)).await {
            StartError::OtherMode { mode, should, .. } => assert_eq!((mode, should), (said, fits)),
            other => panic!("{other:?}"),
        }
    }
    // Any node of the cluster will do, even a replica, if another is away.
    let mut options = RedisOptions::new("", "a");
    options.urls = vec![
        format!("redis://127.0.0.1:{}", free_port()),
        cluster.servers[5].url(),
    ];
    options.mode = Mode::Cluster;
    Redis::connect(options).await.unwrap();
}

#[tokio::test]
async fn sentinels_that_do_not_know_the_name() {
    let sentinels = RedisSentinels::start().await;
    let url = sentinels.urls()[0].replace("rookery-test", "other");
    let error = refusal(url.clone(), mode(Mode::Sentinel)).await;
    assert!(
        matches!(error, StartError::UnknownMaster { .. }),
        "{error:?}"
    );
    let error = refusal(url, |_| {}).await;
    assert!(matches!(
        error,
        StartError::OtherMode {
            should: Mode::Sentinel,
            ..
        }
    ));
    let replica = sentinels.servers[1].url();
    let error = refusal(replica, |_| {}).await;
    assert!(matches!(error, StartError::IsReplica { .. }), "{error:?}");
}

#[tokio::test]
async fn another_number_of_partitions() {
    let server = RedisServer::start().await;
    let first = node(&server, "a").await;
    let error = refusal(server.url(), |options| options.partitions = 128).await;
    assert_eq!(
        error,
        StartError::OtherPartitions {
            here: 128,
            there: "256".to_owned()
        }
    );
    // A server that comes back empty is told again.
    server.restart(Data::Lost).await;
    until("the number stands again", async || {
        server
            .ask::<Option<u16>>(cmd("GET").arg("rookery:{0}:partitions"))
            .await
            == Some(256)
    })
    .await;
    drop(first);
}
