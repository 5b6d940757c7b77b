//! The commands besides `serve`, as an operator types them.

use serde_json::Value;
use std::process::Output;
use tests::{
    cluster::{Cluster, Over, SECRET, rookery, until},
    player::Dial,
    scene::Scene,
    servers::{PostgresServer, RedisServer, free_port},
};

async fn run(words: &[&str]) -> (i32, String, String) {
    let mut command = tokio::process::Command::new(rookery());
    // What the machine that tests has set is not what is tested.
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ROOKERY_")) {
        command.env_remove(name);
    }
    let Output {
        status,
        stdout,
        stderr,
    } = command.args(words).output().await.unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (status.code().unwrap(), text(stdout), text(stderr))
}

#[tokio::test]
async fn config_prints_what_is_in_effect() {
    let folder = tempfile::tempdir().unwrap();
    let (file, secret) = (
        folder.path().join("rookery.toml"),
        folder.path().join("secret"),
    );
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    std::fs::write(
        &file,
        format!("drain-seconds = 7\ntoken-secret-file = {secret:?}\n"),
    )
    .unwrap();
    let file = file.to_str().unwrap();
    let (code, out, err) = run(&[
        "config",
        "--config",
        file,
        "--redis-url",
        "redis://me:hush@redis.example",
    ])
    .await;
    assert_eq!((code, err.as_str()), (0, ""));
    let line = |name: &str| {
        out.lines()
            .find(|line| line.starts_with(name))
            .unwrap_or_else(|| panic!("no {name} in {out}"))
    };
    assert!(
        line("drain-seconds").starts_with("drain-seconds = 7 ")
            && line("drain-seconds").ends_with(file)
    );
    assert!(
        line("redis-url").contains("redis://me:***@redis.example")
            && line("redis-url").ends_with("# --redis-url")
    );
    assert!(line("heartbeat-seconds").ends_with("# default"));
    assert!(!out.contains("hush") && !out.contains(SECRET), "{out}");
    // What it prints can be kept as a file.
    let kept = folder.path().join("kept.toml");
    std::fs::write(&kept, out.replace("***", "hush")).unwrap();
    let (code, again, _) = run(&[
        "config",
        "--config",
        kept.to_str().unwrap(),
        "--token-secret",
        SECRET,
    ])
    .await;
    assert_eq!(code, 0);
    assert!(again.contains("drain-seconds = 7"), "{again}");
}

#[tokio::test]
async fn wrong_settings_are_told_before_a_port_opens() {
    let port = free_port().to_string();
    let listen = format!("127.0.0.1:{port}");
    for (words, told) in [
        (
            &["--redis-url", "redis://127.0.0.1:1"][..],
            "ROOKERY_TOKEN_SECRET) is needed",
        ),
        (&["--admin-listen", "0.0.0.0:0"], "set --admin-token"),
        (&["--drain-seconds", "soon"], "'soon' for '--drain-seconds"),
        (
            &["--config", "/nowhere/rookery.toml"],
            "/nowhere/rookery.toml cannot be read",
        ),
    ] {
        let (code, out, err) = run(&[&["serve", "--listen", &listen], words].concat()).await;
        assert_eq!((code, out.as_str()), (2, ""), "{words:?}: {err}");
        assert!(err.contains(told), "{words:?}: {err}");
    }
}

#[tokio::test]
async fn check_tells_what_is_wrong_with_a_redis() {
    let redis = RedisServer::start().await;
    let url = redis.url();
    let check = async |more: &[&str]| {
        let base = [
            "check",
            "--json",
            "--redis-url",
            &url,
            "--token-secret",
            "7f0c1de2a93b5c48e6d1907af2b3c4d5",
            "--max-connections",
            "10",
        ];
        let (code, out, err) = run(&[&base[..], more].concat()).await;
        assert_eq!(err, "");
        let found: Vec<Value> = serde_json::from_str(&out).unwrap();
        let level = move |about: &str| {
            let of = found.iter().filter(|finding| finding["about"] == about);
            let mut levels: Vec<String> = of
                .map(|finding| finding["level"].as_str().unwrap().to_owned())
                .collect();
            levels.sort();
            levels.join(" ")
        };
        (code, level)
    };
    let set = async |name: &str, value: &str| {
        let mut command = redis::cmd("CONFIG");
        redis
            .ask::<()>(command.arg("SET").arg(name).arg(value))
            .await;
    };
    set("appendonly", "yes").await;
    set("client-output-buffer-limit", "pubsub 268435456 67108864 60").await;
    let (code, level) = check(&[]).await;
    assert_eq!(
        (
            code,
            level("redis"),
            level("partitions"),
            level("open-files")
        ),
        (0, "good".into(), "good".into(), "good".into())
    );
    // It has looked and changed nothing.
    let keys = redis::cmd("DBSIZE");
    assert_eq!(redis.ask::<u64>(&keys).await, 0);

    set("appendonly", "no").await;
    set("client-output-buffer-limit", "pubsub 33554432 8388608 60").await;
    let (code, level) = check(&[]).await;
    assert_eq!(
        (code, level("redis-aof"), level("redis-pubsub-buffer")),
        (1, "warning".into(), "warning".into())
    );
    set("maxmemory-policy", "allkeys-lru").await;
    let (code, level) = check(&["--drain-seconds", "60"]).await;
    assert_eq!(
        (code, level("redis-eviction"), level("drain")),
        (2, "error".into(), "error".into())
    );
    set("maxmemory-policy", "noeviction").await;
    let (code, level) = check(&["--redis-mode", "cluster"]).await;
    assert_eq!((code, level("redis")), (2, "error".into()));

    // For people, with what to do.
    let (code, out, _) = run(&["check", "--redis-url", &url, "--token-secret", SECRET]).await;
    assert_eq!(code, 1, "{out}");
    assert!(
        out.contains("warning  redis-aof: ")
            && out.contains("→ CONFIG SET appendonly yes")
            && out.contains("0 errors, "),
        "{out}"
    );
    assert!(!out.contains(SECRET), "{out}");
}

