//! Scenarios: real players on real gateways, over the embedded backplane and over a real Redis.
#![allow(clippy::unwrap_used)]

mod identity;
mod invitations;
mod lobby;
mod play;

/// Makes each scenario a test over every backing it is good for.
macro_rules! scenarios {
    ($($(#[$meta:meta])* $name:ident),+ $(,)?) => {
        mod embedded {
            $($(#[$meta])* #[tokio::test]
            async fn $name() { super::$name(tests::cluster::Over::Embedded).await })+
        }
    };
}
pub(crate) use scenarios;
