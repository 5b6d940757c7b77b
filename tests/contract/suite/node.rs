//! What a node knows of itself.

use crate::nodes::*;
use pubsub::Millis;
use std::time::Duration;
use tokio::time::{Instant, sleep};

pub async fn clocks_agree_and_go_on(nodes: Nodes) {
    let (begun, before) = (Instant::now(), nodes.a.now());
    let others = nodes.all().map(|node| node.now());
    let after = nodes.a.now();
    for now in others {
        assert_within(&nodes, now, [before, after]);
    }
    sleep(Duration::from_millis(1_500)).await;
    let later = before + begun.elapsed().as_millis() as Millis;
    assert_within(&nodes, nodes.a.now(), [before + 1_500, later]);
    assert!(before > 0);
}

pub async fn all_nodes_are_ready(nodes: Nodes) {
    for node in nodes.all() {
        wait_until("the node is reachable and hears", || async {
            let health = node.health();
            health.reachable && health.hears && health.is_ready()
        })
        .await;
    }
}
