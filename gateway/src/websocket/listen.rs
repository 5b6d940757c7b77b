//! The public port: accepts TCP, counts connections, and speaks HTTP/1.1 on them until they are sockets.
//!
//! axum's own `serve` has no time-out for a request's head and no bound on connections, so hyper is driven here directly.
//! A client beyond the bound still gets an answer: a browser's WebSocket is accepted and closed with 1013, everything else
//! gets 503. That costs one short-lived connection, of which there is a bounded number too; beyond both bounds the
//! connection is dropped at once.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use std::{io, pin::pin};

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::response::Response;
use http::{HeaderValue, Request, StatusCode, header};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use shared::protocol::close::CloseCode;
use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::address::{Addresses, ClientAddress, Peer, Place, TooMany, announced};
use crate::rate::limited;

use super::connection::Limits;
use super::driver;
use super::handler::{Handler, Next};
use super::handshake::{HandshakeError, Upgrade, error_response};
use super::outbox::Outbox;

/// Connections the kernel holds for us until they are accepted. The usual 128 make a handshake take a second when a
/// few hundred clients come back at once, because the kernel drops their first packets.
const BACKLOG: u32 = 4096;

/// What the kernel may hold for a socket that is not read from, bytes. Left alone it grows to 4 MB a socket, and a few
/// hundred stalled clients use up the whole machine's TCP memory. The kernel doubles it: 73 KB were measured for this.
const SEND_BUFFER_LEN: u32 = 32 * 1024;

/// How long accepting pauses when the process has no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What a client of the public port may use up.
#[derive(Clone, Debug)]
pub struct HttpLimits {
    /// How long a request's head may take, and how long a kept-alive connection may be idle. Without it a client that
    /// sends a byte a second holds a connection for hours.
    pub head_timeout: Duration,
    /// The longest request head, bytes; beyond it the answer is 431.
    pub head_len_max: usize,
    /// How long the peer may leave what was sent without acknowledging it or making room for it, until the kernel gives
    /// the connection up. Sockets notice sooner by themselves; this is for a response that nobody reads, which would else
    /// hold its connection for a quarter of an hour, and with a live peer for ever.
    pub unacknowledged: Duration,
    /// Connections at a time, sockets and plain HTTP together.
    pub connections_max: usize,
    /// Connections beyond those that are told so, at a time.
    pub turned_away_max: usize,
    /// Proxies, and what each address may use up; nothing is counted by address if there is none.
    pub addresses: Option<Arc<Addresses>>,
    /// How long requests in flight may take to finish when the server stops.
    pub drain: Duration,
}

impl Default for HttpLimits {
    fn default() -> Self {
        HttpLimits {
            head_timeout: Duration::from_secs(10),
            head_len_max: 16 * 1024,
            unacknowledged: Duration::from_secs(60),
            connections_max: 15_000,
            turned_away_max: 256,
            addresses: None,
            drain: Duration::from_secs(5),
        }
    }
}

/// Opens the port. The options are set on the listener, from which accepted sockets inherit them.
pub fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = match address {
        SocketAddr::V4(_) => TcpSocket::new_v4()?,
        SocketAddr::V6(_) => TcpSocket::new_v6()?,
    };
    socket.set_reuseaddr(true)?;
    socket.set_nodelay(true)?;
    socket.set_send_buffer_size(SEND_BUFFER_LEN)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// A counted connection; it counts until the last clone of its `Arc` is gone, the one in a socket included.
#[derive(Debug)]
pub struct Slot {
    taken: Arc<AtomicUsize>,
    /// It came when all places were taken.
    over: bool,
    /// Its place among those of its address.
    at_address: OnceLock<Place>,
}

