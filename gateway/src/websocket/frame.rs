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

/// The kinds of frame that exist.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Opcode {
    /// Goes on with a message begun by another frame.
    Continuation = 0x0,
    /// Begins a text message.
    Text = 0x1,
    /// Begins a binary message.
    Binary = 0x2,
    /// Ends the conversation.
    Close = 0x8,
    /// Asks whether the other side lives.
    Ping = 0x9,
    /// Says so.
    Pong = 0xA,
}

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

const NOT_UTF8: ProtocolError = ProtocolError {
    code: CloseCode::NotUtf8,
    reason: "text is not UTF-8",
};

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

/// A data message of which at least one byte or frame is still to come.
#[derive(Debug)]
struct Message {
    text: bool,
    data: Vec<u8>,
    /// How much of `data` is known to be UTF-8; at most three bytes less than all of it.
    valid_len: usize,
    /// The announced length of all its frames so far, bytes.
    len: u64,
    /// Too large to be kept; only its end is waited for.
    skipped: bool,
}

impl Message {
    fn begin(frame: &Header, rules: &Rules) -> Message {
        let mut message = Message {
            text: frame.opcode == Opcode::Text,
            data: Vec::new(),
            valid_len: 0,
            len: 0,
            skipped: false,
        };
        message.grow(frame.len, rules);
        message
    }

    fn grow(&mut self, len: u64, rules: &Rules) {
        self.len = len;
        if len > rules.message_len_max as u64 {
            self.skipped = true;
            self.data = Vec::new();
        }
    }

    /// Keeps these bytes. Memory grows with what came, never with what a header promised.
    fn extend(&mut self, payload: &[u8]) -> Result<(), ProtocolError> {
        if self.skipped {
            return Ok(());
        }
        self.data.extend_from_slice(payload);
        if self.text {
            match std::str::from_utf8(&self.data[self.valid_len..]) {
                Ok(_) => self.valid_len = self.data.len(),
                Err(error) if error.error_len().is_some() => return Err(NOT_UTF8),
                Err(error) => self.valid_len += error.valid_up_to(),
            }
        }
        Ok(())
    }

    fn finish(self) -> Result<Incoming<'static>, ProtocolError> {
        if self.skipped {
            Ok(Incoming::TooLarge)
        } else if self.text {
            let text = String::from_utf8(self.data).map_err(|_| NOT_UTF8)?;
            Ok(Incoming::Text(Cow::Owned(text)))
        } else {
            Ok(Incoming::Binary(Cow::Owned(self.data)))
        }
    }
}

fn whole(opcode: Opcode, payload: &[u8]) -> Result<Incoming<'_>, ProtocolError> {
    if opcode == Opcode::Text {
        let text = std::str::from_utf8(payload).map_err(|_| NOT_UTF8)?;
        Ok(Incoming::Text(Cow::Borrowed(text)))
    } else {
        Ok(Incoming::Binary(Cow::Borrowed(payload)))
    }
}

