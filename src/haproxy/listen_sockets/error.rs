//! Why an address can't be listened on.

use std::io;
use std::net::SocketAddr;

use nix::errno::Errno;

use crate::engine::listen_address::ListenAddress;

/// Why an address can't be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process listens there.
    #[error("port {port} on {ip} is used by another process ('ss -ltnp' shows which); stop it or choose another port", port = .0.port(), ip = .0.ip())]
    PortInUse(SocketAddr),
    /// The path is taken.
    #[error("{0} is used: another process listens there, or it is no socket; stop it or choose another path")]
    PathInUse(ListenAddress),
    /// A port below 1024 without the right to it, or a directory that isn't writable.
    #[error(
        "{0} may not be opened: a port below 1024 needs CAP_NET_BIND_SERVICE, a unix socket a writable directory"
    )]
    NotPermitted(ListenAddress),
    /// The address isn't one of this machine's.
    #[error("{0} can't be opened: this machine has no such address; see 'ip address', or bind 0.0.0.0")]
    NoSuchAddress(ListenAddress),
    /// The limit of open files is reached, but for those that every reload takes.
    #[error(
        "{0} can't be opened: the limit of open files is reached; raise it (LimitNOFILE= of the unit, ulimit -n) and start ProxyMgr again"
    )]
    TooManyFiles(ListenAddress),
    /// What a predecessor handed over listens elsewhere, or nowhere.
    #[error("what was handed over for {0} does not listen there; it is opened anew")]
    NotTheSame(ListenAddress),
    /// Anything else.
    #[error("{address} can't be opened")]
    Other {
        /// The address.
        address: ListenAddress,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ListenError {
    pub(super) fn of(address: &ListenAddress, source: io::Error) -> Self {
        match (source.kind(), address) {
            (io::ErrorKind::AddrInUse, ListenAddress::Tcp(tcp)) => ListenError::PortInUse(*tcp),
            (io::ErrorKind::AddrInUse, ListenAddress::Unix(_)) => ListenError::PathInUse(address.clone()),
            (io::ErrorKind::PermissionDenied, _) => ListenError::NotPermitted(address.clone()),
            (io::ErrorKind::AddrNotAvailable, _) => ListenError::NoSuchAddress(address.clone()),
            (_, _)
                if [Some(Errno::EMFILE as i32), Some(Errno::ENFILE as i32)]
                    .contains(&source.raw_os_error()) =>
            {
                ListenError::TooManyFiles(address.clone())
            }
            (_, _) => ListenError::Other { address: address.clone(), source },
        }
    }
}
