//! The difference between what runs and what is wanted.

use std::net::SocketAddr;
use std::sync::Arc;

use super::route_change::{RouteChange, route_changes};
use super::section::Base;
use super::server::{Server, ServerName, Weight};
use super::service::ServiceName;
use super::side_by_side::{Held, side_by_side};
use super::state::{
    AppliedServer, AppliedService, AppliedState, Checks, DesiredService, DesiredState, Frontend, OptionWeight,
};

/// All differences, service by service in the order of their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changeset {
    /// `global`, `defaults` or the operators' socket differ.
    pub base: bool,
    /// The included files differ.
    pub includes: bool,
    /// The template differs.
    pub template: bool,
    /// Routes that differ.
    pub routes: Vec<RouteChange>,
    /// Services that differ.
    pub services: Vec<(ServiceName, ServiceChange)>,
}

/// How one service differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServiceChange {
    /// It is wanted and doesn't take connections.
    New,
    /// It takes connections and isn't wanted.
    Gone,
    /// Its section differs, not by its routes alone, and perhaps its servers.
    Section(Vec<(ServerName, ServerChange)>),
    /// Only its servers differ.
    Servers(Vec<(ServerName, ServerChange)>),
}

/// How one server differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerChange {
    /// `HAProxy` doesn't know it.
    New(Server),
    /// It is in rotation and isn't wanted.
    Gone,
    /// It is in maintenance, by us, and is wanted, with this weight.
    Back(Weight),
    /// Its weight differs.
    Weight(Weight),
    /// It has another address.
    Moved(SocketAddr),
    /// Its checks are still off.
    Checks,
    /// Its own options, or whether it is a backup, differs.
    Replaced,
}

impl Changeset {
    /// What differs between `applied` and `desired`.
    pub fn between(applied: &AppliedState, desired: &DesiredState) -> Self {
        let mut services = Vec::new();
        for (name, wanted) in &desired.services {
            let running = applied.services.get(name).filter(|service| service.frontend == Frontend::Serving);
            let change = match running {
                None => Some(ServiceChange::New),
                Some(running) => ServiceChange::between(applied, running, wanted),
            };
            services.extend(change.map(|change| (name.clone(), change)));
        }
        let gone = applied.serving().filter(|(name, _)| !desired.services.contains_key(*name));
        services.extend(gone.map(|(name, _)| (name.clone(), ServiceChange::Gone)));
        let includes = applied.includes != desired.includes;
        let routes = route_changes(applied, desired);
        let template = applied.template != desired.template;
        Self { base: applied.base != desired.base, includes, template, routes, services }
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        !self.base && !self.includes && !self.template && self.routes.is_empty() && self.services.is_empty()
    }
}

impl ServiceChange {
    fn between(applied: &AppliedState, running: &AppliedService, wanted: &DesiredService) -> Option<Self> {
        let servers = server_changes(&applied.base, running, wanted);
        if !Arc::ptr_eq(&running.section, &wanted.section) && !running.section.reads_as(&wanted.section) {
            Some(Self::Section(servers))
        } else if servers.is_empty() {
            None
        } else {
            Some(Self::Servers(servers))
        }
    }
}

/// How the servers of one service differ.
pub(super) fn server_changes(
    base: &Base,
    running: &AppliedService,
    wanted: &DesiredService,
) -> Vec<(ServerName, ServerChange)> {
    let option_weight = OptionWeight::of(base, &running.section);
    let mut servers = Vec::new();
    for (name, held) in side_by_side(&running.servers, &wanted.servers) {
        match held {
            Held::Right(server) => servers.push((name.clone(), ServerChange::New(server.clone()))),
            Held::Both(known, server) => {
                let changes = ServerChange::between(known, server, option_weight.of_server(server));
                servers.extend(changes.into_iter().flatten().map(|change| (name.clone(), change)));
            }
            Held::Left(known) if known.standing.is_out() => {}
            Held::Left(_) => servers.push((name.clone(), ServerChange::Gone)),
        }
    }
    servers
}

impl ServerChange {
    fn between(known: &AppliedServer, wanted: &Server, weight: Weight) -> [Option<Self>; 3] {
        if known.backup != wanted.backup || known.options != wanted.options {
            return [Some(Self::Replaced), None, None];
        }
        // First, so that it gets no traffic at the old address.
        let moved = (known.address != wanted.address()).then(|| Self::Moved(wanted.address()));
        let checks = (known.checks == Checks::ToEnable).then_some(Self::Checks);
        if known.standing.is_out() {
            return [moved, checks, Some(Self::Back(weight))];
        }
        [moved, checks, (known.weight != weight).then_some(Self::Weight(weight))]
    }
}
