//! Messages: put together from frames, text checked as it comes.

use std::borrow::Cow;

use shared::protocol::close::CloseCode;

use super::header::{Header, Opcode};
use super::{Incoming, ProtocolError, Rules};

const NOT_UTF8: ProtocolError = ProtocolError {
    code: CloseCode::NotUtf8,
    reason: "text is not UTF-8",
};

/// A data message of which at least one byte or frame is still to come.
#[derive(Debug)]
pub(super) struct Message {
    text: bool,
    data: Vec<u8>,
    /// How much of `data` is known to be UTF-8; at most three bytes less than all of it.
    valid_len: usize,
    /// The announced length of all its frames so far, bytes.
    pub(super) len: u64,
    /// Too large to be kept; only its end is waited for.
    skipped: bool,
}

impl Message {
    pub(super) fn begin(frame: &Header, rules: &Rules) -> Message {
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

    pub(super) fn grow(&mut self, len: u64, rules: &Rules) {
        self.len = len;
        if len > rules.message_len_max as u64 {
            self.skipped = true;
            self.data = Vec::new();
        }
    }

    /// Keeps these bytes. Memory grows with what came, never with what a header promised.
    pub(super) fn extend(&mut self, payload: &[u8]) -> Result<(), ProtocolError> {
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

    #[cfg(test)]
    pub(super) fn kept_len(&self) -> usize {
        self.data.capacity()
    }

    pub(super) fn finish(self) -> Result<Incoming<'static>, ProtocolError> {
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

/// A message that came in one frame in one piece.
pub(super) fn whole(opcode: Opcode, payload: &[u8]) -> Result<Incoming<'_>, ProtocolError> {
    if opcode == Opcode::Text {
        let text = std::str::from_utf8(payload).map_err(|_| NOT_UTF8)?;
        Ok(Incoming::Text(Cow::Borrowed(text)))
    } else {
        Ok(Incoming::Binary(Cow::Borrowed(payload)))
    }
}
