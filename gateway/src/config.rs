//! Every setting of a node, with its flag, its environment variable and its default, checked before a port opens.
//!
//! A setting is a field of [`Config`], and nothing else: its key in the file is its flag without the dashes, and one whose
//! value is hidden (`hide_env_values`) is a secret, which may also be read from a file (`--…-file`, `ROOKERY_…_FILE`).
//! [`layers`] puts flag, environment, file and default in their order; [`show`] prints what came of it; [`mod@reference`] writes
//! `docs/configuration.md`.

pub mod check;
mod file;
pub mod layers;
pub mod reference;
pub mod show;

pub use layers::Settings;

use crate::identity::{Operators, Source};
use clap::{ArgAction, Args, ValueEnum};
use ipnet::IpNet;
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

    /// Certificates (PEM) that vouch for the Redis servers of `rediss://` URLs, instead of the system's.
    #[arg(long, env = "ROOKERY_REDIS_CA", value_name = "FILE")]
    pub redis_ca: Option<PathBuf>,

    /// What must hold before a move is acknowledged: it is in the primary's memory, a replica has it too, or it is on the disk.
    #[arg(long, env = "ROOKERY_ACK", value_enum, default_value_t = AckMode::Memory)]
    pub ack: AckMode,

    /// Number of partitions rooms hash to. The same for all nodes, for the life of the data.
    #[arg(long, env = "ROOKERY_PARTITIONS", default_value_t = 256, value_parser = clap::value_parser!(u16).range(1..=16384))]
    pub partitions: u16,

    /// Folder for what a node keeps itself: the journal of the embedded mode, and a token secret it made.
    #[arg(long, env = "ROOKERY_DATA_DIR", default_value = "./data")]
    pub data_dir: PathBuf,

    /// Database that games are archived in: `sqlite:FILE` or `postgres://…`. Default without Redis: `rookery.db` in the data
    /// folder; with Redis: none, and finished games stay in Redis.
    #[arg(long, env = "ROOKERY_DATABASE_URL", hide_env_values = true)]
    pub database_url: Option<String>,

    /// Archive nothing in this process. With Redis and a database, another node or `rookery archive` does it; this one only
    /// reads.
    #[arg(long, env = "ROOKERY_NO_ARCHIVE")]
    pub no_archive: bool,

    /// What a move's acknowledgement waits for: its log alone, or the archive's commit too.
    #[arg(long, env = "ROOKERY_PERSISTENCE", value_enum, default_value_t = Persistence::WriteBehind)]
    pub persistence: Persistence,

    /// A finished game leaves Redis, or the journal, so many seconds after its last event, once it is archived and nobody is in it.
    #[arg(long, env = "ROOKERY_FINISHED_TTL_SECONDS", default_value_t = 3_600)]
    pub finished_ttl_seconds: u64,

    /// The archive keeps finished games for so many days; 0 keeps them for ever.
    #[arg(long, env = "ROOKERY_ARCHIVE_KEEP_DAYS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=36_500))]
    pub archive_keep_days: u32,

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

    /// Secret that signs tokens, at least 32 bytes. Repeatable or comma-separated: the first signs, all are accepted, so that a
    /// secret can be changed without anybody being sent away. With Redis it is needed, and the same for all nodes; without, it
    /// is made and kept in the data folder.
    #[arg(
        long,
        env = "ROOKERY_TOKEN_SECRET",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub token_secret: Vec<String>,

    /// Public keys of an operator's own tokens (RS256, ES256, EdDSA): a JWKS file, or its http:// or https:// URL.
    #[arg(long, env = "ROOKERY_JWKS")]
    pub jwks: Option<String>,

    /// Certificates (PEM) that vouch for the JWKS server, instead of the system's.
    #[arg(long, env = "ROOKERY_JWKS_CA", value_name = "FILE")]
    pub jwks_ca: Option<PathBuf>,

    /// Audience an operator's token must be for. Repeatable; any of them will do.
    #[arg(long, env = "ROOKERY_JWT_AUDIENCE", value_delimiter = ',')]
    pub jwt_audience: Vec<String>,

    /// Issuer an operator's token must be from. Repeatable; any of them will do.
    #[arg(long, env = "ROOKERY_JWT_ISSUER", value_delimiter = ',')]
    pub jwt_issuer: Vec<String>,

    /// Networks (`10.0.0.0/8`) of proxies whose word about a client's address is taken: in X-Forwarded-For, read from the right
    /// as far as such proxies go, or by the PROXY protocol. Repeatable.
    #[arg(long, env = "ROOKERY_TRUSTED_PROXY", value_delimiter = ',', value_parser = network)]
    pub trusted_proxy: Vec<IpNet>,

    /// Connections from trusted proxies begin with a PROXY protocol header, version 1 or 2.
    #[arg(long, env = "ROOKERY_PROXY_PROTOCOL", action = ArgAction::Set, num_args = 0..=1, default_value_t = false, default_missing_value = "true")]
    pub proxy_protocol: bool,

    /// Connections one address may have at a time; 0 for any number. An IPv6 address counts as its /64 network; this machine's
    /// own (127.0.0.1) are not counted unless a trusted proxy names them.
    #[arg(long, env = "ROOKERY_CONNECTIONS_PER_ADDRESS", default_value_t = 1_000)]
    pub connections_per_address: u32,

    /// WebSocket handshakes a second from one address for long, ten times as many at once; 0 for any number.
    #[arg(long, env = "ROOKERY_HANDSHAKES_PER_ADDRESS", default_value_t = 50)]
    pub handshakes_per_address: u32,

    /// HTTP requests a second from one address for long, ten times as many at once; 0 for any number.
    #[arg(long, env = "ROOKERY_REQUESTS_PER_ADDRESS", default_value_t = 100)]
    pub requests_per_address: u32,

    /// WebSocket connections this node takes; further ones are closed with 1013.
    #[arg(long, env = "ROOKERY_MAX_CONNECTIONS", default_value_t = 15_000)]
    pub max_connections: usize,

    /// Threads that own the sockets. Default: one a core; 0: sockets are tasks beside everything else.
    #[arg(long, env = "ROOKERY_SOCKET_THREADS", value_parser = clap::value_parser!(u16).range(0..=1024))]
    pub socket_threads: Option<u16>,

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

    /// Games a user may seek or make invitations for in a minute, for long; half of that at once.
    #[arg(long, env = "ROOKERY_SEEKS_PER_MINUTE", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub seeks_per_minute: u32,

    /// Lines of chat a user may say in ten seconds.
    #[arg(long, env = "ROOKERY_CHAT_PER_USER", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub chat_per_user: u32,

    /// Lines of chat a second in a room.
    #[arg(long, env = "ROOKERY_CHAT_PER_ROOM", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    pub chat_per_room: u32,

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

