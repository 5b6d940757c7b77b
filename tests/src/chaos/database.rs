//! Where the games of a run are archived, how that is broken, and what it holds in the end.

use super::judge::Log;
use crate::servers::PostgresServer;
use archive::Store;
use std::{collections::BTreeMap, fs::File, io::Write, path::Path, process::Command};
use tempfile::TempDir;
use tokio::time::{Duration, Instant, sleep};

/// How long the archive may take to have all of it: far more than it needs.
const PATIENCE: Duration = Duration::from_secs(60);

/// Bytes of the small disk: the games of a run, twice.
const DISK_LEN: &str = "32m";

/// A database of this run alone.
pub enum Database {
    /// A server, and the URL of one of its databases.
    Postgres(PostgresServer, String),
    /// A file on a disk of its own.
    Sqlite(SmallDisk),
}

impl Database {
    /// A new server with an empty database.
    pub async fn postgres() -> Database {
        let server = PostgresServer::start().await;
        let url = server.database();
        Database::Postgres(server, url)
    }

    /// What gateways are told.
    pub fn url(&self) -> String {
        match self {
            Database::Postgres(_, url) => url.clone(),
            Database::Sqlite(disk) => {
                let file = disk.path().join("rookery.db");
                format!("sqlite:{}", file.display())
            }
        }
    }

    /// The server, to be killed.
    pub fn server(&self) -> &PostgresServer {
        match self {
            Database::Postgres(server, _) => server,
            Database::Sqlite(_) => panic!("a scenario with PostgreSQL"),
        }
    }

    /// The disk, to be filled.
    pub fn disk(&self) -> &SmallDisk {
        match self {
            Database::Sqlite(disk) => disk,
            Database::Postgres(..) => panic!("a scenario with SQLite"),
        }
    }

    /// What it holds of each of these games, once that is as much as is due; or what it holds after a long wait.
    pub async fn logs(&self, due: &BTreeMap<String, usize>) -> BTreeMap<String, Log> {
        let store = Store::connect(&self.url()).expect("a URL of ours");
        let end = Instant::now() + PATIENCE;
        let mut logs = BTreeMap::new();
        for (game, len) in due {
            loop {
                let stored = store.log(game).await.ok().flatten();
                let has_all = stored.as_ref().is_some_and(|log| log.events.len() >= *len);
                if let Some(stored) = stored {
                    let text = |body: &bytes::Bytes| String::from_utf8_lossy(body).into_owned();
                    let lines = stored.events.iter().map(text).collect();
                    logs.insert(game.clone(), (stored.epoch.to_string(), lines));
                }
                if has_all || Instant::now() > end {
                    break;
                }
                sleep(Duration::from_millis(50)).await;
            }
        }
        store.close().await;
        logs
    }
}

/// A file system in memory of some megabytes.
pub struct SmallDisk {
    dir: TempDir,
}

impl SmallDisk {
    /// Mounts one; `None` where we may not.
    pub fn mount() -> Option<SmallDisk> {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", &format!("size={DISK_LEN}"), "tmpfs"]);
        let mounted = mount.arg(dir.path()).output();
        mounted
            .is_ok_and(|output| output.status.success())
            .then_some(SmallDisk { dir })
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.dir.path()
    }

    /// Leaves not a byte free.
    pub fn fill(&self) {
        let mut ballast = File::create(self.path().join("ballast")).expect("room for a name");
        // The last bytes are taken one page at a time.
        for len in [1 << 20, 4096] {
            while ballast.write_all(&vec![0; len]).is_ok() {}
        }
    }

    /// Gives the room back.
    pub fn free(&self) {
        std::fs::remove_file(self.path().join("ballast")).expect("our own file");
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Lazily: whoever has a file on it open is about to end.
        let unmounted = Command::new("umount").arg("-l").arg(self.path()).status();
        if !unmounted.is_ok_and(|status| status.success()) {
            eprintln!("{} stays mounted", self.path().display());
        }
    }
}
