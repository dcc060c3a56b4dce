//! What follows from an order's outcome.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;

use super::timing::{RETRY, RETRY_REFUSED};
use super::{
    Complaint, Effect, IncludesMeanwhile, Notice, Outcome, Phase, Reconciler, ReloadFailure, Start, UnderWay,
};
use crate::engine::command::{RuntimeCommand, Verdict};
use crate::engine::doubt::Doubts;
use crate::engine::include::Includes;
use crate::engine::moment::Moment;
use crate::engine::render::{Owner, Rendered};
use crate::engine::service::ServiceName;
use crate::engine::state::{AppliedState, DesiredState};

/// How many of `HAProxy`'s complaints are told.
const MOST_TOLD: usize = 5;

impl Reconciler {
    pub(super) fn take_outcome(&mut self, outcome: Outcome, now: Moment, effects: &mut Vec<Effect>) {
        match (self.under_way.take(), outcome) {
            (Some(UnderWay::Reload { desired, config, .. }), Outcome::Reloaded { took, config_error }) => {
                self.loaded_size = config.size;
                if self.applied.is_none() {
                    effects.push(Effect::Ready);
                }
                effects.push(Effect::Notice(Notice::Reloaded(took)));
                let applied = AppliedState::loaded(&desired, self.applied.as_ref());
                self.trials.begin(&applied, now);
                self.applied = Some(applied);
                self.refuses_servers.clear();
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
                if self.timing.sweep_at.is_none() && applied.leaving().next().is_some() {
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
    fn note_config(&mut self, error: Option<String>, now: Moment, effects: &mut Vec<Effect>) {
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
        let leaving = applied.leaving().next().is_some();
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
        } else if leaving {
            self.sweep_when_possible(now);
        }
    }

    fn sweep_when_possible(&mut self, now: Moment) {
        if self.settings.capability.deletes() {
            self.timing.sweep_soon(now);
        }
    }

    fn take_reload_failure(
        &mut self,
        failure: ReloadFailure,
        desired: &DesiredState,
        config: &Rendered,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        // What is wanted is still to be reached, and some of it may have been done.
        self.timing.changes.touch(now);
        self.timing.compare_at = now;
        if self.halving.wants_control() {
            self.give_up_halving();
        }
        let again;
        let guilty = match failure {
            ReloadFailure::Listen(refused) => {
                for (service, reason) in refused {
                    self.refuse(&service, desired, reason, Some(now + RETRY));
                }
                self.timing.reload_without_waiting(now);
                return;
            }
            ReloadFailure::Refused(complaints) => {
                let guilty = self.guilty(&complaints, config, desired);
                if !guilty.keys().any(|owner| self.may_be_refused(owner, desired)) {
                    let why = in_short(&complaints);
                    // One that says nothing at all is no HAProxy, and one that is named and runs can't be left out.
                    if complaints.is_empty() || !guilty.is_empty() || !self.halve(desired, &why, now, effects)
                    {
                        self.reload_failed(why, now, effects);
                    }
                    return;
                }
                // Those that it refers to may be among those that wait, and who is only mentioned may be innocent.
                let mentioned = guilty.keys().any(|owner| !self.may_be_refused(owner, desired));
                let uncertain = mentioned || self.halving.is_under_way();
                again = uncertain.then(|| now + RETRY_REFUSED);
                guilty
            }
            // What `haproxy -c` doesn't try: addresses that included files open themselves, files that `maxconn` leaves no
            // room for.
            ReloadFailure::Ended { why, complaints } => {
                let guilty = self.guilty(&complaints, config, desired);
                if !guilty.keys().any(|owner| self.may_be_refused(owner, desired)) {
                    if !guilty.is_empty() || !self.halve(desired, &why, now, effects) {
                        self.reload_failed(why, now, effects);
                    }
                    return;
                }
                again = Some(now + RETRY_REFUSED);
                guilty
            }
            ReloadFailure::NotServing(why) => {
                self.reload_failed(why, now, effects);
                return;
            }
        };
        let mut set = desired.includes.clone();
        for (owner, reason) in guilty {
            match owner {
                Owner::Service(service) if self.is_new_definition(&service, desired) => {
                    self.refuse(&service, desired, reason, again);
                }
                // It serves on.
                Owner::Service(_) if self.phase == Phase::Running => {}
                // It ran until now, and may be good again without being changed: a file that it names comes back.
                Owner::Service(service) => {
                    self.refuse(&service, desired, reason, Some(now + RETRY_REFUSED));
                }
                Owner::Include { file, line } => {
                    let line = line.map_or_else(String::new, |line| format!(":{line}"));
                    self.refuse_includes(&set, &file, &format!("{file}{line}: {reason}"), now, effects);
                    set = Arc::new(set.without(&file));
                }
            }
        }
        self.timing.reload_without_waiting(now);
    }

    fn reload_failed(&mut self, why: String, now: Moment, effects: &mut Vec<Effect>) {
        let serves_on = self.phase == Phase::Running;
        effects.push(Effect::Notice(Notice::ReloadFailed { why, serves_on }));
        if serves_on {
            self.timing.reload_failed(now);
        } else {
            self.timing.start_failed(now);
            self.next_start = match self.last_start {
                Start::AsBefore => Start::AsWanted,
                Start::AsWanted => Start::AsBefore,
            };
        }
    }

    /// Refuses `set` because of `file`.
    pub(super) fn refuse_includes(
        &mut self,
        set: &Arc<Includes>,
        file: &str,
        reason: &str,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        if !self.includes.refuse(set, file, reason, now) {
            return;
        }
        let chosen = self.includes.chosen(self.last_good_includes());
        let stays =
            self.applied.as_ref().is_some_and(|applied| !chosen.is_empty() && applied.includes == chosen);
        let meanwhile = if stays { IncludesMeanwhile::LastGood } else { IncludesMeanwhile::WithoutTheFile };
        let (file, reason) = (file.to_owned(), reason.to_owned());
        effects.push(Effect::Notice(Notice::IncludesRefused { file, reason, meanwhile }));
    }

    /// Whom `HAProxy`'s complaints are about. When all of those run as they are, new definitions that a complaint mentions
    /// are guilty: what runs refers to them, or they take what is its own.
    fn guilty(
        &self,
        complaints: &[Complaint],
        config: &Rendered,
        desired: &DesiredState,
    ) -> BTreeMap<Owner, String> {
        let mut guilty = accused(complaints, config);
        if guilty.is_empty() || guilty.keys().any(|owner| self.may_be_refused(owner, desired)) {
            return guilty;
        }
        for name in desired.services.keys().filter(|name| self.is_new_definition(name, desired)) {
            if let Some(complaint) = complaints.iter().find(|complaint| complaint.mentions(name.as_str())) {
                guilty.insert(Owner::Service(name.clone()), told(complaint));
            }
        }
        guilty
    }

    /// Whether something changes when `owner` is refused for what was tried.
    fn may_be_refused(&self, owner: &Owner, desired: &DesiredState) -> bool {
        match owner {
            Owner::Service(service) => {
                self.phase != Phase::Running || self.is_new_definition(service, desired)
            }
            Owner::Include { .. } => true,
        }
    }

    /// Whether what `desired` holds of `service` is its current definition and not what runs already, so that quarantine
    /// changes something: what runs is the last good definition that would be kept.
    pub(super) fn is_new_definition(&self, service: &ServiceName, desired: &DesiredState) -> bool {
        let tried = desired.services.get(service).map(|service| &service.section);
        let serving = self.applied.iter().flat_map(AppliedState::serving);
        let runs = serving.filter(|(name, _)| *name == service).map(|(_, service)| &service.section).next();
        tried.is_some() && tried == self.known.section(service).as_ref() && tried != runs
    }

    fn refuse(
        &mut self,
        service: &ServiceName,
        desired: &DesiredState,
        reason: String,
        until: Option<Moment>,
    ) {
        if let Some(tried) = desired.services.get(service) {
            self.quarantine.refuse(service, tried.section.clone(), reason, until);
        }
    }
}

fn in_short(complaints: &[Complaint]) -> String {
    if complaints.is_empty() {
        return "HAProxy refuses the configuration and does not say why; is haproxy.path right?".to_owned();
    }
    let mut text = complaints
        .iter()
        .take(MOST_TOLD)
        .map(|complaint| complaint.text.as_str())
        .collect::<Vec<_>>()
        .join(" | ");
    if complaints.len() > MOST_TOLD {
        let _ = write!(text, " | and {} more", complaints.len() - MOST_TOLD);
    }
    text
}

/// Whom `HAProxy`'s complaints are about, each service and each place of an included file with its first complaint.
fn accused(complaints: &[Complaint], config: &Rendered) -> BTreeMap<Owner, String> {
    let mut accused = BTreeMap::new();
    for complaint in complaints {
        if let Some(owner) = complaint.accused(config) {
            accused.entry(owner).or_insert_with(|| told(complaint));
        }
    }
    accused
}

fn told(complaint: &Complaint) -> String {
    format!("HAProxy says: {}", complaint.text)
}
