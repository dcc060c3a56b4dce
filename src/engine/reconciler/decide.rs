//! What is due now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use super::halving::is_turn;
use super::includes::namesake;
use super::trials::TRIED_AGAIN_FIRST;
use super::{Effect, Notice, Order, Phase, Reconciler, Start, UnderWay};
use crate::engine::command::RuntimeCommand;
use crate::engine::include::Includes;
use crate::engine::moment::Moment;
use crate::engine::plan::{Plan, plan, replay, replay_commands};
use crate::engine::policy::{LastGood, Obstacle, admit};
use crate::engine::reload_reason::ReloadReason;
use crate::engine::section::Base;
use crate::engine::service::ServiceName;
use crate::engine::state::{AppliedState, DesiredState};

/// A reload that waits for its time, and stays what it is for as long as nothing changes.
#[derive(Debug)]
pub(super) struct Planned {
    reasons: BTreeSet<ReloadReason>,
    desired: DesiredState,
}

impl Reconciler {
    pub(super) fn decide(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.under_way.is_some() {
            return;
        }
        if self.taken_over {
            self.hear_the_registries(now, effects);
        }
        match self.phase {
            Phase::Collecting => self.start_when_collected(now, effects),
            Phase::Starting | Phase::Down => {
                if self.timing.start_at <= now {
                    let reason = self.timing.crash.clone().map_or(ReloadReason::Start, ReloadReason::Crash);
                    let start = self.next_start;
                    let desired = match start {
                        Start::AsBefore if self.applied.is_some() => self.desired_as_before(now),
                        Start::AsBefore | Start::AsWanted => self.desired(now, effects),
                    };
                    let reasons = BTreeSet::from([reason]);
                    self.order_reload(reasons, Vec::new(), desired, (start, now), effects);
                }
            }
            Phase::Running => self.look(now, effects),
        }
    }

    /// From the first answers on, what the registries say is wanted; as long as no list of services has come, what runs.
    fn hear_the_registries(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        if self.known.listed && (self.known.all_answered() || now >= self.timing.collect_until) {
            self.taken_over = false;
            self.recall(effects);
            self.timing.servers_changed(now);
            if let Some(applied) = self.applied.clone() {
                let runs = self.renderer.by_template(&applied);
                let runs = runs.unwrap_or_else(|_told_at_a_reload| self.renderer.render(&applied));
                self.note_limits(&runs, &applied.base, effects);
                self.loaded_shape = runs.shape;
                // What it was started with is not known any more.
                self.loaded_size = self.size;
            }
            effects.push(Effect::Ready);
        }
    }

    /// When the wait for first answers ends, once the services are listed.
    pub(super) fn hears_until(&self) -> Option<Moment> {
        (self.taken_over && self.known.listed).then_some(self.timing.collect_until)
    }

    fn start_when_collected(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let complete = self.known.listed && self.known.all_answered();
        if !complete && now < self.timing.collect_until {
            return;
        }
        self.recall(effects);
        self.phase = Phase::Starting;
        self.timing.start_at = now;
        self.decide(now, effects);
    }

    /// Goes on without the watchers that did not answer.
    fn recall(&mut self, effects: &mut Vec<Effect>) {
        let recalled = self.known.recall();
        if !recalled.is_empty() {
            effects.push(Effect::Notice(Notice::StartsFromMemory(recalled)));
        }
        let unanswered = self.known.unanswered();
        if !unanswered.is_empty() || !self.known.listed {
            effects.push(Effect::Notice(Notice::StartsWithout(unanswered)));
        }
    }

