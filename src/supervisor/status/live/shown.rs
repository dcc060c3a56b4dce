//! What is shown, and what has to be shown anew. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use super::super::compose::{self, Brief, Facts};
use super::super::haproxy_view::HaproxyView;
use super::seen::{News, Replies, Seen};
use crate::admin::board::Update;
use crate::admin::live::{Figures, ServiceTraffic, Summary};
use crate::admin::status::RegistryStatus;
use crate::engine::moment::Moment;
use crate::engine::report::ServiceReport;
use crate::engine::service::ServiceName;
use crate::haproxy::traffic::Traffic;

/// What goes on by itself is shown so often: the summary, and how long a loss is still held.
pub(super) const PULSE: Duration = Duration::from_secs(1);

/// What is shown.
#[derive(Default)]
pub(super) struct Shown {
    facts: Option<Facts>,
    seen: Seen,
    services: BTreeMap<String, Brief>,
    traffic: HashMap<String, Figures>,
    summary: Option<Summary>,
    last_pulse: Option<Moment>,
    /// The summary is another than what is shown.
    owes_summary: bool,
}

impl Shown {
    /// Whether nothing is known from `HAProxy`.
    pub(super) fn is_blind(&self) -> bool {
        self.seen.is_blind()
    }

    /// Whether something is to be shown at the next [`PULSE`].
    pub(super) fn waits_for_pulse(&self) -> bool {
        self.owes_summary || self.services.values().any(|service| service.is_held)
    }

    /// Whether it is time for what goes on by itself.
    fn is_pulse(&self, now: Moment) -> bool {
        self.last_pulse.is_none_or(|last| now - last >= PULSE)
    }

    /// The services of which the loop knows something else than is shown, those that are gone included.
    pub(super) fn differing(&self, facts: &Facts) -> BTreeSet<String> {
        let Some(before) = &self.facts else { return names(facts).map(str::to_owned).collect() };
        let is_based_anew = !Arc::ptr_eq(&before.report.base, &facts.report.base);
        let same_remarks = Arc::ptr_eq(&before.remarks, &facts.remarks);
        let is_pulse = self.is_pulse(facts.now);
        let is_other_reload = before.report.reload != facts.report.reload;
        let differs = |name: &&str| {
            let parsed = ServiceName::parse(name).ok();
            let [one, other] = [before, facts].map(|facts| parsed.as_ref().map(|name| known_of(facts, name)));
            is_based_anew
                || one != other
                || !same_remarks && before.remarks.of(name) != facts.remarks.of(name)
                || is_pulse && self.services.get(*name).is_some_and(|service| service.is_held)
                || is_other_reload && self.services.get(*name).is_some_and(|service| service.waits)
        };
        names(before).chain(names(facts)).filter(differs).map(str::to_owned).collect()
    }

    /// Shows what is known now: of the `differing` services, and of those of which `HAProxy` tells something else.
    pub(super) fn renew(
        &mut self,
        facts: Facts,
        mut differing: BTreeSet<String>,
        replies: Replies,
        registries: Vec<RegistryStatus>,
    ) -> Update {
        let News { view, other, traffic } = self.seen.take_in(replies, &differing);
        // A section of an included file is no service.
        differing.extend(other.into_iter().filter(|name| self.services.contains_key(name)));
        let mut update = Update::default();
        let nothing = ServiceReport::default();
        for name in differing {
            let report = ServiceName::parse(&name).ok().and_then(|name| facts.report.services.get(&name));
            if report.is_none() && !facts.remarks.is_refused(&name) {
                if self.services.remove(&name).is_some() {
                    self.traffic.remove(&name);
                    self.seen.forget(&name);
                    update.gone.push(name);
                }
                continue;
            }
            let service = compose::service(&name, report.unwrap_or(&nothing), &facts, view.as_ref().ok());
            self.services.insert(name.clone(), Brief::of(&service));
            if let Ok(json) = serde_json::to_string(&service.1) {
                update.services.push((name, json));
            }
        }
        update.traffic = self.other_traffic(traffic);
        update.summary = self.other_summary(&facts, view.as_ref(), registries);
        self.facts = Some(facts);
        update
    }

    fn other_traffic(&mut self, told: HashMap<String, Traffic>) -> Vec<(String, String)> {
        let mut other = Vec::new();
        for (name, traffic) in told {
            let figures = figures(&traffic);
            if !self.services.contains_key(&name) || self.traffic.get(&name) == Some(&figures) {
                continue;
            }
            let json = serde_json::to_string(&ServiceTraffic { name: name.clone(), figures });
            self.traffic.insert(name.clone(), figures);
            other.extend(json.ok().map(|json| (name, json)));
        }
        other
    }

    fn other_summary(
        &mut self,
        facts: &Facts,
        view: Result<&HaproxyView, &String>,
        registries: Vec<RegistryStatus>,
    ) -> Option<String> {
        let summary = Summary {
            proxymgr: compose::proxymgr(facts),
            haproxy: compose::haproxy(facts, view),
            last_reload: compose::last_reload(facts),
            counts: compose::counts(self.services.values().copied()),
            includes: compose::includes(facts),
            values: compose::values(facts),
            frontends: compose::frontends(facts),
            template: compose::template(facts),
            limits: facts.report.limits.clone(),
            registries,
        };
        let ageless = summary.without_ages();
        self.owes_summary = self.summary.as_ref() != Some(&ageless);
        if !self.is_pulse(facts.now) {
            return None;
        }
        self.last_pulse = Some(facts.now);
        if !std::mem::take(&mut self.owes_summary) {
            return None;
        }
        self.summary = Some(ageless);
        serde_json::to_string(&summary).ok()
    }
}

fn names(facts: &Facts) -> impl Iterator<Item = &str> {
    facts.report.services.keys().map(ServiceName::as_str).chain(facts.remarks.refused())
}

/// What is compared costs little where nothing changed: it is the same in memory.
fn known_of<'a>(facts: &'a Facts, name: &ServiceName) -> (Option<&'a ServiceReport>, Option<*const u8>) {
    let note = facts.notes.get(name).map(|note| Arc::as_ptr(note).cast::<u8>());
    (facts.report.services.get(name), note)
}

/// The figures as they are told.
pub(super) fn figures(traffic: &Traffic) -> Figures {
    Figures {
        sessions: traffic.sessions,
        per_s: traffic.per_second,
        total: traffic.total,
        bytes_in: traffic.bytes_in,
        bytes_out: traffic.bytes_out,
        errors: traffic.errors,
    }
}
