//! A gateway node: sockets in, sockets out.

pub mod http;
pub mod websocket;
