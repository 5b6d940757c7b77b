//! Real servers for tests: started on free ports with their own directories, and gone when dropped.

mod certificates;
mod cluster;
mod ports;
mod postgres;
mod process;
mod redis;
mod sentinel;
mod tunnel;

pub use certificates::Certificates;
pub use cluster::RedisCluster;
pub use ports::free_port;
pub use postgres::PostgresServer;
pub use process::Process;
pub use redis::{Data, RedisServer};
pub use sentinel::RedisSentinels;
pub use tunnel::Tunnel;

use std::time::Duration;
use tokio::time::{Instant, sleep};

/// How long servers are waited for: far more than they need, even on a loaded machine.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for a fact about servers.
pub async fn until(what: &str, mut fact: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !fact().await {
        assert!(Instant::now() < end, "waited in vain until {what}");
        sleep(Duration::from_millis(25)).await;
    }
}