/// What must hold before a move is acknowledged. `docs/durability.md` says what each survives and costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AckMode {
    /// It is in the memory of Redis' primary, or handed to the kernel by an embedded backplane.
    Memory,
    /// A replica of that primary has it too.
    Replica,
    /// It is synced to the primary's disk (`appendfsync always`), or to this machine's.
    Fsync,
}

/// What an acknowledgement waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Persistence {
    /// The log; the archive follows.
    WriteBehind,
    /// The log and the archive.
    WriteThrough,
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

/// Most token secrets at a time: the new one, the old one, and some to spare. Each is tried on a forged token.
pub const TOKEN_SECRETS_MAX: usize = 8;

/// Shortest admin token taken, in bytes: nobody guesses that much through a port.
pub const ADMIN_TOKEN_LEN_MIN: usize = 16;

/// Files a node opens besides its clients' sockets: its ports, Redis, the journal, log files, requests by HTTP.
pub(crate) const FILES_BESIDES_SOCKETS: u64 = 256;

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

    /// What the nodes share, in one word.
    pub fn backplane_name(&self) -> &'static str {
        match (self.redis_url.is_empty(), self.redis_mode) {
            (true, _) => "embedded",
            (false, RedisMode::Single) => "single",
            (false, RedisMode::Sentinel) => "sentinel",
            (false, RedisMode::Cluster) => "cluster",
        }
    }

    /// The database that games are archived in; `None` for no archive.
    pub fn database(&self) -> Option<String> {
        match &self.database_url {
            _ if self.redis_url.is_empty() && self.no_archive => None,
            Some(url) => Some(url.clone()),
            None if self.redis_url.is_empty() => Some(format!(
                "sqlite:{}",
                self.data_dir.join("rookery.db").display()
            )),
            None => None,
        }
    }

    /// The secrets of tokens, of which the first signs: as set, or from the data folder, where one is made if there is none.
    pub fn secrets(&self) -> anyhow::Result<Vec<Vec<u8>>> {
        if self.token_secret.is_empty() {
            return Ok(vec![kept_secret(&self.data_dir)?]);
        }
        let secrets = self.token_secret.iter();
        Ok(secrets.map(|secret| secret.clone().into_bytes()).collect())
    }

    /// Whose tokens are taken besides our own.
    pub fn operators(&self) -> anyhow::Result<Option<Operators>> {
        use anyhow::Context;
        let Some(keys) = &self.jwks else {
            return Ok(None);
        };
        let ca = match &self.jwks_ca {
            Some(path) => Some(
                std::fs::read(path)
                    .with_context(|| format!("--jwks-ca {} cannot be read", path.display()))?,
            ),
            None => None,
        };
        Ok(Some(Operators {
            keys: Source::new(keys, ca.as_deref()).context("--jwks")?,
        }))
    }
}

/// A network, or a single address.
fn network(text: &str) -> Result<IpNet, String> {
    let address = || text.parse::<std::net::IpAddr>().map(IpNet::from);
    text.parse::<IpNet>()
        .or_else(|_| address())
        .map_err(|_| "it is no network like 10.0.0.0/8, and no address".to_owned())
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
