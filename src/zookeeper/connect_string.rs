//! `host:port,host:port/chroot`.

use std::fmt;
use std::net::Ipv6Addr;

use super::node_path::{NodePath, NodePathError};
use crate::engine::printable::printable;

/// `ZooKeeper`'s client port (administrator's guide, `clientPort`).
const DEFAULT_PORT: u16 = 2181;

/// The servers of an ensemble, in the order written, and the node below which all paths are meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConnectString {
    hosts: String,
    chroot: NodePath,
}

/// Why a text is no [`ConnectString`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ConnectStringError {
    /// No server, or nothing between two commas.
    #[error("a server is missing in '{0}'; write host:port,host:port")]
    MissingServer(String),
    /// A character that no host name or address holds.
    #[error("'{0}' is no server; write host:port, or [address]:port for IPv6")]
    Host(String),
    /// Not 1 to 65535.
    #[error("'{0}' has no good port; it must be 1 to 65535")]
    Port(String),
    /// What follows the first `/` is no path.
    #[error("the chroot is wrong: {0}")]
    Chroot(#[source] NodePathError),
}

impl ConnectString {
    /// Reads `host`, `host:port`, `1.2.3.4:port`, `[::1]:port`, separated by commas, and a chroot after the last.
    ///
    /// # Errors
    /// When a server or the chroot is malformed.
    pub fn parse(text: &str) -> Result<Self, ConnectStringError> {
        let text = text.trim();
        let (servers, chroot) = match text.find('/') {
            Some(slash) => text.split_at(slash),
            None => (text, "/"),
        };
        let chroot = NodePath::parse(chroot).map_err(ConnectStringError::Chroot)?;
        let hosts = servers
            .split(',')
            .map(|server| parse_server(server.trim(), text))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self { hosts: hosts.join(","), chroot })
    }

    /// The servers, each with its port, without the chroot: what tells one ensemble from another.
    pub fn hosts(&self) -> &str {
        &self.hosts
    }

    /// `path` as the servers know it, the chroot before it.
    pub fn full_path(&self, path: &NodePath) -> NodePath {
        self.chroot.join(path)
    }
}

impl fmt::Display for ConnectString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.hosts)?;
        if self.chroot.is_root() { Ok(()) } else { write!(f, "{}", self.chroot) }
    }
}

fn parse_server(server: &str, whole: &str) -> Result<String, ConnectStringError> {
    let wrong_host = || ConnectStringError::Host(printable(server));
    if server.is_empty() {
        return Err(ConnectStringError::MissingServer(printable(whole)));
    }
    let (host, port) = if let Some(rest) = server.strip_prefix('[') {
        let (address, after) = rest.split_once(']').ok_or_else(wrong_host)?;
        address.parse::<Ipv6Addr>().map_err(|_| wrong_host())?;
        let port =
            if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or_else(wrong_host)?) };
        (format!("[{address}]"), port)
    } else {
        let (host, port) = server.split_once(':').map_or((server, None), |(host, port)| (host, Some(port)));
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if host.is_empty() || !host.chars().all(allowed) || port.is_some_and(|port| port.contains(':')) {
            return Err(wrong_host());
        }
        (host.to_owned(), port)
    };
    match port.map_or(Ok(DEFAULT_PORT), str::parse::<u16>) {
        Ok(0) | Err(_) => Err(ConnectStringError::Port(printable(server))),
        Ok(port) => Ok(format!("{host}:{port}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_port_is_added_and_the_chroot_is_taken_off() {
        for (text, hosts, full) in [
            ("localhost", "localhost:2181", "/web"),
            ("zk1:2181,zk2", "zk1:2181,zk2:2181", "/web"),
            ("zk2, zk1/prod/eu", "zk2:2181,zk1:2181", "/prod/eu/web"),
            ("[::1]:99,10.0.0.1/", "[::1]:99,10.0.0.1:2181", "/web"),
            ("[::1]", "[::1]:2181", "/web"),
        ] {
            let parsed = ConnectString::parse(text).unwrap();
            assert_eq!(parsed.hosts(), hosts);
            assert_eq!(parsed.full_path(&NodePath::parse("/web").unwrap()).as_str(), full);
        }
    }

    #[test]
    fn malformed_strings_are_refused() {
        for text in [
            "",
            "/x",
            "zk1,,zk2",
            "zk1:0",
            "zk1:70000",
            "zk1:x",
            "::1",
            "[::1",
            "[zk]:1",
            "zk 1",
            "zk\n1",
            "zk//x",
            "tcp://zk",
        ] {
            assert!(ConnectString::parse(text).is_err(), "{text:?}");
        }
    }
}
