//! One server: its address, how to call it, and what it says of itself.

use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, ProtocolVersion, PushInfo,
    RedisConnectionInfo, RedisError, RedisResult, TlsCertificates, Value,
    aio::{MultiplexedConnection, SendError},
    io::tcp::TcpSettings,
};
use rustls::pki_types::pem::PemObject;
use std::{fmt, sync::Arc, time::Duration};

/// How long a connection may take, from the first packet to the answer of HELLO.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(1500);

/// How long sent data may stay unacknowledged by the other machine before the kernel gives the connection up.
const USER_TIMEOUT: Duration = Duration::from_secs(5);

/// Requests waiting to be written to one connection; whoever comes then waits.
const BUFFERED_REQUESTS: usize = 1024;

/// Requests of one connection that await their answers; whoever comes then waits, so that a slow server is not buried.
const REQUESTS_MAX: usize = 8192;

/// Host and port.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Address {
    pub host: String,
    pub port: u16,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Address { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

/// Certificates that vouch for servers.
#[derive(Clone)]
pub(super) struct Ca(Arc<[u8]>);

impl Ca {
    /// Takes PEM, if it holds a certificate.
    pub fn parse(pem: &[u8]) -> Result<Ca, String> {
        let certificates = rustls::pki_types::CertificateDer::pem_slice_iter(pem);
        let count = certificates
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("no certificate in PEM: {error}"))?
            .len();
        if count == 0 {
            return Err("it holds no certificate in PEM".to_owned());
        }
        Ok(Ca(pem.into()))
    }
}

impl fmt::Debug for Ca {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ca")
    }
}

/// Everything about calling a server but its address: user, password, database, TLS.
#[derive(Debug, Clone)]
pub(super) struct Dialer {
    tls: bool,
    ca: Option<Ca>,
    settings: RedisConnectionInfo,
}

impl Dialer {
    /// Takes a parsed URL apart. `None` for a Unix socket.
    pub fn of(info: &ConnectionInfo, ca: Option<&Ca>) -> Option<(Address, Dialer)> {
        let (host, port, tls) = match info.addr() {
            ConnectionAddr::Tcp(host, port) => (host, port, false),
            ConnectionAddr::TcpTls { host, port, .. } => (host, port, true),
            _ => return None,
        };
        let address = Address {
            host: host.clone(),
            port: *port,
        };
        let settings = info.redis_settings().clone();
        let ca = ca.cloned();
        Some((address, Dialer { tls, ca, settings }))
    }

    pub fn is_tls(&self) -> bool {
        self.tls
    }

    pub fn database(&self) -> i64 {
        self.settings.db()
    }

    /// The same with another user, in no particular database.
    pub fn with_user(&self, user: Option<String>, password: Option<String>) -> Dialer {
        let mut settings = RedisConnectionInfo::default();
        if let Some(user) = user {
            settings = settings.set_username(user);
        }
        if let Some(password) = password {
            settings = settings.set_password(password);
        }
        Dialer {
            tls: self.tls,
            ca: self.ca.clone(),
            settings,
        }
    }

    #[cfg(test)]
    pub fn user(&self) -> (Option<&str>, Option<&str>) {
        (self.settings.username(), self.settings.password())
    }

    /// Connects, logs in, and asks the server who it is. `push` gets every push message and one
    /// [`redis::PushKind::Disconnection`] at the end, on the connection's own task: it must not wait.
    pub async fn dial(
        &self,
        address: &Address,
        push: impl Fn(PushInfo) + Send + Sync + 'static,
    ) -> RedisResult<(MultiplexedConnection, Hello)> {
        let host = address.host.clone();
        let port = address.port;
        let addr = if self.tls {
            ConnectionAddr::TcpTls {
                host,
                port,
                insecure: false,
                tls_params: None,
            }
        } else {
            ConnectionAddr::Tcp(host, port)
        };
        // The library's default leaves Nagle's algorithm on, which makes a move wait for the last one's acknowledgement.
        let tcp = TcpSettings::default()
            .set_nodelay(true)
            .set_user_timeout(USER_TIMEOUT);
        let settings = self
            .settings
            .clone()
            .set_protocol(ProtocolVersion::RESP3)
            .set_lib_name("rookery", env!("CARGO_PKG_VERSION"));
        let info = redis::IntoConnectionInfo::into_connection_info(addr)?
            .set_tcp_settings(tcp)
            .set_redis_settings(settings);
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(CONNECT_TIMEOUT))
            // Callers keep their own time; a connection that no longer answers is found by its heartbeat.
            .set_response_timeout(None)
            .set_pipeline_buffer_size(BUFFERED_REQUESTS)
            .set_concurrency_limit(REQUESTS_MAX)
            .set_push_sender(move |info: PushInfo| -> Result<(), SendError> {
                push(info);
                Ok(())
            });
        let client = match (&self.ca, self.tls) {
            (Some(ca), true) => {
                let trusted = TlsCertificates {
                    client_tls: None,
                    root_cert: Some(ca.0.to_vec()),
                };
                Client::build_with_tls(info, trusted)?
            }
            _ => Client::open(info)?,
        };
        let connect = async {
            let mut connection = client
                .get_multiplexed_async_connection_with_config(&config)
                .await?;
            // Without arguments it changes nothing, and every user may ask it.
            let said = connection.send_packed_command(&redis::cmd("HELLO")).await?;
            Ok((connection, Hello::read(said.extract_error()?)))
        };
        tokio::time::timeout(CONNECT_TIMEOUT, connect)
            .await
            .unwrap_or_else(|_| Err(timed_out("no answer in time")))
    }
}

/// An error of the kind that means: this connection is of no use.
pub(super) fn timed_out(what: &'static str) -> RedisError {
    std::io::Error::new(std::io::ErrorKind::TimedOut, what).into()
}

/// What a server says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Hello {
    pub version: String,
    /// `standalone`, `cluster` or `sentinel`.
    pub mode: String,
    /// `master` or `replica`.
    pub role: String,
}

impl Hello {
    fn read(value: Value) -> Hello {
        let mut hello = Hello::default();
        if let Value::Map(pairs) = value {
            for (key, value) in pairs {
                let text = |value| redis::from_redis_value::<String>(value).unwrap_or_default();
                match text(key).as_str() {
                    "version" => hello.version = text(value),
                    "mode" => hello.mode = text(value),
                    "role" => hello.role = text(value),
                    _ => {}
                }
            }
        }
        hello
    }

    pub fn is_primary(&self) -> bool {
        self.role == "master"
    }

    /// Redis 7 brought sharded Pub/Sub; Valkey counts on from there.
    pub fn is_new_enough(&self) -> bool {
        let major = self.version.split('.').next();
        major
            .and_then(|major| major.parse().ok())
            .is_some_and(|major: u32| major >= 7)
    }
}
