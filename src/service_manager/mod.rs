//! Keeps one watcher for each defined service, and tells the supervisor what the registries say.
//!
//! ```text
//! sources --whole listings--> Catalog (pure) --Step--> start, restart, stop watchers
//!                                               |                    | server sets, tagged with the watcher's generation
//!                                               +-----RegistryEvent--+--> supervisor
//! ```

mod catalog;
mod forward;
mod manager;
mod memory;

use std::sync::Arc;

use tokio::sync::mpsc;

pub use memory::{Memory, Remembered};

use crate::engine::risk::Allowed;
use crate::engine::server::Server;
use crate::engine::service::{ServiceName, ServiceSpec};
use crate::service_config::{RawDefinition, SourceSettings, UnknownKey};
use crate::watcher::{Registries, ServerSet};

/// What the registries say, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RegistryEvent {
    /// Every source has answered once; all that they list was told before.
    Listed,
    /// A service is there, is different, or is good again after a refusal.
    Defined {
        /// Its name.
        name: ServiceName,
        /// What it is now.
        spec: Arc<ServiceSpec>,
        /// As its source holds it.
        definition: RawDefinition,
        /// What its definition says that plays no part.
        unknown_keys: Vec<UnknownKey>,
    },
    /// The servers that a service just defined had in an earlier run.
    Remembered {
        /// Its name.
        name: ServiceName,
        /// They count until its watcher answers.
        servers: Vec<Server>,
    },
    /// What is written under this name can't be taken. If the service was defined before, it stays as it was, and its
    /// watcher goes on.
    Refused {
        /// The name as found, printable; it may be no [`ServiceName`].
        name: String,
        /// All that is wrong, for users.
        reason: String,
    },
    /// Nothing is written under this name any more; it may have been refused only.
    Removed {
        /// Its name.
        name: ServiceName,
    },
    /// Nothing is written any more under this name, which is no [`ServiceName`] and was refused.
    Forgotten {
        /// The name as found, printable.
        name: String,
    },
    /// All servers of a defined service.
    Servers {
        /// Its name.
        name: ServiceName,
        /// The whole set.
        servers: ServerSet,
    },
    /// The servers that a defined service names itself, if there are host names among them: where these lead to.
    FixedServers {
        /// Its name.
        name: ServiceName,
        /// The whole set.
        servers: ServerSet,
    },
}

/// Follows `sources` (the first that holds a name keeps it) and the watchers of all services, until `events` is closed or
/// this is dropped, which stops everything.
pub async fn run(
    sources: Vec<SourceSettings>,
    registries: Registries,
    allowed: Allowed,
    memory: Memory,
    events: mpsc::Sender<RegistryEvent>,
) {
    manager::Manager::new(sources, registries, allowed, memory, events).run().await;
}
