//! Several files into one, without what is outdated. Reads and writes files only, so that it can run beside everything else;
//! events are copied as they are, in memory is only what is small.

use super::{
    Image, Record,
    files::Files,
    frame::{Frames, HEADING, Next, frame},
};
use crate::Millis;
use std::{
    fs::{self, File},
    io::{self, BufReader, BufWriter, Write},
    path::Path,
};

/// Rewrites all files up to `number`, none of which grows, into that one.
pub fn compact(files: &Files, number: u64, now: Millis) -> io::Result<()> {
    let numbers: Vec<u64> = files
        .numbers()?
        .into_iter()
        .filter(|other| *other <= number)
        .collect();
    let new = files.path_of_new(number);
    if let Err(error) = rewrite(files, &numbers, &new, now) {
        // On a full disk, what was written so far is in the way.
        let _ = fs::remove_file(&new);
        return Err(error);
    }
    fs::rename(&new, files.path(number))?;
    files.sync()?;
    for old in numbers.iter().filter(|old| **old < number) {
        fs::remove_file(files.path(*old))?;
    }
    Ok(())
}

fn rewrite(files: &Files, numbers: &[u64], new: &Path, now: Millis) -> io::Result<()> {
    let mut to = BufWriter::new(File::create(new)?);
    to.write_all(HEADING)?;
    let mut buffer = Vec::new();
    let mut put = |record: &[u8]| {
        buffer.clear();
        frame(record, &mut buffer)?;
        to.write_all(&buffer)
    };
    put(&Record::Begin.encode())?;
    let mut image = Image::default();
    for number in numbers {
        let file = File::open(files.path(*number))?;
        let mut frames = Frames::new(BufReader::new(file))?.ok_or_else(damaged)?;
        loop {
            match frames.read()? {
                Next::End => break,
                Next::Torn => return Err(damaged()),
                Next::Record(record) if Record::bytes_are_small(record) => {
                    let record = Record::decode(record).ok_or_else(damaged)?;
                    image.apply(record).map_err(io::Error::other)?;
                }
                Next::Record(record) => put(record)?,
            }
        }
    }
    image.purge(now);
    for record in image.small_records() {
        put(&record.encode())?;
    }
    to.into_inner()?.sync_all()
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no whole record")
}
