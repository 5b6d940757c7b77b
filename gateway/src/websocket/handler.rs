//! What a connection is for: the part that the user of this module writes.

use std::time::Instant;

use super::connection::End;

/// Whether the handler takes more now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Go on reading.
    Read,
    /// Leave what comes in the kernel's buffer, so that TCP slows the peer down, until [`Handler::on_wake`] or
    /// [`Handler::on_drained`] says [`Next::Read`]. A peer that is not read from is not pinged either.
    Pause,
}

/// One connection's user. It is called by whoever owns the socket, never by two at once, and must not block: what takes
/// time is handed to somebody else, whose answer goes into the connection's [`Outbox`](super::outbox::Outbox).
///
/// `at` is when the bytes were read from the socket.
pub trait Handler: Send {
    /// A whole text message.
    fn on_text(&mut self, text: &str, at: Instant) -> Next;

    /// A whole binary message; only if [`Rules::binary`](super::frame::Rules::binary) lets it through.
    fn on_binary(&mut self, payload: &[u8], at: Instant) -> Next {
        let _ = (payload, at);
        Next::Read
    }

    /// A message over [`Rules::message_len_max`](super::frame::Rules::message_len_max) was read and dropped.
    fn on_too_large(&mut self, at: Instant) -> Next;

    /// The outbox, which had refused a frame as [`Full`](super::outbox::Refused::Full), is empty again.
    fn on_drained(&mut self) -> Next {
        Next::Read
    }

    /// Somebody called [`Outbox::wake`](super::outbox::Outbox::wake). Several calls may become one.
    fn on_wake(&mut self) -> Next {
        Next::Read
    }

    /// Nothing more will be read, and nothing pushed from now on will be sent. Called exactly once, before the closing
    /// handshake is through.
    fn on_end(&mut self, end: End) {
        let _ = end;
    }
}

impl Handler for Box<dyn Handler> {
    fn on_text(&mut self, text: &str, at: Instant) -> Next {
        (**self).on_text(text, at)
    }

    fn on_binary(&mut self, payload: &[u8], at: Instant) -> Next {
        (**self).on_binary(payload, at)
    }

    fn on_too_large(&mut self, at: Instant) -> Next {
        (**self).on_too_large(at)
    }

    fn on_drained(&mut self) -> Next {
        (**self).on_drained()
    }

    fn on_wake(&mut self) -> Next {
        (**self).on_wake()
    }

    fn on_end(&mut self, end: End) {
        (**self).on_end(end);
    }
}
