//! The servers that an operator drains.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::{Known, KnownServices};
use crate::engine::outage_rules::Servers;
use crate::engine::report::Drained;
use crate::engine::server::{Server, ServerName};
use crate::engine::service::ServiceName;

/// By service; they stay when a service or a server goes, and count again when it comes back.
#[derive(Debug, Default)]
pub(super) struct Drains(BTreeMap<ServiceName, Drained>);

impl Drains {
    pub(super) fn of(&self, service: &ServiceName) -> Drained {
        self.0.get(service).cloned().unwrap_or_default()
    }

    /// The servers, those drained that are.
    pub(super) fn applied_to(&self, service: &ServiceName, servers: Arc<Servers>) -> Arc<Servers> {
        let Some(drained) = self.0.get(service) else { return servers };
        let mut servers = Servers::clone(&servers);
        for name in drained.keys() {
            if let Some(server) = servers.get_mut(name) {
                server.drain = true;
            }
        }
        Arc::new(servers)
    }
}

impl KnownServices {
    /// Takes over what is drained.
    pub(in crate::engine::reconciler) fn inherit_drains(&mut self, before: &mut Self) {
        self.drains = std::mem::take(&mut before.drains);
    }

    /// Drains a server, since so many seconds after 1970; one that is drained stays so since before.
    pub(in crate::engine::reconciler) fn drain(
        &mut self,
        service: &ServiceName,
        server: &ServerName,
        since: u64,
    ) {
        let drained = Arc::make_mut(self.drains.0.entry(service.clone()).or_default());
        drained.entry(server.clone()).or_insert(since);
    }

    /// Drains a server no more.
    pub(in crate::engine::reconciler) fn undrain(&mut self, service: &ServiceName, server: &ServerName) {
        if let Some(drained) = self.drains.0.get_mut(service) {
            Arc::make_mut(drained).remove(server);
        }
        self.drains.0.retain(|_, drained| !drained.is_empty());
    }

    /// All that are drained.
    pub(in crate::engine::reconciler) fn drained(&self) -> &BTreeMap<ServiceName, Drained> {
        &self.drains.0
    }

    /// A server as it is wanted.
    pub(in crate::engine::reconciler) fn server(
        &self,
        service: &ServiceName,
        server: &ServerName,
    ) -> Option<Server> {
        let servers = self.services.get(service).and_then(Known::all_servers)?;
        self.drains.applied_to(service, servers).get(server).cloned()
    }

    /// Whether an operator drains it.
    pub(in crate::engine::reconciler) fn is_drained(
        &self,
        service: &ServiceName,
        server: &ServerName,
    ) -> bool {
        self.drains.0.get(service).is_some_and(|drained| drained.contains_key(server))
    }
}
