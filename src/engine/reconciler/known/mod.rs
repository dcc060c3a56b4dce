//! What the registries said so far.

mod candidates;
mod confirm;
mod drains;

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub use confirm::Unconfirmed;
use drains::Drains;

use crate::engine::listed_server::ListedServer;
use crate::engine::listen_address::ListenAddress;
use crate::engine::moment::Moment;
use crate::engine::outage_rules::{HeldLoss, OutageRules, OwnOutageRules, Ruling, Servers};
use crate::engine::report::{Drained, Heard, Wanted};
use crate::engine::route::RouteId;
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
    drains: Drains,
    /// How services were reached in an earlier run.
    pub(super) holders: BTreeMap<ServiceName, Held>,
}

/// How a service was reached in an earlier run.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Held {
    /// Where it listened.
    pub listens: BTreeSet<ListenAddress>,
    /// Its routes.
    pub routes: BTreeSet<RouteId>,
}

impl Held {
    /// What `section` holds.
    pub fn by(section: &Section) -> Self {
        let (listens, routes) = (section.listen.iter(), section.routes.keys());
        Self { listens: listens.cloned().collect(), routes: routes.cloned().collect() }
    }

    /// Whether it is all that `section` wants.
    fn holds(&self, section: &Section) -> bool {
        section.listen.iter().all(|address| self.listens.contains(address))
            && section.routes.keys().all(|route| self.routes.contains(route))
    }
}

#[derive(Debug)]
struct Known {
    section: Arc<Section>,
    /// `None` until the first answer.
    servers: Option<Arc<Servers>>,
    /// Where they come from.
    heard: Heard,
    /// Those of the definition itself.
    fixed: Servers,
    /// As the definition names them.
    listed: Vec<ListedServer>,
    /// Host names among them are looked up for the first time: what was before stays until then.
    fixed_awaited: bool,
    /// No registry has a say.
    only_fixed: bool,
    /// Those of an earlier run, until the first answer.
    remembered: Option<Arc<Servers>>,
    held: Option<HeldLoss>,
    recent: Recent,
    outage: OwnOutageRules,
    /// The rank of its claim to its addresses.
    since: u64,
}

/// The most servers that were believed within [`AT_ONCE`].
#[derive(Debug, Default)]
struct Recent(Option<(Arc<Servers>, Moment)>);

/// What a registry loses within this time it loses at once, though it tells of each node by itself.
const AT_ONCE: Duration = Duration::from_secs(1);

