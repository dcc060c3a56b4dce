//! What the registries said so far.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::moment::Moment;
use crate::engine::outage_rules::{HeldLoss, OutageRules, OwnOutageRules, Ruling, Servers};
use crate::engine::policy::Candidate;
use crate::engine::section::Section;
use crate::engine::server::Server;
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
    servers: Option<Arc<Servers>>,
    /// Those of the definition itself.
    fixed: Servers,
    held: Option<HeldLoss>,
    outage: OwnOutageRules,
    /// The rank of its claim to its addresses.
    since: u64,
}

/// What an answer of a watcher means.
pub(super) enum Answer {
    First,
    Changed,
    Same,
    KeptThoughEmpty(usize),
    /// So many are missing and stay; for how long, when the wait begins now.
    Held {
        missing: usize,
        hold: Option<Duration>,
    },
}

impl KnownServices {
    /// Takes a definition; `false` when nothing changed.
    pub(super) fn define(&mut self, service: &ServiceName, spec: &ServiceSpec, bind_address: IpAddr) -> bool {
        let section = Section::of(spec, bind_address);
        let fixed: Servers =
            spec.fixed_servers.iter().map(|server| (server.name(), server.clone())).collect();
        self.definitions += 1;
        let Some(known) = self.services.get_mut(service) else {
            let known = Known {
                section: Arc::new(section),
                servers: None,
                fixed,
                held: None,
                outage: spec.outage,
                since: self.definitions,
            };
            self.services.insert(service.clone(), known);
            return true;
        };
        known.outage = spec.outage;
        if *known.section == section {
            let changed = known.fixed != fixed;
            known.fixed = fixed;
            return changed;
        }
        known.fixed = fixed;
        if known.section.listen != section.listen {
            known.since = self.definitions;
        }
        known.section = Arc::new(section);
        true
    }

    pub(super) fn remove(&mut self, service: &ServiceName) -> bool {
        self.services.remove(service).is_some()
    }

    pub(super) fn take_servers(
        &mut self,
        service: &ServiceName,
        servers: Vec<Server>,
        rules: OutageRules,
        now: Moment,
    ) -> Answer {
        let Some(known) = self.services.get_mut(service) else { return Answer::Same };
        let servers: Servers = servers.into_iter().map(|server| (server.name(), server)).collect();
        let Some(before) = &known.servers else {
            known.servers = Some(Arc::new(servers));
            return Answer::First;
        };
        match known.outage.or(rules).judge(before, known.held.as_ref(), servers, now) {
            Ruling::KeepThoughEmpty => {
                known.held = None;
                Answer::KeptThoughEmpty(before.len())
            }
            Ruling::Take(servers) => {
                let changed = **before != *servers;
                known.servers = Some(servers);
                known.held = None;
                if changed { Answer::Changed } else { Answer::Same }
            }
            Ruling::Hold(servers, loss) => {
                let missing = loss.missing;
                let hold = known.held.is_none().then(|| loss.until - now);
                known.servers = Some(servers);
                known.held = Some(loss);
                Answer::Held { missing, hold }
            }
        }
    }

    /// When the next loss that is held has lasted.
    pub(super) fn next_lasting_loss(&self) -> Option<Moment> {
        self.services.values().filter_map(|known| Some(known.held.as_ref()?.until)).min()
    }

    /// Takes the losses that have lasted; each service with how many servers it lost.
    pub(super) fn take_lasting_losses(&mut self, now: Moment) -> Vec<(ServiceName, usize)> {
        let mut taken = Vec::new();
        for (name, known) in &mut self.services {
            if let Some(loss) = known.held.take_if(|loss| loss.until <= now) {
                known.servers = Some(loss.believed());
                taken.push((name.clone(), loss.missing));
            }
        }
        taken
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
        let with_servers =
            self.services.iter().filter_map(|(name, known)| Some((name, known, known.all_servers()?)));
        with_servers
            .map(|(name, known, servers)| Candidate {
                name,
                section: &known.section,
                servers,
                since: known.since,
            })
            .collect()
    }
}

impl Known {
    /// Those of the registry and of the definition; `None` while there are neither.
    fn all_servers(&self) -> Option<Arc<Servers>> {
        if self.fixed.is_empty() {
            return self.servers.clone();
        }
        let mut all = self.fixed.clone();
        for (name, server) in self.servers.iter().flat_map(|servers| servers.iter()) {
            all.insert(name.clone(), server.clone());
        }
        Some(Arc::new(all))
    }
}
