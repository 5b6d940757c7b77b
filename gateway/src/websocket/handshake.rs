//! From an HTTP request to a socket: RFC 6455's opening handshake, and the way out of hyper.
//!
//! [`Upgrade`] is an axum extractor that checks the request strictly. Who the user is, and whether the page's origin may
//! connect, is for the route that uses it. After the answer the TCP stream is taken out of hyper, so that nothing of HTTP
//! stays in memory.

use std::pin::Pin;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use bytes::Bytes;
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use sha1::{Digest, Sha1};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::listen::Slot;

/// The subprotocol that is chosen if the client offers it. Browsers cannot send headers with a WebSocket, so a token
/// comes as the offer after it.
pub const SUBPROTOCOL: &str = "rookery";

/// RFC 6455, 1.3: what proves that the answer comes from a WebSocket server.
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A request that may become a WebSocket.
#[derive(Debug)]
pub struct Upgrade {
    on_upgrade: OnUpgrade,
    accept: HeaderValue,
    offered: Vec<String>,
    slot: Option<Arc<Slot>>,
}

impl Upgrade {
    /// The subprotocols the client offered, in its order. After [`SUBPROTOCOL`] comes the token.
    pub fn offered(&self) -> &[String] {
        &self.offered
    }

    /// The answer to send, and the socket to come when it was sent. The caller spawns a task that waits for the socket:
    /// it does not come before the answer has left.
    pub fn accept(self) -> (Response, Upgrading) {
        let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
        let headers = response.headers_mut();
        headers.clear();
        headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
        headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
        headers.insert(header::SEC_WEBSOCKET_ACCEPT, self.accept);
        if self.offered.iter().any(|name| name == SUBPROTOCOL) {
            headers.insert(
                header::SEC_WEBSOCKET_PROTOCOL,
                HeaderValue::from_static(SUBPROTOCOL),
            );
        }
        let upgrading = Upgrading {
            on_upgrade: self.on_upgrade,
            slot: self.slot,
        };
        (response, upgrading)
    }

    /// Checks a request's head.
    pub fn from_parts(parts: &mut Parts) -> Result<Upgrade, HandshakeError> {
        let headers = &parts.headers;
        if parts.method != Method::GET {
            return Err(HandshakeError::Method);
        }
        if !has_token(headers, &header::UPGRADE, "websocket")
            || !has_token(headers, &header::CONNECTION, "upgrade")
        {
            return Err(HandshakeError::NotAnUpgrade);
        }
        if parts.version != Version::HTTP_11 {
            return Err(HandshakeError::HttpVersion);
        }
        if has_body(headers) {
            return Err(HandshakeError::Body);
        }
        if only(headers, &header::SEC_WEBSOCKET_VERSION) != Some(b"13") {
            return Err(HandshakeError::Version);
        }
        let key = only(headers, &header::SEC_WEBSOCKET_KEY).ok_or(HandshakeError::Key)?;
        if BASE64.decode(key).map(|key| key.len()) != Ok(16) {
            return Err(HandshakeError::Key);
        }
        let accept = HeaderValue::try_from(accept_key(key)).map_err(|_| HandshakeError::Key)?;
        let offered = tokens(headers, &header::SEC_WEBSOCKET_PROTOCOL)
            .map(str::to_owned)
            .collect();
        let on_upgrade = parts
            .extensions
            .remove::<OnUpgrade>()
            .ok_or(HandshakeError::NotAnUpgrade)?;
        Ok(Upgrade {
            on_upgrade,
            accept,
            offered,
            slot: parts.extensions.get::<Arc<Slot>>().cloned(),
        })
    }
}

impl<S: Sync> FromRequestParts<S> for Upgrade {
    type Rejection = HandshakeError;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Self::Rejection> {
        Upgrade::from_parts(parts)
    }
}

/// Why a request was not made a WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Not a GET.
    #[error("a WebSocket handshake is a GET")]
    Method,
    /// A plain request came to an address that only speaks WebSocket.
    #[error("this address speaks WebSocket: send Connection: Upgrade and Upgrade: websocket")]
    NotAnUpgrade,
    /// HTTP/1.0 or HTTP/2.
    #[error("a WebSocket handshake is HTTP/1.1")]
    HttpVersion,
    /// The request announces a body, which would be read as frames.
    #[error("a WebSocket handshake has no body")]
    Body,
    /// `Sec-WebSocket-Version` is missing or not 13.
    #[error("Sec-WebSocket-Version must be 13")]
    Version,
    /// `Sec-WebSocket-Key` is missing, there twice, or not 16 bytes.
    #[error("Sec-WebSocket-Key must be 16 bytes in base64")]
    Key,
}

