//! What an operator wants.

use std::collections::BTreeMap;

use super::{Phase, Reconciler, Unconfirmed};
use crate::engine::moment::Moment;
use crate::engine::report::Drained;
use crate::engine::server::ServerName;
use crate::engine::service::ServiceName;
use crate::engine::state::{AppliedState, OptionWeight};

impl Reconciler {
    /// Believes a loss of servers that is held, or an empty answer of a registry, and tells how many servers leave. The next
    /// [`Input`](super::Input) puts it into effect.
    ///
    /// # Errors
    /// When there is nothing to confirm.
    pub fn confirm(&mut self, service: &ServiceName, now: Moment) -> Result<usize, Unconfirmed> {
        let missing = self.known.confirm(service)?;
        self.timing.servers_changed(now);
        Ok(missing)
    }

    /// Drains a server, since so many seconds after 1970; it need not be there now. The next [`Input`](super::Input) puts it
    /// into effect.
    pub fn drain(&mut self, service: &ServiceName, server: &ServerName, since: u64, now: Moment) {
        self.known.drain(service, server, since);
        self.timing.servers_changed(now);
    }

    /// Drains a server no more.
    pub fn undrain(&mut self, service: &ServiceName, server: &ServerName, now: Moment) {
        self.known.undrain(service, server);
        self.timing.servers_changed(now);
    }

    /// All servers that an operator drains.
    pub fn drained(&self) -> &BTreeMap<ServiceName, Drained> {
        self.known.drained()
    }

    /// Whether a server is drained, wanted, or runs.
    pub fn knows_server(&self, service: &ServiceName, server: &ServerName) -> bool {
        let runs = self.applied.as_ref().and_then(|applied| applied.services.get(service));
        self.known.is_drained(service, server)
            || self.known.server(service, server).is_some()
            || runs.is_some_and(|runs| runs.servers.contains_key(server))
    }

    /// Whether what runs has the weight that is wanted for a server; so it is, too, where it does not run. Before the
    /// registries are heard nobody knows.
    pub fn has_wanted_weight(&self, service: &ServiceName, server: &ServerName) -> bool {
        if self.taken_over {
            return false;
        }
        let running = self.applied.as_ref().filter(|_| self.phase == Phase::Running);
        let mut serving = running.into_iter().flat_map(AppliedState::serving);
        let Some((_, runs)) = serving.find(|(name, _)| *name == service) else { return true };
        match (runs.servers.get(server), self.known.server(service, server)) {
            (Some(applied), Some(wanted)) => {
                let weight = OptionWeight::of(&self.settings.base, &runs.section).of_server(&wanted);
                applied.weight == weight
            }
            (Some(_) | None, None) | (None, Some(_)) => true,
        }
    }
}
