//! Who we are to an ensemble.

use crate::engine::secret::Secret;

/// Credentials for one authentication scheme of `ZooKeeper`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Auth {
    /// The scheme; `digest` is the usual one.
    pub scheme: String,
    /// What the scheme takes; for `digest` it is `user:password`.
    pub credentials: Secret,
}
