//! What is wrong with an entry.

use serde_json::Value;

use crate::engine::printable::printable;
use crate::engine::server_options::ServerOptionsError;

/// Why an entry names no server; fit for users, printable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    /// A key that must be there.
    #[error("\"{0}\" is missing")]
    Missing(String),
    /// A key with a value that it can't have.
    #[error("\"{key}\" is {found}; {expected}")]
    Value {
        /// Which.
        key: String,
        /// What it holds.
        found: String,
        /// What it may hold.
        expected: &'static str,
    },
    /// A text that is no `host:port`.
    #[error("'{text}': {reason}")]
    Address {
        /// The text.
        text: String,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// A word after an address.
    #[error("'{0}' is unknown; weight=N, backup and drain are taken")]
    Word(String),
    /// `weight=` with something else than a weight.
    #[error("'{0}': a weight is 0 to 256")]
    Weight(String),
    /// `HAProxy` options that an entry may not set.
    #[error("\"{key}\": {source}")]
    Options {
        /// Where they stand.
        key: String,
        /// What is wrong with them.
        source: ServerOptionsError,
    },
}

impl EntryError {
    pub(super) fn value(key: String, found: &Value, expected: &'static str) -> Self {
        Self::Value { key, found: printable(&found.to_string()), expected }
    }

    pub(super) fn address(text: &str, reason: &'static str) -> Self {
        Self::Address { text: printable(text), reason }
    }

    /// What is wrong, without what the entry holds.
    pub fn without_contents(&self) -> String {
        match self {
            Self::Missing(_) => self.to_string(),
            Self::Value { key, found: _, expected } => format!("\"{key}\": {expected}"),
            Self::Address { text: _, reason } => (*reason).to_owned(),
            Self::Word(_) => {
                "a word after the address is unknown; weight=N, backup and drain are taken".to_owned()
            }
            Self::Weight(_) => "a weight is 0 to 256".to_owned(),
            Self::Options { key, source } => format!("\"{key}\": {}", source.without_contents()),
        }
    }
}
