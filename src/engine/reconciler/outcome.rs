//! What follows from an order's outcome.

use super::timing::RETRY;
use super::{Effect, Notice, Outcome, Phase, Reconciler, UnderWay};
use crate::engine::command::{RuntimeCommand, Verdict};
use crate::engine::doubt::Doubts;
use crate::engine::moment::Moment;
use crate::engine::service::ServiceName;
use crate::engine::state::AppliedState;

impl Reconciler {
    pub(super) fn take_outcome(&mut self, outcome: Outcome, now: Moment, effects: &mut Vec<Effect>) {
        match (self.under_way.take(), outcome) {
            (Some(UnderWay::Reload { desired, config, .. }), Outcome::Reloaded { took, config_error }) => {
                self.loaded_size = config.size;
                self.loaded_shape = config.shape;
                if self.applied.is_none() {
                    effects.push(Effect::Ready);
                }
                effects.push(Effect::Notice(Notice::Reloaded(took)));
                let applied = AppliedState::loaded(&desired, self.applied.as_ref());
                self.trials.begin(&applied, now);
                self.template.wrote(applied.template.as_ref());
                let before = self.applied.replace(applied);
                self.note_frontends(effects);
                self.try_those_that_waited_for_new_services(before.as_ref());
                self.refuses_servers.clear();
                self.blockers.clear();
                self.needed.taken();
                self.did_not_serve = false;
                self.doubts = Doubts::default();
                self.phase = Phase::Running;
                self.timing.reloaded(now);
                self.note_config(config_error, now, effects);
                self.part_taken(now);
            }
            (Some(UnderWay::Reload { desired, config, first }), Outcome::ReloadFailed(failure)) => {
                self.doubt(&first);
                self.take_reload_failure(failure, &desired, &config, now, effects);
            }
            (
                Some(UnderWay::Apply { commands, writes_config }),
                Outcome::Applied { verdicts, config_error },
            ) => {
                self.take_verdicts(&commands, writes_config, verdicts, now, effects);
                self.take_new_ways(&commands, now);
                if writes_config {
                    self.note_config(config_error, now, effects);
                }
            }
            (Some(UnderWay::Compare), Outcome::Compared(observed)) => {
                let Some(applied) = &mut self.applied else { return };
                for service in self.doubts.settle(applied, &observed) {
                    self.refuses_servers.remove(&service);
                }
                let differences = applied.learn(&observed);
                let doubtful = !self.doubts.is_empty();
                let again = self.doubts.compared();
                self.timing.compared(again, now);
                if doubtful {
                    self.timing.servers_changed(now);
                }
                if !differences.is_empty() {
                    self.timing.servers_changed(now);
                    effects.push(Effect::Notice(Notice::Differs(differences)));
                }
                if self.timing.sweep_at.is_none() {
                    self.sweep_when_possible(now);
                }
            }
            (Some(UnderWay::Compare), Outcome::CompareFailed(why)) => {
                self.timing.compare_failed(now);
                effects.push(Effect::Notice(Notice::CompareFailed(why)));
            }
            // An outcome without its order, or of another kind: what runs is unknown.
            (_, _) => self.timing.strike(now),
        }
    }

    /// The configuration was written, or not: then it is tried again.
    pub(super) fn note_config(&mut self, error: Option<String>, now: Moment, effects: &mut Vec<Effect>) {
        if error.is_some() {
            self.timing.rewrite_at = Some(now + RETRY);
        }
        if error != self.config_unwritten {
            let notice = error.clone().map_or(Notice::ConfigWritten, Notice::ConfigUnwritten);
            effects.push(Effect::Notice(notice));
            self.config_unwritten = error;
        }
    }

    /// What `commands` made of the process is unknown.
    fn doubt(&mut self, commands: &[RuntimeCommand]) {
        let Some(applied) = &mut self.applied else { return };
        for command in commands {
            self.doubts.note(command, applied);
        }
    }

    /// Clients may reach services in ways that a reload brought otherwise.
    fn take_new_ways(&mut self, commands: &[RuntimeCommand], now: Moment) {
        let Some(applied) = &self.applied else { return };
        let does = |wanted: fn(&RuntimeCommand) -> bool| commands.iter().any(wanted);
        let publishes = does(RuntimeCommand::publishes);
        if publishes {
            self.trials.begin(applied, now);
        }
        if !self.obstacles.is_empty() && (publishes || does(RuntimeCommand::routes)) {
            // One may be gone.
            self.timing.servers_changed(now);
        }
    }

    fn take_verdicts(
        &mut self,
        commands: &[RuntimeCommand],
        writes_config: bool,
        verdicts: Vec<Verdict>,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let Some(applied) = &mut self.applied else { return };
        let unanswered = std::iter::repeat(Verdict::NoReply);
        let mut unexpected = None;
        let mut in_use = false;
        for (command, verdict) in commands.iter().zip(verdicts.into_iter().chain(unanswered)) {
            applied.note(command, &verdict);
            if verdict.leaves_doubt() {
                self.doubts.note(command, applied);
            }
            let reply = match verdict {
                Verdict::Done | Verdict::Pinned => continue,
                Verdict::StillInUse => {
                    in_use = true;
                    continue;
                }
                Verdict::CannotAdd(reply) => {
                    if let RuntimeCommand::AddServer(new) = command {
                        self.refuses_servers.insert(new.service.clone());
                    }
                    reply
                }
                Verdict::Unexpected(reply) => reply,
                Verdict::NoReply => "no reply".to_owned(),
            };
            unexpected.get_or_insert_with(|| (command.to_string(), reply));
        }
        match unexpected {
            Some((command, reply)) => {
                effects.push(Effect::Notice(Notice::Unexpected { command, reply }));
                self.timing.strike(now);
                // It was written as if all went well.
                self.timing.rewrite_at = self.timing.rewrite_at.or(writes_config.then_some(now));
            }
            None => self.timing.all_went_well(),
        }
        if in_use {
            self.timing.sweep_again(now);
        } else {
            self.sweep_when_possible(now);
        }
    }

    /// What is refused since it refers to a service that was not there is tried again once it is.
    fn try_those_that_waited_for_new_services(&mut self, before: Option<&AppliedState>) {
        let is_new = |name: &&ServiceName| before.is_none_or(|before| !before.services.contains_key(*name));
        let new: Vec<_> =
            self.applied.iter().flat_map(|applied| applied.services.keys()).filter(is_new).collect();
        self.quarantine.forgive_for(&new);
    }
}
