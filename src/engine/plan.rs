//! From a difference to what `HAProxy` is told.

mod backend;

use std::collections::{BTreeSet, HashSet};

use super::capability::{CannotAdd, Capability, DynamicServer};
use super::changeset::{Changeset, ServerChange, ServiceChange};
use super::command::{Check, NewServer, RuntimeCommand, ServerAction, Verdict};
use super::mention::names_of;
use super::reload_reason::{ReloadReason, ServerReason};
use super::route::FrontendName;
use super::route_change::{RouteChange, RouteEdit};
use super::section::{Base, SectionKind};
use super::server::{Server, ServerName, Weight};
use super::server_id::{ServerId, take_id};
use super::server_options::ServerOptions;
use super::service::ServiceName;
use super::state::{
    AppliedServer, AppliedService, AppliedState, Checks, DesiredState, Frontend, OptionWeight, Standing,
};

/// What to do. A plan is data; [`replay`] tells where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// What runs is what is wanted.
    Unchanged,
    /// Commands alone lead there, in this order: what adds comes before what removes.
    Runtime(Vec<RuntimeCommand>),
    /// A new process is needed.
    Reload {
        /// Why.
        reasons: BTreeSet<ReloadReason>,
        /// What can be done in the old process at once.
        meanwhile: Vec<RuntimeCommand>,
    },
}

/// The way from `applied` to `desired`. `refuses_servers` tells the services to which this process refused to add one.
pub fn plan(
    applied: &AppliedState,
    desired: &DesiredState,
    capability: Capability,
    refuses_servers: &BTreeSet<ServiceName>,
) -> Plan {
    let changes = Changeset::between(applied, desired);
    if changes.is_empty() {
        return Plan::Unchanged;
    }
    let mut planner = Planner::new(applied, desired, capability, refuses_servers);
    if changes.base {
        planner.base();
    }
    if changes.includes {
        planner.reasons.insert(ReloadReason::Includes);
    }
    if changes.template {
        planner.reasons.insert(ReloadReason::Template);
    }
    for (name, change) in &changes.services {
        planner.service(name, change);
    }
    planner.routes(changes.routes);
    let commands = [planner.adding, planner.routing, planner.removing].concat();
    if planner.reasons.is_empty() {
        Plan::Runtime(commands)
    } else {
        Plan::Reload { reasons: planner.reasons, meanwhile: commands }
    }
}

/// Where `plan` leads from `applied` when every command succeeds.
pub fn replay(plan: &Plan, applied: &AppliedState, desired: &DesiredState) -> AppliedState {
    match plan {
        Plan::Unchanged => applied.clone(),
        Plan::Runtime(commands) => replay_commands(commands, applied),
        Plan::Reload { .. } => AppliedState::loaded(desired, Some(applied)),
    }
}

/// Where `commands` lead from `applied` when all succeed.
pub fn replay_commands(commands: &[RuntimeCommand], applied: &AppliedState) -> AppliedState {
    let mut after = applied.clone();
    for command in commands {
        after.note(command, &Verdict::Done);
    }
    after
}

struct Planner<'a> {
    applied: &'a AppliedState,
    desired: &'a DesiredState,
    capability: Capability,
    refuses_servers: &'a BTreeSet<ServiceName>,
    reasons: BTreeSet<ReloadReason>,
    adding: Vec<RuntimeCommand>,
    /// Between the two: a route leads to servers that are there.
    routing: Vec<RuntimeCommand>,
    removing: Vec<RuntimeCommand>,
    /// New services that come without a reload.
    founded: BTreeSet<ServiceName>,
    /// All that may be a name in the lines of what is wanted, once it was asked for.
    names: Option<HashSet<&'a str>>,
}

impl<'a> Planner<'a> {
    fn new(
        applied: &'a AppliedState,
        desired: &'a DesiredState,
        capability: Capability,
        refuses_servers: &'a BTreeSet<ServiceName>,
    ) -> Self {
        Self {
            applied,
            desired,
            capability,
            refuses_servers,
            reasons: BTreeSet::new(),
            adding: Vec::new(),
            routing: Vec::new(),
            removing: Vec::new(),
            founded: BTreeSet::new(),
            names: None,
        }
    }

    fn base(&mut self) {
        let (applied, desired) = (&self.applied.base, &self.desired.base);
        if applied.program != desired.program {
            self.reasons.insert(ReloadReason::Program);
        }
        let (program, frontends) = (applied.program.clone(), applied.frontends.clone());
        if **applied != (Base { program, frontends, ..Base::clone(desired) }) {
            self.reasons.insert(ReloadReason::Base);
        }
        let names = applied.frontends.keys().chain(desired.frontends.keys());
        let differs = |name: &&FrontendName| applied.frontends.get(*name) != desired.frontends.get(*name);
        self.reasons.extend(names.filter(differs).cloned().map(ReloadReason::Frontend));
    }

