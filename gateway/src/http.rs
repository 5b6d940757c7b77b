//! What the public port serves besides `/ws`, and the admin port.

pub mod admin;
pub mod assets;
pub mod documents;
pub mod error;
pub mod games;
pub mod list;
pub mod session;
pub mod status;