impl Slot {
    /// Notes its place among those of its address, if they are counted.
    fn is_at(&self, place: Option<Place>) {
        if let Some(place) = place {
            // A connection has one client: were a second named, he would hold no place more than the first does.
            let _ = self.at_address.set(place);
        }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The places for connections, and those for connections that are turned away. They are counted apart: whoever is being
/// turned away does not keep the place from the next one.
#[derive(Debug, Default)]
struct Places {
    taken: Arc<AtomicUsize>,
    turned_away: Arc<AtomicUsize>,
}

impl Places {
    fn take(&self, limits: &HttpLimits) -> Option<Slot> {
        let slot = |taken: &Arc<AtomicUsize>, max: usize, over: bool| {
            let slot = Slot {
                taken: Arc::clone(taken),
                over,
                at_address: OnceLock::new(),
            };
            (taken.fetch_add(1, Ordering::Relaxed) < max).then_some(slot)
        };
        slot(&self.taken, limits.connections_max, false).or_else(|| {
            limited("connections");
            slot(&self.turned_away, limits.turned_away_max, true)
        })
    }
}

/// Serves `router` on `listener` until `stop` is cancelled, then lets requests in flight finish, within
/// [`HttpLimits::drain`]. Handlers find the peer's address in `ConnectInfo<SocketAddr>`. Connections that became sockets are not
/// waited for: they belong to whoever runs them.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: HttpLimits,
    stop: CancellationToken,
) {
    let service = TowerToHyperService::new(router);
    let places = Places::default();
    let connections = TaskTracker::new();
    let abort = CancellationToken::new();
    // A lasting lack of descriptors is said once, not at every attempt.
    let mut failing = false;
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) if is_peers_fault(&error) => continue,
            Err(error) => {
                if !std::mem::replace(&mut failing, true) {
                    tracing::warn!(%error, "cannot accept connections");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        failing = false;
        let Some(slot) = places.take(&limits) else {
            continue;
        };
        if let Some(addresses) = &limits.addresses {
            // Dropped without a word: an answer would cost more than the connection.
            let Ok(place) = addresses.enter(Peer::of(peer)) else {
                continue;
            };
            slot.is_at(place);
        }
        if let Err(error) = SockRef::from(&stream).set_tcp_user_timeout(Some(limits.unacknowledged))
        {
            tracing::debug!(%peer, %error, "no time-out for what is not acknowledged");
        }
        let serving = connection(
            stream,
            peer,
            Arc::new(slot),
            service.clone(),
            limits.clone(),
            stop.clone(),
            abort.clone(),
        );
        connections.spawn(serving);
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(limits.drain, connections.wait())
        .await
        .is_err()
    {
        tracing::info!(
            left = connections.len(),
            "requests cut off at the end of the drain"
        );
        abort.cancel();
        connections.wait().await;
    }
}

/// Errors of `accept` that concern one connection only.
fn is_peers_fault(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    )
}

async fn connection(
    mut stream: TcpStream,
    peer: SocketAddr,
    slot: Arc<Slot>,
    service: TowerToHyperService<Router>,
    limits: HttpLimits,
    stop: CancellationToken,
    abort: CancellationToken,
) {
    let HttpLimits {
        head_timeout,
        head_len_max,
        addresses,
        ..
    } = limits;
    let mut at = Peer::of(peer);
    if let Some(addresses) = &addresses
        && addresses.proxy_protocol
        && addresses.is_trusted(peer.ip())
    {
        let announced = tokio::select! {
            announced = tokio::time::timeout(head_timeout, announced(&mut stream)) => announced,
            () = stop.cancelled() => return,
        };
        match announced {
            Ok(Ok(Some(client))) => at = Peer::announced(client),
            // The proxy's own connection.
            Ok(Ok(None)) => {}
            Ok(Err(error)) => return tracing::debug!(%peer, %error, "connection of a proxy"),
            Err(_) => return tracing::debug!(%peer, "connection of a proxy: no header in time"),
        }
        let Ok(place) = addresses.enter(at) else {
            return;
        };
        slot.is_at(place);
    }
    let service = service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(Body::new);
        let answer = match admit(addresses.as_deref(), at, &slot, &mut request) {
            Err(TooMany) => Err(too_many()),
            Ok(()) if slot.over => Err(turn_away(request)),
            Ok(()) => {
                request.extensions_mut().insert(ConnectInfo(peer));
                Ok(service.call(request))
            }
        };
        async move {
            match answer {
                Ok(answer) => answer.await,
                Err(response) => Ok(response),
            }
        }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(head_timeout)
        .max_header_size(head_len_max)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut serving = pin!(serving);
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = stop.cancelled() => {
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                served = serving => served,
                () = abort.cancelled() => Ok(()),
            }
        }
    };
    if let Err(error) = served {
        tracing::debug!(%peer, %error, "connection ended");
    }
}

/// Notes whose request it is and which slot it holds, and counts it by its address.
fn admit(
    addresses: Option<&Addresses>,
    at: Peer,
    slot: &Arc<Slot>,
    request: &mut Request<Body>,
) -> Result<(), TooMany> {
    let mut client = at;
    if let Some(addresses) = addresses {
        client = addresses.client(at, request.headers());
        addresses.request(client)?;
        if request.headers().contains_key(header::SEC_WEBSOCKET_KEY) {
            addresses.handshake(client)?;
            // A connection of a proxy counts from here on as its client's, for it will be nobody else's.
            if client != at {
                slot.is_at(addresses.enter(client)?);
            }
        }
    }
    let extensions = request.extensions_mut();
    extensions.insert(ClientAddress(client.address));
    extensions.insert(Arc::clone(slot));
    Ok(())
}

/// Answers a client whose address has used up what it may.
fn too_many() -> Response {
    let mut response = error_response(
        StatusCode::TOO_MANY_REQUESTS,
        "rate_limited",
        &TooMany.to_string(),
    );
    let headers = response.headers_mut();
    headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// Answers a client for whom there is no place.
fn turn_away(request: Request<Body>) -> Response {
    let (mut parts, _body) = request.into_parts();
    match Upgrade::from_parts(&mut parts) {
        Ok(upgrade) => {
            let (response, upgrading) = upgrade.accept();
            tokio::spawn(async move {
                let Ok(socket) = upgrading.socket().await else {
                    return;
                };
                let outbox = Arc::new(Outbox::new(0));
                outbox.close(CloseCode::TryAgainLater, "this node is full");
                driver::run(socket, TurnedAway, outbox, Arc::new(Limits::default())).await;
            });
            response
        }
        Err(HandshakeError::NotAnUpgrade) => {
            let mut response = error_response(
                StatusCode::SERVICE_UNAVAILABLE,
                "unavailable",
                "this node is full, try another or try again",
            );
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("5"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
            response
        }
        Err(error) => axum::response::IntoResponse::into_response(error),
    }
}

/// Has nothing to say.
struct TurnedAway;

impl Handler for TurnedAway {
    fn on_text(&mut self, _text: &str, _at: std::time::Instant) -> Next {
        Next::Read
    }

    fn on_too_large(&mut self, _at: std::time::Instant) -> Next {
        Next::Read
    }
}
