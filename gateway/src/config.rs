//! Every setting of a node, with its flag, its environment variable and its default, checked before a port opens.
//!
//! A setting is a field of [`Config`], and nothing else: its key in the file is its flag without the dashes, and one whose
//! value is hidden (`hide_env_values`) is a secret, which may also be read from a file (`--…-file`, `ROOKERY_…_FILE`).
//! [`layers`] puts flag, environment, file and default in their order; [`show`] prints what came of it; [`reference`] writes
//! `docs/configuration.md`.

pub mod check;
mod file;
pub mod layers;
pub mod reference;
pub mod show;

pub use layers::Settings;

use clap::{Args, ValueEnum};
use std::{net::SocketAddr, path::PathBuf};

/// Settings of `rookery serve`.
#[derive(Debug, Clone, Args)]
pub struct Config {
    /// A file of settings (TOML): each is named by its flag without the dashes.
    #[arg(long, env = "ROOKERY_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Address of the public port: page, API and WebSocket. Port 0 takes any free one.
    #[arg(long, env = "ROOKERY_LISTEN", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,

    /// Address of the admin port: health, metrics, status, and what an operator asks for. Beyond loopback it needs an admin token.
    #[arg(long, env = "ROOKERY_ADMIN_LISTEN", default_value = "127.0.0.1:9090")]
    pub admin_listen: SocketAddr,

    /// Bearer token for the admin port, at least 16 bytes. With one, only `/livez` and `/readyz` answer without it.
    #[arg(long, env = "ROOKERY_ADMIN_TOKEN", hide_env_values = true)]
    pub admin_token: Option<String>,

    /// Redis servers, repeatable or comma-separated. None: everything stays in this one process.
    #[arg(
        long,
        env = "ROOKERY_REDIS_URL",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub redis_url: Vec<String>,

    /// What those servers are.
    #[arg(long, env = "ROOKERY_REDIS_MODE", value_enum, default_value_t = RedisMode::Single)]
    pub redis_mode: RedisMode,

    /// Servers to subscribe at, if not the same: replicas of them.
    #[arg(
        long,
        env = "ROOKERY_REDIS_SUBSCRIBE_URL",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub redis_subscribe_url: Vec<String>,

    /// Number of partitions rooms hash to. The same for all nodes, for the life of the data.
    #[arg(long, env = "ROOKERY_PARTITIONS", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=16384))]
    pub partitions: u16,

    /// Folder for what a node keeps itself: the journal of the embedded mode, and a token secret it made.
    #[arg(long, env = "ROOKERY_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,

    /// This node's name, unique in the cluster. Default: host name and port.
    #[arg(long, env = "ROOKERY_NODE_ID")]
    pub node_id: Option<String>,

    /// Origins (`https://chess.example`) whose pages may open a WebSocket, besides the server's own. Repeatable.
    #[arg(
        long = "allowed-origin",
        env = "ROOKERY_ALLOWED_ORIGINS",
        value_delimiter = ','
    )]
    pub allowed_origins: Vec<String>,

    /// Secret that signs tokens, at least 32 bytes. With Redis it is needed, and the same for all nodes; without, it is made
    /// and kept in the data folder.
    #[arg(long, env = "ROOKERY_TOKEN_SECRET", hide_env_values = true)]
    pub token_secret: Option<String>,

    /// WebSocket connections this node takes; further ones are closed with 1013.
    #[arg(long, env = "ROOKERY_MAX_CONNECTIONS", default_value_t = 15_000)]
    pub max_connections: usize,

    /// After so many seconds of silence the server pings; after two such pings without a word it closes with 4010.
    #[arg(long, env = "ROOKERY_HEARTBEAT_SECONDS", default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub heartbeat_seconds: u64,

    /// A client that takes no byte for so many seconds while something waits for it is closed with 4008.
    #[arg(long, env = "ROOKERY_WRITE_STALL_SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    pub write_stall_seconds: u64,

    /// Time a leaving node takes to send its connections elsewhere.
    #[arg(long, env = "ROOKERY_DRAIN_SECONDS", default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=600))]
    pub drain_seconds: u64,

    /// Messages a second one connection may send for long; twice as many at once.
    #[arg(long, env = "ROOKERY_MESSAGES_PER_SECOND", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub messages_per_second: u32,

    /// Running games a user may have.
    #[arg(long, env = "ROOKERY_GAMES_PER_USER", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub games_per_user: u32,

    /// Rooms a connection may be in.
    #[arg(long, env = "ROOKERY_ROOMS_PER_CONNECTION", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub rooms_per_connection: u32,

    /// Form of the log lines on standard error: `auto` is text on a terminal, JSON otherwise.
    #[arg(long, env = "ROOKERY_LOG_FORMAT", value_enum, default_value_t = LogFormat::Auto)]
    pub log_format: LogFormat,
}

