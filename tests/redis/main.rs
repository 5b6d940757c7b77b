//! The Redis backplane on real servers: what the contract suite does not ask of every backplane.

#![allow(clippy::unwrap_used)]

mod acks;
mod calls;
mod cluster;
mod faults;
mod logging;
mod losses;
mod nodes;
mod readiness;
mod sentinel;
mod single;
mod start;
mod tls;
mod traffic;