impl Recent {
    /// The most, now that `believed` are about to be replaced.
    fn most(&mut self, believed: &Arc<Servers>, now: Moment) -> Arc<Servers> {
        match &self.0 {
            Some((most, at)) if most.len() > believed.len() && now - *at < AT_ONCE => most.clone(),
            Some(_) | None => {
                self.0 = Some((believed.clone(), now));
                believed.clone()
            }
        }
    }
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
        // Where a host name is among them, they come by themselves.
        let fixed: Option<Servers> = spec
            .fixed_servers
            .iter()
            .map(|listed| listed.located(|_name| None).map(|server| (server.name(), server)))
            .collect();
        self.definitions += 1;
        let only_fixed = spec.watcher == WatcherSpec::Static;
        let since = self.rank(service, &section);
        let Some(known) = self.services.get_mut(service) else {
            let known = Known {
                section: Arc::new(section),
                servers: (only_fixed && fixed.is_some()).then(Arc::default),
                heard: Heard::Nothing,
                fixed_awaited: fixed.is_none(),
                fixed: fixed.unwrap_or_default(),
                listed: spec.fixed_servers.clone(),
                only_fixed,
                remembered: None,
                held: None,
                recent: Recent::default(),
                outage: spec.outage,
                since,
            };
            self.services.insert(service.clone(), known);
            return true;
        };
        known.outage = spec.outage;
        known.only_fixed = only_fixed;
        let mut changed = false;
        if known.listed != spec.fixed_servers {
            known.listed.clone_from(&spec.fixed_servers);
            known.fixed_awaited = fixed.is_none();
            if let Some(fixed) = fixed.filter(|fixed| *fixed != known.fixed) {
                known.fixed = fixed;
                changed = true;
            }
        }
        changed |= known.leave_registry();
        if *known.section == section {
            return changed;
        }
        if !known.section.is_reached_as(&section) {
            known.since = self.definitions;
        }
        known.section = Arc::new(section);
        true
    }

    /// The rank of a claim that begins now; who held the addresses in an earlier run comes before all others.
    fn rank(&self, service: &ServiceName, section: &Section) -> u64 {
        let all_held = self.holders.get(service).is_some_and(|held| held.holds(section));
        if all_held { 0 } else { self.definitions }
    }

    pub(super) fn remove(&mut self, service: &ServiceName) -> bool {
        self.holders.remove(service);
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
            known.heard = Heard::Answer;
            return Answer { change: Change::First, doubt: None };
        };
        let recent = known.recent.most(&before, now);
        let (servers, held, doubt, heard) =
            match known.outage.or(rules).judge(&before, &recent, known.held.as_ref(), servers, now) {
                Ruling::KeepThoughEmpty(kept) => {
                    let doubt = Doubt::KeptThoughEmpty { servers: kept.len() };
                    (kept, None, Some(doubt), Heard::Emptiness)
                }
                Ruling::Take(servers) => (servers, None, None, Heard::Answer),
                Ruling::Hold(servers, loss) => {
                    let doubt = Doubt::Held { missing: loss.missing, hold: loss.until - now };
                    (servers, Some(loss), known.held.is_none().then_some(doubt), Heard::Answer)
                }
            };
        let change = change(&known.servers, &servers);
        known.servers = Some(servers);
        known.held = held;
        known.heard = heard;
        Answer { change, doubt }
    }

    /// Takes the servers of the definition itself, where their host names lead to. While none leads anywhere, what was before
    /// stays.
    pub(super) fn take_fixed(&mut self, service: &ServiceName, servers: Vec<Server>) -> Change {
        let Some(known) = self.services.get_mut(service) else { return Change::Nothing };
        let mut fixed: Servers = servers.into_iter().map(|server| (server.name(), server)).collect();
        if fixed.is_empty() {
            fixed.clone_from(&known.fixed);
        }
        if fixed.is_empty()
            && known.only_fixed
            && known.servers.as_ref().is_some_and(|servers| !servers.is_empty())
        {
            return Change::Nothing;
        }
        let first = std::mem::take(&mut known.fixed_awaited);
        let differs = known.fixed != fixed;
        known.fixed = fixed;
        match (known.leave_registry() || first, differs) {
            (true, _) => Change::First,
            (false, true) => Change::Servers,
            (false, false) => Change::Nothing,
        }
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
                known.heard = Heard::Memory;
                recalled.push(name.clone());
            }
        }
        recalled
    }

    /// The services with the servers that are believed, and those of the definition whose address is to be remembered.
    pub(super) fn believed(&self) -> impl Iterator<Item = (&ServiceName, Arc<Servers>)> {
        self.services.iter().filter_map(|(name, known)| Some((name, known.to_remember()?)))
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

    /// Every service as it is known.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (&ServiceName, Wanted)> {
        self.services.iter().map(|(name, known)| {
            let wanted = known.wanted();
            let servers = wanted.servers.map(|servers| self.drains.applied_to(name, servers));
            (name, Wanted { servers, drained: self.drains.of(name), ..wanted })
        })
    }

    pub(super) fn section(&self, service: &ServiceName) -> Option<Arc<Section>> {
        self.services.get(service).map(|known| known.section.clone())
    }

    /// Services that wait for their first answer.
    pub(super) fn unanswered(&self) -> Vec<ServiceName> {
        self.services
            .iter()
            .filter(|(_, known)| !known.has_answered())
            .map(|(name, _)| name.clone())
            .collect()
    }

    pub(super) fn all_answered(&self) -> bool {
        self.services.values().all(Known::has_answered)
    }
}

impl Known {
    /// Whether all that it waits for has come.
    fn has_answered(&self) -> bool {
        self.servers.is_some() && !self.fixed_awaited
    }

    /// Without a registry none will ever answer, and what one said before doesn't count any more; tells whether that changes
    /// something.
    fn leave_registry(&mut self) -> bool {
        let left = !self.only_fixed
            || self.fixed_awaited
            || self.servers.as_ref().is_some_and(|servers| servers.is_empty());
        if !left {
            self.servers = Some(Arc::default());
            self.heard = Heard::Nothing;
            self.remembered = None;
            self.held = None;
        }
        !left
    }

    fn wanted(&self) -> Wanted {
        Wanted {
            section: self.section.clone(),
            servers: self.all_servers(),
            registered: self.servers.clone(),
            awaited: !self.has_answered(),
            heard: self.heard,
            held: self.held.clone(),
            drained: Drained::default(),
        }
    }

    fn to_remember(&self) -> Option<Arc<Servers>> {
        let servers = self.servers.as_ref()?;
        let mut named = self.fixed.iter().filter(|(_, server)| server.host().is_some()).peekable();
        if named.peek().is_none() {
            return Some(servers.clone());
        }
        let named = named.map(|(name, server)| (name.clone(), server.clone()));
        Some(Arc::new(
            named.chain(servers.iter().map(|(name, server)| (name.clone(), server.clone()))).collect(),
        ))
    }

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
