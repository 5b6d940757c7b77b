//! One contract, every backplane: each check of [`suite`] runs as a test of its own on each kind named below.

#![allow(clippy::unwrap_used)]

mod feed;
mod nodes;
mod redis;
mod suite;

use nodes::Nodes;
use pubsub::{Backplane, Embedded, embedded::Options};
use std::sync::Arc;
use tests::faulty::{Faulty, Plan};

/// Runs all checks on one kind of backplane: a name, the attribute that makes an async test, and an async function that starts
/// a backplane and answers three nodes of it.
macro_rules! contract {
    ($kind:ident, $test:meta, $start:path) => {
        checks!(one_by_one, $kind, $test, $start);
    };
}

macro_rules! one_by_one {
    ($kind:ident, $test:meta, $start:path, $($group:ident { $($check:ident)* })*) => {
        mod $kind {
            $(mod $group {
                $(#[$test]
                async fn $check() {
                    crate::suite::$group::$check($start().await).await;
                })*
            })*
        }
    };
}

use redis::all_at_once;
use suite::checks;

// In one process time is virtual: leases lapse at once and to the millisecond.
contract!(embedded, tokio::test(start_paused = true), crate::embedded);
contract!(
    embedded_with_journal,
    tokio::test(start_paused = true),
    crate::embedded_with_journal
);
// The wrapper that simulations use breaks no promise of its own accord.
contract!(
    faulty_at_peace,
    tokio::test(start_paused = true),
    crate::faulty_at_peace
);

// Where several want the same, also on real threads.
one_by_one!(
    embedded_on_threads,
    tokio::test(flavor = "multi_thread", worker_threads = 4),
    crate::embedded_on_threads,
    append { one_of_many_appenders_wins_each_number every_node_reads_what_any_has_written }
    channel { a_listener_who_is_busy_is_told_to_resynchronise the_same_bytes_come_in_order_to_every_node }
    feed { every_node_sees_the_same_dense_room }
    matchmaking { accepting_and_settling_agree nobody_is_paired_twice }
    queue { what_is_appended_is_taken_once_and_in_order }
    records { one_of_many_puts_wins }
);

fn nodes_of(backplane: Embedded) -> [Arc<dyn Backplane>; 3] {
    [(); 3].map(|()| Arc::new(backplane.clone()) as _)
}

async fn embedded() -> Nodes {
    Nodes::of_virtual_time(nodes_of(queued()))
}

/// In memory, with a queue for the archive.
fn queued() -> Embedded {
    let options = Options {
        queue: true,
        ..Options::default()
    };
    Embedded::new(options).unwrap()
}

async fn embedded_on_threads() -> Nodes {
    Nodes::of_real_time(nodes_of(queued()), ())
}

async fn embedded_with_journal() -> Nodes {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        journal: Some(dir.path().into()),
        queue: true,
        ..Options::default()
    };
    let nodes = nodes_of(Embedded::new(options).unwrap());
    Nodes::of_virtual_time(nodes).keeping(dir)
}

async fn faulty_at_peace() -> Nodes {
    let inner = Arc::new(queued());
    let node = |number| Arc::new(Faulty::new(inner.clone(), Plan::calm(0), number)) as _;
    Nodes::of_virtual_time([0, 1, 2].map(node))
}

contract!(redis_single, tokio::test, crate::redis::single);

mod redis_at {
    use super::*;
    checks!(all_at_once, replica);
    checks!(all_at_once, cluster);
    checks!(all_at_once, sentinel);
}
