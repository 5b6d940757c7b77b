//! The client's half of RFC 6455, as far as a load needs it: whole frames in, masked frames out.

/// Opcodes.
pub const TEXT: u8 = 1;
pub const CLOSE: u8 = 8;
pub const PING: u8 = 9;
pub const PONG: u8 = 10;

/// A frame at the start of a buffer.
#[derive(Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    pub opcode: u8,
    pub payload: &'a [u8],
    /// Its length with its head.
    pub len: usize,
}

/// Finds the frame that a buffer of a server's bytes begins with; `None` as long as it is not whole.
pub fn first(buffer: &[u8]) -> Option<Frame<'_>> {
    let (&[head, short], rest) = buffer.split_first_chunk::<2>()?;
    let (payload_len, at) = match short & 0x7f {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => (
            usize::try_from(u64::from_be_bytes(*rest.first_chunk()?)).ok()?,
            10,
        ),
        len => (usize::from(len), 2),
    };
    let len = at + payload_len;
    Some(Frame {
        opcode: head & 0x0f,
        payload: buffer.get(at..len)?,
        len,
    })
}

/// Writes a client's frame. Its mask is zero: no proxy is to be protected here, and nothing need be computed.
pub fn write(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    head(out, 0x80, payload.len());
    out.extend([0; 4]);
    out.extend(payload);
}

/// Writes a server's frame.
pub fn write_unmasked(out: &mut Vec<u8>, opcode: u8, payload: &[u8]) {
    out.push(0x80 | opcode);
    head(out, 0, payload.len());
    out.extend(payload);
}

fn head(out: &mut Vec<u8>, mask: u8, len: usize) {
    match len {
        0..=125 => out.push(mask | len as u8),
        126..=0xffff => {
            out.push(mask | 126);
            out.extend((len as u16).to_be_bytes());
        }
        _ => {
            out.push(mask | 127);
            out.extend((len as u64).to_be_bytes());
        }
    }
}

/// Finds a client's frame, as [`first`] a server's, and takes the mask off it: opcode, payload, length.
pub fn first_masked(buffer: &[u8]) -> Option<(u8, Vec<u8>, usize)> {
    let (&[head, short], rest) = buffer.split_first_chunk::<2>()?;
    let (payload_len, at) = match short & 0x7f {
        126 => (usize::from(u16::from_be_bytes(*rest.first_chunk()?)), 4),
        127 => return None,
        len => (usize::from(len), 2),
    };
    let mask: [u8; 4] = *buffer.get(at..)?.first_chunk()?;
    let payload = buffer.get(at + 4..at + 4 + payload_len)?;
    let payload = payload.iter().zip(mask.iter().cycle()).map(|(b, m)| b ^ m);
    Some((head & 0x0f, payload.collect(), at + 4 + payload_len))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_of_all_lengths_are_found_once_they_are_whole() {
        for len in [0, 1, 125, 126, 200, 65_535, 65_536, 70_000] {
            let payload = vec![b'x'; len];
            let mut bytes = Vec::new();
            write_unmasked(&mut bytes, TEXT, &payload);
            for short in [0, 1, bytes.len() / 2, bytes.len() - 1] {
                assert_eq!(first(&bytes[..short]), None, "{len} {short}");
            }
            let whole = bytes.len();
            bytes.extend(b"more");
            let frame = first(&bytes).expect("whole");
            assert_eq!((frame.opcode, frame.len), (TEXT, whole));
            assert_eq!(frame.payload, payload);
        }
    }

    #[test]
    fn what_a_client_writes_can_be_read() {
        for len in [0, 125, 126, 300] {
            let payload = vec![b'y'; len];
            let mut bytes = Vec::new();
            write(&mut bytes, PING, &payload);
            assert_eq!(first_masked(&bytes[..bytes.len() - 1]), None);
            assert_eq!(first_masked(&bytes), Some((PING, payload, bytes.len())));
        }
    }
}
