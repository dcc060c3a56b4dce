//! Who we are to an ensemble, and how we speak with it.

use crate::engine::secret::Secret;
use crate::engine::tls_files::TlsFiles;

/// What an ensemble asks for beside its address.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Access {
    /// How to log in; `None`: not at all.
    pub auth: Option<Auth>,
    /// How the connection is made private; `None`: not at all. The files are read for each new session.
    pub tls: Option<TlsFiles>,
}

/// Credentials for one authentication scheme of `ZooKeeper`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Auth {
    /// The scheme; `digest` is the usual one.
    pub scheme: String,
    /// What the scheme takes; for `digest` it is `user:password`.
    pub credentials: Secret,
}
