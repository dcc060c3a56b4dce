//! Which names a service's servers stand behind.

use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::time::Duration;

use super::host_name::HostName;

/// The names to be followed, and how.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct DnsSpec {
    /// The names; not empty.
    pub backends: Vec<DnsBackend>,
    /// Who is asked; none means the system's.
    pub nameservers: Vec<SocketAddr>,
    /// The shortest time between two questions.
    pub min_ttl: Duration,
    /// The longest time between two questions.
    pub max_ttl: Duration,
}

/// One name.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum DnsBackend {
    /// Each of its addresses is a server at this port.
    Addresses {
        /// The name.
        name: HostName,
        /// The servers' port.
        port: NonZeroU16,
    },
    /// Each of its `SRV` records is a server (RFC 2782).
    Services {
        /// The name, such as `_http._tcp.web.example`.
        name: HostName,
    },
}

impl DnsBackend {
    /// The name.
    pub fn name(&self) -> &HostName {
        match self {
            Self::Addresses { name, .. } | Self::Services { name } => name,
        }
    }
}
