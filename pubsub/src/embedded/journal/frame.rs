//! How records lie in a journal file: a heading, then for each its length, its checksum and itself.

use std::io::{self, BufRead};

/// First bytes of each file; the number rises when older programs could not read it.
pub const HEADING: &[u8] = b"rookery journal 1\n";

/// Bytes of length and checksum before each record.
const HEAD_LEN: usize = 8;

/// Longest record, in bytes: a length beyond is no length. Far more than one append may bring.
pub const RECORD_LEN_MAX: usize = 64 * 1024 * 1024;

/// Adds a record to a buffer as it lies in the file.
pub fn frame(record: &[u8], buffer: &mut Vec<u8>) -> io::Result<()> {
    if record.is_empty() || record.len() > RECORD_LEN_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            "a record too long for the journal",
        ));
    }
    let len = u32::try_from(record.len()).expect("shorter than its limit");
    buffer.extend_from_slice(&len.to_le_bytes());
    buffer.extend_from_slice(&crc32fast::hash(record).to_le_bytes());
    buffer.extend_from_slice(record);
    Ok(())
}

/// Reads the records of a file one by one, up to its end or the first that is not whole.
pub struct Frames<R> {
    file: R,
    record: Vec<u8>,
    good: u64,
}

/// What comes next in a file.
#[derive(Debug, PartialEq)]
pub enum Next<'a> {
    /// A whole record.
    Record(&'a [u8]),
    /// The file ends here, cleanly.
    End,
    /// From [`Frames::good`] on there is no whole record.
    Torn,
}

impl<R: BufRead> Frames<R> {
    /// Starts to read a file; `Ok(None)` if it has no heading.
    pub fn new(mut file: R) -> io::Result<Option<Frames<R>>> {
        let mut heading = [0; HEADING.len()];
        if !fill(&mut file, &mut heading)? || heading != HEADING {
            return Ok(None);
        }
        Ok(Some(Frames {
            file,
            record: Vec::new(),
            good: HEADING.len() as u64,
        }))
    }

    /// How many bytes of the file were whole so far.
    pub fn good(&self) -> u64 {
        self.good
    }

    /// The next record.
    pub fn read(&mut self) -> io::Result<Next<'_>> {
        if self.file.fill_buf()?.is_empty() {
            return Ok(Next::End);
        }
        let mut head = [0; HEAD_LEN];
        if !fill(&mut self.file, &mut head)? {
            return Ok(Next::Torn);
        }
        let Some((len, sum)) = parse_head(&head) else {
            return Ok(Next::Torn);
        };
        self.record.resize(len, 0);
        if !fill(&mut self.file, &mut self.record)? || crc32fast::hash(&self.record) != sum {
            return Ok(Next::Torn);
        }
        self.good += (HEAD_LEN + len) as u64;
        Ok(Next::Record(&self.record))
    }
}

/// Whether a whole record lies anywhere in bytes that do not begin with one: then more than the last record is damaged.
pub fn holds_a_record(bytes: &[u8]) -> bool {
    (1..bytes.len()).any(|start| {
        let bytes = &bytes[start..];
        let Some((head, rest)) = bytes.split_first_chunk() else {
            return false;
        };
        let parsed = parse_head(head);
        parsed.is_some_and(|(len, sum)| {
            rest.get(..len)
                .is_some_and(|record| crc32fast::hash(record) == sum)
        })
    })
}

fn parse_head(head: &[u8; HEAD_LEN]) -> Option<(usize, u32)> {
    let [a, b, c, d, e, f, g, h] = *head;
    let len = u32::from_le_bytes([a, b, c, d]) as usize;
    let sum = u32::from_le_bytes([e, f, g, h]);
    (1..=RECORD_LEN_MAX).contains(&len).then_some((len, sum))
}

/// Fills a buffer; false if the file ended before.
fn fill(file: &mut impl io::Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
