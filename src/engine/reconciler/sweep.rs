//! Deletes what left: servers, and backends that no route leads to any more; haproxy.cfg doesn't hold them.

use super::{Effect, Moment, Reconciler};
use crate::engine::backend_action::BackendAction;
use crate::engine::command::{RuntimeCommand, ServerAction};
use crate::engine::service::ServiceName;

impl Reconciler {
    /// Tries to.
    ///
    /// Where no servers can be added they stay until the next reload: one that comes back would need a reload of its own.
    pub(super) fn sweep(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        self.timing.sweep_at = None;
        let Some(applied) = &self.applied else { return };
        let capability = self.settings.capability;
        let takes_servers = |service: &ServiceName| {
            let section = applied.services.get(service).map(|service| &service.section);
            section.is_some_and(|section| capability.dynamic_server(&applied.base, section).is_ok())
        };
        let leaving = applied.leaving().filter(|(service, _)| takes_servers(service));
        let mut commands: Vec<_> = leaving
            .map(|(service, server)| RuntimeCommand::server(service, server, ServerAction::Delete))
            .collect();
        if capability.adds_backends() {
            let away = [BackendAction::Unpublish, BackendAction::Delete];
            commands.extend(applied.deserted().flat_map(|service| {
                away.clone().map(|action| RuntimeCommand::Backend { service: service.clone(), action })
            }));
        }
        if !commands.is_empty() {
            self.order_apply(commands, false, now, effects);
        }
    }

    /// Sees to it that what left is deleted soon, if it can be.
    pub(super) fn sweep_when_possible(&mut self, now: Moment) {
        let Some(applied) = &self.applied else { return };
        let capability = self.settings.capability;
        let leaves = applied.leaving().next().is_some()
            || capability.adds_backends() && applied.deserted().next().is_some();
        if leaves && capability.deletes() {
            self.timing.sweep_soon(now);
        }
    }
}
