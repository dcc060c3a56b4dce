//! What `origin` answers: where a service and one of its servers are written.

use serde::{Deserialize, Serialize};

/// The places of both. Keys are never renamed or removed, and never absent; new ones may come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origins {
    /// Of the service's definition; null as long as there is none.
    pub definition: Option<OriginStatus>,
    /// Of the server asked for; null when none was, or its registry doesn't list it now.
    pub server: Option<OriginStatus>,
    /// Why a registry could not be asked.
    pub problem: Option<String>,
}

/// One place.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OriginStatus {
    /// A node or a file, with the line.
    pub place: String,
    /// How often what stands there was changed; null where nobody counts that.
    pub version: Option<i32>,
    /// When it was written last, in UTC; null where that isn't known.
    pub written: Option<String>,
}
