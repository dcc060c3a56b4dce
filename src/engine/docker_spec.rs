//! Which containers a service's servers run in, and how they are reached.

use std::collections::BTreeSet;
use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;

use super::host_name::HostName;
use super::listed_server::Host;
use super::node_rules::NodeRules;
use super::printable::printable;

/// The longest path of a unix socket (unix(7)).
const MAX_SOCKET_PATH: usize = 107;
/// The longest name of a network that is taken, in bytes.
const MAX_NETWORK: usize = 128;

/// A Docker daemon.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum DockerHost {
    /// On this machine, at a unix socket; the path is absolute.
    Unix(PathBuf),
    /// Anywhere, with TLS.
    Tcp {
        /// Its address or name.
        host: Host,
        /// Its port.
        port: NonZeroU16,
    },
}

/// Daemons whose containers are meant together: one at least, in the order in which they are written, none twice.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DockerHosts(Vec<DockerHost>);

/// The text is no [`DockerHost`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no Docker daemon; write unix:///var/run/docker.sock or tcp://HOST:2376")]
pub struct DockerHostError(String);

/// Which address of a container counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ContainerAddress {
    /// Its own in this network; without a name in the only one that it is in.
    Network(Option<NetworkName>),
    /// That of the host, with the port under which the container's is published.
    Published,
}

/// The name of a network of Docker.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NetworkName(String);

/// The containers that are the servers of a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DockerSpec {
    /// Where they run.
    pub hosts: DockerHosts,
    /// The service that they name.
    pub service: String,
    /// Each has all of these.
    pub tags: BTreeSet<String>,
    /// How they are reached.
    pub address: ContainerAddress,
    /// What is taken from them.
    pub rules: NodeRules,
}

impl Default for DockerHost {
    fn default() -> Self {
        Self::Unix(PathBuf::from("/var/run/docker.sock"))
    }
}

impl DockerHost {
    /// Reads `unix:///path` or `tcp://host:port`, as `DOCKER_HOST` has them.
    ///
    /// # Errors
    /// When the text is neither.
    pub fn parse(text: &str) -> Result<Self, DockerHostError> {
        let wrong = || DockerHostError(printable(text));
        if let Some(path) = text.strip_prefix("unix://") {
            let fits = path.starts_with('/') && path.len() <= MAX_SOCKET_PATH;
            let plain = !path.chars().any(char::is_control);
            return if fits && plain { Ok(Self::Unix(PathBuf::from(path))) } else { Err(wrong()) };
        }
        let address = text.strip_prefix("tcp://").ok_or_else(wrong)?;
        let (host, port) = address.trim_end_matches('/').rsplit_once(':').ok_or_else(wrong)?;
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let host = match bare.parse::<IpAddr>() {
            Ok(ip) => Host::at(ip),
            Err(_) => HostName::parse(bare).map(Host::Name).ok(),
        };
        Ok(Self::Tcp { host: host.ok_or_else(wrong)?, port: port.parse().map_err(|_| wrong())? })
    }

    /// Where the ports are that this daemon publishes on all addresses of its host.
    pub fn machine(&self) -> Host {
        match self {
            Self::Unix(_) => Host::Address(IpAddr::from([127, 0, 0, 1])),
            Self::Tcp { host, port: _ } => host.clone(),
        }
    }
}

impl DockerHosts {
    /// None, no daemons at all.
    pub fn new(hosts: Vec<DockerHost>) -> Option<Self> {
        let mut known = BTreeSet::new();
        let hosts: Vec<_> = hosts.into_iter().filter(|host| known.insert(host.clone())).collect();
        (!hosts.is_empty()).then_some(Self(hosts))
    }

    /// Whether `address` tells the containers of these daemons apart: each host has networks of its own, with the same addresses
    /// in them.
    ///
    /// # Errors
    /// What to write.
    pub fn check(&self, address: &ContainerAddress) -> Result<(), &'static str> {
        match address {
            ContainerAddress::Network(None) if self.0.len() > 1 => Err(
                "names several daemons, whose containers may have the same addresses: add published: true, or the network that they share",
            ),
            ContainerAddress::Network(_) | ContainerAddress::Published => Ok(()),
        }
    }

    /// Each of them.
    pub fn iter(&self) -> impl Iterator<Item = &DockerHost> {
        self.0.iter()
    }
}

impl Default for DockerHosts {
    fn default() -> Self {
        Self(vec![DockerHost::default()])
    }
}

/// With commas between them.
impl fmt::Display for DockerHosts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let texts: Vec<_> = self.iter().map(ToString::to_string).collect();
        f.write_str(&texts.join(","))
    }
}

impl fmt::Display for DockerHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host: Host::Address(IpAddr::V6(ip)), port } => write!(f, "tcp://[{ip}]:{port}"),
            Self::Tcp { host: Host::Address(ip), port } => write!(f, "tcp://{ip}:{port}"),
            Self::Tcp { host: Host::Name(name), port } => write!(f, "tcp://{name}:{port}"),
        }
    }
}

impl NetworkName {
    /// Checks `text`; the error ends a sentence that begins with it.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let known = |c: char| c.is_ascii_alphanumeric() || "_.-".contains(c);
        if text.is_empty() || text.len() > MAX_NETWORK || !text.chars().all(known) {
            return Err("is no name of a network; letters, digits, '_', '.' and '-' are taken".to_owned());
        }
        Ok(Self(text.to_owned()))
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemons_are_written_as_in_docker_host() {
        for text in [
            "unix:///var/run/docker.sock",
            "tcp://10.0.0.1:2376",
            "tcp://[::1]:2376",
            "tcp://docker.example:2376",
        ] {
            assert_eq!(DockerHost::parse(text).unwrap().to_string(), text);
        }
        assert_eq!(DockerHost::default().to_string(), "unix:///var/run/docker.sock");
        for text in [
            "",
            "docker",
            "unix://run/x",
            "unix:///a\nb",
            "tcp://",
            "tcp://a",
            "tcp://a:0",
            "tcp://0.0.0.0:1",
            "ssh://a:1",
        ] {
            assert!(DockerHost::parse(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn several_daemons_are_told_in_their_order_and_once() {
        let hosts = |texts: &[&str]| {
            DockerHosts::new(texts.iter().map(|text| DockerHost::parse(text).unwrap()).collect())
        };
        let text = |texts: &[&str]| hosts(texts).unwrap().to_string();
        assert_eq!(text(&["tcp://b:1", "unix:///a", "tcp://b:1"]), "tcp://b:1,unix:///a");
        assert_eq!(hosts(&[]), None);
        assert_eq!(DockerHosts::default().to_string(), "unix:///var/run/docker.sock");
    }

    #[test]
    fn published_ports_are_where_the_daemon_is() {
        let at = |text: &str| DockerHost::parse(text).unwrap().machine();
        assert_eq!(at("unix:///x"), Host::Address("127.0.0.1".parse().unwrap()));
        assert_eq!(at("tcp://10.0.0.1:1"), Host::Address("10.0.0.1".parse().unwrap()));
        assert_eq!(at("tcp://a.example:1"), Host::Name(HostName::parse("a.example").unwrap()));
    }
}
