//! Which address a client has, behind proxies whose word is taken, and what one address may use up: connections at a time,
//! handshakes and requests a second. Who may come at all is for others.

mod crowd;
mod proxy;

pub use crowd::{Crowd, Place};
pub use proxy::{BadProxyHeader, announced};

use crate::rate::{Keyed, limited};
use governor::Quota;
use http::HeaderMap;
use ipnet::IpNet;
use std::{
    net::{IpAddr, Ipv6Addr, SocketAddr},
    num::NonZeroU32,
    sync::atomic::{AtomicBool, Ordering},
};

/// Proxies on the way that are looked at. Real ways have one to three.
const HOPS_MAX: usize = 16;

/// So many times what an address may do in a second it may do at once: a school's worth of people behind one address comes
/// back within a moment when their gateway leaves.
const BURST: u32 = 10;

/// The client's address, as far as trusted proxies say: in the extensions of every request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ClientAddress(pub IpAddr);

/// What is known of addresses, and what each may do.
#[derive(Debug)]
pub struct Addresses {
    trusted: Vec<IpNet>,
    /// Connections from trusted proxies begin with a PROXY header.
    pub proxy_protocol: bool,
    crowd: Option<Crowd>,
    handshakes: Option<Keyed<IpAddr>>,
    requests: Option<Keyed<IpAddr>>,
    told: AtomicBool,
}

/// What one address may do; 0 for any number.
#[derive(Debug, Clone, Copy, Default)]
pub struct PerAddress {
    /// Connections at a time.
    pub connections: u32,
    /// WebSocket handshakes a second.
    pub handshakes: u32,
    /// HTTP requests a second.
    pub requests: u32,
}

/// The address at the other end of a connection, or the one a trusted proxy announced for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// The address.
    pub address: IpAddr,
    /// A proxy said so.
    pub is_announced: bool,
}

impl Peer {
    /// The other end of a connection.
    pub fn of(socket: SocketAddr) -> Peer {
        Peer {
            address: socket.ip().to_canonical(),
            is_announced: false,
        }
    }

    /// Who is behind it, as a proxy says.
    pub fn announced(socket: SocketAddr) -> Peer {
        Peer {
            is_announced: true,
            ..Peer::of(socket)
        }
    }
}

impl Addresses {
    /// With these proxies trusted, and this much for each address.
    pub fn new(trusted: Vec<IpNet>, proxy_protocol: bool, per_address: PerAddress) -> Addresses {
        let rate = |name, a_second: u32| {
            let a_second = NonZeroU32::new(a_second)?;
            let burst = a_second.saturating_mul(NonZeroU32::new(BURST)?);
            Some(Keyed::new(
                name,
                Quota::per_second(a_second).allow_burst(burst),
            ))
        };
        Addresses {
            trusted,
            proxy_protocol,
            crowd: NonZeroU32::new(per_address.connections).map(Crowd::new),
            handshakes: rate("handshakes_per_address", per_address.handshakes),
            requests: rate("requests_per_address", per_address.requests),
            told: AtomicBool::new(false),
        }
    }

    /// Whether the word of a proxy at this address is taken.
    pub fn is_trusted(&self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.trusted
            .iter()
            .any(|network| network.contains(&address))
    }

    /// The client behind a request that came over a connection of `peer`. Each proxy adds the address it was called from to
    /// X-Forwarded-For, at the right; so the header is read from the right, for as long as the one who wrote the next entry is
    /// trusted. What stands further left anybody may have written.
    pub fn client(&self, peer: Peer, headers: &HeaderMap) -> Peer {
        let mut client = Peer {
            address: peer.address.to_canonical(),
            ..peer
        };
        if self.trusted.is_empty() {
            return client;
        }
        let entries = headers.get_all("x-forwarded-for").iter().rev();
        let hops = entries.flat_map(|line| line.as_bytes().rsplit(|byte| *byte == b','));
        for hop in hops.take(HOPS_MAX) {
            if !self.is_trusted(client.address) {
                break;
            }
            let Some(address) = hop_address(hop) else {
                break;
            };
            client = Peer {
                address,
                is_announced: true,
            };
        }
        client
    }

    /// A place for a connection of this peer; `Err` if it has as many as it may.
    pub fn enter(&self, peer: Peer) -> Result<Option<Place>, TooMany> {
        let Some(crowd) = &self.crowd else {
            return Ok(None);
        };
        if !self.is_counted(peer) {
            return Ok(None);
        }
        match crowd.enter(key(peer.address)) {
            Some(place) => Ok(Some(place)),
            None => {
                limited("connections_per_address");
                self.tell(peer, "connections", "--connections-per-address");
                Err(TooMany)
            }
        }
    }

    /// Counts a request.
    pub fn request(&self, client: Peer) -> Result<(), TooMany> {
        self.count(
            self.requests.as_ref(),
            client,
            "requests",
            "--requests-per-address",
        )
    }

    /// Counts a handshake.
    pub fn handshake(&self, client: Peer) -> Result<(), TooMany> {
        self.count(
            self.handshakes.as_ref(),
            client,
            "handshakes",
            "--handshakes-per-address",
        )
    }

    fn count(
        &self,
        limit: Option<&Keyed<IpAddr>>,
        client: Peer,
        what: &str,
        setting: &str,
    ) -> Result<(), TooMany> {
        let Some(limit) = limit.filter(|_| self.is_counted(client)) else {
            return Ok(());
        };
        if limit.check(&key(client.address)) {
            return Ok(());
        }
        self.tell(client, what, setting);
        Err(TooMany)
    }

    /// Trusted proxies are counted by their clients. What comes from this machine itself is its operator's, or comes through a
    /// proxy here that was not named: a limit would be everybody's.
    fn is_counted(&self, peer: Peer) -> bool {
        let is_here = peer.address.to_canonical().is_loopback();
        (peer.is_announced || !is_here) && !self.is_trusted(peer.address)
    }

    /// Says it once: a proxy that nobody named is the likeliest reason that many come from one address.
    fn tell(&self, client: Peer, what: &str, setting: &str) {
        if !self.told.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                address = %client.address,
                "this address has too many {what} ({setting}); if it is a proxy, name it by --trusted-proxy. Said once"
            );
        }
    }
}

/// An address has used up what it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("too much from this address, try again later")]
pub struct TooMany;

/// Whom an address stands for: every customer has at least a /64 of IPv6.
fn key(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(
            address.to_bits() & !u128::from(u64::MAX),
        )),
        address => address,
    }
}

/// An entry of X-Forwarded-For; some proxies add the port.
fn hop_address(text: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let address = text
        .parse::<IpAddr>()
        .or_else(|_| text.parse::<SocketAddr>().map(|socket| socket.ip()))
        .or_else(|_| text.trim_start_matches('[').trim_end_matches(']').parse())
        .ok()?;
    Some(address.to_canonical())
}

#[cfg(test)]
mod tests;
