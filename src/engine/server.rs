//! One server of a service.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use super::server_options::ServerOptions;

/// `HAProxy`'s range of weights (configuration manual, 5.2 `weight`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Weight(u16);

impl Weight {
    /// No new traffic, sticky traffic only.
    pub const ZERO: Self = Self(0);
    /// What `HAProxy` gives a server that names no weight.
    pub const DEFAULT: Self = Self(1);
    /// The largest weight.
    pub const MAX: u16 = 256;

    /// A weight of 0 to 256; `None` beyond.
    pub const fn new(weight: u16) -> Option<Self> {
        if weight <= Self::MAX { Some(Self(weight)) } else { None }
    }

    /// The number.
    pub const fn get(self) -> u16 {
        self.0
    }
}

impl fmt::Display for Weight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The name of a server in `HAProxy`: its address and port, which also tell it from the others of its service.
///
/// The port always ends the name, so IPv6 needs no brackets (which `HAProxy` doesn't take in names).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName(Arc<str>);

impl ServerName {
    /// The name of the server at `address`.
    pub fn of(address: SocketAddr) -> Self {
        Self(format!("{}:{}", address.ip(), address.port()).into())
    }

    /// A name as `HAProxy` reports it, which may belong to a server that isn't ours.
    pub fn reported(name: &str) -> Self {
        Self(name.into())
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ServerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// One server as its registry wants it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Server {
    /// Where it listens; a v4 address is never written as v6.
    address: SocketAddr,
    /// Its weight, or the one in the service's server options.
    pub weight: Option<Weight>,
    /// Used only while no other server is up.
    pub backup: bool,
    /// Gets no new traffic, keeps what it has.
    pub drain: bool,
    /// Words of its own, after the service's server options.
    pub options: Option<ServerOptions>,
}

impl Server {
    /// A plain server at `address`, which must name a port other than 0; `None` when it doesn't.
    pub fn at(address: SocketAddr) -> Option<Self> {
        let ip = match address.ip() {
            IpAddr::V6(v6) => v6.to_ipv4_mapped().map_or(IpAddr::V6(v6), IpAddr::V4),
            v4 @ IpAddr::V4(_) => v4,
        };
        (address.port() != 0).then_some(Self {
            address: SocketAddr::new(ip, address.port()),
            weight: None,
            backup: false,
            drain: false,
            options: None,
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its name in `HAProxy`.
    pub fn name(&self) -> ServerName {
        ServerName::of(self.address)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_is_address_and_port() {
        let name = |text: &str| Server::at(text.parse().unwrap()).unwrap().name().to_string();
        assert_eq!(name("1.2.3.4:8080"), "1.2.3.4:8080");
        assert_eq!(name("[::1]:8080"), "::1:8080");
        assert_eq!(name("[::ffff:1.2.3.4]:80"), "1.2.3.4:80");
    }

    #[test]
    fn port_zero_and_weight_257_do_not_exist() {
        assert_eq!(Server::at("1.2.3.4:0".parse().unwrap()), None);
        assert_eq!(Weight::new(257), None);
        assert_eq!(Weight::new(256).map(Weight::get), Some(256));
    }
}
