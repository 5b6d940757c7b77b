//! What clients send: RFC 6455 frames, put together to messages. No IO, and no memory while nothing is half-read.
//!
//! The [`Reader`] is fed whatever a read call brought, in a buffer that many connections can share, and unmasks it in
//! place. A message that lies whole in that buffer is lent from it; only what is incomplete at the end of a chunk is kept,
//! in one allocation that goes when it is complete. A quiet connection costs 16 bytes here.
//!
//! Everything wrong is found as early as the bytes allow: a bad opcode at its first byte, a message that is too large at
//! its header, text that is not UTF-8 at the first impossible byte, even in the middle of a fragment.

use std::borrow::Cow;

use shared::protocol::close::CloseCode;

mod goodbye;
mod header;
mod message;

pub use header::Opcode;
use header::{HEADER_LEN_MAX, Header, take};
use message::{Message, whole};

/// What the server takes from its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// A longer message, bytes, is read to its end and reported as [`Incoming::TooLarge`], but not kept.
    pub message_len_max: usize,
    /// A message longer than this, bytes, ends the connection with 1009 as soon as a header says so.
    pub message_skip_max: usize,
    /// Whether binary messages are taken; if not, the first header of one ends the connection with 1003.
    pub binary: bool,
}

impl Default for Rules {
    /// 4 KiB are ten times the longest honest request, 64 KiB what a careless client might send by mistake.
    fn default() -> Self {
        Rules {
            message_len_max: 4 * 1024,
            message_skip_max: 64 * 1024,
            binary: false,
        }
    }
}

