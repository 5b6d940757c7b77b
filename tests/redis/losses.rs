//! Servers that lose what they had: the nodes are told, nobody appends for a moment, and what they hold is put back.

use crate::nodes::*;
use pubsub::{
    Appended, Backplane, RESTORE_SETTLE, Redis, RedisOptions, Restore, Restored, redis::Mode,
};
use std::time::Duration;
use tests::servers::{Data, RedisSentinels, RedisServer};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

async fn upheaval(changes: &mut watch::Receiver<u64>) {
    let changed = timeout(PATIENCE, changes.changed()).await;
    changed.expect("waited in vain for the upheaval").unwrap();
}

#[tokio::test]
async fn nobody_appends_at_once_to_a_server_that_was_restarted() {
    let server = RedisServer::start().await;
    let node = node(&server, "a").await;
    let room = room("restarted");
    let epoch = create(&node, &room).await;
    let mut upheavals = node.upheavals();
    let begun = Instant::now();
    server.restart(Data::Lost).await;
    upheaval(&mut upheavals).await;
    let restore = Restore {
        epoch: epoch.clone(),
        events: vec!["created".into(), "b".into()],
        deadline: None,
    };
    let restored = node.restore(&room, restore).await.unwrap();
    let from = 0;
    assert_eq!(
        restored,
        Restored::Extended {
            epoch: epoch.clone(),
            from
        }
    );
    let asked = event(&node, Some(&epoch), 2, "c");
    let answer = node.append(&room, asked).await.unwrap();
    assert!(matches!(answer, Appended::Appended { .. }), "{answer:?}");
    let took = begun.elapsed();
    assert!(took >= RESTORE_SETTLE, "{took:?}");
}

#[tokio::test]
async fn a_connection_that_broke_to_a_server_that_stayed_is_no_upheaval() {
    let server = RedisServer::start().await;
    let node = node(&server, "a").await;
    let room = room("stayed");
    let epoch = create(&node, &room).await;
    let upheavals = node.upheavals();
    let before = server.calls("hello").await;
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("normal");
    let _: u64 = server.ask(&kill).await;
    until("the node has connected again", async || {
        server.calls("hello").await > before
    })
    .await;
    let asked = event(&node, Some(&epoch), 1, "b");
    node.append(&room, asked).await.unwrap();
    assert!(!upheavals.has_changed().unwrap());
}

/// The replicas are cut off, something is appended, and the primary dies: the new one never had it.
#[tokio::test]
async fn a_failover_that_lost_the_end_of_a_log() {
    let all = RedisSentinels::start().await;
    let connect = async |name: &str| {
        let mut options = RedisOptions::new("", name);
        options.urls = all.urls();
        options.mode = Mode::Sentinel;
        Redis::connect(options).await.unwrap()
    };
    let (a, b) = (connect("a").await, connect("b").await);
    let room = room("failover");
    let epoch = create(&a, &room).await;
    let mut upheavals = [a.upheavals(), b.upheavals()];
    let before = all.primary().await;
    let primary = &all.servers[before];
    all.wait_replicas_have_all().await;
    // Who is connected stays, who comes back is refused.
    let mut set = redis::cmd("CONFIG");
    set.arg("SET").arg("requirepass").arg("cut-off");
    let mut kill = redis::cmd("CLIENT");
    kill.arg("KILL").arg("TYPE").arg("replica");
    let mut connection = primary.connect().await.unwrap();
    let () = set.query_async(&mut connection).await.unwrap();
    let cut: u64 = kill.query_async(&mut connection).await.unwrap();
    assert_eq!(cut, 2);
    let asked = event(&a, Some(&epoch), 1, "lost");
    let answer = a.append(&room, asked).await.unwrap();
    assert!(matches!(answer, Appended::Appended { .. }), "{answer:?}");
    primary.kill();
    all.wait_failed_over(before).await;
    for upheavals in &mut upheavals {
        upheaval(upheavals).await;
    }
    assert_eq!(b.end(&room).await.unwrap(), Some((epoch.clone(), 1)));
    let restore = Restore {
        epoch: epoch.clone(),
        events: vec!["created".into(), "lost".into()],
        deadline: None,
    };
    let restored = a.restore(&room, restore).await.unwrap();
    let from = 1;
    assert_eq!(
        restored,
        Restored::Extended {
            epoch: epoch.clone(),
            from
        }
    );
    // Who did not know of it is told.
    let asked = event(&b, Some(&epoch), 1, "other");
    let told = timeout(PATIENCE + Duration::from_secs(5), b.append(&room, asked)).await;
    let missed = vec!["lost".into()];
    assert_eq!(told.unwrap().unwrap(), Appended::Conflict { epoch, missed });
}
