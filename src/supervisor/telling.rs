//! What is told to the log and to systemd.

use tracing::{info, warn};

use super::Supervisor;
use crate::engine::reconciler::Notice;
use crate::engine::state::AppliedState;
use crate::service_manager::RegistryEvent;
use crate::systemd;

impl Supervisor {
    /// Tells of it in the log and wherever else it is kept.
    pub(super) fn tell(&mut self, notice: &Notice) {
        if notice.is_trouble() {
            warn!("{notice}");
        } else {
            info!("{notice}");
        }
        let now = self.clock.now();
        self.status_desk.note_notice(notice, now);
        self.historian.note_notice(notice, now);
        self.totals.note_notice(notice);
    }

    /// Keeps what a registry says wherever it is told of.
    pub(super) fn take_note(&mut self, event: &RegistryEvent) {
        let now = self.clock.now();
        self.recorder.note(event);
        let registry = self.status_desk.registry_of(event, &self.sources);
        self.totals.note_event(event, registry.as_deref());
        let origin = self.status_desk.origin_of(event);
        self.historian.note_event(event, origin.as_deref(), now);
        self.status_desk.note_event(event, now);
        self.live.changed();
    }

    /// Tells systemd what is served, once it is something else.
    pub(super) fn tell_status(&mut self) {
        let status = serving_text(self.reconciler.applied());
        if status != self.status {
            systemd::tell_status(&status);
            self.status = status;
        }
    }
}

/// What systemd is told of what is served.
fn serving_text(applied: Option<&AppliedState>) -> String {
    let (mut services, mut servers) = (0_usize, 0_usize);
    for (_, service) in applied.into_iter().flat_map(AppliedState::serving) {
        services += 1;
        servers += service.servers.values().filter(|server| !server.standing.is_out()).count();
    }
    format!("serving {services} services with {servers} servers")
}
