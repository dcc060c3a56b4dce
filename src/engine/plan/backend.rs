//! New services that are reached by routes: from 3.4 on their backends come at run time (management guide, 9.3 "add backend").

use super::{Planner, ServiceName};
use crate::engine::backend_action::BackendAction;
use crate::engine::changeset::server_changes;
use crate::engine::command::RuntimeCommand;
use crate::engine::section::SectionKind;
use crate::engine::state::AppliedService;

impl Planner<'_> {
    /// The commands that bring a new service in, without its routes; `None` when only a reload can.
    pub(super) fn found(&self, name: &ServiceName) -> Option<Vec<RuntimeCommand>> {
        let wanted = self.desired.services.get(name)?;
        let section = &wanted.section;
        if section.kind != SectionKind::Backend
            || !section.is_plain()
            || !self.capability.adds_backends()
            || self.refuses_servers.contains(name)
            // What the section is made from is not there yet.
            || self.applied.base != self.desired.base
        {
            return None;
        }
        let known = match self.applied.services.get(name) {
            None => AppliedService::unpublished(section),
            Some(known) if known.section.reads_as(section) => AppliedService::clone(known),
            Some(_) => return None,
        };
        // Also where it is known: whether it is still there may be in doubt, and to add it twice does no harm.
        let act = |action| RuntimeCommand::Backend { service: name.clone(), action };
        let mut commands = vec![act(BackendAction::Add(section.clone()))];
        let mut servers = self.servers_of(name, &known);
        for (server, change) in server_changes(&self.applied.base, &known, wanted) {
            commands.extend(servers.commands(&server, &change).ok()?);
        }
        commands.push(act(BackendAction::Publish));
        Some(commands)
    }
}
