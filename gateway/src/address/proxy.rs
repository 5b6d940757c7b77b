//! The PROXY protocol, versions 1 and 2: a proxy that passes bytes on says first whose they are. Only read from trusted
//! proxies, and then always: guessing whether a header is there would let clients write it.

use ppp::{HeaderResult, v1, v2};
use std::{
    io,
    net::{IpAddr, SocketAddr},
};
use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest header of version 1, bytes, its line end included: what the protocol says.
const V1_LEN_MAX: usize = 107;

/// Longest header of version 2 read. Addresses take 52 bytes, what a proxy adds (TLS names, ids) some hundred more.
const V2_LEN_MAX: usize = 2048;

/// Bytes that tell both versions apart, and fewer than the shortest header has.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// Why a connection of a trusted proxy is not taken.
#[derive(Debug, thiserror::Error)]
pub enum BadProxyHeader {
    /// It broke, or ended.
    #[error("no PROXY header came: {0}")]
    Io(#[from] io::Error),
    /// It begins with something else.
    #[error("it does not begin with a PROXY header")]
    Missing,
    /// It is longer than any real one.
    #[error("the PROXY header is too long")]
    TooLong,
    /// It cannot be read.
    #[error("the PROXY header is wrong: {0}")]
    Wrong(String),
}

/// Reads the header, and not a byte of what follows it. Answers the client's address; `None` if the connection is the proxy's
/// own (a health check), or of a kind that has no such address.
pub async fn announced(
    stream: &mut (impl AsyncRead + Unpin),
) -> Result<Option<SocketAddr>, BadProxyHeader> {
    let mut header = vec![0; SIGNATURE.len()];
    stream.read_exact(&mut header).await?;
    if header == SIGNATURE {
        header.resize(SIGNATURE.len() + 4, 0);
        stream.read_exact(&mut header[SIGNATURE.len()..]).await?;
        let len = usize::from(u16::from_be_bytes([header[14], header[15]]));
        if len > V2_LEN_MAX {
            return Err(BadProxyHeader::TooLong);
        }
        let from = header.len();
        header.resize(from + len, 0);
        stream.read_exact(&mut header[from..]).await?;
    } else if header.starts_with(b"PROXY ") {
        while !header.ends_with(b"\r\n") {
            if header.len() >= V1_LEN_MAX {
                return Err(BadProxyHeader::TooLong);
            }
            // At most 95 bytes, once a connection.
            header.push(stream.read_u8().await?);
        }
    } else {
        return Err(BadProxyHeader::Missing);
    }
    let wrong = |error: &dyn std::fmt::Display| BadProxyHeader::Wrong(error.to_string());
    match HeaderResult::parse(&header) {
        HeaderResult::V1(header) => Ok(match header.map_err(|e| wrong(&e))?.addresses {
            v1::Addresses::Tcp4(tcp) => Some(socket(tcp.source_address, tcp.source_port)),
            v1::Addresses::Tcp6(tcp) => Some(socket(tcp.source_address, tcp.source_port)),
            v1::Addresses::Unknown => None,
        }),
        HeaderResult::V2(header) => {
            let header = header.map_err(|e| wrong(&e))?;
            if header.command == v2::Command::Local {
                return Ok(None);
            }
            Ok(match header.addresses {
                v2::Addresses::IPv4(ip) => Some(socket(ip.source_address, ip.source_port)),
                v2::Addresses::IPv6(ip) => Some(socket(ip.source_address, ip.source_port)),
                v2::Addresses::Unix(_) | v2::Addresses::Unspecified => None,
            })
        }
    }
}

fn socket(address: impl Into<IpAddr>, port: u16) -> SocketAddr {
    SocketAddr::new(address.into(), port)
}
