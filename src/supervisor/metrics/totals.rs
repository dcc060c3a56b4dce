//! What is counted since the first start, over reloads and upgrades.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::histogram::Histogram;
use crate::admin::history::{ChangeKind, ChangeResult};
use crate::engine::command::Verdict;
use crate::engine::reconciler::{Notice, Order, Outcome};
use crate::engine::reload_reason::ReloadReason;
use crate::panics::hook;
use crate::service_manager::RegistryEvent;
use crate::supervisor::history::Finished;

/// All counts. Fields come and go; what is missing begins at 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(in crate::supervisor) struct Totals {
    pub(super) runtime_changes: Results,
    pub(super) reloads: Results,
    pub(super) reload_reasons: BTreeMap<String, u64>,
    pub(super) servers: Servers,
    pub(super) propagation: Histogram,
    pub(super) reload_durations: Histogram,
    pub(super) command_batches: Histogram,
    pub(super) commands: BTreeMap<String, u64>,
    pub(super) deaths: u64,
    pub(super) refusals: u64,
    pub(super) held_losses: u64,
    pub(super) registry_events: BTreeMap<String, u64>,
    /// When each registry told something last, in milliseconds from 1970.
    pub(super) last_registry_events: BTreeMap<String, u64>,
    /// Those of programs before this one.
    pub(super) panics: BTreeMap<String, u64>,
    /// How many commands are under way.
    #[serde(skip)]
    sent: usize,
}

/// How changes ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Results {
    pub(super) done: u64,
    pub(super) failed: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Servers {
    pub(super) added: u64,
    pub(super) removed: u64,
    pub(super) changed: u64,
}

/// The words that commands are counted by.
pub(super) const COMMAND_RESULTS: [&str; 5] = ["done", "in_use", "refused", "unexpected", "no_reply"];
/// The words that events of registries are counted by.
pub(super) const REGISTRY_EVENTS: [&str; 5] = ["listed", "defined", "removed", "refused", "servers"];

/// The most registries of which it is known when they told something.
const MOST_REGISTRIES: usize = 100;

impl Totals {
    /// Goes on with what [`Totals::to_text`] gave; what can't be understood begins anew.
    pub(in crate::supervisor) fn from_text(text: &str) -> Self {
        serde_json::from_str(text).unwrap_or_default()
    }

    /// For the next program.
    pub(in crate::supervisor) fn to_text(&self) -> String {
        let mut last = self.clone();
        last.panics = self.all_panics();
        serde_json::to_string(&last).unwrap_or_default()
    }

    /// Those of this program too.
    pub(super) fn all_panics(&self) -> BTreeMap<String, u64> {
        let mut all = self.panics.clone();
        for (part, count) in hook::counts() {
            add(&mut all, part, count);
        }
        all
    }

