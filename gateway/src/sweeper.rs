//! Finds rooms whose deadline passed while no node looked after them, and opens them: a room that is open sees to its own
//! deadline. Partitions are swept under a lease, so one node does it at a time.

use crate::{
    node::Node,
    room::{FLAG_GRACE_MS, RoomInput},
};
use shared::GameId;
use std::{sync::Arc, time::Duration};

/// Time between two sweeps. Nobody waits for a room that nobody is in.
const PERIOD: Duration = Duration::from_secs(2);

/// A node that holds a partition's lease and has not swept for this long loses it.
const LEASE: Duration = Duration::from_secs(7);

/// A room that is open somewhere ends its game this long after the deadline at the latest; sooner is not our business.
const PATIENCE_MS: i64 = FLAG_GRACE_MS + 800;

/// Rooms opened in one sweep: after a long outage there may be very many.
const ROOMS_MAX: usize = 500;

/// Sweeps until the node stops.
pub async fn run(node: Arc<Node>) {
    loop {
        tokio::select! {
            biased;
            () = node.leaving.cancelled() => return,
            () = tokio::time::sleep(PERIOD) => {}
        }
        let before = node.now().plus_ms(-PATIENCE_MS).0;
        match node
            .backplane
            .sweep(&node.name, before, ROOMS_MAX, LEASE)
            .await
        {
            Ok(rooms) => {
                for (room, deadline) in rooms {
                    tracing::debug!(%room, deadline, "a deadline passed unattended");
                    if let Ok(game) = GameId::parse(room.as_str()) {
                        node.rooms.tell(&node, game, RoomInput::Sweep);
                    }
                }
            }
            Err(error) => tracing::debug!(%error, "no sweep"),
        }
    }
}
