//! Why there is no answer.

/// Why a name server gave no answer. What was known stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DnsError {
    /// `SERVFAIL`, `REFUSED` and the like.
    #[error("the name server answers {0}; ask its operator, or try: dig {1}")]
    Refused(String, String),
    /// No reply in time, or no way to the name server.
    #[error("no name server replies; check that they run and can be reached: {0}")]
    Unreachable(String),
    /// The reply makes no sense.
    #[error("the reply can't be used: {0}")]
    Unusable(String),
    /// What the system says about name servers.
    #[error("/etc/resolv.conf can't be used; mend it, or name 'nameservers': {0}")]
    ResolvConf(String),
}
