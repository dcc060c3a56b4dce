//! What the registries said so far.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::OnEmpty;
use crate::engine::policy::Candidate;
use crate::engine::section::Section;
use crate::engine::server::{Server, ServerName};
use crate::engine::service::{ServiceName, ServiceSpec};

/// All services that have a good definition.
#[derive(Debug, Default)]
pub(super) struct KnownServices {
    services: BTreeMap<ServiceName, Known>,
    /// Every source has answered once.
    pub(super) listed: bool,
    definitions: u64,
}

#[derive(Debug)]
struct Known {
    section: Arc<Section>,
    /// `None` until the first answer.
    servers: Option<Arc<BTreeMap<ServerName, Server>>>,
    /// The rank of its claim to its addresses.
    since: u64,
}

/// What an answer of a watcher means.
pub(super) enum Answer {
    First,
    Changed,
    Same,
    KeptThoughEmpty(usize),
}

impl KnownServices {
    /// Takes a definition; `false` when nothing changed.
    pub(super) fn define(&mut self, service: &ServiceName, spec: &ServiceSpec, bind_address: IpAddr) -> bool {
        let section = Section::of(spec, bind_address);
        self.definitions += 1;
        match self.services.get_mut(service) {
            None => {
                let known = Known { section: Arc::new(section), servers: None, since: self.definitions };
                self.services.insert(service.clone(), known);
                true
            }
            Some(known) if *known.section == section => false,
            Some(known) => {
                if known.section.listen != section.listen {
                    known.since = self.definitions;
                }
                known.section = Arc::new(section);
                true
            }
        }
    }

    pub(super) fn remove(&mut self, service: &ServiceName) -> bool {
        self.services.remove(service).is_some()
    }

    pub(super) fn take_servers(
        &mut self,
        service: &ServiceName,
        servers: Vec<Server>,
        on_empty: OnEmpty,
    ) -> Answer {
        let Some(known) = self.services.get_mut(service) else { return Answer::Same };
        let servers: BTreeMap<_, _> = servers.into_iter().map(|server| (server.name(), server)).collect();
        let answer = match &known.servers {
            None => Answer::First,
            Some(before) if **before == servers => return Answer::Same,
            Some(before) if servers.is_empty() => match on_empty {
                OnEmpty::Keep => return Answer::KeptThoughEmpty(before.len()),
                OnEmpty::Drain => Answer::Changed,
            },
            Some(_) => Answer::Changed,
        };
        known.servers = Some(Arc::new(servers));
        answer
    }

    pub(super) fn section(&self, service: &ServiceName) -> Option<Arc<Section>> {
        self.services.get(service).map(|known| known.section.clone())
    }

    /// Services that wait for their first answer.
    pub(super) fn unanswered(&self) -> Vec<ServiceName> {
        self.services
            .iter()
            .filter(|(_, known)| known.servers.is_none())
            .map(|(name, _)| name.clone())
            .collect()
    }

    pub(super) fn all_answered(&self) -> bool {
        self.services.values().all(|known| known.servers.is_some())
    }

    /// The services that can go ahead.
    pub(super) fn candidates(&self) -> Vec<Candidate<'_>> {
        let answered =
            self.services.iter().filter_map(|(name, known)| Some((name, known, known.servers.as_ref()?)));
        answered
            .map(|(name, known, servers)| Candidate {
                name,
                section: &known.section,
                servers,
                since: known.since,
            })
            .collect()
    }
}
