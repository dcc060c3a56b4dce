//! What was known before the start.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::engine::reconciler::Held;
use crate::engine::risk::Risk;
use crate::engine::server::Server;
use crate::engine::service::{ServiceName, ServiceSpec};
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
    /// How it was reached.
    pub held: Held,
}

impl Memory {
    /// How each was reached.
    pub fn holders(&self) -> BTreeMap<ServiceName, Held> {
        let named = self
            .services
            .iter()
            .filter_map(|(name, service)| Some((ServiceName::parse(name).ok()?, service)));
        named.map(|(name, service)| (name, service.held.clone())).collect()
    }

    pub(super) fn listing(&self) -> Listing {
        let entry = |(name, service): (&String, &Remembered)| {
            (name.clone(), Entry::Definition(service.definition.clone()))
        };
        self.services.iter().map(entry).collect()
    }
}

impl Remembered {
    /// Its servers that came from where `spec` looks for them, if it is still the same place. Those that `spec` names itself
    /// by their host are none of them.
    pub(super) fn watched(mut self, service: &ServiceName, spec: &ServiceSpec) -> Option<Vec<Server>> {
        // Whether it is still allowed is another's question.
        let all = Risk::WORDS.map(|(_, risk)| risk).into();
        let same = parse(service, &self.definition, &all)
            .is_ok_and(|definition| definition.spec.watcher == spec.watcher);
        self.servers.retain(|server| {
            server.host().is_none() || spec.fixed_servers.iter().all(|fixed| fixed.name() != server.name())
        });
        same.then_some(self.servers)
    }
}