impl HandshakeError {
    fn status_and_code(self) -> (StatusCode, &'static str) {
        match self {
            HandshakeError::Method => (StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed"),
            HandshakeError::NotAnUpgrade | HandshakeError::Version => {
                (StatusCode::UPGRADE_REQUIRED, "upgrade_required")
            }
            HandshakeError::HttpVersion | HandshakeError::Body | HandshakeError::Key => {
                (StatusCode::BAD_REQUEST, "bad_handshake")
            }
        }
    }
}

impl IntoResponse for HandshakeError {
    fn into_response(self) -> Response {
        let (status, code) = self.status_and_code();
        let mut response = error_response(status, code, &self.to_string());
        let headers = response.headers_mut();
        match self {
            HandshakeError::Method => {
                headers.insert(header::ALLOW, HeaderValue::from_static("GET"));
            }
            HandshakeError::NotAnUpgrade | HandshakeError::Version => {
                headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
                headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
                headers.insert(
                    header::SEC_WEBSOCKET_VERSION,
                    HeaderValue::from_static("13"),
                );
            }
            _ => {}
        }
        response
    }
}

/// `{"error": {code, message}}`, as everywhere on the HTTP side.
pub(super) fn error_response(status: StatusCode, code: &str, message: &str) -> Response {
    let body = serde_json::json!({"error": {"code": code, "message": message}});
    (status, axum::Json(body)).into_response()
}

/// A socket on its way out of hyper.
#[derive(Debug)]
pub struct Upgrading {
    on_upgrade: OnUpgrade,
    slot: Option<Arc<Slot>>,
}

impl Upgrading {
    /// Waits until the answer was sent and gives the socket, or says why the connection broke before.
    pub async fn socket(self) -> Result<Socket, hyper::Error> {
        let upgraded = self.on_upgrade.await?;
        let (io, leftover) = match upgraded.downcast::<TokioIo<TcpStream>>() {
            Ok(parts) => (Io::Tcp(parts.io.into_inner()), parts.read_buf),
            // `axum::serve` and others wrap the stream; hyper-util knows how to unwrap it.
            Err(upgraded) => {
                use hyper_util::server::conn::auto::upgrade::downcast;
                match downcast::<TokioIo<TcpStream>>(upgraded) {
                    Ok(parts) => (Io::Tcp(parts.io.into_inner()), parts.read_buf),
                    Err(upgraded) => (Io::Other(Box::pin(TokioIo::new(upgraded))), Bytes::new()),
                }
            }
        };
        Ok(Socket {
            io,
            leftover,
            slot: self.slot,
        })
    }
}

/// A WebSocket after its handshake: what [`Engine::adopt`](crate::fanout::Engine::adopt) takes.
#[derive(Debug)]
pub struct Socket {
    pub(crate) io: Io,
    /// Bytes that came together with the handshake.
    pub(crate) leftover: Bytes,
    /// Its place among the connections that are counted.
    pub(crate) slot: Option<Arc<Slot>>,
}

impl Socket {
    /// A socket over any stream on which the handshake is done, for tests and TLS.
    pub fn new(stream: impl Stream + 'static) -> Socket {
        Socket {
            io: Io::Other(Box::pin(stream)),
            leftover: Bytes::new(),
            slot: None,
        }
    }
}

/// What a socket can run over.
pub trait Stream: AsyncRead + AsyncWrite + Send {}

impl<T: AsyncRead + AsyncWrite + Send> Stream for T {}

/// A TCP stream as it is nearly always, or something that hyper or a test has wrapped.
pub(crate) enum Io {
    Tcp(TcpStream),
    Other(Pin<Box<dyn Stream>>),
}

impl std::fmt::Debug for Io {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Io::Tcp(stream) => stream.fmt(f),
            Io::Other(_) => f.write_str("Other"),
        }
    }
}

/// The answer to a key.
fn accept_key(key: &[u8]) -> String {
    let digest = Sha1::new().chain_update(key).chain_update(GUID).finalize();
    BASE64.encode(digest)
}

/// The header's value if it is there exactly once.
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h [u8]> {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (Some(value), None) => Some(value.as_bytes().trim_ascii()),
        _ => None,
    }
}

/// The comma-separated words of a header, over all the lines it comes in.
fn tokens<'h>(headers: &'h HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'h str> {
    headers
        .get_all(name)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .filter(|token| !token.is_empty())
}

fn has_token(headers: &HeaderMap, name: &HeaderName, wanted: &str) -> bool {
    tokens(headers, name).any(|token| token.eq_ignore_ascii_case(wanted))
}

fn has_body(headers: &HeaderMap) -> bool {
    let length = headers.get(header::CONTENT_LENGTH);
    headers.contains_key(header::TRANSFER_ENCODING) || length.is_some_and(|length| length != "0")
}

#[cfg(test)]
mod tests;