/// One thing a client said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Incoming<'i> {
    /// A whole text message.
    Text(Cow<'i, str>),
    /// A whole binary message (only if [`Rules::binary`]).
    Binary(Cow<'i, [u8]>),
    /// A whole message over [`Rules::message_len_max`], whose content was dropped unseen.
    TooLarge,
    /// A ping, to be answered with the same payload.
    Ping(Cow<'i, [u8]>),
    /// The answer to a ping, or an unasked sign of life.
    Pong(Cow<'i, [u8]>),
    /// The peer's goodbye; nothing after it is read.
    Close {
        /// Its code, valid by RFC 6455 or from the registered and private ranges; `None` if the frame was empty.
        code: Option<u16>,
        /// Its reason.
        reason: Cow<'i, str>,
    },
}

/// The peer broke the protocol or a limit; nothing after it is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {reason}")]
pub struct ProtocolError {
    /// What to close with.
    pub code: CloseCode,
    /// The rule that was broken, for the close frame and the log.
    pub reason: &'static str,
}

const fn broken(reason: &'static str) -> ProtocolError {
    ProtocolError {
        code: CloseCode::Protocol,
        reason,
    }
}

/// Reads one client's side of a connection.
#[derive(Debug, Default)]
pub struct Reader {
    partial: Option<Box<Partial>>,
    /// A close or an error was reported; what follows is not read.
    ended: bool,
}

/// All that was read and is not complete.
#[derive(Debug, Default)]
struct Partial {
    header: [u8; HEADER_LEN_MAX],
    header_len: usize,
    /// The frame whose payload is still coming.
    frame: Option<Header>,
    /// Of that frame, if it is a control frame: the payload so far.
    control: Vec<u8>,
    /// The message whose frames are still coming.
    message: Option<Message>,
}

impl Reader {
    /// A reader at the start of a connection.
    pub fn new() -> Reader {
        Reader::default()
    }

    /// Takes the next thing from the front of `input`, unmasking what it consumes. `None` when all input is consumed.
    pub fn next<'i>(
        &mut self,
        input: &mut &'i mut [u8],
        rules: &Rules,
    ) -> Option<Result<Incoming<'i>, ProtocolError>> {
        if self.ended {
            *input = &mut [];
            return None;
        }
        let next = self.advance(input, rules).transpose()?;
        if matches!(next, Ok(Incoming::Close { .. }) | Err(_)) {
            self.ended = true;
            self.partial = None;
        }
        Some(next)
    }

    /// Whether nothing is half-read.
    pub fn is_idle(&self) -> bool {
        self.partial.is_none()
    }

    fn advance<'i>(
        &mut self,
        input: &mut &'i mut [u8],
        rules: &Rules,
    ) -> Result<Option<Incoming<'i>>, ProtocolError> {
        loop {
            let begun = self.partial.as_mut().and_then(|p| p.frame.take());
            let mut frame = match begun {
                Some(frame) => frame,
                None => match self.header(input)? {
                    Some(header) => {
                        self.admit(&header, rules)?;
                        header
                    }
                    None => return Ok(None),
                },
            };
            let payload = frame.take_payload(input);
            let complete = frame.remaining == 0;

            if frame.opcode.is_control() {
                if !complete {
                    let partial = self.partial.get_or_insert_default();
                    partial.control.extend_from_slice(payload);
                    partial.frame = Some(frame);
                    return Ok(None);
                }
                let payload = match &mut self.partial {
                    Some(partial) if !partial.control.is_empty() => {
                        let mut begun = std::mem::take(&mut partial.control);
                        begun.extend_from_slice(payload);
                        Cow::Owned(begun)
                    }
                    _ => Cow::Borrowed(&*payload),
                };
                self.relax();
                return control(frame.opcode, payload).map(Some);
            }

            let fresh = self.partial.as_ref().is_none_or(|p| p.message.is_none());
            if fresh && complete && frame.fin {
                // The usual case by far: a message in one frame in one chunk, nothing of which is kept.
                self.relax();
                if frame.len > rules.message_len_max as u64 {
                    return Ok(Some(Incoming::TooLarge));
                }
                return whole(frame.opcode, payload).map(Some);
            }

            let partial = self.partial.get_or_insert_default();
            let message = partial
                .message
                .get_or_insert_with(|| Message::begin(&frame, rules));
            message.extend(payload)?;
            if !complete {
                partial.frame = Some(frame);
                return Ok(None);
            }
            if frame.fin {
                let message = partial.message.take();
                self.relax();
                return message.map(Message::finish).transpose();
            }
        }
    }

    /// The next frame's header, or `None` if it is not all there yet.
    fn header(&mut self, input: &mut &mut [u8]) -> Result<Option<Header>, ProtocolError> {
        if self.partial.as_ref().is_none_or(|p| p.header_len == 0) {
            if let Some((header, len)) = Header::parse(input)? {
                take(input, len);
                return Ok(Some(header));
            }
            if input.is_empty() {
                return Ok(None);
            }
        }
        let partial = self.partial.get_or_insert_default();
        while !input.is_empty() {
            partial.header[partial.header_len] = take(input, 1)[0];
            partial.header_len += 1;
            if let Some((header, _)) = Header::parse(&partial.header[..partial.header_len])? {
                partial.header_len = 0;
                return Ok(Some(header));
            }
        }
        Ok(None)
    }

    /// Whether this frame may come now, and how it changes the message it belongs to.
    fn admit(&mut self, header: &Header, rules: &Rules) -> Result<(), ProtocolError> {
        if header.opcode.is_control() {
            return Ok(());
        }
        let message = self.partial.as_mut().and_then(|p| p.message.as_mut());
        let len = match (header.opcode, &message) {
            (Opcode::Continuation, Some(message)) => message.len.saturating_add(header.len),
            (Opcode::Continuation, None) => return Err(broken("continuation of nothing")),
            (_, Some(_)) => return Err(broken("new message inside a fragmented one")),
            (Opcode::Binary, None) if !rules.binary => {
                return Err(ProtocolError {
                    code: CloseCode::Unsupported,
                    reason: "binary messages are not taken here",
                });
            }
            (_, None) => header.len,
        };
        if len > rules.message_skip_max as u64 {
            return Err(ProtocolError {
                code: CloseCode::TooLarge,
                reason: "message too large",
            });
        }
        if let Some(message) = message {
            message.grow(len, rules);
        }
        Ok(())
    }

    /// Gives the allocation back if nothing is half-read any more.
    fn relax(&mut self) {
        if let Some(partial) = &self.partial
            && partial.message.is_none()
            && partial.frame.is_none()
        {
            self.partial = None;
        }
    }
}

fn control(opcode: Opcode, payload: Cow<'_, [u8]>) -> Result<Incoming<'_>, ProtocolError> {
    match opcode {
        Opcode::Ping => Ok(Incoming::Ping(payload)),
        Opcode::Pong => Ok(Incoming::Pong(payload)),
        _ => goodbye::close(payload),
    }
}

#[cfg(test)]
mod tests;
