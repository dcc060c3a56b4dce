//! Where each service is from, and when something was last heard of it or done for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::compose::registry;
use super::departures::{Departures, leaving_with};
use crate::engine::moment::Moment;
use crate::engine::reconciler::Order;
use crate::engine::server::ServerName;
use crate::engine::service::{ServiceName, ServiceSpec};
use crate::service_manager::RegistryEvent;

/// The most commands of one order that are kept of a service.
const MOST_COMMANDS: usize = 5;

/// The notes of services, for who reads them elsewhere: those that stay the same stay the same in memory.
pub(super) type SharedNotes = BTreeMap<ServiceName, Arc<Note>>;

/// Of all services.
#[derive(Debug, Default)]
pub(super) struct Notes {
    services: SharedNotes,
    under_way: Option<UnderWay>,
}

/// What an order does to the services.
#[derive(Debug)]
struct UnderWay {
    began: Moment,
    commands: BTreeMap<ServiceName, Vec<String>>,
    leaving: BTreeMap<ServiceName, BTreeSet<ServerName>>,
}

/// Of one service.
#[derive(Clone, Debug)]
pub(super) struct Note {
    /// Where its definition was found.
    pub(super) origin: String,
    /// Its definition.
    pub(super) spec: Arc<ServiceSpec>,
    /// When that was taken.
    pub(super) defined: At,
    /// When its registry told other servers last.
    pub(super) servers_changed: Option<At>,
    /// What `HAProxy` was last told of it without a reload.
    pub(super) commands: Option<Commands>,
    /// The servers that it lost.
    pub(super) departures: Departures,
    /// The number of the last change.
    last_change: Option<u64>,
}

/// Commands that were carried out.
#[derive(Clone, Debug)]
pub(super) struct Commands {
    pub(super) began: At,
    pub(super) took: Duration,
    pub(super) texts: Vec<String>,
}

/// A point in time, by both clocks.
#[derive(Clone, Copy, Debug)]
pub(super) struct At {
    pub(super) time: SystemTime,
    pub(super) moment: Moment,
}

impl Note {
    fn new(origin: String, spec: Arc<ServiceSpec>, defined: At) -> Self {
        let departures = Departures::default();
        Self { origin, spec, defined, servers_changed: None, commands: None, departures, last_change: None }
    }
}

impl At {
    /// Now.
    pub(super) fn now(moment: Moment) -> Self {
        Self { time: SystemTime::now(), moment }
    }
}

impl Notes {
    /// Takes in what the registries say.
    pub(super) fn note_event(&mut self, event: &RegistryEvent, now: Moment) {
        match event {
            RegistryEvent::Defined { name, spec, definition, unknown_keys: _ } => {
                let before = self.services.remove(name);
                let (origin, spec, defined) = (definition.origin.clone(), Arc::clone(spec), At::now(now));
                let note = match before {
                    Some(before) => Note { origin, spec, defined, ..Note::clone(&before) },
                    None => Note::new(origin, spec, defined),
                };
                self.services.insert(name.clone(), Arc::new(note));
            }
            RegistryEvent::Removed { name } => {
                self.services.remove(name);
            }
            RegistryEvent::Servers { name, .. } | RegistryEvent::FixedServers { name, .. } => {
                if let Some(note) = self.services.get_mut(name) {
                    Arc::make_mut(note).servers_changed = Some(At::now(now));
                }
            }
            RegistryEvent::Listed
            | RegistryEvent::Remembered { .. }
            | RegistryEvent::Refused { .. }
            | RegistryEvent::Forgotten { .. } => {}
        }
    }

    /// An order goes out; its end is told by [`Notes::done`].
    pub(super) fn ordered(&mut self, order: &Order, now: Moment) {
        let mut texts: BTreeMap<_, Vec<_>> = BTreeMap::new();
        if let Order::Apply { commands, .. } = order {
            for command in commands {
                texts.entry(command.service().clone()).or_default().push(command.to_string());
            }
        }
        self.under_way = Some(UnderWay { began: now, commands: texts, leaving: leaving_with(order) });
    }

    /// The order under way is done, whatever came of it: what failed is told by a comparison and what follows from it.
    pub(super) fn done(&mut self, now: Moment) {
        let Some(UnderWay { began, commands, leaving }) = self.under_way.take() else { return };
        let (at, took) = (At { time: SystemTime::now(), moment: began }, now - began);
        for (name, mut texts) in commands {
            let Some(note) = self.services.get_mut(&name) else { continue };
            if let Some(more) = texts.len().checked_sub(MOST_COMMANDS).filter(|more| *more > 0) {
                texts.truncate(MOST_COMMANDS);
                texts.push(format!("and {more} more"));
            }
            Arc::make_mut(note).commands = Some(Commands { began: at, took, texts });
        }
        for (name, servers) in leaving {
            if let Some(note) = self.services.get_mut(&name) {
                Arc::make_mut(note).departures.note(servers, at);
            }
        }
    }

    /// These services were changed; all, when none are named.
    pub(super) fn changed(&mut self, number: u64, services: &BTreeSet<ServiceName>) {
        for service in services {
            if let Some(note) = self.services.get_mut(service) {
                Arc::make_mut(note).last_change = Some(number);
            }
        }
    }

    /// The number of a service's last change.
    pub(super) fn last_change(&self, service: &str) -> Option<u64> {
        self.services.get(&ServiceName::parse(service).ok()?)?.last_change
    }

    /// Where that was found of which a registry speaks.
    pub(super) fn origin_of(&self, event: &RegistryEvent) -> Option<String> {
        match event {
            RegistryEvent::Defined { definition, .. } => Some(definition.origin.clone()),
            RegistryEvent::Removed { name } | RegistryEvent::FixedServers { name, .. } => {
                Some(self.services.get(name)?.origin.clone())
            }
            RegistryEvent::Servers { name, .. } => Some(registry(&self.services.get(name)?.spec.watcher)),
            RegistryEvent::Listed
            | RegistryEvent::Remembered { .. }
            | RegistryEvent::Refused { .. }
            | RegistryEvent::Forgotten { .. } => None,
        }
    }

    /// That of the service of which a registry speaks, as it was before.
    pub(super) fn before(&self, event: &RegistryEvent) -> Option<&Note> {
        match event {
            RegistryEvent::Servers { name, .. } | RegistryEvent::Removed { name } => {
                self.services.get(name).map(|note| &**note)
            }
            RegistryEvent::Defined { .. }
            | RegistryEvent::FixedServers { .. }
            | RegistryEvent::Listed
            | RegistryEvent::Remembered { .. }
            | RegistryEvent::Refused { .. }
            | RegistryEvent::Forgotten { .. } => None,
        }
    }

    /// Those of this service alone, or of all.
    pub(super) fn of(&self, service: Option<&str>) -> SharedNotes {
        let asked = |name: &ServiceName| service.is_none_or(|service| service == name.as_str());
        let asked = self.services.iter().filter(|(name, _)| asked(name));
        asked.map(|(name, note)| (name.clone(), note.clone())).collect()
    }
}
