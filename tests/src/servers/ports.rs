//! Ports that nobody uses, and that stay free while a server restarts.

use std::{
    net::TcpListener,
    sync::atomic::{AtomicU16, Ordering},
};

/// Below the range from which the kernel gives ports to clients: there, a client could sit on a server's port while that
/// restarts, or even be connected to itself.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port of 127.0.0.1 that nobody listens at now. Tests run as threads of one process and as many processes at once, so each
/// process begins somewhere else.
pub fn free_port() -> u16 {
    let offset = std::process::id().wrapping_mul(7919) as u16;
    for _ in 0..COUNT {
        let next = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = FIRST + offset.wrapping_add(next) % COUNT;
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
    panic!("no free port below {}", FIRST + COUNT);
}
