//! Commands of which nobody knows whether they were carried out: no reply came, or one that means nothing.
//!
//! What such a command may have made of a server is not an operator's doing when the process is seen to hold it. And it may
//! still be carried out after a first comparison: a process that stood still has what it was sent, and each connection has a
//! thread of its own. So a doubt lasts for two comparisons.

use std::collections::{BTreeMap, BTreeSet};

use super::backend_action::BackendAction;
use super::command::{NewServer, RuntimeCommand, ServerAction};
use super::observed::{Observed, ObservedServer};
use super::route::RouteId;
use super::server::ServerName;
use super::service::ServiceName;
use super::state::{AppliedServer, AppliedState, Frontend, Standing};

/// What the serving process may hold besides what is known.
#[derive(Clone, Debug, Default)]
pub struct Doubts {
    servers: BTreeMap<(ServiceName, ServerName), Doubt>,
    frontends: bool,
    routes: BTreeSet<RouteId>,
    compared: bool,
}

/// What of a server is in doubt.
#[derive(Clone, Debug, Default)]
struct Doubt {
    added: Option<Box<NewServer>>,
    standing: bool,
    weight: bool,
    checks: bool,
}

impl Doubts {
    /// `command` was sent; whether it was carried out is unknown.
    pub fn note(&mut self, command: &RuntimeCommand, applied: &mut AppliedState) {
        self.compared = false;
        let Some((service, server)) = command.changed_server() else {
            if let RuntimeCommand::ShutdownFrontend(service) = command {
                self.frontends = true;
                applied.doubt_frontend(service);
            }
            if let RuntimeCommand::Backend { service, action } = command {
                self.frontends = true;
                if *action == BackendAction::Unpublish {
                    applied.doubt_frontend(service);
                }
            }
            if let RuntimeCommand::Route { map: _, change } = command {
                self.routes.insert(change.id.clone());
            }
            return;
        };
        let doubt = self.servers.entry((service.clone(), server.clone())).or_default();
        match command {
            RuntimeCommand::AddServer(new) => {
                // Of two the first counts: a server that is there already is not added again.
                let added = doubt.added.take().or_else(|| Some(new.clone()));
                *doubt = Doubt { added, standing: true, weight: true, checks: true };
            }
            RuntimeCommand::EnableCheck { .. } => doubt.checks = true,
            RuntimeCommand::Server { action, .. } => match action {
                ServerAction::Ready | ServerAction::Maintenance => doubt.standing = true,
                ServerAction::Weight(_) => doubt.weight = true,
                // What a comparison tells of these is always believed.
                ServerAction::Address(_) | ServerAction::Delete => {}
            },
            RuntimeCommand::ShutdownFrontend(_)
            | RuntimeCommand::Backend { .. }
            | RuntimeCommand::Route { .. } => {}
        }
    }

    /// Whether nothing is in doubt.
    pub fn is_empty(&self) -> bool {
        self.servers.is_empty() && !self.frontends && self.routes.is_empty()
    }

    /// Whether a comparison must come before the next command.
    pub fn await_comparison(&self) -> bool {
        !self.is_empty() && !self.compared
    }

    /// Takes over what is in doubt from what was `observed`. Gives the services to which a server was added after all.
    pub fn settle(&self, applied: &mut AppliedState, observed: &Observed) -> Vec<ServiceName> {
        // How these differ from what was known is no news.
        applied.learn_routes(&observed.routes, |route| self.routes.contains(route));
        let mut added = Vec::new();
        for ((service, server), doubt) in &self.servers {
            let seen = observed.servers.get(service.as_str()).and_then(|servers| servers.get(server));
            let Some(seen) = seen else { continue };
            applied.edit(service, |state| match (state.servers.get_mut(server), &doubt.added) {
                (Some(known), _) => doubt.settle(known, seen),
                (None, Some(new)) if new.applied.id == seen.id && state.frontend != Frontend::ShutDown => {
                    let mut known = new.applied.clone();
                    doubt.settle(&mut known, seen);
                    state.servers.insert(server.clone(), known);
                }
                (None, _) => {}
            });
            if doubt.added.as_ref().is_some_and(|new| new.applied.id == seen.id) {
                added.push(service.clone());
            }
        }
        added
    }

    /// The process told what it holds. Whether another comparison is to follow.
    pub fn compared(&mut self) -> bool {
        if self.is_empty() || std::mem::replace(&mut self.compared, true) {
            *self = Self::default();
        }
        !self.is_empty()
    }

    /// `applied` without the servers of which something is in doubt.
    pub fn without_the_doubtful(&self, applied: &AppliedState) -> AppliedState {
        let mut certain = applied.clone();
        for (service, server) in self.servers.keys() {
            certain.edit(service, |state| drop(state.servers.remove(server)));
        }
        certain
    }
}

impl Doubt {
    fn settle(&self, known: &mut AppliedServer, seen: &ObservedServer) {
        if self.weight {
            known.weight = seen.weight;
        }
        if self.checks {
            known.checks = seen.checks;
        }
        if self.standing {
            known.standing = match (known.standing, seen.in_maintenance) {
                (Standing::Pinned, true) => Standing::Pinned,
                (Standing::InRotation | Standing::Maintenance, true) => Standing::Maintenance,
                (Standing::InRotation | Standing::Maintenance | Standing::Pinned, false) => {
                    Standing::InRotation
                }
            };
        }
    }
}
