//! What a service is: types that hold only valid values.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::bind_line::OwnBind;
use super::consul::ConsulSpec;
use super::cookie::CookieName;
use super::dns_spec::DnsSpec;
use super::docker_spec::DockerSpec;
use super::listed_server::ListedServer;
use super::node_rules::NodeRules;
use super::option_line::{LineEnd, OptionLine};
use super::outage_rules::OwnOutageRules;
use super::route::Routes;

/// The name of a service, and of its `listen` section.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ServiceName(Arc<str>);

/// Why a text is no [`ServiceName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ServiceNameError {
    /// No text at all.
    #[error("a service needs a name")]
    Empty,
    /// Longer than [`ServiceName::MAX_BYTES`].
    #[error("the name is {0} bytes long; at most {max} are taken", max = ServiceName::MAX_BYTES)]
    TooLong(usize),
    /// A character that `HAProxy` doesn't take in a name.
    #[error("the name holds '{0}'; letters, digits, '-', '_', '.' and ':' are taken")]
    Character(String),
}

impl ServiceName {
    /// The longest name, in bytes.
    pub const MAX_BYTES: usize = 128;

    /// Checks `text` by `HAProxy`'s rule for names (configuration manual, 4 "Proxies").
    ///
    /// # Errors
    /// When the text is empty, too long or holds another character than the rule allows.
    pub fn parse(text: &str) -> Result<Self, ServiceNameError> {
        if text.is_empty() {
            return Err(ServiceNameError::Empty);
        }
        if text.len() > Self::MAX_BYTES {
            return Err(ServiceNameError::TooLong(text.len()));
        }
        let allowed = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
        match text.chars().find(|c| !allowed(c)) {
            Some(other) => Err(ServiceNameError::Character(other.escape_default().to_string())),
            None => Ok(Self(text.into())),
        }
    }

    /// The name's text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", &*self.0)
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The host part of a listen address; the port is the service's.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BindAddress {
    /// An IPv4 or IPv6 address; `0.0.0.0` and `::` are all of the machine's.
    Ip(IpAddr),
    /// A unix socket's absolute path; the service's port plays no part.
    Unix(UnixPath),
}

/// An absolute path that can stand in haproxy.cfg and fits a unix socket's address (unix(7): 108 bytes).
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixPath(PathBuf);

/// Why a text is no [`BindAddress`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BindAddressError {
    /// Neither an address nor `unix@/path`.
    #[error(
        "'{0}' is no address to bind; write an IPv4 address, an IPv6 address such as [::1], * or unix@/path"
    )]
    Unknown(String),
    /// The path is relative, too long, or holds a character that can't stand in haproxy.cfg.
    #[error(
        "'{0}' can't be a unix socket's path; it must be absolute, shorter than 100 bytes, and hold only letters, digits and /._:@+-"
    )]
    UnixPath(String),
}

impl BindAddress {
    /// Reads `0.0.0.0`, `*`, `::1`, `[::1]` or `unix@/path`.
    ///
    /// # Errors
    /// When the text is none of these.
    pub fn parse(text: &str) -> Result<Self, BindAddressError> {
        if let Some(path) = text.strip_prefix("unix@") {
            return UnixPath::parse(path).map(Self::Unix);
        }
        if text == "*" {
            return Ok(Self::Ip(IpAddr::from([0, 0, 0, 0])));
        }
        let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        bare.parse().map(Self::Ip).map_err(|_| BindAddressError::Unknown(text.escape_default().to_string()))
    }
}

impl UnixPath {
    /// Checks `path`.
    ///
    /// # Errors
    /// When it can't be one.
    pub fn parse(path: &str) -> Result<Self, BindAddressError> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "/._:@+-".contains(c);
        if !path.starts_with('/') || path.len() >= 100 || !path.chars().all(allowed) {
            return Err(BindAddressError::UnixPath(path.escape_default().to_string()));
        }
        Ok(Self(path.into()))
    }

    /// The path.
    pub fn as_path(&self) -> &Path {
        &self.0
    }
}

/// Where to find a service's servers.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum WatcherSpec {
    /// Children of a `ZooKeeper` node.
    Zookeeper {
        /// Connect string, `host:port,host:port`; a chroot may follow.
        server: String,
        /// The parent of the server nodes, absolute, below the chroot.
        path: String,
        /// What is taken from them.
        rules: NodeRules,
    },
    /// Lines or entries of a file.
    File {
        /// The file's absolute path.
        file: PathBuf,
        /// What is taken from them.
        rules: NodeRules,
    },
    /// Names in the DNS.
    Dns(DnsSpec),
    /// Instances in Consul's catalog.
    Consul(ConsulSpec),
    /// Containers of a Docker daemon.
    Docker(DockerSpec),
    /// Nowhere else than in the definition.
    Static,
}

/// How clients reach a service.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Entrance {
    /// A port of its own.
    Port(NonZeroU16),
    /// Routes of shared frontends, at least one.
    Routes(Arc<Routes>),
}

impl fmt::Display for Entrance {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => port.fmt(f),
            Self::Routes(routes) => {
                let first = routes.keys().next().map(ToString::to_string).unwrap_or_default();
                match routes.len() {
                    0 | 1 => f.write_str(&first),
                    more => write!(f, "{first} and {} more", more - 1),
                }
            }
        }
    }
}

/// A service as its definition wants it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ServiceSpec {
    /// How clients reach it.
    pub entrance: Entrance,
    /// The cookie by which a client stays with its server.
    pub cookie: Option<CookieName>,
    /// The addresses to listen on; none means `haproxy.bind_address`.
    pub bind: Vec<BindAddress>,
    /// What follows the address on each `bind` line.
    pub bind_options: Option<LineEnd>,
    /// Further addresses to listen on, with options of their own.
    pub own_binds: Vec<OwnBind>,
    /// Lines of the `listen` section, without `bind` lines.
    pub listen_options: Vec<OptionLine>,
    /// Words that follow the address on each `server` line, in one line.
    pub server_options: Vec<LineEnd>,
    /// Where its servers come from.
    pub watcher: WatcherSpec,
    /// Servers that the definition itself names, whatever the registry says; of an address that both name the registry's counts.
    pub fixed_servers: Vec<ListedServer>,
    /// What a registry's answer may do to its servers, where that differs from the rules for all.
    pub outage: OwnOutageRules,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_haproxys_rule() {
        for good in ["web", "a.b:c-d_E9"] {
            assert_eq!(ServiceName::parse(good).unwrap().as_str(), good);
        }
        for bad in ["", "a b", "a/b", "a\nb", "ä", "${HOME}", "web;"] {
            assert!(ServiceName::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn bind_takes_the_forms_of_the_manual() {
        for (text, ip) in [("*", "0.0.0.0"), ("10.0.0.1", "10.0.0.1"), ("[::]", "::"), ("::1", "::1")] {
            assert_eq!(BindAddress::parse(text), Ok(BindAddress::Ip(ip.parse().unwrap())));
        }
        assert!(matches!(BindAddress::parse("unix@/run/web.sock"), Ok(BindAddress::Unix(_))));
        for bad in ["", "web", "unix@run/x", "unix@/a b", "unix@/a\"b", "fd@3", "1.2.3.4:80"] {
            assert!(BindAddress::parse(bad).is_err(), "{bad:?}");
        }
    }
}
