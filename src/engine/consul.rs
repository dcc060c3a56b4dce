//! Which Consul is asked, and for what.

use std::fmt;
use std::net::IpAddr;
use std::num::NonZeroU16;
use std::path::PathBuf;
use std::time::Duration;

use super::host_name::HostName;
use super::node_rules::NodeRules;
use super::printable::printable;
use super::secret::Secret;
use super::tls_files::TlsFiles;

/// The agents that know one Consul, in the order written; never empty.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsulServers(Vec<ConsulServer>);

/// Where one agent takes HTTP.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConsulServer {
    /// An address or a name; IPv6 without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// What an agent asks for beside its address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConsulAccess {
    /// Who is asked: the first, and the next when that one fails.
    pub servers: ConsulServers,
    /// What says who we are (Consul documentation, "ACL System"); `None`: nobody.
    pub token: Option<ConsulToken>,
    /// How the connection is made private; `None`: not at all.
    pub tls: Option<ConsulTls>,
    /// The datacenter that is meant; `None`: the agent's own.
    pub dc: Option<String>,
    /// How far behind its leader a server may be whose answer is taken.
    pub max_stale: Duration,
}

/// Where a token stands.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum ConsulToken {
    /// Here.
    Value(Secret),
    /// In this file, absolute, which is read for each question.
    File(PathBuf),
}

/// TLS towards agents.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConsulTls {
    /// The files, read for each new connection.
    pub files: TlsFiles,
    /// The name that an agent's certificate must hold, such as `server.dc1.consul`; `None`: its host.
    pub server_name: Option<String>,
}

/// Where the servers of a service stand in Consul's catalog.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ConsulSpec {
    /// Who is asked; `None`: whom proxymgr.yml names.
    pub servers: Option<ConsulServers>,
    /// The name there.
    pub service: String,
    /// Tags that an instance must have, all of them.
    pub tags: Vec<String>,
    /// Whether only instances are taken whose checks all pass.
    pub passing_only: bool,
    /// The datacenter that is meant; `None`: that of proxymgr.yml.
    pub dc: Option<String>,
    /// The node from which Consul sorts by distance.
    pub near: Option<String>,
    /// Consul's own filter (documentation, "Filtering").
    pub expression: Option<String>,
    /// What is taken from instances.
    pub rules: NodeRules,
}

impl ConsulAccess {
    /// How far behind answers may be where nothing is said.
    pub const MAX_STALE: Duration = Duration::from_secs(10);

    /// `servers` with the defaults of all the rest.
    pub fn to(servers: ConsulServers) -> Self {
        Self { servers, token: None, tls: None, dc: None, max_stale: Self::MAX_STALE }
    }
}

impl ConsulServers {
    /// Consul's HTTP port (documentation, "Required Ports").
    const PORT: u16 = 8500;

    /// The agent of this machine.
    pub fn local() -> Self {
        Self(vec![ConsulServer { host: "127.0.0.1".to_owned(), port: Self::PORT }])
    }

    /// Reads `host`, `host:port`, `[::1]:port`, separated by commas.
    ///
    /// # Errors
    /// What is wrong, as the end of a sentence that begins with the value.
    pub fn parse(text: &str) -> Result<Self, String> {
        text.split(',').map(|server| ConsulServer::parse(server.trim())).collect::<Result<_, _>>().map(Self)
    }

    /// All of them, one after the other; `None` when there are none.
    pub fn joined(lists: Vec<Self>) -> Option<Self> {
        let all: Vec<_> = lists.into_iter().flat_map(|list| list.0).collect();
        (!all.is_empty()).then_some(Self(all))
    }

    /// The agents.
    pub fn as_slice(&self) -> &[ConsulServer] {
        &self.0
    }
}

impl ConsulServer {
    fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("is no Consul agent ('{}'); write host:port, or [address]:port for IPv6", printable(text))
        };
        if text.contains("://") {
            return Err("must be without http:// or https://; write host:port, and tls for TLS".to_owned());
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (address, after) = rest.split_once(']').ok_or_else(wrong)?;
                let after =
                    if after.is_empty() { None } else { Some(after.strip_prefix(':').ok_or_else(wrong)?) };
                (address, after)
            }
            None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
        };
        let host = match host.parse::<IpAddr>() {
            Ok(ip) => ip.to_string(),
            Err(_) => HostName::parse(host).map_err(|_| wrong())?.to_string(),
        };
        let port = match port {
            None => ConsulServers::PORT,
            Some(port) => port.parse::<NonZeroU16>().map_err(|_| wrong())?.get(),
        };
        Ok(Self { host, port })
    }
}

impl fmt::Display for ConsulServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for ConsulServers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<_> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&all.join(","))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn servers_are_read_with_their_default_port_and_written_so_that_they_can_be_read_again() {
        for (text, shown) in [
            ("localhost", "localhost:8500"),
            ("10.0.0.1:80, Consul.example", "10.0.0.1:80,consul.example:8500"),
            ("[::1]:8501,[::1]", "[::1]:8501,[::1]:8500"),
        ] {
            let servers = ConsulServers::parse(text).unwrap();
            assert_eq!(servers.to_string(), shown);
            assert_eq!(ConsulServers::parse(shown), Ok(servers));
        }
        for bad in
            ["", "a,,b", "http://a:8500", "a:0", "a:b", "a:70000", "[::1", "[::1]x", "a b", "a/b", "a\nb"]
        {
            assert!(ConsulServers::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let token = Some(ConsulToken::Value(Secret::new("hunter2")));
        let access = ConsulAccess { token, ..ConsulAccess::to(ConsulServers::local()) };
        assert!(!format!("{access:?}").contains("hunter2"));
    }
}
