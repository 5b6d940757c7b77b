//! Frames to clients: built once, shared by every socket they go to. What clients send is `frame`'s business.
//!
//! A server's frames are not masked and we neither fragment nor compress, so the bytes are the same for everybody, and
//! writing one to ten thousand sockets copies nothing in this process.

use bytes::{BufMut, Bytes, BytesMut};
use shared::protocol::close::CloseCode;

use super::frame::Opcode;

/// The final-fragment bit of the first byte.
const FIN: u8 = 0x80;

/// The longest payload of a control frame, bytes (RFC 6455, 5.5).
pub const CONTROL_PAYLOAD_LEN_MAX: usize = 125;

/// What a queued frame takes besides its own bytes: its place in a queue that doubles as it grows, and its allocation's
/// header. Without it a queue bounded to 64 KiB held 2.7 MB of three-byte frames.
const QUEUE_ENTRY_LEN: usize = 64;

/// One complete server frame, header and payload; cloning it is a reference count.
///
/// Control frames are this module's own: whoever wants a connection closed asks its [`Outbox`](super::outbox::Outbox).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame(Bytes);

impl Frame {
    /// A whole text message.
    pub fn text(text: &str) -> Frame {
        Frame::build(Opcode::Text, &[text.as_bytes()])
    }

    /// A whole binary message.
    pub fn binary(payload: &[u8]) -> Frame {
        Frame::build(Opcode::Binary, &[payload])
    }

    /// Several frames as one piece, to be queued and written together.
    pub(crate) fn joined<'f>(frames: impl ExactSizeIterator<Item = &'f Frame> + Clone) -> Frame {
        if frames.len() == 1
            && let Some(only) = frames.clone().next()
        {
            return only.clone();
        }
        let len = frames.clone().map(Frame::wire_len).sum();
        let mut out = BytesMut::with_capacity(len);
        for frame in frames {
            out.put_slice(frame.as_bytes());
        }
        Frame(out.freeze())
    }

    /// A ping without a payload.
    pub(super) fn ping() -> Frame {
        Frame(Bytes::from_static(&[FIN | Opcode::Ping as u8, 0]))
    }

    /// The answer to a ping that carried this payload (cut to 125 bytes, which the reader has already ensured).
    pub(super) fn pong(payload: &[u8]) -> Frame {
        Frame::build(Opcode::Pong, &[cut(payload)])
    }

    /// A close with one of our codes; the reason is cut at a character to fit.
    pub(super) fn close(code: CloseCode, reason: &str) -> Frame {
        let mut end = reason.len().min(CONTROL_PAYLOAD_LEN_MAX - 2);
        while !reason.is_char_boundary(end) {
            end -= 1;
        }
        let code = code.as_u16().to_be_bytes();
        Frame::build(Opcode::Close, &[&code, &reason.as_bytes()[..end]])
    }

    /// The answer to a peer's close: its own code, or none if it gave none.
    pub(super) fn close_reply(code: Option<u16>) -> Frame {
        match code {
            Some(code) => Frame::build(Opcode::Close, &[&code.to_be_bytes()]),
            None => Frame::build(Opcode::Close, &[]),
        }
    }

    /// Its length on the wire, bytes.
    pub fn wire_len(&self) -> usize {
        self.0.len()
    }

    /// What it counts for in a bounded queue, bytes: its length and its share of the queue itself.
    pub fn queued_len(&self) -> usize {
        self.wire_len() + QUEUE_ENTRY_LEN
    }

    /// The bytes to write.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The payload, without the header.
    pub fn payload(&self) -> &[u8] {
        let header_len = match self.0[1] {
            126 => 4,
            127 => 10,
            _ => 2,
        };
        &self.0[header_len..]
    }

    pub(super) fn is(&self, opcode: Opcode) -> bool {
        self.0[0] == FIN | opcode as u8
    }

    fn build(opcode: Opcode, parts: &[&[u8]]) -> Frame {
        let payload_len: usize = parts.iter().map(|part| part.len()).sum();
        // 10 bytes is the longest header of a frame without a mask.
        let mut out = BytesMut::with_capacity(10 + payload_len);
        out.put_u8(FIN | opcode as u8);
        match payload_len {
            0..=125 => out.put_u8(payload_len as u8),
            126..=0xFFFF => {
                out.put_u8(126);
                out.put_u16(payload_len as u16);
            }
            _ => {
                out.put_u8(127);
                out.put_u64(payload_len as u64);
            }
        }
        for part in parts {
            out.put_slice(part);
        }
        Frame(out.freeze())
    }
}

fn cut(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(CONTROL_PAYLOAD_LEN_MAX)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_use_the_shortest_form() {
        let table: &[(usize, &[u8])] = &[
            (0, &[0x82, 0]),
            (1, &[0x82, 1]),
            (125, &[0x82, 125]),
            (126, &[0x82, 126, 0, 126]),
            (65_535, &[0x82, 126, 0xFF, 0xFF]),
            (65_536, &[0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]),
        ];
        for (len, header) in table {
            let payload = vec![7; *len];
            let frame = Frame::binary(&payload);
            assert_eq!(&frame.as_bytes()[..header.len()], *header, "{len}");
            assert_eq!(frame.payload(), payload, "{len}");
            assert_eq!(frame.wire_len(), header.len() + len);
        }
    }

    #[test]
    fn each_kind_of_frame() {
        let table: &[(Frame, &[u8])] = &[
            (Frame::text("é"), b"\x81\x02\xC3\xA9"),
            (Frame::ping(), b"\x89\x00"),
            (Frame::pong(b"b"), b"\x8A\x01b"),
            (
                Frame::close(CloseCode::Slow, "slow"),
                b"\x88\x06\x0F\xA8slow",
            ),
            (Frame::close_reply(None), b"\x88\x00"),
            (Frame::close_reply(Some(1000)), b"\x88\x02\x03\xE8"),
        ];
        for (frame, bytes) in table {
            assert_eq!(frame.as_bytes(), *bytes);
        }
    }

    #[test]
    fn a_long_reason_is_cut_at_a_character() {
        // 123 bytes are left for the reason; the 62nd two-byte character would end at 124.
        let frame = Frame::close(CloseCode::Normal, &"é".repeat(100));
        assert_eq!(frame.payload().len(), 2 + 122);
        assert!(std::str::from_utf8(&frame.payload()[2..]).is_ok());
    }
}