    fn look(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let due = |moment: Option<Moment>| moment.is_some_and(|moment| moment <= now);
        if due(self.timing.repair_at()) {
            let reasons = BTreeSet::from([ReloadReason::Repair("commands did not mend what runs".into())]);
            let desired = self.desired(now, effects);
            self.order_reload(reasons, Vec::new(), desired, (Start::AsWanted, now), effects);
        } else if self.halving.wants_control() {
            let reasons = BTreeSet::from([ReloadReason::Repair("whether HAProxy starts as before".into())]);
            let desired = self.desired(now, effects);
            self.order_reload(reasons, Vec::new(), desired, (Start::AsWanted, now), effects);
        } else if self.timing.compare_at <= now {
            self.under_way = Some(UnderWay::Compare);
            let frontends = self.applied.iter().flat_map(|applied| applied.base.frontends.values());
            let routes = frontends.map(|frontend| frontend.map.clone()).collect();
            effects.push(Effect::Order(Order::Compare { routes }));
        } else if self.doubts.await_comparison() {
            // Nothing is sent again without a look in between.
        } else if due(self.timing.changes.due())
            || due(self.reload_due())
            || due(self.quarantine.next_try())
            || due(self.includes.next_try())
            || due(self.frontends.next_try())
            || due(self.template.next_try())
        {
            self.pursue(now, effects);
        } else if due(self.timing.rewrite_at) {
            self.timing.rewrite_at = None;
            self.order_apply(Vec::new(), true, now, effects);
        } else if due(self.timing.sweep_at) {
            self.sweep(now, effects);
        }
    }

    /// Plans from what runs to what is wanted, and orders what may go out now.
    fn pursue(&mut self, now: Moment, effects: &mut Vec<Effect>) {
        let is_as_planned =
            self.timing.changes.is_empty() && self.retries().into_iter().flatten().all(|due| due > now);
        self.timing.changes.clear();
        let was_wanted = std::mem::take(&mut self.timing.reload_wanted);
        if let Some(Planned { reasons, desired }) = self.planned.take().filter(|_| is_as_planned) {
            self.reload_when_due(reasons, Vec::new(), desired, now, effects);
            return;
        }
        let desired = self.desired(now, effects);
        let Some(applied) = &mut self.applied else { return };
        applied.share_sections(&desired);
        let plan = plan(applied, &desired, self.settings.capability, &self.refuses_servers);
        debug_assert!(
            replay(&plan, applied, &desired).serves(&desired),
            "{plan:?} does not lead to {desired:?}"
        );
        let plan = self.with_room_for_checks(plan);
        match self.with_what_the_template_writes(plan) {
            Plan::Unchanged => {}
            Plan::Runtime(commands) => {
                self.order_apply(commands, true, now, effects);
            }
            Plan::Reload { reasons, meanwhile } => {
                if !was_wanted {
                    self.timing.reload_begins_to_be_wanted(now);
                }
                self.reload_when_due(reasons, meanwhile, desired, now, effects);
            }
        }
    }

    /// Orders a reload, or what can be done until then.
    fn reload_when_due(
        &mut self,
        reasons: BTreeSet<ReloadReason>,
        meanwhile: Vec<RuntimeCommand>,
        desired: DesiredState,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        self.timing.reload_wanted = true;
        if self.reload_due().is_some_and(|due| due <= now) {
            self.order_reload(reasons, meanwhile, desired, (Start::AsWanted, now), effects);
        } else if meanwhile.is_empty() {
            self.planned = Some(Planned { reasons, desired });
        } else {
            self.order_apply(meanwhile, true, now, effects);
        }
    }

    pub(super) fn running_deadline(&self) -> Option<Moment> {
        let timing = &self.timing;
        if self.doubts.await_comparison() {
            return timing.repair_at().into_iter().chain([timing.compare_at]).min();
        }
        let others = [timing.changes.due(), self.reload_due(), timing.repair_at()];
        let chores = [timing.rewrite_at, timing.sweep_at];
        others.into_iter().chain(self.retries()).chain(chores).flatten().chain([timing.compare_at]).min()
    }

    /// When something that is out is tried again.
    fn retries(&self) -> [Option<Moment>; 4] {
        let (includes, template) = (self.includes.next_try(), self.template.next_try());
        [self.quarantine.next_try(), includes, self.frontends.next_try(), template]
    }

    pub(super) fn reload_due(&self) -> Option<Moment> {
        self.timing.reload_wanted.then(|| self.timing.reload_due(!self.known.all_answered()))
    }