#[tokio::test]
async fn check_tells_what_is_wrong_with_a_database() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().to_str().unwrap();
    let check = async |url: &str| {
        let words = ["check", "--json", "--data-dir", data, "--database-url", url];
        let (_, out, err) = run(&words).await;
        assert_eq!(err, "");
        let found: Vec<Value> = serde_json::from_str(&out).unwrap();
        move |about: &str| {
            let of = found.iter().find(|finding| finding["about"] == about);
            of.map_or_else(String::new, |finding| {
                format!(
                    "{} {}",
                    finding["level"].as_str().unwrap(),
                    finding["words"].as_str().unwrap()
                )
            })
        }
    };
    let server = PostgresServer::start().await;
    let url = server.database();
    let of = check(&url).await;
    assert!(
        of("database").starts_with("good PostgreSQL "),
        "{}",
        of("database")
    );
    // 40, of which three are kept for superusers.
    assert_eq!(
        of("database-connections"),
        "good 37 connections allowed, 1 nodes take up to 5"
    );
    assert!(
        of("database-tables").ends_with(" migrations are to come"),
        "{}",
        of("database-tables")
    );
    // It has looked and changed nothing.
    assert_eq!(check(&url).await("database-tables"), of("database-tables"));
    let store = archive::Store::open(&url).await.unwrap();
    store.close().await;
    assert_eq!(
        check(&url).await("database-tables"),
        "good they are up to date"
    );

    server.kill();
    let of = check(&url).await;
    assert!(
        of("database").starts_with("error it "),
        "{}",
        of("database")
    );

    let file = folder.path().join("games.db");
    let url = format!("sqlite:{}", file.display());
    assert!(check(&url).await("database").starts_with("good SQLite: "));
    assert!(!file.exists());
    // A folder that nobody may write, not even root.
    assert!(check("sqlite:/dev/null/games.db").await("database").starts_with("error SQLite: "));
}

/// The nodes that run are counted against what the database allows.
#[tokio::test]
async fn check_counts_the_nodes_that_use_the_database() {
    let server =
        PostgresServer::start_with(&["fsync=off", "superuser_reserved_connections=30"]).await;
    let database = server.database();
    let cluster = Cluster::start(Over::Processes, 3, &["--database-url", &database]).await;
    let redis = cluster.redis().url();
    until("three nodes are too many", async || {
        let words = ["check", "--redis-url", &redis, "--database-url", &database];
        let (_, out, _) = run(&words).await;
        out.contains("warning  database-connections: 10 connections allowed, 3 nodes take up to 15")
    })
    .await;
}

#[tokio::test]
async fn nodes_health_and_token() {
    let cluster = Cluster::start(Over::Processes, 2, &[]).await;
    let url = cluster.redis().url();
    let (code, first, second) = (0, cluster.node(0), cluster.node(1));
    until("both nodes are listed", async || {
        let (found, out, _) = run(&["nodes", "--redis-url", &url]).await;
        found == code && out.contains("node-0  ready") && out.contains("node-1  ready")
    })
    .await;
    let (_, out, _) = run(&["nodes", "--json", "--redis-url", &url]).await;
    let told: Vec<Value> = serde_json::from_str(&out).unwrap();
    assert_eq!((told.len(), &told[1]["node"]), (2, &Value::from("node-1")));
    // Without Redis' address the node on this machine is asked.
    let (code, out, err) = run(&["nodes", "--admin-listen", &first.admin.to_string()]).await;
    assert!(code == 0 && out.contains("node-1"), "{out}{err}");

    let admin = second.admin.to_string();
    let health = async |more: &[&str]| {
        run(&[&["health", "--admin-listen", &admin][..], more].concat()).await
    };
    assert_eq!(health(&[]).await, (0, "ready\n".into(), String::new()));
    assert_eq!(health(&["--live"]).await.0, 0);
    let nobody = format!("127.0.0.1:{}", free_port());
    let (code, _, err) = run(&["health", "--admin-listen", &nobody]).await;
    assert!(code == 1 && err.contains("does not answer"), "{err}");
}

#[tokio::test]
async fn a_minted_token_is_that_user() {
    let scene = Scene::start(Over::Embedded, 1).await;
    let (code, out, err) = run(&[
        "token",
        "--user",
        "carlsen",
        "--name",
        "Magnus",
        "--token-secret",
        SECRET,
    ])
    .await;
    assert_eq!((code, err.as_str()), (0, ""));
    let dial = Dial {
        token: Some(out.trim().to_owned()),
        ..Dial::default()
    };
    let player = scene.dials("Magnus", 0, dial).await;
    let user = &player.welcome["user"];
    assert_eq!(
        (&user["id"], &user["name"], &user["isGuest"]),
        (&"carlsen".into(), &"Magnus".into(), &false.into())
    );
    scene.ends().await;
}
