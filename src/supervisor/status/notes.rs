//! Where each service is from, and when something was last heard of it or done for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use crate::engine::command::RuntimeCommand;
use crate::engine::moment::Moment;
use crate::engine::reconciler::Order;
use crate::engine::service::{ServiceName, ServiceSpec};
use crate::service_manager::RegistryEvent;

/// The most commands of one order that are kept of a service.
const MOST_COMMANDS: usize = 5;

/// Of all services.
#[derive(Debug, Default)]
pub(super) struct Notes {
    services: BTreeMap<ServiceName, Note>,
    under_way: Option<(Moment, BTreeMap<ServiceName, Vec<String>>)>,
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
                let (servers_changed, commands) =
                    before.map_or((None, None), |note| (note.servers_changed, note.commands));
                let (origin, spec) = (definition.origin.clone(), Arc::clone(spec));
                let note = Note { origin, spec, defined: At::now(now), servers_changed, commands };
                self.services.insert(name.clone(), note);
            }
            RegistryEvent::Removed { name } => {
                self.services.remove(name);
            }
            RegistryEvent::Servers { name, .. } | RegistryEvent::FixedServers { name, .. } => {
                if let Some(note) = self.services.get_mut(name) {
                    note.servers_changed = Some(At::now(now));
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
        let Order::Apply { commands, .. } = order else { return };
        let mut texts: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for command in commands {
            texts.entry(service_of(command).clone()).or_default().push(command.to_string());
        }
        self.under_way = Some((now, texts));
    }

    /// The order under way is done, whatever came of it: what failed is told by a comparison and what follows from it.
    pub(super) fn done(&mut self, now: Moment) {
        let Some((began, services)) = self.under_way.take() else { return };
        let (at, took) = (At { time: SystemTime::now(), moment: began }, now - began);
        for (name, mut texts) in services {
            let Some(note) = self.services.get_mut(&name) else { continue };
            if let Some(more) = texts.len().checked_sub(MOST_COMMANDS).filter(|more| *more > 0) {
                texts.truncate(MOST_COMMANDS);
                texts.push(format!("and {more} more"));
            }
            note.commands = Some(Commands { began: at, took, texts });
        }
    }

    /// Those of this service alone, or of all.
    pub(super) fn of(&self, service: Option<&str>) -> BTreeMap<ServiceName, Note> {
        let asked = |name: &ServiceName| service.is_none_or(|service| service == name.as_str());
        let asked = self.services.iter().filter(|(name, _)| asked(name));
        asked.map(|(name, note)| (name.clone(), note.clone())).collect()
    }
}

fn service_of(command: &RuntimeCommand) -> &ServiceName {
    match command {
        RuntimeCommand::AddServer(new) => &new.service,
        RuntimeCommand::EnableCheck { service, .. }
        | RuntimeCommand::Server { service, .. }
        | RuntimeCommand::ShutdownFrontend(service) => service,
    }
}
