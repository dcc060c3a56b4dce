//! Which template goes ahead.
//!
//! One that fails, or whose output `HAProxy` refuses, leaves the last good one: what runs, or proved itself, or served in an
//! earlier run. The built-in layout never stands in for it unless it runs: rules that keep people out may stand in a template.

use std::collections::BTreeSet;
use std::fmt;
use std::time::Duration;

use super::{Effect, Notice, Phase, Reconciler, Start};
use crate::engine::backoff::Backoff;
use crate::engine::moment::Moment;
use crate::engine::plan::{Plan, replay_commands};
use crate::engine::reload_reason::ReloadReason;
use crate::engine::state::{AppliedState, DesiredState};
use crate::engine::template::{Template, TemplateError};

/// What was refused is tried again: a certificate arrives, servers come.
const RETRY_FIRST: Duration = Duration::from_secs(5);
const RETRY_LONGEST: Duration = Duration::from_secs(600);

/// The template as it was read last, and what speaks against it.
#[derive(Debug)]
pub(super) struct KnownTemplate {
    /// `None` for the built-in layout.
    wanted: Option<Template>,
    /// What served last in an earlier run.
    recalled: Option<Template>,
    refused: Vec<(Template, Moment)>,
    told: Option<String>,
    /// Why it is refused was told of this one: another try may be refused at another line.
    told_of: Option<Template>,
    /// Something was refused since what is wanted served last.
    in_trouble: bool,
    retry: Backoff,
}

/// What there is in place of a template that is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TemplateMeanwhile {
    /// The last good one.
    LastGood,
    /// None: what runs can't be replaced.
    NoOther,
}

impl fmt::Display for TemplateMeanwhile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::LastGood => "the last good one stays",
            Self::NoOther => "and there is no other: haproxy.cfg stays as it is",
        })
    }
}

impl KnownTemplate {
    pub(super) fn new(wanted: Option<Template>) -> Self {
        Self {
            wanted,
            recalled: None,
            refused: Vec::new(),
            told: None,
            told_of: None,
            in_trouble: false,
            retry: Backoff::new(RETRY_FIRST, RETRY_LONGEST),
        }
    }

    /// As at a beginning where `applied` serves, if anything does.
    pub(super) fn anew(&mut self, applied: Option<&AppliedState>) -> Self {
        let recalled = self.recalled.take();
        let wanted = applied.map_or_else(|| recalled.clone(), |applied| applied.template.clone());
        Self { recalled, ..Self::new(wanted) }
    }

    /// Takes what was read; `false` when there is nothing to do about it.
    pub(super) fn want(&mut self, template: Option<Template>) -> bool {
        if self.wanted == template && self.refused.is_empty() && self.told.is_none() {
            return false;
        }
        self.wanted = template;
        self.refused.clear();
        (self.told, self.told_of) = (None, None);
        self.retry.reset();
        true
    }

    /// Notes why what is wanted does not go ahead; `true` when it was not told yet.
    pub(super) fn tell(&mut self, reason: &str) -> bool {
        self.in_trouble = true;
        let new = self.told.as_deref() != Some(reason);
        self.told = Some(reason.to_owned());
        new
    }

    /// Refuses `template`.
    pub(super) fn refuse(&mut self, template: &Template, until: Moment) {
        self.in_trouble = true;
        self.refused.retain(|(refused, _)| refused != template);
        self.refused.push((template.clone(), until));
    }

    /// `template` wrote what serves now: what was told of it is over.
    pub(super) fn wrote(&mut self, template: Option<&Template>) {
        if template.is_some() && self.told_of.as_ref() == template && !self.is_refused(template) {
            (self.told, self.told_of) = (None, None);
        }
    }

    pub(super) fn told(&self) -> Option<&str> {
        self.told.as_deref()
    }

    pub(super) fn next_try(&self) -> Option<Moment> {
        self.refused.iter().map(|(_, until)| *until).min()
    }

    fn is_refused(&self, template: Option<&Template>) -> bool {
        template.is_some_and(|one| self.refused.iter().any(|(refused, _)| refused == one))
    }

    /// What goes ahead: what is wanted, or else the first good one.
    fn chosen<'a>(&'a self, good: impl Iterator<Item = Option<&'a Template>>) -> Option<&'a Template> {
        let mut all = [self.wanted.as_ref()].into_iter().chain(good);
        all.find(|template| !self.is_refused(*template)).unwrap_or(self.wanted.as_ref())
    }

    /// `true` once what is wanted serves, after something was refused.
    fn is_taken(&mut self, running: Option<&AppliedState>) -> bool {
        let taken = self.refused.is_empty() && running.is_some_and(|running| running.template == self.wanted);
        taken && self.told.is_none() && std::mem::take(&mut self.in_trouble)
    }
}

impl Reconciler {
    /// The template that served last in an earlier run: it is wanted until another is.
    pub fn recall_template(&mut self, template: Template) {
        self.template = KnownTemplate::new(Some(template.clone()));
        self.template.recalled = Some(template);
    }

