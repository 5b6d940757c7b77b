//! On one server.

use crate::nodes::*;
use pubsub::{Backplane, Signal};
use tests::servers::RedisServer;

#[tokio::test]
async fn what_one_node_appends_another_hears_and_reads() {
    let server = RedisServer::start().await;
    let (a, b) = (node(&server, "a").await, node(&server, "b").await);
    let room = room("heard");
    let mut heard = b.subscribe(&room);
    assert_eq!(next(&mut heard).await, Signal::Resync);
    let epoch = create(&a, &room).await;
    let Signal::Events(log) = next(&mut heard).await else {
        panic!("not the events");
    };
    assert_eq!(b.read(&room, 0).await.unwrap(), Some(log));
    assert_eq!(b.end(&room).await.unwrap(), Some((epoch, 1)));
}
