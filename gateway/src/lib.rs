//! A gateway node: sockets in, sockets out.

pub mod websocket;