/// What the Redis URLs name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RedisMode {
    /// One server.
    Single,
    /// Sentinels that know where the primary is.
    Sentinel,
    /// Nodes of a Redis Cluster.
    Cluster,
}

/// Form of log lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text on a terminal, JSON otherwise.
    Auto,
    /// One line of words.
    Text,
    /// One line of JSON.
    Json,
}

/// Shortest token secret taken, in bytes: HS256 is as strong as its key, and RFC 7518 section 3.2 asks for 256 bits.
pub const TOKEN_SECRET_LEN_MIN: usize = 32;

/// Shortest admin token taken, in bytes: nobody guesses that much through a port.
pub const ADMIN_TOKEN_LEN_MIN: usize = 16;

/// Files a node opens besides its clients' sockets: its ports, Redis, the journal, log files, requests by HTTP.
const FILES_BESIDES_SOCKETS: u64 = 256;

impl Config {
    /// Raises this process' limit of open files as far as it may, and lowers `max_connections` to what it allows.
    pub fn fit_to_open_files(&mut self) {
        let Some(files) = raise_open_files() else {
            return;
        };
        let sockets = usize::try_from(files.saturating_sub(FILES_BESIDES_SOCKETS))
            .unwrap_or(usize::MAX)
            .max(1);
        if sockets < self.max_connections {
            tracing::warn!(
                files,
                max_connections = sockets,
                "--max-connections lowered: this process may open too few files; raise it with `ulimit -n`"
            );
            self.max_connections = sockets;
        }
    }

    /// The secret that signs tokens: as set, or from the data folder, where one is made if there is none.
    pub fn secret(&self) -> anyhow::Result<Vec<u8>> {
        match &self.token_secret {
            Some(secret) => Ok(secret.clone().into_bytes()),
            None => kept_secret(&self.data_dir),
        }
    }
}

/// Raises the soft limit of open files to the hard one. Answers what it is now; `None` if there is none.
pub(crate) fn raise_open_files() -> Option<u64> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, raised) {
        Ok(()) => maximum,
        Err(_) => current,
    }
}

fn kept_secret(data_dir: &std::path::Path) -> anyhow::Result<Vec<u8>> {
    use anyhow::Context;
    use std::{io::Write, os::unix::fs::OpenOptionsExt};
    let path = data_dir.join("token-secret");
    match std::fs::read(&path) {
        Ok(secret) if secret.len() >= TOKEN_SECRET_LEN_MIN => return Ok(secret),
        Ok(_) => anyhow::bail!(
            "{} is too short to be a token secret; remove it and a new one is made",
            path.display()
        ),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) => {
            return Err(error).with_context(|| format!("{} cannot be read", path.display()));
        }
    }
    std::fs::create_dir_all(data_dir)
        .with_context(|| format!("--data-dir {} cannot be made", data_dir.display()))?;
    let secret = crate::random::Random::default().base62(43);
    std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(secret.as_bytes()))
        .with_context(|| format!("{} cannot be written", path.display()))?;
    Ok(secret.into_bytes())
}
