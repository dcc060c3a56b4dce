//! Services as they are asked for by their registries, before anything speaks against them.

use super::drains::Drains;
use super::{Known, KnownServices};
use crate::engine::policy::Candidate;
use crate::engine::service::ServiceName;

impl KnownServices {
    /// The services that can go ahead.
    pub(in crate::engine::reconciler) fn candidates(&self) -> Vec<Candidate<'_>> {
        let candidate = |(name, known)| Candidate::of(name, known, &self.drains);
        self.services.iter().filter_map(candidate).collect()
    }

    /// The same for one of them.
    pub(in crate::engine::reconciler) fn candidate(&self, service: &ServiceName) -> Option<Candidate<'_>> {
        let (name, known) = self.services.get_key_value(service)?;
        Candidate::of(name, known, &self.drains)
    }
}

impl<'a> Candidate<'a> {
    fn of(name: &'a ServiceName, known: &'a Known, drains: &Drains) -> Option<Self> {
        let servers = drains.applied_to(name, known.all_servers()?);
        Some(Self { name, section: &known.section, servers, since: known.since })
    }
}
