//! The words browsers and gateways say to each other over `/ws`: JSON text frames `{"type", "payload", "id"?}`.
//! Shapes and limits only; what is done about a message is the gateway's business.

pub mod client;
pub mod close;
pub mod http;
#[cfg(feature = "schema")]
pub mod schema;
pub mod server;

#[cfg(test)]
mod typescript;

pub use client::{ClientMessage, DecodeError, Request, RequestId, is_forbidden};
pub use server::{ErrorCode, ServerMessage};

/// Version of the protocol, told in `welcome`.
pub const VERSION: u32 = 1;
/// Longest message a client may send, in bytes; longer ones are answered `too_large`.
pub const MESSAGE_LEN_MAX: usize = 4 * 1024;
/// A message over this many bytes is not read to its end: the connection is closed with 1009.
pub const MESSAGE_LEN_CLOSE: usize = 64 * 1024;
/// Deepest nesting of arrays and objects in a message.
pub const JSON_DEPTH_MAX: usize = 8;
/// Longest request `id` that is a string, in bytes: it is carried back with the answer.
pub const REQUEST_ID_LEN_MAX: usize = 64;
/// Longest shown name, in characters.
pub const NAME_CHARS_MAX: usize = 32;
/// Longest chat line, in characters.
pub const CHAT_CHARS_MAX: usize = 500;
/// Shortest thinking time of a game, in milliseconds.
pub const INITIAL_MS_MIN: i64 = 1_000;
/// Longest thinking time of a game, in milliseconds.
pub const INITIAL_MS_MAX: i64 = 3 * 60 * 60 * 1_000;
/// Largest increment, in milliseconds.
pub const INCREMENT_MS_MAX: i64 = 180_000;
