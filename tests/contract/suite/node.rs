//! What a node knows of itself.

use crate::nodes::*;
use std::time::Duration;
use tokio::time::sleep;

pub async fn clocks_agree_and_go_on(nodes: Nodes) {
    let before = nodes.a.now();
    for node in nodes.all() {
        assert_near(&nodes, node.now(), before);
    }
    sleep(Duration::from_millis(1_500)).await;
    assert_near(&nodes, nodes.a.now(), before + 1_500);
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