    /// What is wanted, of what goes ahead.
    fn desired(&mut self, now: Moment, effects: &mut Vec<Effect>) -> DesiredState {
        if let Some(applied) = self.applied.as_ref().filter(|_| self.taken_over) {
            return applied.as_desired();
        }
        self.quarantine.release(|service| self.known.section(service), now);
        self.release_frontends(now);
        let base = self.with_stand_ins(self.base());
        let candidates = self.known.candidates();
        let (mut desired, mut obstacles) = admit(&base, &candidates, &self.quarantine, self.last_good());
        self.put_off_suspects(&obstacles, now);
        desired.includes = self.chosen_includes(&desired, now, effects);
        desired.template = self.chosen_template(now, effects);
        for (service, by) in self.needed.add_to(&mut desired, &self.known) {
            obstacles.insert(service, Obstacle::StillNeeded { by: by.to_string() });
        }
        for (service, obstacle) in &obstacles {
            if self.obstacles.get(service) != Some(obstacle) && !is_turn(obstacle) {
                let serves_on = desired.services.contains_key(service);
                let (service, obstacle) = (service.clone(), obstacle.clone());
                effects.push(Effect::Notice(Notice::Obstructed { service, obstacle, serves_on }));
            }
        }
        // Another try is none of the news: an obstacle is gone once the service runs as wanted, or is gone itself.
        let runs = |service: &ServiceName| {
            let running = self.applied.as_ref().and_then(|applied| applied.services.get(service));
            let wanted = desired.services.get(service);
            wanted.is_some_and(|wanted| running.is_some_and(|running| running.section == wanted.section))
        };
        for (service, obstacle) in std::mem::take(&mut self.obstacles) {
            if obstacles.contains_key(&service)
                || self.known.section(&service).is_none()
                || is_turn(&obstacle)
            {
                continue;
            }
            if runs(&service) {
                effects.push(Effect::Notice(Notice::Cleared(service)));
            } else {
                obstacles.insert(service, obstacle);
            }
        }
        self.obstacles = obstacles;
        desired
    }

    /// One that was given up and waits for another's address would come together with whatever that one tries: both would be
    /// suspected again, for ever.
    fn put_off_suspects(&mut self, obstacles: &BTreeMap<ServiceName, Obstacle>, now: Moment) {
        for (service, obstacle) in obstacles {
            let (Obstacle::AddressTaken { .. } | Obstacle::RouteTaken { .. }) = obstacle else { continue };
            if let Some(section) = self.known.section(service).filter(|_| self.trials.was_given_up(service)) {
                self.quarantine.refuse(service, section, obstacle.to_string(), Some(now + TRIED_AGAIN_FIRST));
            }
        }
    }

    /// What ran before, of what goes ahead, with the servers that are wanted now.
    fn desired_as_before(&mut self, now: Moment) -> DesiredState {
        if let Some(applied) = self.applied.as_ref().filter(|_| self.taken_over) {
            return applied.as_desired();
        }
        self.quarantine.release(|service| self.known.section(service), now);
        self.includes.release(now);
        let last_good = self.last_good();
        let mut candidates = self.known.candidates();
        candidates.retain_mut(|candidate| {
            let section = last_good.section(candidate.name, &self.quarantine);
            section.map(|section| candidate.section = section).is_some()
        });
        let ran = self.applied.as_ref().map_or_else(|| self.base(), |applied| &applied.base);
        let base = self.with_stand_ins(if self.base_refused { self.base() } else { ran });
        let (mut desired, _told_elsewhere) = admit(&base, &candidates, &self.quarantine, last_good);
        let without_the_guilty = || self.includes.chosen(None);
        desired.includes = self.last_good_includes().cloned().unwrap_or_else(without_the_guilty);
        desired.template = self.template_as_before();
        let _told_elsewhere = self.needed.add_to(&mut desired, &self.known);
        desired
    }

    /// `global` and `defaults` as wanted, or as they were good last.
    pub(super) fn base(&self) -> &Arc<Base> {
        let proved = self.trials.proved().filter(|_| self.base_refused);
        proved.map_or(&self.settings.base, |proved| &proved.base)
    }

