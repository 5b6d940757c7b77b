//! The echo server over real TCP, as clients would have it that no library could play: half-open, slow, greedy, wrong.
#![allow(clippy::unwrap_used)]

mod client;
#[allow(dead_code)]
#[path = "../../examples/echo.rs"]
mod echo;
mod frames;
mod handshake;
mod limits;
mod server;
mod wrapped;