    pub(super) fn take_template(&mut self, template: Option<Template>, now: Moment) {
        if self.template.want(template) {
            self.timing.topology_changed(now);
        }
    }

    /// The file can't be used: what was wanted stays so.
    pub(super) fn take_unusable_template(&mut self, reason: String, effects: &mut Vec<Effect>) {
        if self.template.tell(&reason) {
            let meanwhile = TemplateMeanwhile::LastGood;
            effects.push(Effect::Notice(Notice::TemplateRefused { reason, meanwhile }));
        }
    }

    /// The template that goes ahead.
    pub(super) fn chosen_template(&mut self, now: Moment, effects: &mut Vec<Effect>) -> Option<Template> {
        let before = self.template.refused.len();
        self.template.refused.retain(|(_, until)| *until > now);
        if self.template.is_taken(self.applied.as_ref()) {
            self.template.retry.reset();
            effects.push(Effect::Notice(Notice::TemplateTaken));
        } else if self.template.refused.len() < before {
            // It is on trial; the next refusal is told if it has another reason.
            self.template.in_trouble = true;
        }
        self.template.chosen(self.good_templates()).cloned()
    }

    /// What ran before, unless it is refused by now.
    pub(super) fn template_as_before(&self) -> Option<Template> {
        let ran = self.applied.as_ref().map(|applied| applied.template.as_ref());
        let ran = ran.filter(|ran| !self.template.is_refused(*ran));
        ran.unwrap_or_else(|| self.template.chosen(self.good_templates())).cloned()
    }

    /// `None` stands for the built-in layout.
    fn good_templates(&self) -> impl Iterator<Item = Option<&Template>> {
        let running = self.applied.as_ref().map(|applied| applied.template.as_ref());
        let proved = self.trials.proved().map(|proved| proved.template.as_ref());
        let recalled = self.template.recalled.as_ref().map(Some);
        running.into_iter().chain(proved).chain(recalled)
    }

    /// Refuses the template of `desired`; `false` when there is no other to go on with.
    pub(super) fn refuse_template(
        &mut self,
        desired: &DesiredState,
        reason: &str,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(template) = &desired.template else { return false };
        self.template.refuse(template, now);
        let other = self.template.chosen(self.good_templates()) != desired.template.as_ref();
        if other {
            let until = now + self.template.retry.next_wait();
            self.template.refuse(template, until);
        } else {
            self.template.refused.pop();
        }
        let is_news = self.template.told_of.as_ref() != Some(template);
        self.template.told_of = Some(template.clone());
        if self.template.tell(reason) && is_news {
            let meanwhile = if other { TemplateMeanwhile::LastGood } else { TemplateMeanwhile::NoOther };
            let reason = reason.to_owned();
            effects.push(Effect::Notice(Notice::TemplateRefused { reason, meanwhile }));
        }
        other
    }

    /// Whether the template of `desired` is not known to be good, and there is another to go back to.
    pub(super) fn has_new_template(&self, desired: &DesiredState) -> bool {
        desired.template.is_some()
            && self.good_templates().all(|good| good != desired.template.as_ref())
            && self.good_templates().any(|good| !self.template.is_refused(good))
    }

    /// The template writes no haproxy.cfg for `desired`.
    pub(super) fn take_template_failure(
        &mut self,
        reasons: BTreeSet<ReloadReason>,
        error: &TemplateError,
        desired: &DesiredState,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        self.timing.changes.touch(now);
        self.note_failed_control(desired);
        let why = error.to_string();
        if self.refuse_template(desired, &why, now, effects) {
            self.timing.reload_without_waiting(now);
        } else if self.phase != Phase::Running
            && let Some(before) = self.renderer.take_last_written()
        {
            // Clients wait: what it wrote last serves them.
            self.order_reload(reasons, Vec::new(), before.as_desired(), (Start::AsBefore, now), effects);
        } else if !self.halve(desired, &why, now, effects) {
            self.reload_failed(why, now, effects);
        }
    }

    /// Where the template writes other lines than those of servers, commands are not enough.
    pub(super) fn with_what_the_template_writes(&mut self, plan: Plan) -> Plan {
        let (Some(applied), Some(loaded)) = (&self.applied, &self.loaded_shape) else { return plan };
        let commands = match &plan {
            Plan::Unchanged => &[][..],
            Plan::Runtime(commands) => commands,
            Plan::Reload { .. } => return plan,
        };
        let after = replay_commands(commands, applied);
        match self.renderer.by_template(&after) {
            Ok(config) if config.shape.as_ref().is_some_and(|shape| !shape.is_held_by(loaded)) => {
                let meanwhile = match plan {
                    Plan::Runtime(commands) => commands,
                    Plan::Unchanged | Plan::Reload { .. } => Vec::new(),
                };
                Plan::Reload { reasons: BTreeSet::from([ReloadReason::TemplateOutput]), meanwhile }
            }
            // A failure is told when it is to be written.
            Ok(_) | Err(_) => plan,
        }
    }
}
