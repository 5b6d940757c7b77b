//! A small HTTP client for what the gateways serve besides sockets.

use crate::cluster::PATIENCE;
use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::net::SocketAddr;
use tokio::{net::TcpStream, time::timeout};

/// An answer that was read to its end.
#[derive(Debug, Clone)]
pub struct Reply {
    /// How it went.
    pub status: StatusCode,
    /// Its head.
    pub headers: HeaderMap,
    /// Its body.
    pub body: Bytes,
}

impl Reply {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8(self.body.to_vec()).expect("text is UTF-8")
    }

    /// The body as JSON.
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The body's lines.
    pub fn lines(&self) -> Vec<String> {
        self.text().lines().map(str::to_owned).collect()
    }

    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }
}

/// Asks with GET.
pub async fn get(address: SocketAddr, path: &str) -> Reply {
    send(address, "GET", path, &[]).await
}

/// Asks, with these headers, and reads the whole answer.
pub async fn send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Reply {
    let reply = try_send(address, method, path, headers).await;
    reply.unwrap_or_else(|error| panic!("{method} {path}: {error}"))
}

/// Asks with POST, this JSON being its body.
pub async fn post(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: Value) -> Reply {
    let reply = exchange(address, "POST", path, headers, body.to_string().into()).await;
    reply.unwrap_or_else(|error| panic!("POST {path}: {error}"))
}

/// As [`send`], for servers that may not be there.
pub async fn try_send(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
) -> Result<Reply, String> {
    exchange(address, method, path, headers, Bytes::new()).await
}

async fn exchange(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<Reply, String> {
    let answer = async {
        let response = begin(address, method, path, headers, body).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await.map_err(|error| error.to_string())?;
        Ok(Reply {
            status: head.status,
            headers: head.headers,
            body: body.to_bytes(),
        })
    };
    timeout(PATIENCE, answer)
        .await
        .map_err(|_| "no answer in time".to_owned())?
}

/// The lines of an answer that goes on.
#[derive(Debug)]
pub struct Lines {
    body: Incoming,
    text: String,
    /// The answer's head.
    pub headers: HeaderMap,
}

/// Begins to read an answer that goes on.
pub async fn stream(address: SocketAddr, path: &str) -> Lines {
    let response = timeout(PATIENCE, begin(address, "GET", path, &[], Bytes::new())).await;
    let response = response.expect("in time").expect("an answer");
    assert_eq!(response.status(), StatusCode::OK, "GET {path}");
    let headers = response.headers().clone();
    Lines {
        body: response.into_body(),
        text: String::new(),
        headers,
    }
}

impl Lines {
    /// The next line that is not empty; `None` at the end.
    pub async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((line, rest)) = self.text.split_once('\n') {
                let line = line.to_owned();
                self.text = rest.to_owned();
                if !line.is_empty() {
                    return Some(line);
                }
                continue;
            }
            let frame = timeout(PATIENCE, self.body.frame()).await;
            let frame = frame.expect("a line in time")?.ok()?;
            if let Ok(data) = frame.into_data() {
                self.text += std::str::from_utf8(&data).expect("whole lines of UTF-8");
            }
        }
    }
}

async fn begin(
    address: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: Bytes,
) -> Result<http::Response<Incoming>, String> {
    let stream = TcpStream::connect(address)
        .await
        .map_err(|error| error.to_string())?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let mut request = Request::builder().method(method).uri(path);
    if !headers
        .iter()
        .any(|(name, _)| name.eq_ignore_ascii_case("host"))
    {
        request = request.header("host", address.to_string());
    }
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Full::new(body)).expect("a request of a test");
    sender
        .send_request(request)
        .await
        .map_err(|error| error.to_string())
}
