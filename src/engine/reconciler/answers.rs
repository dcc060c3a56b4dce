//! What the registries' answers change.

use super::known::{Change, Doubt};
use super::{Effect, Notice, Reconciler};
use crate::engine::moment::Moment;
use crate::engine::server::Server;
use crate::engine::service::ServiceName;

impl Reconciler {
    pub(super) fn take_servers(
        &mut self,
        service: &ServiceName,
        servers: Vec<Server>,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let answer = self.known.take_servers(service, servers, self.settings.outage, now);
        self.note_change(answer.change, now);
        let service = service.clone();
        effects.extend(answer.doubt.map(|doubt| match doubt {
            Doubt::KeptThoughEmpty { servers } => {
                Effect::Notice(Notice::KeptThoughEmpty { service, servers })
            }
            Doubt::Held { missing, hold } => Effect::Notice(Notice::LossHeld { service, missing, hold }),
        }));
    }

    pub(super) fn note_change(&mut self, change: Change, now: Moment) {
        match change {
            Change::First => self.timing.topology_changed(now),
            Change::Servers => self.timing.servers_changed(now),
            Change::Nothing => {}
        }
    }

    /// Believes the losses that lasted.
    pub(super) fn take_lasting_losses(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        for (service, missing) in self.known.take_lasting_losses(now) {
            self.timing.servers_changed(now);
            effects.push(Effect::Notice(Notice::LossTaken { service, missing }));
        }
    }
}
