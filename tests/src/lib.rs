//! Harness of the cluster tests.

pub mod servers;
