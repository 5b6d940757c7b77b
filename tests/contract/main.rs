//! One contract, every backplane: each check of [`suite`] runs as a test of its own on each kind named below.

#![allow(clippy::unwrap_used)]

mod nodes;
mod suite;

use nodes::Nodes;

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

use suite::checks;

// Without a journal time is virtual: leases lapse at once and to the millisecond.
contract!(embedded, tokio::test(start_paused = true), crate::embedded);

async fn embedded() -> Nodes {
    let backplane = pubsub::Embedded::new(Default::default()).unwrap();
    Nodes::of_virtual_time([(); 3].map(|()| std::sync::Arc::new(backplane.clone()) as _))
}
