//! What follows when `HAProxy` refuses a configuration, or no process serves with it: who is guilty, and what goes ahead.
//!
//! New definitions that are named are refused, and others go ahead. Where only such are named that run as they are, one of these
//! is the cause, and they are tried in this order: a service that is gone though they refer to it (it stays, without its
//! addresses), new definitions (tried in parts), changed included files (left as they were). What is left is a fault of their
//! own, such as a certificate that is gone: services have [`BLOCKS_AT_MOST`] to recover, since leaving them out ends what
//! serves, included files none; then they stay out until `HAProxy` takes them again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use super::timing::{RETRY, RETRY_REFUSED};
use super::{Complaint, Effect, IncludesMeanwhile, Notice, Phase, Reconciler, ReloadFailure, Start};
use crate::engine::include::{IncludedFile, Includes};
use crate::engine::moment::Moment;
use crate::engine::render::{Owner, Rendered};
use crate::engine::service::ServiceName;
use crate::engine::state::{AppliedState, DesiredState};
use crate::engine::template::Template;

/// How many of `HAProxy`'s complaints are told.
const MOST_TOLD: usize = 5;
/// For so long what runs may stand in the way of every reload.
const BLOCKS_AT_MOST: Duration = Duration::from_secs(60);

impl Reconciler {
    pub(super) fn take_reload_failure(
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
        self.note_failed_control(desired);
        match failure {
            ReloadFailure::Listen { services, frontends } => {
                for (service, reason) in services {
                    self.refuse(&service, desired, reason, Some(now + RETRY));
                }
                for (frontend, reason) in frontends {
                    self.lose_frontend(frontend, reason, desired, now, effects);
                }
                self.timing.reload_without_waiting(now);
            }
            // One that says nothing at all is no HAProxy.
            ReloadFailure::Refused(complaints) if complaints.is_empty() => {
                self.reload_failed(in_short(&complaints), now, effects);
            }
            ReloadFailure::Refused(complaints) => {
                let refusal = Refusal { why: in_short(&complaints), complaints, passes: false };
                self.take_refusal(&refusal, desired, config, now, effects);
            }
            // What `haproxy -c` doesn't try: addresses that included files open themselves, files that `maxconn` leaves no
            // room for.
            ReloadFailure::Ended { why, complaints } => {
                let refusal = Refusal { why, complaints, passes: true };
                self.take_refusal(&refusal, desired, config, now, effects);
            }
            // Once may be a machine that has too much to do.
            ReloadFailure::NotServing(why) => {
                let again = std::mem::replace(&mut self.did_not_serve, true);
                if !again || !self.halve(desired, &why, now, effects) {
                    self.reload_failed(why, now, effects);
                }
            }
        }
    }

    fn take_refusal(
        &mut self,
        refusal: &Refusal,
        desired: &DesiredState,
        config: &Rendered,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let guilty = self.guilty(&refusal.complaints, config, desired);
        // Before anything serves, every service that a new template leads astray would be accused.
        let is_the_new_templates = self.phase != Phase::Running
            && self.has_new_template(desired)
            && self.refuse_template(desired, &refusal.why, now, effects);
        if is_the_new_templates || self.keep_what_is_needed(&refusal.complaints, config, desired) {
            self.timing.reload_without_waiting(now);
        } else if guilty.keys().any(|owner| self.may_be_refused(owner, desired)) {
            // Those that it refers to may be among those that wait, and who is only mentioned may be innocent.
            let mentioned = guilty.keys().any(|owner| !self.may_be_refused(owner, desired));
            let uncertain = refusal.passes || mentioned || self.halving.is_under_way();
            self.refuse_all(guilty, uncertain, desired, now, effects);
        } else if self.are_known_blockers(&guilty)
            || is_the_templates(&guilty)
            || !self.halve(desired, &refusal.why, now, effects)
        {
            self.take_blockers(&guilty, &refusal.why, desired, now, effects);
        }
    }

    fn refuse_all(
        &mut self,
        guilty: BTreeMap<Owner, String>,
        uncertain: bool,
        desired: &DesiredState,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let mut set = desired.includes.clone();
        for (owner, reason) in guilty {
            match owner {
                Owner::Service(service) if self.is_new_definition(&service, desired) => {
                    let wait = if uncertain { RETRY_REFUSED } else { self.patience(&service, desired) };
                    self.refuse(&service, desired, reason, Some(now + wait));
                }
                // It serves on.
                Owner::Service(_) if self.phase == Phase::Running => {}
                // It ran until now, and may be good again without being changed: a file that it names comes back.
                Owner::Service(service) => {
                    self.refuse(&service, desired, reason, Some(now + RETRY_REFUSED));
                }
                Owner::Include { file, line } => {
                    self.refuse_includes(&set, &file, &at_line(&file, line, &reason), now, effects);
                    set = Arc::new(set.without(&file));
                }
                Owner::Template { line } => {
                    let reason = in_its_output(desired, line, &reason);
                    self.refuse_template(desired, &reason, now, effects);
                }
            }
        }
        self.timing.reload_without_waiting(now);
    }

    /// Whether these were found to be refused without anything new.
    fn are_known_blockers(&self, guilty: &BTreeMap<Owner, String>) -> bool {
        !guilty.is_empty() && guilty.keys().all(|owner| self.blockers.contains_key(owner))
    }