    fn service(&mut self, name: &ServiceName, change: &ServiceChange) {
        match change {
            ServiceChange::New => match self.found(name) {
                Some(commands) => {
                    self.adding.extend(commands);
                    self.founded.insert(name.clone());
                }
                None => {
                    self.reasons.insert(ReloadReason::NewService(name.clone()));
                }
            },
            // A successor takes over its address in the reload that it brings; until then nobody may be refused there.
            ServiceChange::Gone if self.has_successor(name) => {}
            ServiceChange::Gone if self.is_referred_to(name) => {
                self.reasons.insert(ReloadReason::NeededServiceGone(name.clone()));
            }
            ServiceChange::Gone if self.capability.updates() => self.take_out(name),
            ServiceChange::Gone => {
                self.reasons.insert(ReloadReason::ServiceGone(name.clone()));
            }
            ServiceChange::Section(servers) => {
                self.reasons.insert(ReloadReason::ServiceChanged(name.clone()));
                // The old section's options are not the new servers': the reload brings those.
                let known = servers.iter().filter(|(_, change)| !matches!(change, ServerChange::New(_)));
                self.servers(name, known);
            }
            ServiceChange::Servers(servers) => self.servers(name, servers.iter()),
        }
    }

    fn take_out(&mut self, name: &ServiceName) {
        let Some(gone) = self.applied.services.get(name) else { return };
        match gone.section.kind {
            SectionKind::Listen if self.applied.exposes_listeners() => {
                self.reasons.insert(ReloadReason::HeldServiceGone(name.clone()));
            }
            SectionKind::Listen => self.removing.push(RuntimeCommand::ShutdownFrontend(name.clone())),
            // Its routes go by themselves.
            SectionKind::Backend => {
                let in_rotation = gone.servers.iter().filter(|(_, server)| !server.standing.is_out());
                let maintenance =
                    |(server, _)| RuntimeCommand::server(name, server, ServerAction::Maintenance);
                self.removing.extend(in_rotation.map(maintenance));
            }
        }
    }

    fn routes(&mut self, changes: Vec<RouteChange>) {
        for change in changes {
            let Some(frontend) = self.applied.base.frontends.get(&change.id.frontend) else { continue };
            if !self.capability.updates() {
                self.reasons.insert(ReloadReason::ServiceChanged(change.service().clone()));
            } else if self.may_change(&change) {
                let map = frontend.map.clone();
                self.routing.push(RuntimeCommand::Route { map, change: Box::new(change) });
            }
        }
    }

    /// Whether a route is not one that comes with a reload: that of a service which is not there yet as it is wanted.
    fn may_change(&self, change: &RouteChange) -> bool {
        match &change.edit {
            RouteEdit::Delete => true,
            RouteEdit::Add(target) | RouteEdit::Set(target) => {
                let wanted = self.desired.services.get(&target.service);
                let runs = self.applied.services.get(&target.service);
                let runs_as_wanted = runs.zip(wanted).is_some_and(|(runs, wanted)| {
                    runs.frontend == Frontend::Serving && runs.section.reads_as(&wanted.section)
                });
                runs_as_wanted || self.founded.contains(&target.service)
            }
        }
    }

    /// Whether another service is to listen where this one does.
    fn has_successor(&self, name: &ServiceName) -> bool {
        let Some(gone) = self.applied.services.get(name) else { return false };
        let wanted =
            |address| self.desired.services.values().any(|service| service.section.listen.contains(address));
        gone.section.listen.iter().any(wanted)
    }

    /// Whether the lines of what stays may refer to this service, so that `HAProxy` may refuse a configuration without it.
    fn is_referred_to(&mut self, name: &ServiceName) -> bool {
        let desired = self.desired;
        let names = self.names.get_or_insert_with(|| {
            names_of(desired.services.values().map(|service| &*service.section), &desired.includes)
        });
        names.contains(name.as_str())
    }

    fn servers_of<'s>(&self, name: &'s ServiceName, service: &'s AppliedService) -> ServersOf<'s> {
        ServersOf {
            name,
            service,
            capability: self.capability,
            dynamic: if self.refuses_servers.contains(name) {
                Err(CannotAdd::Refused)
            } else {
                self.capability.dynamic_server(&self.applied.base, &service.section)
            },
            option_weight: OptionWeight::of(&self.applied.base, &service.section),
            any_weight: Capability::any_weight(&self.applied.base, &service.section),
            taken: service.servers.values().map(|server| server.id).collect(),
        }
    }

