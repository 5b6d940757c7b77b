//! What `rookery` does besides serving: each command a module, and what they share.

pub mod check;
pub mod health;
pub mod nodes;
pub mod token;

use crate::config::Config;
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Empty};
use hyper_util::rt::TokioIo;
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    time::Duration,
};
use tokio::net::TcpStream;

/// How long a node may take to answer on its admin port.
const PATIENCE: Duration = Duration::from_secs(5);

/// Where a program on this machine reaches the admin port.
fn admin_address(config: &Config) -> SocketAddr {
    let mut address = config.admin_listen;
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(ip) if ip.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}

/// Asks the admin port of the node that these settings are of.
async fn ask_admin(config: &Config, path: &str) -> Result<(StatusCode, Bytes), String> {
    let address = admin_address(config);
    let words = |error: &dyn std::fmt::Display| {
        format!("the admin port {address} does not answer: {error}")
    };
    let exchange = async {
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| words(&error))?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| words(&error))?;
        tokio::spawn(connection);
        let mut request = Request::get(path)
            .header(header::HOST, address.to_string())
            .header(header::ACCEPT, "application/json");
        if let Some(token) = &config.admin_token {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request = request
            .body(Empty::<Bytes>::new())
            .map_err(|error| words(&error))?;
        let response = sender
            .send_request(request)
            .await
            .map_err(|error| words(&error))?;
        let status = response.status();
        let body = response
            .into_body()
            .collect()
            .await
            .map_err(|error| words(&error))?;
        Ok((status, body.to_bytes()))
    };
    tokio::time::timeout(PATIENCE, exchange)
        .await
        .unwrap_or_else(|_| Err(words(&"no answer in time")))
}