    /// Nothing but what runs is named, and no new definition is the cause.
    fn take_blockers(
        &mut self,
        guilty: &BTreeMap<Owner, String>,
        why: &str,
        desired: &DesiredState,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        if !guilty.is_empty() && self.refuse_new_includes(why, desired, now, effects) {
            self.timing.reload_without_waiting(now);
            return;
        }
        if self.has_new_template(desired) && self.refuse_template(desired, why, now, effects) {
            self.timing.reload_without_waiting(now);
            return;
        }
        let mut left_out = false;
        let mut warned = String::new();
        for (owner, reason) in guilty {
            let since = *self.blockers.entry(owner.clone()).or_insert(now);
            let left = match owner {
                Owner::Service(_) => BLOCKS_AT_MOST.saturating_sub(now - since),
                // They hold no service up, and come back soon: they are tried again more often.
                Owner::Include { .. } => Duration::ZERO,
                // Nothing serves without it.
                Owner::Template { .. } => continue,
            };
            if left.is_zero() {
                self.leave_out(owner, reason, desired, now, effects);
                left_out = true;
            } else {
                let _ = write!(
                    warned,
                    "; {owner} ran so far, and is left out if this lasts {} s longer",
                    left.as_secs()
                );
            }
        }
        if left_out {
            self.timing.reload_without_waiting(now);
        } else {
            self.reload_failed(format!("{why}{warned}"), now, effects);
        }
    }

    fn leave_out(
        &mut self,
        owner: &Owner,
        reason: &str,
        desired: &DesiredState,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        match owner {
            Owner::Service(service) => {
                self.needed.give_up(service);
                self.refuse(service, desired, reason.to_owned(), Some(now + RETRY_REFUSED));
            }
            Owner::Include { file, line } => {
                let reason = at_line(file, *line, reason);
                self.refuse_includes(&desired.includes, file, &reason, now, effects);
            }
            Owner::Template { .. } => {}
        }
    }

    pub(super) fn reload_failed(&mut self, why: String, now: Moment, effects: &mut Vec<Effect>) {
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
            Owner::Include { .. } => self.phase != Phase::Running || !self.runs_as_it_is(owner, desired),
            Owner::Template { .. } => self.has_new_template(desired),
        }
    }

    /// Whether `desired` holds of `owner` what the serving process holds, or the last one did.
    pub(super) fn runs_as_it_is(&self, owner: &Owner, desired: &DesiredState) -> bool {
        let Some(applied) = &self.applied else { return false };
        match owner {
            Owner::Service(service) => {
                let wanted = desired.services.get(service).map(|service| &service.section);
                wanted.is_some() && wanted == applied.services.get(service).map(|service| &service.section)
            }
            Owner::Include { .. } => desired.includes == applied.includes,
            Owner::Template { .. } => desired.template == applied.template,
        }
    }

    /// Goes back to the included files that run, when those of `desired` differ.
    fn refuse_new_includes(
        &mut self,
        why: &str,
        desired: &DesiredState,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let new = self.applied.as_ref().is_some_and(|applied| applied.includes != desired.includes);
        if new {
            self.includes.refuse_whole(&desired.includes, now + RETRY_REFUSED);
            let reason = format!("what runs can't be started beside them: {why}");
            if self.includes.tell(&reason) {
                let file =
                    desired.includes.files().iter().map(IncludedFile::path).collect::<Vec<_>>().join(", ");
                let meanwhile = IncludesMeanwhile::LastGood;
                effects.push(Effect::Notice(Notice::IncludesRefused { file, reason, meanwhile }));
            }
        }
        new
    }

    /// Whether what `desired` holds of `service` is its current definition and not what runs already, so that quarantine
    /// changes something: what runs is the last good definition that would be kept.
    pub(super) fn is_new_definition(&self, service: &ServiceName, desired: &DesiredState) -> bool {
        let tried = desired.services.get(service).map(|service| &service.section);
        let serving = self.applied.iter().flat_map(AppliedState::serving);
        let runs = serving.filter(|(name, _)| *name == service).map(|(_, service)| &service.section).next();
        tried.is_some() && tried == self.known.section(service).as_ref() && tried != runs
    }

    fn patience(&mut self, service: &ServiceName, desired: &DesiredState) -> Duration {
        let tried = desired.services.get(service);
        tried.map_or(RETRY_REFUSED, |tried| self.quarantine.patience(service, &tried.section))
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

/// A configuration that is refused.
struct Refusal {
    why: String,
    complaints: Vec<Complaint>,
    /// It may pass without a change.
    passes: bool,
}

fn at_line(file: &str, line: Option<usize>, reason: &str) -> String {
    let line = line.map_or_else(String::new, |line| format!(":{line}"));
    format!("{file}{line}: {reason}")
}

/// Whether no service is named, but the template.
fn is_the_templates(guilty: &BTreeMap<Owner, String>) -> bool {
    let is_template = |owner: &Owner| matches!(owner, Owner::Template { .. });
    !guilty.is_empty() && guilty.keys().all(is_template)
}

fn in_its_output(desired: &DesiredState, line: Option<usize>, reason: &str) -> String {
    let path = desired.template.as_ref().map_or("", Template::path);
    let line = line.map_or_else(String::new, |line| format!("line {line} of "));
    format!("{path}: {line}its output (proxymgr render): {reason}")
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
