//! Which files make a connection private.

use std::path::PathBuf;

/// The files for TLS towards one ensemble, each in PEM; absolute paths.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsFiles {
    /// The certificates of the authorities that may sign a server's; revocation lists may stand beside them.
    pub ca: PathBuf,
    /// Who we are to the servers.
    pub identity: Option<TlsIdentityFiles>,
}

/// A certificate of our own.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TlsIdentityFiles {
    /// The certificate, those between it and the authority after it.
    pub cert: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}
