//! Logs of the nodes, for whoever looks for the reason of a failure: `RUST_LOG=pubsub=debug cargo test -- --nocapture`.

/// Switches them on, once.
pub fn begin() {
    let filter = tracing_subscriber::EnvFilter::from_default_env();
    let _ = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_test_writer()
        .try_init();
}
