//! The Redis backplane on real servers: what the contract suite does not ask of every backplane.

#![allow(clippy::unwrap_used)]

mod nodes;
mod single;