    /// A registry, if it is known which, told something.
    pub(in crate::supervisor) fn note_event(&mut self, event: &RegistryEvent, registry: Option<&str>) {
        let word = match event {
            RegistryEvent::Listed => "listed",
            RegistryEvent::Defined { .. } => "defined",
            RegistryEvent::Removed { .. } | RegistryEvent::Forgotten { .. } => "removed",
            RegistryEvent::Refused { .. } => "refused",
            RegistryEvent::Servers { .. } | RegistryEvent::FixedServers { .. } => "servers",
            RegistryEvent::Remembered { .. } => return,
        };
        add(&mut self.registry_events, word, 1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        match registry.map(|registry| (registry, self.last_registry_events.get_mut(registry))) {
            Some((_, Some(last))) => *last = now,
            Some((new, None)) => self.note_registry(new, now),
            None => {}
        }
    }

    /// Whoever writes definitions names registries: those that were silent for the longest time are forgotten.
    fn note_registry(&mut self, new: &str, now: u64) {
        if self.last_registry_events.len() >= MOST_REGISTRIES {
            let oldest = self.last_registry_events.iter().min_by_key(|(_, at)| **at);
            if let Some(oldest) = oldest.map(|(name, _)| name.clone()) {
                self.last_registry_events.remove(&oldest);
            }
        }
        self.last_registry_events.insert(new.to_owned(), now);
    }

    pub(in crate::supervisor) fn note_notice(&mut self, notice: &Notice) {
        match notice {
            Notice::Reloading(reasons) => {
                let kinds: std::collections::BTreeSet<_> = reasons.iter().map(ReloadReason::kind).collect();
                for kind in kinds {
                    add(&mut self.reload_reasons, kind, 1);
                }
            }
            Notice::Died { .. } => self.deaths += 1,
            Notice::Obstructed { .. }
            | Notice::IncludesRefused { .. }
            | Notice::ValuesRefused(_)
            | Notice::TemplateRefused { .. }
            | Notice::FrontendOut { .. } => {
                self.refusals += 1;
            }
            Notice::LossHeld { .. } | Notice::KeptThoughEmpty { .. } => self.held_losses += 1,
            Notice::Cleared(_)
            | Notice::FrontendBack(_)
            | Notice::IncludesTaken
            | Notice::ValuesTaken
            | Notice::TemplateTaken
            | Notice::Reloaded(_)
            | Notice::ReloadFailed { .. }
            | Notice::Unexpected { .. }
            | Notice::Applying(_)
            | Notice::ConfigUnwritten(_)
            | Notice::ConfigWritten
            | Notice::Differs(_)
            | Notice::CompareFailed(_)
            | Notice::TriedInParts { .. }
            | Notice::Limit(_)
            | Notice::BackToLastGood { .. }
            | Notice::LossTaken { .. }
            | Notice::StartsFromMemory(_)
            | Notice::StartsWithout(_) => {}
        }
    }

    /// A change is over.
    pub(in crate::supervisor) fn note_change(&mut self, change: &Finished) {
        let results = match change.kind {
            ChangeKind::Runtime => &mut self.runtime_changes,
            ChangeKind::Reload => &mut self.reloads,
            ChangeKind::Notice => return,
        };
        if change.result == ChangeResult::Failed {
            results.failed += 1;
            return;
        }
        results.done += 1;
        if change.kind == ChangeKind::Reload {
            self.reload_durations.observe(change.took);
        }
        let count = |number: usize| u64::try_from(number).unwrap_or(u64::MAX);
        self.servers.added += count(change.servers.added);
        self.servers.removed += count(change.servers.removed);
        self.servers.changed += count(change.servers.changed);
        change.waits.iter().for_each(|wait| self.propagation.observe(*wait));
    }

    /// Commands were sent, and the last reply came after so long.
    pub(in crate::supervisor) fn note_commands(&mut self, took: Duration) {
        self.command_batches.observe(took);
    }

    /// Commands go out.
    pub(in crate::supervisor) fn note_order(&mut self, order: &Order) {
        self.sent = match order {
            Order::Apply { commands, .. } => commands.len(),
            Order::Reload { .. } | Order::Compare { .. } => 0,
        };
    }

    /// What `HAProxy` said to them.
    pub(in crate::supervisor) fn note_outcome(&mut self, outcome: &Outcome) {
        let sent = std::mem::take(&mut self.sent);
        let Outcome::Applied { verdicts, config_error: _ } = outcome else { return };
        for verdict in verdicts {
            let word = match verdict {
                Verdict::Done => "done",
                Verdict::StillInUse | Verdict::Pinned => "in_use",
                Verdict::CannotAdd(_) => "refused",
                Verdict::Unexpected(_) => "unexpected",
                Verdict::NoReply => "no_reply",
            };
            add(&mut self.commands, word, 1);
        }
        let lost = sent.saturating_sub(verdicts.len());
        add(&mut self.commands, "no_reply", u64::try_from(lost).unwrap_or(u64::MAX));
    }
}

fn add(counts: &mut BTreeMap<String, u64>, word: &str, more: u64) {
    if more == 0 {
        return;
    }
    match counts.get_mut(word) {
        Some(count) => *count = count.saturating_add(more),
        None => drop(counts.insert(word.to_owned(), more)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::history::ServersChanged;
    use crate::engine::command::RuntimeCommand;
    use crate::engine::service::ServiceName;

    #[test]
    fn counts_go_on_in_the_next_program() {
        let mut totals = Totals::default();
        let change = |kind, result| Finished {
            number: 1,
            services: std::collections::BTreeSet::new(),
            kind,
            result,
            servers: ServersChanged { added: 3, ..ServersChanged::default() },
            took: Duration::from_millis(1),
            waits: vec![Duration::from_millis(3)],
        };
        let command = RuntimeCommand::ShutdownFrontend(ServiceName::parse("web").unwrap());
        totals.note_order(&Order::Apply {
            config: None,
            commands: vec![command; 3],
            closes: BTreeMap::new(),
        });
        totals.note_outcome(&Outcome::Applied { verdicts: vec![Verdict::Done], config_error: None });
        totals.note_change(&change(ChangeKind::Runtime, ChangeResult::Done));
        totals.note_change(&change(ChangeKind::Reload, ChangeResult::Failed));
        totals.note_event(&RegistryEvent::Listed, Some("zk1:2181"));
        let text = totals.to_text();
        let mut next = Totals::from_text(&text);
        next.panics.clear();
        assert_eq!(next, totals);
        assert_eq!((totals.servers.added, totals.reloads.failed, totals.runtime_changes.done), (3, 1, 1));
        assert_eq!((totals.commands["done"], totals.commands["no_reply"]), (1, 2));
        assert_eq!(Totals::from_text("nonsense"), Totals::default());
        for number in 0..=MOST_REGISTRIES {
            next.note_event(&RegistryEvent::Listed, Some(&format!("zk{number}:1")));
        }
        let registries = &next.last_registry_events;
        assert_eq!(
            (registries.len(), registries.contains_key(&format!("zk{MOST_REGISTRIES}:1"))),
            (MOST_REGISTRIES, true)
        );
        let of_a_newer_one = text.replacen('{', "{\"colour\":[1],", 1);
        assert_eq!(Totals::from_text(&of_a_newer_one).servers.added, 3);
    }
}
