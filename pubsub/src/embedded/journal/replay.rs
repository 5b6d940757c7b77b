//! From files to an image, at the start. A torn end is cut off; anything else that is wrong is for a human.

use super::{
    Image, OpenError, Record, at,
    files::Files,
    frame::{self, Frames, HEADING, Next},
};
use std::{
    fs::{self, File, OpenOptions},
    io::{self, BufReader, Read, Seek, SeekFrom},
    path::Path,
};

/// How far behind a tear whole records are looked for, in bytes: to tell a torn end from a hole.
const LOOK_LEN: u64 = 1024 * 1024;

/// What the files add up to.
pub struct Replayed {
    pub image: Image,
    /// Number of the file that grows.
    pub last: u64,
    /// Bytes of small records, outdated or not.
    pub small_len: u64,
}

/// Reads all files.
pub fn replay(files: &Files) -> Result<Replayed, OpenError> {
    let numbers = tidy(files).map_err(at(&files.dir))?;
    let mut replayed = Replayed {
        image: Image::default(),
        last: numbers.last().copied().unwrap_or(1),
        small_len: 0,
    };
    for number in numbers {
        let path = files.path(number);
        let damaged = |at: u64, what: String| OpenError::Damaged {
            file: path.clone(),
            at,
            what,
        };
        let file = File::open(&path).map_err(at(&path))?;
        let frames = Frames::new(BufReader::new(file)).map_err(at(&path))?;
        let Some(mut frames) = frames else {
            return Err(damaged(
                0,
                "no journal of this version of the program".into(),
            ));
        };
        loop {
            let start = frames.good();
            match frames.read().map_err(at(&path))? {
                Next::End => break,
                Next::Torn if number == replayed.last => {
                    cut(files, number, start).map_err(at(&path))?;
                    break;
                }
                Next::Torn => return Err(damaged(start, "no whole record".into())),
                Next::Record(bytes) => {
                    let record = Record::decode(bytes)
                        .ok_or_else(|| damaged(start, "an unknown record".into()))?;
                    if record.is_small() {
                        replayed.small_len += bytes.len() as u64 + record.outdates();
                    }
                    replayed
                        .image
                        .apply(record)
                        .map_err(|what| damaged(start, what))?;
                }
            }
        }
    }
    Ok(replayed)
}

/// Takes away what a crash left half done: new files not yet renamed, old ones that are in a newer one, and a last one
/// without so much as a heading. Answers the numbers of the rest.
fn tidy(files: &Files) -> io::Result<Vec<u64>> {
    let mut numbers = files.numbers()?;
    while let Some(last) = numbers.pop_if(|last| is_headless(&files.path(*last))) {
        fs::remove_file(files.path(last))?;
    }
    let begins = numbers
        .iter()
        .rposition(|number| begins_anew(&files.path(*number)));
    for old in numbers.drain(..begins.unwrap_or(0)) {
        fs::remove_file(files.path(old))?;
    }
    for number in numbers.iter().chain(&[1]) {
        match fs::remove_file(files.path_of_new(*number)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(numbers)
}

fn is_headless(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|metadata| metadata.len() < HEADING.len() as u64)
}

/// Whether all that older files hold is in this one.
fn begins_anew(path: &Path) -> bool {
    let begins = || {
        let mut frames = Frames::new(BufReader::new(File::open(path)?))?;
        let Some(frames) = &mut frames else {
            return Ok(false);
        };
        let first = frames.read()?;
        io::Result::Ok(
            matches!(first, Next::Record(bytes) if Record::decode(bytes) == Some(Record::Begin)),
        )
    };
    begins().unwrap_or(false)
}

/// Cuts a file off where its last whole record ends.
fn cut(files: &Files, number: u64, at: u64) -> io::Result<()> {
    let path = files.path(number);
    let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
    let len = file.metadata()?.len() - at;
    let mut behind = Vec::new();
    file.seek(SeekFrom::Start(at))?;
    (&file).take(LOOK_LEN).read_to_end(&mut behind)?;
    let file_name = path.display();
    if frame::holds_a_record(&behind) {
        let kept = files.path_of_cut(number, at);
        file.seek(SeekFrom::Start(at))?;
        io::copy(&mut file, &mut File::create(&kept)?)?;
        let kept = kept.display();
        tracing::error!(%file_name, at, len, %kept, "journal is damaged: cut there, what stood behind is kept");
    } else {
        tracing::warn!(%file_name, at, len, "journal has a torn end, never acknowledged: cut off");
    }
    file.set_len(at)?;
    file.sync_all()
}
