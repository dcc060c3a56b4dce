//! What was known before the start.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::server::Server;
use crate::engine::service::ServiceSpec;
use crate::service_config::{Entry, Listing, RawDefinition, parse};

/// The last good topology of an earlier run.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// The services by name.
    pub services: BTreeMap<String, Remembered>,
    /// How long sources may take to answer before it stands in for them; `None`: for ever.
    pub recall_after: Option<Duration>,
}

/// One service of an earlier run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remembered {
    /// Its definition.
    pub definition: RawDefinition,
    /// The servers that it had.
    pub servers: Vec<Server>,
}

impl Memory {
    pub(super) fn listing(&self) -> Listing {
        let entry = |(name, service): (&String, &Remembered)| {
            (name.clone(), Entry::Definition(service.definition.clone()))
        };
        self.services.iter().map(entry).collect()
    }
}

impl Remembered {
    /// Whether its servers came from where `spec` looks for them.
    pub(super) fn is_of(&self, spec: &ServiceSpec) -> bool {
        parse(&self.definition).is_ok_and(|definition| definition.spec.watcher == spec.watcher)
    }
}
