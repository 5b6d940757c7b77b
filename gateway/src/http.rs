//! What the public port serves besides `/ws`.

pub mod assets;
