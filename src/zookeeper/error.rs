//! What can go wrong, in words for the log.

use std::time::Duration;

use super::connect_string::ConnectStringError;
use super::node_path::NodePathError;
use crate::tls::TlsFileError;

/// Why an ensemble can't be followed now.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ZookeeperError {
    /// The connect string is wrong.
    #[error(transparent)]
    ConnectString(#[from] ConnectStringError),
    /// The path is wrong.
    #[error(transparent)]
    Path(#[from] NodePathError),
    /// No server took the connection.
    #[error(
        "no server takes connections (refused or unreachable); check the addresses, that ZooKeeper runs, and that tls is set if these ports speak TLS"
    )]
    Unreachable,
    /// A file for TLS is of no use.
    #[error("TLS: {0}")]
    TlsFile(#[from] TlsFileError),
    /// A host that no certificate can name.
    #[error("TLS: '{0}' can't stand in a certificate; write the server's DNS name or address")]
    TlsName(String),
    /// A server took the connection, but it could not be made private.
    #[error("TLS with {server} fails: {reason}")]
    Tls {
        /// `host:port`.
        server: String,
        /// Why, with what to do.
        reason: String,
    },
    /// No server is connected to at this moment.
    #[error("no server of the ensemble is connected to now; the log tells more")]
    Disconnected,
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    NoAnswer(Duration),
    /// The credentials or the scheme were refused.
    #[error("authentication failed; check the scheme and the credentials")]
    AuthFailed,
    /// The node's ACL doesn't let us read.
    #[error("not allowed to read; check the node's ACL and the credentials")]
    NoAuth,
    /// A server older than 3.6 has no persistent watches.
    #[error("the server has no persistent watches; ZooKeeper 3.6 or later is needed")]
    TooOld,
    /// Anything else the client reports.
    #[error("{0}")]
    Client(#[source] zookeeper_client::Error),
    /// The task that followed the node ended.
    #[error("following the node ended unexpectedly; it is started again")]
    Stopped,
}

impl From<zookeeper_client::Error> for ZookeeperError {
    fn from(error: zookeeper_client::Error) -> Self {
        use zookeeper_client::Error;
        if error == Error::NoHosts {
            Self::Unreachable
        } else if error == Error::AuthFailed {
            Self::AuthFailed
        } else if error == Error::NoAuth {
            Self::NoAuth
        } else if error == Error::Unimplemented {
            Self::TooOld
        } else {
            Self::Client(error)
        }
    }
}
