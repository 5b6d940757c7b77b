//! Scenarios: real players on real gateways, over the embedded backplane and over a real Redis.
#![allow(clippy::unwrap_used)]

mod api;
mod archive;
mod chat;
mod clocks;
mod commands;
mod crowd;
mod defence;
mod drain;
mod faults;
mod future;
mod hostile;
mod identity;
mod invitations;
mod limits;
mod line;
mod lobby;
mod loss;
mod moves;
mod observe;
mod offers;
mod operate;
mod play;
mod presence;
mod recovery;
mod repeats;
mod rooms;
mod siege;
mod slow;
mod traces;

/// Makes each scenario a test over every backing it is good for: `embedded` and `redis`, or those that are named.
macro_rules! scenarios {
    (only $over:ident as $module:ident: $($(#[$meta:meta])* $name:ident),+ $(,)?) => {
        mod $module {
            $($(#[$meta])* #[tokio::test]
            async fn $name() { super::$name(tests::cluster::Over::$over).await })+
        }
    };
    ($($(#[$meta:meta])* $name:ident),+ $(,)?) => {
        crate::scenarios!(only Embedded as embedded: $($(#[$meta])* $name),+);
        crate::scenarios!(only Redis as redis: $($(#[$meta])* $name),+);
    };
}
pub(crate) use scenarios;