    /// What services go on with when their definitions do not go ahead.
    fn last_good(&self) -> LastGood<'_> {
        let proved = self.trials.proved().map(|proved| &proved.sections);
        LastGood { running: self.applied.as_ref(), proved }
    }

    /// The included files that run, or ran last, or else those that proved themselves.
    pub(super) fn last_good_includes(&self) -> Option<&Arc<Includes>> {
        let running = self.applied.as_ref().map(|applied| &applied.includes);
        let proved = self.trials.proved().map(|proved| &proved.includes);
        running.into_iter().chain(proved).find(|includes| !self.includes.is_refused(includes))
    }

    /// The included files that go ahead beside the services of `desired`.
    fn chosen_includes(
        &mut self,
        desired: &DesiredState,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) -> Arc<Includes> {
        self.includes.release(now);
        if self.includes.is_whole_again(self.applied.as_ref()) {
            effects.push(Effect::Notice(Notice::IncludesTaken));
        }
        loop {
            let chosen = self.includes.chosen(self.last_good_includes());
            let Some((file, service)) = namesake(&chosen, &desired.services) else { return chosen };
            let reason = format!(
                "{}: its section {service} has the name of a service; rename the section",
                file.path()
            );
            let file = file.path().to_owned();
            self.refuse_includes(&chosen, &file, &reason, now, effects);
        }
    }

    pub(super) fn order_reload(
        &mut self,
        reasons: BTreeSet<ReloadReason>,
        meanwhile: Vec<RuntimeCommand>,
        desired: DesiredState,
        (start, now): (Start, Moment),
        effects: &mut Vec<Effect>,
    ) {
        self.timing.reload_ordered(now);
        self.last_start = start;
        let after = AppliedState::loaded(&desired, self.applied.as_ref());
        let config = match self.renderer.by_template(&after) {
            Ok(config) => config,
            Err(error) => return self.take_template_failure(reasons, &error, &desired, now, effects),
        };
        self.note_limits(&config, &after.base, effects);
        let maxconn = self.limits.maxconn;
        // What such a server was told last may still come, and is no operator's doing.
        let before = self.applied.as_ref().map(|applied| Box::new(self.doubts.without_the_doubtful(applied)));
        // Servers that are gone get nothing from now on; all else comes with the new process.
        let first: Vec<_> = meanwhile.into_iter().filter(RuntimeCommand::concerns_draining).collect();
        effects.push(Effect::Notice(Notice::Reloading(reasons.clone())));
        self.under_way = Some(UnderWay::Reload { desired, config: config.clone(), first: first.clone() });
        effects.push(Effect::Order(Order::Reload { reasons, first, config, maxconn, before, after }));
    }

    pub(super) fn order_apply(
        &mut self,
        commands: Vec<RuntimeCommand>,
        writes_config: bool,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let Some(applied) = &self.applied else { return };
        let after = replay_commands(&commands, applied);
        let closes = commands.iter().filter_map(|command| match command {
            RuntimeCommand::ShutdownFrontend(name) => {
                Some((name.clone(), applied.services.get(name)?.section.listen.clone()))
            }
            RuntimeCommand::AddServer(_)
            | RuntimeCommand::EnableCheck { .. }
            | RuntimeCommand::Server { .. }
            | RuntimeCommand::Backend { .. }
            | RuntimeCommand::Route { .. } => None,
        });
        let closes = closes.collect();
        let config = writes_config.then(|| self.renderer.by_template(&after)).transpose();
        let is_news = writes_config;
        let (config, writes_config) = match config {
            Ok(config) => (config, writes_config),
            Err(error) => {
                self.note_config(Some(error.to_string()), now, effects);
                (None, false)
            }
        };
        if let Some(config) = &config {
            self.note_limits(config, &after.base, effects);
            self.template.wrote(after.template.as_ref());
            self.timing.rewrite_at = None;
        } else if commands.is_empty() {
            return;
        }
        if !commands.is_empty() && is_news {
            let texts = commands.iter().map(ToString::to_string).collect();
            effects.push(Effect::Notice(Notice::Applying(texts)));
        }
        self.under_way = Some(UnderWay::Apply { commands: commands.clone(), writes_config });
        effects.push(Effect::Order(Order::Apply { config, commands, closes }));
    }
}
