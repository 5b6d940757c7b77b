//! Puts a node behind its two ports, and takes it down again.

use crate::{
    address::{Addresses, PerAddress},
    archive::Archive,
    config::{AckMode, Config, RedisMode},
    fanout::Engine,
    http::{admin, assets, documents, error, games, session},
    identity::{Keyring, Tokens},
    node::Node,
    random::Random,
    websocket::{Limits, frame::Rules, listen},
};
use anyhow::Context;
use axum::Router;
use pubsub::{
    Ack, Backplane, Embedded, Redis,
    embedded::Options,
    redis::{Mode, RedisOptions},
};
use shared::protocol;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio_util::sync::CancellationToken;

/// A gateway that runs in this process.
#[derive(Debug)]
pub struct Running {
    /// The node itself.
    pub node: Arc<Node>,
    /// The public port.
    pub http: SocketAddr,
    /// The admin port.
    pub admin: SocketAddr,
    admin_stop: CancellationToken,
    engine: Arc<Engine>,
}

/// Connects to the backplane that the settings name.
pub async fn backplane(config: &Config, name: &str) -> anyhow::Result<Arc<dyn Backplane>> {
    if config.redis_url.is_empty() {
        let options = Options {
            journal: Some(config.data_dir.clone()),
            queue: config.database().is_some(),
            ack: ack_of(config),
            ..Options::default()
        };
        let embedded = Embedded::new(options)
            .with_context(|| format!("--data-dir {}", config.data_dir.display()))?;
        return Ok(Arc::new(embedded));
    }
    Ok(Arc::new(
        Redis::connect(redis_options(config, name)?).await?,
    ))
}

/// How the settings say that Redis is reached.
pub fn redis_options(config: &Config, name: &str) -> anyhow::Result<RedisOptions> {
    let ca = match &config.redis_ca {
        Some(path) => Some(
            std::fs::read(path)
                .with_context(|| format!("--redis-ca {} cannot be read", path.display()))?,
        ),
        None => None,
    };
    Ok(RedisOptions {
        urls: config.redis_url.clone(),
        mode: match config.redis_mode {
            RedisMode::Single => Mode::Single,
            RedisMode::Sentinel => Mode::Sentinel,
            RedisMode::Cluster => Mode::Cluster,
        },
        subscribe_urls: config.redis_subscribe_url.clone(),
        partitions: config.partitions,
        node: name.to_owned(),
        ca,
        // Nothing reads the queue without an archive, and nothing would trim it.
        queue: config.database().is_some(),
        ack: ack_of(config),
    })
}

fn ack_of(config: &Config) -> Ack {
    match config.ack {
        AckMode::Memory => Ack::Memory,
        AckMode::Replica => Ack::Replica,
        AckMode::Fsync => Ack::Fsync,
    }
}

/// Opens the ports, and returns when both answer.
pub async fn start(
    config: Config,
    backplane: Option<Arc<dyn Backplane>>,
) -> anyhow::Result<Running> {
    config.check()?;
    let secrets = config.secrets()?;
    let operators = config.operators()?;
    let listener = listen::bind(config.listen)
        .with_context(|| format!("--listen {} cannot be opened", config.listen))?;
    let admin_listener = listen::bind(config.admin_listen)
        .with_context(|| format!("--admin-listen {} cannot be opened", config.admin_listen))?;
    let (http, admin_address) = (listener.local_addr()?, admin_listener.local_addr()?);
    let name = config.node_id.clone().unwrap_or_else(|| default_name(http));
    crate::logs::belong_to(&name);
    let (database, backplane) = match backplane {
        // Whoever brings his own backplane names his own database.
        Some(backplane) => (config.database_url.clone(), backplane),
        None => {
            let database = config.database();
            if database.is_none() {
                tracing::warn!(
                    "no --database-url: games are not archived, and finished ones stay where they are played"
                );
            }
            (database, self::backplane(&config, &name).await?)
        }
    };
    let limits = Limits {
        rules: Rules {
            message_len_max: protocol::MESSAGE_LEN_MAX,
            message_skip_max: protocol::MESSAGE_LEN_CLOSE,
            binary: false,
        },
        heartbeat: Duration::from_secs(config.heartbeat_seconds),
        write_stall: Duration::from_secs(config.write_stall_seconds),
        ..Limits::default()
    };
    let http_limits = listen::HttpLimits {
        connections_max: config.max_connections,
        addresses: Some(Arc::new(Addresses::new(
            config.trusted_proxy.clone(),
            config.proxy_protocol,
            PerAddress {
                connections: config.connections_per_address,
                handshakes: config.handshakes_per_address,
                requests: config.requests_per_address,
            },
        ))),
        ..Default::default()
    };
    let threads = config
        .socket_threads
        .map_or_else(Engine::threads, usize::from);
    let engine = Engine::start(threads).context("no threads for sockets")?;
    let mut tokens = Tokens::new(&secrets, &config.jwt_audience, &config.jwt_issuer);
    let keyring = match operators {
        Some(operators) => Some(Keyring::open(operators.keys).await.context("--jwks")?),
        None => None,
    };
    if let Some(keyring) = &keyring {
        tokens = tokens.with_operators(keyring.clone());
    }
    let node = Node::new(config, name, backplane, tokens, Random::default());
    if let Some(keyring) = keyring {
        let stopped = node.stopped.clone();
        node.tasks
            .spawn(async move { stopped.run_until_cancelled(keyring.keep()).await });
    }
    if let Some(url) = database {
        let archive = Archive::start(&node, &url).await?;
        node.archive.set(archive).expect("set nowhere else");
        node.tasks.spawn(crate::recovery::run(node.clone()));
    }
    let door = session::Door {
        node: node.clone(),
        limits: Arc::new(limits),
        engine: engine.clone(),
    };
    let router: Router = Router::new()
        .merge(session::router().with_state(door))
        .merge(games::router().with_state(node.clone()))
        .merge(documents::router())
        .route("/api/", axum::routing::any(error::no_such_path))
        .route("/api/{*path}", axum::routing::any(error::no_such_path))
        .merge(assets::router());
    node.tasks.spawn(listen::serve(
        listener,
        router,
        http_limits,
        node.leaving.clone(),
    ));
    // Health must be told to the end, so the admin port closes last.
    let admin_stop = CancellationToken::new();
    let admin_router = admin::router(node.clone());
    tokio::spawn(listen::serve(
        admin_listener,
        admin_router,
        listen::HttpLimits::default(),
        admin_stop.clone(),
    ));
    Ok(Running {
        node,
        http,
        admin: admin_address,
        admin_stop,
        engine,
    })
}

impl Running {
    /// Drains the node (see [`Node::drain`]), and waits for what it was doing.
    pub async fn stop(self) {
        self.node.drain().await;
        self.node.tasks.close();
        // Answers that are on their way to a backplane that is away need not be waited for.
        let _ = tokio::time::timeout(Duration::from_secs(2), self.node.tasks.wait()).await;
        self.engine.stop();
        self.admin_stop.cancel();
    }

    /// Ends without a word, as a process that is killed does: for tests.
    pub fn kill(self) {
        self.node.leaving.cancel();
        self.node.stopped.cancel();
        self.admin_stop.cancel();
        self.engine.stop();
    }
}

fn default_name(http: SocketAddr) -> String {
    format!("{}:{}", host(), http.port())
}

/// This machine's name.
pub(crate) fn host() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    match host.trim() {
        "" => "localhost".to_owned(),
        name => name.to_owned(),
    }
}
