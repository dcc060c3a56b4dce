//! A server as it is written in a registry, a file or a definition.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;

use super::host_name::HostName;
use super::server::{Server, ServerName, Weight};
use super::server_options::ServerOptions;

/// The most servers of one service that a registry may list, and that a definition may name: with more a reload takes seconds,
/// which all services would wait for.
pub const MAX_SERVERS: usize = 10_000;

/// Where a server is, as far as it is written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Host {
    /// At this address, which can be connected to; a v4 address is never written as v6.
    Address(IpAddr),
    /// Wherever this name leads.
    Name(HostName),
}

/// A server whose host may be a name that is still to be looked up.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ListedServer {
    host: Host,
    port: NonZeroU16,
    /// Its weight, or the one in the service's server options.
    pub weight: Option<Weight>,
    /// Used only while no other server is up.
    pub backup: bool,
    /// Gets no new traffic, keeps what it has.
    pub drain: bool,
    /// Words of its own, after the service's server options.
    pub options: Option<ServerOptions>,
}

impl Host {
    /// A host at `ip`; `None` when nothing can be connected to there (`0.0.0.0`, `::`).
    pub fn at(ip: IpAddr) -> Option<Self> {
        let ip = ip.to_canonical();
        (!ip.is_unspecified()).then_some(Self::Address(ip))
    }
}

impl ListedServer {
    /// A plain server at `port` of `host`.
    pub fn new(host: Host, port: NonZeroU16) -> Self {
        Self { host, port, weight: None, backup: false, drain: false, options: None }
    }

    /// Its name in `HAProxy`, wherever its host is.
    pub fn name(&self) -> ServerName {
        match &self.host {
            Host::Address(ip) => ServerName::of(SocketAddr::new(*ip, self.port.get())),
            Host::Name(name) => ServerName::of_host(name, self.port.get()),
        }
    }

    /// The name to look up, if it has one.
    pub fn host_name(&self) -> Option<&HostName> {
        match &self.host {
            Host::Address(_) => None,
            Host::Name(name) => Some(name),
        }
    }

    /// The server, where the host name leads to `find`'s address; `None` when it leads nowhere.
    pub fn located(&self, find: impl FnOnce(&HostName) -> Option<IpAddr>) -> Option<Server> {
        let mut server = match &self.host {
            Host::Address(ip) => Server::at(SocketAddr::new(*ip, self.port.get()))?,
            Host::Name(name) => Server::named(name.clone(), self.port, find(name)?),
        };
        server.weight = self.weight;
        server.backup = self.backup;
        server.drain = self.drain;
        server.options.clone_from(&self.options);
        Some(server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listed_server_and_the_one_it_becomes_have_one_name() {
        let found: IpAddr = "10.0.0.9".parse().unwrap();
        for (host, name, address) in [
            (Host::at("1.2.3.4".parse().unwrap()), "1.2.3.4:80", "1.2.3.4:80"),
            (Host::at("::ffff:1.2.3.4".parse().unwrap()), "1.2.3.4:80", "1.2.3.4:80"),
            (Host::at("::1".parse().unwrap()), "::1:80", "[::1]:80"),
            (HostName::parse("Web.Example").map(Host::Name).ok(), "web.example:80", "10.0.0.9:80"),
        ] {
            let mut listed = ListedServer::new(host.unwrap(), NonZeroU16::new(80).unwrap());
            listed.weight = Weight::new(3);
            listed.backup = true;
            let server = listed.located(|_| Some(found)).unwrap();
            assert_eq!((listed.name().as_str(), server.name().as_str()), (name, name));
            assert_eq!(server.address(), address.parse().unwrap());
            assert_eq!((server.weight, server.backup, server.drain), (Weight::new(3), true, false));
        }
        assert_eq!(Host::at("0.0.0.0".parse().unwrap()), None);
        assert_eq!(Host::at("::".parse().unwrap()), None);
    }

    #[test]
    fn a_name_that_leads_nowhere_gives_no_server() {
        let host = Host::Name(HostName::parse("web").unwrap());
        assert_eq!(ListedServer::new(host, NonZeroU16::MIN).located(|_| None), None);
    }
}
