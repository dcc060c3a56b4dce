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
use crate::engine::service::{ServiceName, ServiceSpec, WatcherSpec};

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
    /// Those of an earlier run, until the first answer.
    remembered: Option<Arc<Servers>>,
    held: Option<HeldLoss>,
    outage: OwnOutageRules,
    /// The rank of its claim to its addresses.
    since: u64,
}

/// What an answer of a watcher changes, and what was not believed of it.
pub(super) struct Answer {
    pub(super) change: Change,
    pub(super) doubt: Option<Doubt>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    First,
    Servers,
    Nothing,
}

pub(super) enum Doubt {
    KeptThoughEmpty {
        servers: usize,
    },
    /// So many are missing and stay, from now on for this long.
    Held {
        missing: usize,
        hold: Duration,
    },
}

impl KnownServices {
    /// Takes a definition; `false` when nothing changed.
    pub(super) fn define(&mut self, service: &ServiceName, spec: &ServiceSpec, bind_address: IpAddr) -> bool {
        let section = Section::of(spec, bind_address);
        let fixed: Servers =
            spec.fixed_servers.iter().map(|server| (server.name(), server.clone())).collect();
        self.definitions += 1;
        // No registry will ever answer, and what one said before doesn't count any more.
        let only_fixed = spec.watcher == WatcherSpec::Static;
        let Some(known) = self.services.get_mut(service) else {
            let known = Known {
                section: Arc::new(section),
                servers: only_fixed.then(Arc::default),
                fixed,
                remembered: None,
                held: None,
                outage: spec.outage,
                since: self.definitions,
            };
            self.services.insert(service.clone(), known);
            return true;
        };
        known.outage = spec.outage;
        let mut changed = known.fixed != fixed;
        known.fixed = fixed;
        if only_fixed && known.servers.as_ref().is_none_or(|servers| !servers.is_empty()) {
            known.servers = Some(Arc::default());
            known.remembered = None;
            known.held = None;
            changed = true;
        }
        if *known.section == section {
            return changed;
        }
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
        let nothing = Answer { change: Change::Nothing, doubt: None };
        let Some(known) = self.services.get_mut(service) else { return nothing };
        let servers: Servers = servers.into_iter().map(|server| (server.name(), server)).collect();
        let change = |before: &Option<Arc<Servers>>, now: &Arc<Servers>| match before {
            None => Change::First,
            Some(before) if before == now => Change::Nothing,
            Some(_) => Change::Servers,
        };
        let remembered = known.remembered.take();
        let Some(before) = known.servers.clone().or(remembered) else {
            known.servers = Some(Arc::new(servers));
            return Answer { change: Change::First, doubt: None };
        };
        let (servers, held, doubt) =
            match known.outage.or(rules).judge(&before, known.held.as_ref(), servers, now) {
                Ruling::KeepThoughEmpty => {
                    let doubt = Doubt::KeptThoughEmpty { servers: before.len() };
                    (before, None, Some(doubt))
                }
                Ruling::Take(servers) => (servers, None, None),
                Ruling::Hold(servers, loss) => {
                    let doubt = Doubt::Held { missing: loss.missing, hold: loss.until - now };
                    (servers, Some(loss), known.held.is_none().then_some(doubt))
                }
            };
        let change = change(&known.servers, &servers);
        known.servers = Some(servers);
        known.held = held;
        Answer { change, doubt }
    }

    /// Takes the servers of an earlier run, for as long as there is no answer.
    pub(super) fn remember(&mut self, service: &ServiceName, servers: Vec<Server>) {
        if let Some(known) = self.services.get_mut(service).filter(|known| known.servers.is_none()) {
            let servers = servers.into_iter().map(|server| (server.name(), server)).collect();
            known.remembered = Some(Arc::new(servers));
        }
    }

    /// Falls back to the servers of an earlier run where there is no answer; tells for which services.
    pub(super) fn recall(&mut self) -> Vec<ServiceName> {
        let mut recalled = Vec::new();
        for (name, known) in self.services.iter_mut().filter(|(_, known)| known.servers.is_none()) {
            known.servers = known.remembered.take();
            if known.servers.is_some() {
                recalled.push(name.clone());
            }
        }
        recalled
    }

    /// The services with the servers that are believed.
    pub(super) fn believed(&self) -> impl Iterator<Item = (&ServiceName, &Arc<Servers>)> {
        self.services.iter().filter_map(|(name, known)| Some((name, known.servers.as_ref()?)))
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
