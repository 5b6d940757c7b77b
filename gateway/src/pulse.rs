//! Says each second that this node is there, and tells open rooms when it learns that for a while nobody was: players get
//! back the time that they lost.

use crate::node::Node;
use pubsub::BEAT_EVERY;
use std::sync::Arc;
use tokio::time::{MissedTickBehavior, interval};

/// Beats until the node stops.
pub async fn run(node: Arc<Node>) {
    let mut beats = interval(BEAT_EVERY);
    beats.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = node.stopped.cancelled() => return,
            _ = beats.tick() => {}
        }
        match node.backplane.beat().await {
            Ok(true) => {
                metrics::counter!("rookery_outages_total").increment(1);
                tracing::warn!("for a while no node could write: players get that time back");
                node.rooms.tell_outage(&node);
            }
            Ok(false) => {}
            Err(error) => tracing::debug!(%error, "no beat"),
        }
    }
}
