//! One PostgreSQL server, with a directory of its own.

use super::{Certificates, Process, free_port, until};
use std::{
    os::unix::{fs::PermissionsExt, process::CommandExt},
    path::{Path, PathBuf},
    process::Command,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
};
use tempfile::TempDir;

/// A PostgreSQL that may be killed and come back with all it had.
#[derive(Debug)]
pub struct PostgresServer {
    port: u16,
    dir: TempDir,
    settings: Vec<String>,
    process: Mutex<Option<Process>>,
    databases: AtomicU32,
}

impl PostgresServer {
    /// A server that answers.
    pub async fn start() -> PostgresServer {
        // The kernel keeps what a killed process wrote; only a loss of power would not be survived.
        PostgresServer::start_with(&["fsync=off"]).await
    }

    /// A server that speaks TLS, and nothing else to those who come by TCP.
    pub async fn start_with_tls(certificates: &Certificates) -> PostgresServer {
        let server = PostgresServer::new(&["fsync=off", "ssl=on"]);
        server.make();
        // It wants its key to be its own, and read by nobody else.
        for (from, to) in [
            (certificates.server(), "server.crt"),
            (certificates.key(), "server.key"),
        ] {
            let to = server.data().join(to);
            std::fs::copy(from, &to).expect("our own directory");
            std::fs::set_permissions(&to, std::fs::Permissions::from_mode(0o600))
                .expect("our own file");
            if let Some((uid, gid)) = user() {
                std::os::unix::fs::chown(&to, Some(uid), Some(gid)).expect("as root");
            }
        }
        let rule = "hostssl all all 127.0.0.1/32 trust\n";
        std::fs::write(server.data().join("pg_hba.conf"), rule).expect("our own file");
        server.run();
        server.wait_ready().await;
        server
    }

    /// A server with further settings.
    pub async fn start_with(settings: &[&str]) -> PostgresServer {
        let server = PostgresServer::new(settings);
        server.make();
        server.run();
        server.wait_ready().await;
        server
    }

    fn new(settings: &[&str]) -> PostgresServer {
        PostgresServer {
            port: free_port(),
            dir: tempfile::tempdir().expect("a temporary directory"),
            settings: settings.iter().map(ToString::to_string).collect(),
            process: Mutex::default(),
            databases: AtomicU32::new(0),
        }
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn make(&self) {
        // Its user must be able to come in.
        let open = std::fs::Permissions::from_mode(0o755);
        std::fs::set_permissions(self.dir.path(), open).expect("our own directory");
        std::fs::create_dir(self.data()).expect("a directory");
        if let Some((uid, gid)) = user() {
            std::os::unix::fs::chown(self.data(), Some(uid), Some(gid)).expect("as root");
        }
        let mut command = program("initdb");
        command
            .arg("--pgdata")
            .arg(self.data())
            .args(["--auth=trust", "--username=rookery", "--no-sync"])
            .args(["--encoding=UTF8", "--locale=C", "--no-instructions"]);
        let made = command.output().expect("initdb");
        let told = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "initdb: {told}");
    }

    fn run(&self) {
        let mut command = program("postgres");
        command
            .arg("-D")
            .arg(self.data())
            .args(["-p", &self.port.to_string()])
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", "unix_socket_directories="])
            .args(["-c", "max_connections=40"]);
        for setting in &self.settings {
            command.args(["-c", setting]);
        }
        let process = Process::start(&mut command, "postgresql");
        *self.process.lock().unwrap_or_else(PoisonError::into_inner) = Some(process);
    }

    async fn wait_ready(&self) {
        until("PostgreSQL answers", async || {
            let store = archive::Store::connect(&self.url_of("postgres")).expect("a URL");
            let answers = store.ping().await.is_ok();
            store.close().await;
            answers
        })
        .await;
    }

    fn url_of(&self, database: &str) -> String {
        format!("postgres://rookery@127.0.0.1:{}/{database}", self.port)
    }

    /// The URL of a new, empty database.
    pub fn database(&self) -> String {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("games{number}");
        let mut command = program("createdb");
        // Where it looks for certificates; those of whoever runs the tests are not its business, nor readable to it.
        command.env("HOME", self.dir.path());
        command
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()])
            .args(["-U", "rookery", &name]);
        let made = command.output().expect("createdb");
        let told = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "createdb: {told}");
        self.url_of(&name)
    }

    /// Ends it at once.
    pub fn kill(&self) {
        let process = self
            .process
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        drop(process);
        // The others end when they notice that the first is gone; a new one does not start before.
    }

    fn has_ended(&self) -> bool {
        let process = self.process.lock().unwrap_or_else(PoisonError::into_inner);
        process
            .as_ref()
            .is_some_and(|process| process.ended().is_some())
    }

    /// Starts it again, with all it had.
    pub async fn restart(&self) {
        until("PostgreSQL runs again", async || {
            let pid = self.data().join("postmaster.pid");
            let _ = std::fs::remove_file(pid);
            self.run();
            for _ in 0..40 {
                let store = archive::Store::connect(&self.url_of("postgres")).expect("a URL");
                let answers = store.ping().await.is_ok();
                store.close().await;
                if answers {
                    return true;
                }
                if self.has_ended() {
                    return false;
                }
                tokio::time::sleep(std::time::Duration::from_millis(250)).await;
            }
            false
        })
        .await;
    }
}

/// A program of the newest version there is, run as a user who is not root.
fn program(name: &str) -> Command {
    let path = bin_dir().map_or_else(|| PathBuf::from(name), |dir| dir.join(name));
    let mut command = Command::new(path);
    if let Some((uid, gid)) = user() {
        command.uid(uid).gid(gid);
    }
    command.current_dir("/");
    command
}

fn bin_dir() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").ok()?;
    let version = |path: &Path| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions
        .filter_map(|entry| Some(entry.ok()?.path()))
        .max_by_key(|path| version(path))?;
    Some(newest.join("bin"))
}

/// Whom the server runs as, where we are root, whom it refuses: the user of its package.
fn user() -> Option<(u32, u32)> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    let users = std::fs::read_to_string("/etc/passwd").ok()?;
    let line = users.lines().find(|line| line.starts_with("postgres:"))?;
    let mut fields = line.split(':').skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}
