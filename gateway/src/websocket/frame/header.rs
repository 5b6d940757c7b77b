//! Headers: what the first 2 to 14 bytes of a frame say, and the mask they bring.

use super::{ProtocolError, broken};

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

/// Two bytes, a length of eight, a mask of four.
pub(super) const HEADER_LEN_MAX: usize = 14;

#[derive(Clone, Copy, Debug)]
pub(super) struct Header {
    pub(super) fin: bool,
    pub(super) opcode: Opcode,
    /// The payload's length, bytes.
    pub(super) len: u64,
    /// How much of it is still to come.
    pub(super) remaining: u64,
    mask: [u8; 4],
}

impl Header {
    /// The header at the front of `bytes` and its length; `None` if it goes on beyond them. Rules that the first bytes
    /// already break are found then.
    pub(super) fn parse(bytes: &[u8]) -> Result<Option<(Header, usize)>, ProtocolError> {
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
    pub(super) fn take_payload<'i>(&mut self, input: &mut &'i mut [u8]) -> &'i mut [u8] {
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

    pub(super) fn is_control(self) -> bool {
        self as u8 & 0x8 != 0
    }
}

pub(super) fn take<'i>(input: &mut &'i mut [u8], len: usize) -> &'i mut [u8] {
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