    fn servers<'c>(
        &mut self,
        name: &ServiceName,
        changes: impl Iterator<Item = &'c (ServerName, ServerChange)>,
    ) {
        let Some(service) = self.applied.services.get(name) else { return };
        let mut servers = self.servers_of(name, service);
        for (server, change) in changes {
            if !self.capability.updates() {
                let reason = ServerReason::UpdatesOff;
                self.reasons.insert(ReloadReason::Servers(name.clone(), reason));
            } else if matches!(change, ServerChange::Gone) {
                self.removing.push(RuntimeCommand::server(name, server, ServerAction::Maintenance));
            } else {
                match servers.commands(server, change) {
                    Ok(commands) => self.adding.extend(commands),
                    Err(reason) => {
                        self.reasons.insert(ReloadReason::Servers(name.clone(), reason));
                    }
                }
            }
        }
    }
}

/// The servers of one service while their changes are planned.
struct ServersOf<'a> {
    name: &'a ServiceName,
    service: &'a AppliedService,
    capability: Capability,
    dynamic: Result<DynamicServer, CannotAdd>,
    option_weight: OptionWeight,
    any_weight: bool,
    taken: HashSet<ServerId>,
}

impl ServersOf<'_> {
    fn commands(
        &mut self,
        server: &ServerName,
        change: &ServerChange,
    ) -> Result<Vec<RuntimeCommand>, ServerReason> {
        let act = |action| RuntimeCommand::server(self.name, server, action);
        let known = self.service.servers.get(server);
        match change {
            ServerChange::New(wanted) => self.add(server, wanted),
            ServerChange::Gone => Ok(vec![act(ServerAction::Maintenance)]),
            ServerChange::Back(weight) => {
                let mut commands = Vec::new();
                if known.is_some_and(|known| known.weight != *weight) {
                    commands.extend(self.weight(server, *weight)?);
                }
                commands.push(RuntimeCommand::server(self.name, server, ServerAction::Ready));
                Ok(commands)
            }
            ServerChange::Weight(weight) => Ok(self.weight(server, *weight)?.into_iter().collect()),
            ServerChange::Moved(address) => Ok(vec![act(ServerAction::Address(*address))]),
            ServerChange::Checks => {
                let own = known.and_then(|known| known.options.as_ref());
                Ok(self.checks(server, &self.dynamic(own)?))
            }
            ServerChange::Replaced => Err(ServerReason::Replaced),
        }
    }

    fn add(&mut self, name: &ServerName, wanted: &Server) -> Result<Vec<RuntimeCommand>, ServerReason> {
        let dynamic = self.dynamic(wanted.options.as_ref())?;
        let weight = self.option_weight.of_server(wanted);
        let applied = AppliedServer {
            id: take_id(&mut self.taken, name),
            address: wanted.address(),
            weight,
            loaded_weight: weight,
            backup: wanted.backup,
            options: wanted.options.clone(),
            checks: if dynamic.switches.any_check() { Checks::ToEnable } else { Checks::AsConfigured },
            standing: Standing::Maintenance,
        };
        let checks = self.checks(name, &dynamic);
        let new = NewServer { service: self.name.clone(), name: name.clone(), applied, dynamic };
        let mut commands = vec![RuntimeCommand::AddServer(Box::new(new))];
        commands.extend(checks);
        commands.push(RuntimeCommand::server(self.name, name, ServerAction::Ready));
        Ok(commands)
    }

    /// How a server of this service that has `own` options is added.
    fn dynamic(&self, own: Option<&ServerOptions>) -> Result<DynamicServer, ServerReason> {
        let service = self.dynamic.as_ref().map_err(|cause| ServerReason::New(cause.clone()))?;
        self.capability.with_own_options(service, own).map_err(ServerReason::New)
    }

    fn checks(&self, server: &ServerName, dynamic: &DynamicServer) -> Vec<RuntimeCommand> {
        let switches = dynamic.switches;
        let checks = [(switches.agent_check, Check::Agent), (switches.health_check, Check::Health)];
        let wanted = checks.into_iter().filter(|(wanted, _)| *wanted);
        let (service, server) = (self.name, server);
        wanted
            .map(|(_, check)| RuntimeCommand::EnableCheck {
                service: service.clone(),
                server: server.clone(),
                check,
            })
            .collect()
    }

    fn weight(&self, server: &ServerName, weight: Weight) -> Result<Option<RuntimeCommand>, ServerReason> {
        let loaded = self.service.servers.get(server).map(|known| known.loaded_weight);
        if self.any_weight || weight == Weight::ZERO || Some(weight) == loaded {
            return Ok(Some(RuntimeCommand::server(self.name, server, ServerAction::Weight(weight))));
        }
        Err(ServerReason::StaticWeight)
    }
}
