//! A gateway node: sockets in, sockets out, and between them rooms that fold games' logs.
//!
//! A connection's text goes through [`websocket`] to a [`session`], which asks a [`room`] or the [`lobby`]; what happened
//! comes back through the room's feed and [`fanout`] to every member's socket. [`server`] puts a [`node`] behind its ports.

pub mod address;
pub mod archive;
pub mod command;
pub mod config;
pub mod connection;
pub mod directory;
pub mod export;
pub mod fanout;
pub mod held;
pub mod http;
pub mod identity;
pub mod lobby;
pub mod logs;
pub mod metrics;
pub mod node;
pub mod plan;
pub mod pulse;
pub mod random;
pub mod rate;
pub mod recovery;
pub mod room;
pub mod server;
pub mod session;
pub mod status;
pub mod sweeper;
#[cfg(feature = "otel")]
pub mod traces;
pub mod websocket;

pub use config::Config;
pub use server::{Running, start};
