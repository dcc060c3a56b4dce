//! One server of a service.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::sync::Arc;

use super::host_name::HostName;
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

/// The name of a server in `HAProxy`: its address or host name, and its port, which also tell it from the others of its
/// service. A server that is known by its host name keeps the name when its address changes.
///
/// The port always ends the name, so IPv6 needs no brackets (which `HAProxy` doesn't take in names).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServerName(Arc<str>);

impl ServerName {
    /// The name of the server at `address`.
    pub fn of(address: SocketAddr) -> Self {
        Self(format!("{}:{}", address.ip(), address.port()).into())
    }

    /// The name of the server that is known as `host`.
    pub fn of_host(host: &HostName, port: u16) -> Self {
        Self(format!("{host}:{port}").into())
    }

    /// Whether a server at `address` may have this name: it is its address, or a host name with its port.
    pub fn suits(&self, address: SocketAddr) -> bool {
        let is_host = |host: &str| HostName::parse(host).is_ok_and(|name| name.as_str() == host);
        *self == Self::of(address)
            || self
                .0
                .rsplit_once(':')
                .is_some_and(|(host, port)| is_host(host) && port.parse() == Ok(address.port()))
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
    /// What it is known as, wherever it is.
    host: Option<HostName>,
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
        let address = SocketAddr::new(address.ip().to_canonical(), address.port());
        (address.port() != 0).then(|| Self::new(address, None))
    }

    /// A plain server that is known as `host`, whose address is `ip` for now.
    pub fn named(host: HostName, port: NonZeroU16, ip: IpAddr) -> Self {
        Self::new(SocketAddr::new(ip.to_canonical(), port.get()), Some(host))
    }

    /// The plain server that has `name` while it is at `address`; `None` when none has.
    pub fn of_name(name: &ServerName, address: SocketAddr) -> Option<Self> {
        let at = Self::at(address)?;
        if at.name() == *name {
            return Some(at);
        }
        let (host, _port) = name.as_str().rsplit_once(':')?;
        let port = NonZeroU16::new(address.port())?;
        Some(Self::named(HostName::parse(host).ok()?, port, address.ip()))
            .filter(|server| server.name() == *name)
    }

    fn new(address: SocketAddr, host: Option<HostName>) -> Self {
        Self { address, host, weight: None, backup: false, drain: false, options: None }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its name in `HAProxy`.
    pub fn name(&self) -> ServerName {
        match &self.host {
            Some(host) => ServerName::of_host(host, self.address.port()),
            None => ServerName::of(self.address),
        }
    }

    /// The host name that it is known as.
    pub fn host(&self) -> Option<&HostName> {
        self.host.as_ref()
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
    fn a_server_known_by_its_host_keeps_its_name_wherever_it_is() {
        let host = HostName::parse("Web.Example").unwrap();
        let port = NonZeroU16::new(80).unwrap();
        let [one, two] = ["1.2.3.4", "::1"].map(|ip| Server::named(host.clone(), port, ip.parse().unwrap()));
        assert_eq!(one.name().as_str(), "web.example:80");
        assert_eq!((one.name(), one.address().port()), (two.name(), 80));
        assert_ne!(one, two);
    }

    #[test]
    fn names_suit_the_addresses_that_they_could_be_given_for() {
        let suits = |name: &str, address: &str| ServerName::reported(name).suits(address.parse().unwrap());
        for (name, address) in
            [("1.2.3.4:80", "1.2.3.4:80"), ("::1:80", "[::1]:80"), ("web:80", "1.2.3.4:80")]
        {
            assert!(suits(name, address), "{name} {address}");
        }
        for (name, address) in [
            ("1.2.3.4:80", "1.2.3.5:80"),
            ("web:81", "1.2.3.4:80"),
            ("web", "1.2.3.4:80"),
            ("Web:80", "1.2.3.4:80"),
        ] {
            assert!(!suits(name, address), "{name} {address}");
        }
    }

    #[test]
    fn port_zero_and_weight_257_do_not_exist() {
        assert_eq!(Server::at("1.2.3.4:0".parse().unwrap()), None);
        assert_eq!(Weight::new(257), None);
        assert_eq!(Weight::new(256).map(Weight::get), Some(256));
    }
}
