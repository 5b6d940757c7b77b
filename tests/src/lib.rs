//! Harness of the cluster tests.

pub mod chaos;
pub mod checker;
pub mod cluster;
pub mod faulty;
pub mod hostile;
pub mod http;
pub mod player;
pub mod replay;
pub mod scene;
pub mod servers;
pub mod witness;
