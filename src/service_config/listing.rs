//! A whole list of definitions, not yet read.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::document::Format;

/// The largest definition read, and the largest file of them, in bytes.
pub(super) const MAX_BYTES: usize = 256 * 1024;

/// A definition as its source holds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawDefinition {
    /// The text.
    pub data: Arc<[u8]>,
    /// How it is written.
    pub format: Format,
    /// Where it was found, for users; printable.
    pub origin: String,
}

/// What a source holds under a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Entry {
    /// A definition, good or bad.
    Definition(RawDefinition),
    /// There is one, but it can't be read now.
    Unreadable {
        /// Where, printable.
        origin: String,
        /// Why, for users, printable.
        reason: String,
    },
}

impl Entry {
    /// Where it was found.
    pub fn origin(&self) -> &str {
        match self {
            Self::Definition(RawDefinition { origin, .. }) | Self::Unreadable { origin, .. } => origin,
        }
    }
}

/// All that a source holds, by name. Names are as found: they may be no good.
pub type Listing = BTreeMap<String, Entry>;
