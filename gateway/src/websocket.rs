//! WebSockets, server side: RFC 6455 from the handshake to the last byte, with no chess in it.
//!
//! The protocol is state machines without IO: [`frame`] reads, [`encode`] builds, [`connection`] knows when to ping, when
//! to give up and how to say goodbye. Bytes are moved by the threads of an [`Engine`](crate::fanout::Engine) that own
//! thousands of sockets each, or by [`driver`] with a tokio task a socket. A socket that is quiet owns no buffer.
//!
//! A server is put together like this: [`listen::serve`] runs the HTTP router, a handler of which takes a
//! [`Upgrade`], answers with [`Upgrade::accept`], and spawns a task that waits for
//! the [`Socket`] and gives it to [`Engine::adopt`](crate::fanout::Engine::adopt) together with a [`Handler`] and an
//! [`Outbox`]. `gateway/examples/echo.rs` is the smallest whole one.

pub mod connection;
pub mod driver;
pub mod encode;
pub mod frame;
pub mod handler;
pub mod handshake;
pub mod listen;
pub mod outbox;
mod writer;

pub use connection::{End, Limits};
pub use driver::run;
pub use encode::Frame;
pub use handler::{Handler, Next};
pub use handshake::{Socket, Upgrade};
pub use listen::serve;
pub use outbox::{Outbox, Refused};
pub use shared::protocol::close::CloseCode;
