//! Frontends whose addresses can't be had. All else goes on: such a frontend listens where it did before, or is there without its
//! addresses, and is tried again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::timing::RETRY;
use super::{Effect, Notice, Reconciler};
use crate::engine::http_frontend::HttpFrontend;
use crate::engine::moment::Moment;
use crate::engine::policy::overlap;
use crate::engine::route::FrontendName;
use crate::engine::section::Base;
use crate::engine::state::DesiredState;

/// By name.
#[derive(Debug, Default)]
pub(super) struct LostFrontends(BTreeMap<FrontendName, Lost>);

#[derive(Debug)]
struct Lost {
    /// As it is wanted.
    frontend: HttpFrontend,
    reason: String,
    /// When it is tried again; `None` while it is.
    until: Option<Moment>,
}

impl LostFrontends {
    /// When the next one is to be tried again.
    pub(super) fn next_try(&self) -> Option<Moment> {
        self.0.values().filter_map(|lost| lost.until).min()
    }

    /// Tries those again whose time has come, and forgets those that `wanted` has otherwise by now.
    fn release(&mut self, wanted: &Base, now: Moment) {
        self.0.retain(|name, lost| wanted.frontends.get(name) == Some(&lost.frontend));
        for lost in self.0.values_mut() {
            lost.until = lost.until.filter(|until| *until > now);
        }
    }

    /// `wanted`, with what stands in for those that are not to be tried. `runs` tells where they listened before.
    fn stand_in(&self, wanted: &Arc<Base>, runs: Option<&Base>) -> Arc<Base> {
        let is_out = |(name, lost): &(&FrontendName, &Lost)| {
            lost.until.is_some() && wanted.frontends.get(*name) == Some(&lost.frontend)
        };
        let mut out = self.0.iter().filter(is_out).peekable();
        if out.peek().is_none() {
            return wanted.clone();
        }
        let mut base = Base::clone(wanted);
        for (name, lost) in out {
            let others = wanted.frontends.iter().filter(|(other, _)| *other != name);
            let others: Vec<_> = others.flat_map(|(_, other)| &other.listen).collect();
            let is_free = |before: &&HttpFrontend| {
                let taken = |address| others.iter().any(|other| overlap(address, other));
                !before.is_out && before.listen != lost.frontend.listen && !before.listen.iter().any(taken)
            };
            let before = runs.and_then(|runs| runs.frontends.get(name)).filter(is_free).cloned();
            let without = || HttpFrontend { is_out: true, ..lost.frontend.clone() };
            base.frontends.insert(name.clone(), before.unwrap_or_else(without));
        }
        Arc::new(base)
    }
}

impl Reconciler {
    /// `wanted` for now.
    pub(super) fn with_stand_ins(&self, wanted: &Arc<Base>) -> Arc<Base> {
        self.frontends.stand_in(wanted, self.applied.as_ref().map(|applied| &*applied.base))
    }

    /// Tries those frontends again whose time has come.
    pub(super) fn release_frontends(&mut self, now: Moment) {
        let wanted = self.base().clone();
        self.frontends.release(&wanted, now);
    }

    /// The addresses that `desired` has for a frontend can't be had.
    pub(super) fn lose_frontend(
        &mut self,
        name: FrontendName,
        reason: String,
        desired: &DesiredState,
        now: Moment,
        effects: &mut Vec<Effect>,
    ) {
        let Some(frontend) = desired.base.frontends.get(&name).cloned() else { return };
        let lost = Lost { frontend, reason: reason.clone(), until: Some(now + RETRY) };
        let before = self.frontends.0.insert(name.clone(), lost);
        if before.is_some_and(|before| before.reason == reason) {
            return;
        }
        let base = self.with_stand_ins(self.base());
        let serves_on = base.frontends.get(&name).is_some_and(|frontend| !frontend.is_out);
        effects.push(Effect::Notice(Notice::FrontendOut { frontend: name, reason, serves_on }));
    }

    /// A new process serves.
    pub(super) fn note_frontends(&mut self, effects: &mut Vec<Effect>) {
        let Some(applied) = &self.applied else { return };
        self.frontends.0.retain(|name, lost| {
            let is_back = applied.base.frontends.get(name) == Some(&lost.frontend);
            if is_back {
                effects.push(Effect::Notice(Notice::FrontendBack(name.clone())));
            }
            !is_back
        });
    }

    /// Those that can't listen where they are wanted to, each with the reason.
    pub(super) fn lost_frontends(&self) -> BTreeMap<FrontendName, String> {
        let lost = self.frontends.0.iter();
        lost.map(|(name, lost)| (name.clone(), lost.reason.clone())).collect()
    }
}
