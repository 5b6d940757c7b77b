//! The wire, word for word: what clients may say and what comes of it, and every message a gateway says. Other people's
//! clients are written against these texts; a change here is a change of the protocol.
#![allow(clippy::unwrap_used)]

mod client;
mod server;
