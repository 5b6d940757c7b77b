//! The directory of a journal: names, the lock, and who may touch them.

use super::{Active, OpenError, at, frame::HEADING};
use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write},
    path::{Path, PathBuf},
};

/// A directory that is this process's own as long as this lives.
#[derive(Debug)]
pub struct Files {
    pub dir: PathBuf,
    _lock: File,
}

const PREFIX: &str = "journal.";

impl Files {
    /// Takes possession of a directory, which it makes if need be.
    pub fn open(dir: &Path) -> Result<Files, OpenError> {
        fs::create_dir_all(dir).map_err(at(dir))?;
        let path = dir.join("journal.lock");
        let mut options = OpenOptions::new();
        let lock = options
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(at(&path))?;
        match lock.try_lock() {
            Ok(()) => Ok(Files {
                dir: dir.into(),
                _lock: lock,
            }),
            Err(TryLockError::WouldBlock) => Err(OpenError::InUse(dir.into())),
            Err(TryLockError::Error(error)) => Err(at(&path)(error)),
        }
    }

    /// A file of the journal.
    pub fn path(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{PREFIX}{number:06}"))
    }

    /// A file while it is being made.
    pub fn path_of_new(&self, number: u64) -> PathBuf {
        self.dir.join(format!("{PREFIX}{number:06}.new"))
    }

    /// Where what was cut off a damaged file is kept.
    pub fn path_of_cut(&self, number: u64, at: u64) -> PathBuf {
        self.dir.join(format!("{PREFIX}{number:06}.cut-at-{at}"))
    }

    /// Numbers of the files there are, rising.
    pub fn numbers(&self) -> io::Result<Vec<u64>> {
        let mut numbers = Vec::new();
        for entry in fs::read_dir(&self.dir)? {
            let name = entry?.file_name();
            let number: Option<u64> = name
                .to_str()
                .and_then(|name| name.strip_prefix(PREFIX)?.parse().ok());
            numbers.extend(number);
        }
        numbers.sort_unstable();
        Ok(numbers)
    }

    /// Opens a file to grow, and makes it if need be.
    pub fn activate(&self, number: u64, outdated: u64) -> io::Result<Active> {
        let path = self.path(number);
        let mut file = OpenOptions::new().create(true).append(true).open(&path)?;
        let mut len = file.metadata()?.len();
        if len < HEADING.len() as u64 {
            let begun = file.set_len(0).and_then(|()| file.write_all(HEADING));
            if let Err(error) = begun {
                // Or the next start would take the file before it for a finished one.
                let _ = fs::remove_file(&path);
                return Err(error);
            }
            len = HEADING.len() as u64;
        }
        Ok(Active {
            file: Box::new(file),
            number,
            len,
            is_torn: false,
            outdated,
            buffer: Vec::new(),
        })
    }

    /// Makes the names of files survive a loss of power.
    pub fn sync(&self) -> io::Result<()> {
        File::open(&self.dir)?.sync_all()
    }
}