fn control(opcode: Opcode, payload: Cow<'_, [u8]>) -> Result<Incoming<'_>, ProtocolError> {
    match opcode {
        Opcode::Ping => Ok(Incoming::Ping(payload)),
        Opcode::Pong => Ok(Incoming::Pong(payload)),
        _ => close(payload),
    }
}

fn close(payload: Cow<'_, [u8]>) -> Result<Incoming<'_>, ProtocolError> {
    let code = match payload.as_ref() {
        [] => None,
        [_] => return Err(broken("close code of one byte")),
        [high, low, ..] => Some(u16::from_be_bytes([*high, *low])),
    };
    if code.is_some_and(|code| !may_be_sent(code)) {
        return Err(broken("close code that may not be sent"));
    }
    let reason_not_utf8 = |_| ProtocolError {
        code: CloseCode::NotUtf8,
        reason: "close reason is not UTF-8",
    };
    let reason = match payload {
        Cow::Borrowed(bytes) => {
            let reason = bytes.get(2..).unwrap_or_default();
            Cow::Borrowed(std::str::from_utf8(reason).map_err(reason_not_utf8)?)
        }
        Cow::Owned(bytes) => {
            let reason = bytes.get(2..).unwrap_or_default();
            Cow::Owned(
                std::str::from_utf8(reason)
                    .map_err(reason_not_utf8)?
                    .to_owned(),
            )
        }
    };
    Ok(Incoming::Close { code, reason })
}

/// Codes a peer may put into a close frame: RFC 6455, 7.4, and the registry as it stands (1012–1014 came later).
fn may_be_sent(code: u16) -> bool {
    matches!(code, 1000..=1003 | 1007..=1014 | 3000..=4999)
}

/// Two bytes, a length of eight, a mask of four.
const HEADER_LEN_MAX: usize = 14;

#[derive(Clone, Copy, Debug)]
struct Header {
    fin: bool,
    opcode: Opcode,
    /// The payload's length, bytes.
    len: u64,
    /// How much of it is still to come.
    remaining: u64,
    mask: [u8; 4],
}

impl Header {
    /// The header at the front of `bytes` and its length; `None` if it goes on beyond them. Rules that the first bytes
    /// already break are found then.
    fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, ProtocolError> {
        let Some(first) = bytes.first() else {
            return Ok(None);
        };
        if first & 0x70 != 0 {
            return Err(broken("reserved bit set"));
        }
        let fin = first & 0x80 != 0;
        let opcode = Opcode::from_bits(first & 0x0F).ok_or(broken("unknown opcode"))?;
        if opcode.is_control() && !fin {
            return Err(broken("fragmented control frame"));
        }

        let Some(second) = bytes.get(1) else {
            return Ok(None);
        };
        if second & 0x80 == 0 {
            return Err(broken("frame not masked"));
        }
        let short = second & 0x7F;
        if opcode.is_control() && short > 125 {
            return Err(broken("control frame over 125 bytes"));
        }
        let (len, mask_at) = match short {
            126 => match bytes.get(2..4) {
                Some(&[a, b]) => (u64::from(u16::from_be_bytes([a, b])), 4),
                _ => return Ok(None),
            },
            127 => match bytes.get(2..10) {
                Some(&[a, b, c, d, e, f, g, h]) => {
                    (u64::from_be_bytes([a, b, c, d, e, f, g, h]), 10)
                }
                _ => return Ok(None),
            },
            short => (u64::from(short), 2),
        };
        if (short == 126 && len < 126) || (short == 127 && len <= 0xFFFF) {
            return Err(broken("length not in its shortest form"));
        }
        if len > i64::MAX as u64 {
            return Err(broken("length over 63 bits"));
        }

        let Some(&[a, b, c, d]) = bytes.get(mask_at..mask_at + 4) else {
            return Ok(None);
        };
        let header = Header {
            fin,
            opcode,
            len,
            remaining: len,
            mask: [a, b, c, d],
        };
        Ok(Some((header, mask_at + 4)))
    }

    /// Takes as much of the payload as `input` has, unmasked.
    fn take_payload<'i>(&mut self, input: &mut &'i mut [u8]) -> &'i mut [u8] {
        let here = usize::try_from(self.remaining).map_or(input.len(), |n| n.min(input.len()));
        let payload = take(input, here);
        let done = self.len - self.remaining;
        unmask(payload, self.mask, (done % 4) as usize);
        self.remaining -= here as u64;
        payload
    }
}

impl Opcode {
    fn from_bits(bits: u8) -> Option<Opcode> {
        Some(match bits {
            0x0 => Opcode::Continuation,
            0x1 => Opcode::Text,
            0x2 => Opcode::Binary,
            0x8 => Opcode::Close,
            0x9 => Opcode::Ping,
            0xA => Opcode::Pong,
            _ => return None,
        })
    }

    fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

fn take<'i>(input: &mut &'i mut [u8], len: usize) -> &'i mut [u8] {
    let (head, tail) = std::mem::take(input).split_at_mut(len);
    *input = tail;
    head
}

/// Eight bytes at a time, which compilers turn into vectors.
fn unmask(payload: &mut [u8], mut mask: [u8; 4], offset: usize) {
    mask.rotate_left(offset);
    let [a, b, c, d] = mask;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let (words, rest) = payload.as_chunks_mut::<8>();
    for word in words {
        *word = (u64::from_ne_bytes(*word) ^ wide).to_ne_bytes();
    }
    for (byte, key) in rest.iter_mut().zip(mask.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests;
