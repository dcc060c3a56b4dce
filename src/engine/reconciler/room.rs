//! Whether there is room: for all that is held, and for the checks of servers that come at run time.

use std::collections::BTreeSet;

use super::{Effect, Notice, Reconciler};
use crate::engine::command::RuntimeCommand;
use crate::engine::limits::{Limits, Warning, files_of_clients};
use crate::engine::plan::Plan;
use crate::engine::reload_reason::ReloadReason;
use crate::engine::render::Rendered;
use crate::engine::section::Base;

/// The checks of servers that came at run time may take this part of the files that are meant for clients.
const SHARE_OF_CHECKS: u64 = 4;

impl Reconciler {
    /// Tells what runs out with `config`, once for each degree.
    pub(super) fn note_limits(&mut self, config: &Rendered, base: &Base, effects: &mut Vec<Effect>) {
        let limits = Limits::of(config.size, base, self.settings.resources);
        let told = |warning: &Warning| {
            let same =
                |before: &Warning| (before.limited, before.degree) == (warning.limited, warning.degree);
            self.limits.warnings.iter().any(same)
        };
        let news = limits.warnings.iter().filter(|warning| !told(warning)).cloned();
        effects.extend(news.map(|warning| Effect::Notice(Notice::Limit(warning))));
        self.limits = limits;
        self.size = config.size;
    }

    /// A process counts its files when it starts: each checked server that is added later may take one from the clients, as
    /// long as its check hangs. Where these become too many, another process is to count anew.
    pub(super) fn with_room_for_checks(&self, plan: Plan) -> Plan {
        let commands = match &plan {
            Plan::Unchanged => &[][..],
            Plan::Runtime(commands) => commands,
            Plan::Reload { .. } => return plan,
        };
        let is_checked = |command: &&RuntimeCommand| match command {
            RuntimeCommand::AddServer(new) => new.dynamic.switches.any_check(),
            RuntimeCommand::EnableCheck { .. }
            | RuntimeCommand::Server { .. }
            | RuntimeCommand::ShutdownFrontend(_)
            | RuntimeCommand::Backend { .. }
            | RuntimeCommand::Route { .. } => false,
        };
        let coming = u64::try_from(commands.iter().filter(is_checked).count()).unwrap_or(u64::MAX);
        let more = (self.size.checked + coming).saturating_sub(self.loaded_size.checked);
        let base = self.applied.as_ref().map_or(&self.settings.base, |applied| &applied.base);
        let files = files_of_clients(base, self.loaded_size, &self.limits, self.settings.resources);
        if files.is_none_or(|files| more.saturating_mul(SHARE_OF_CHECKS) <= files) {
            return plan;
        }
        let meanwhile = match plan {
            Plan::Runtime(commands) => commands,
            Plan::Unchanged | Plan::Reload { .. } => Vec::new(),
        };
        Plan::Reload { reasons: BTreeSet::from([ReloadReason::Checks(more)]), meanwhile }
    }
}
