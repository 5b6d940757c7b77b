//! The words between browser and gateway.

pub mod close;
