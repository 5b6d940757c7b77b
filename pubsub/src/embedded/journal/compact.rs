//! Several files into one, without what is outdated. Reads and writes files only, so that it can run beside everything else;
//! events are copied as they are, but for those of logs that were forgotten afterwards; in memory is only what is small.

use super::{
    Image, Record,
    files::Files,
    frame::{Frames, HEADING, Next, frame},
};
use crate::{Millis, Room};
use std::{
    collections::HashMap,
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
    // Which record forgot a room last: what was appended to it before then is left out.
    let mut forgotten: HashMap<Room, u64> = HashMap::new();
    each_record(files, numbers, |place, record| {
        if Record::bytes_are_small(record)
            && let Some(Record::Forget { room, .. }) = Record::decode(record)
        {
            forgotten.insert(room, place);
        }
        Ok(())
    })?;
    let mut image = Image::default();
    each_record(files, numbers, |place, record| {
        if Record::bytes_are_small(record) {
            let record = Record::decode(record).ok_or_else(damaged)?;
            return image.apply(record).map_err(io::Error::other);
        }
        let room = Record::room_of_log(record).ok_or_else(damaged)?;
        match forgotten.get(&room) {
            Some(at) if place < *at => Ok(()),
            _ => put(record),
        }
    })?;
    image.purge(now);
    for record in image.small_records() {
        put(&record.encode())?;
    }
    to.into_inner()?.sync_all()
}

/// Reads the records of files one after the other, with their places among all.
fn each_record(
    files: &Files,
    numbers: &[u64],
    mut take: impl FnMut(u64, &[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut place = 0;
    for number in numbers {
        let file = File::open(files.path(*number))?;
        let mut frames = Frames::new(BufReader::new(file))?.ok_or_else(damaged)?;
        loop {
            match frames.read()? {
                Next::End => break,
                Next::Torn => return Err(damaged()),
                Next::Record(record) => take(place, record)?,
            }
            place += 1;
        }
    }
    Ok(())
}

fn damaged() -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, "no whole record")
}
