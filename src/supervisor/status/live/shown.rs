//! What is shown, and what has to be shown anew. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use super::super::compose::{self, Brief, Facts};
use super::super::haproxy_view::HaproxyView;
use super::seen::Seen;
use crate::admin::board::Update;
use crate::admin::live::{Figures, RegistryStatus, ServiceTraffic, Summary};
use crate::engine::report::ServiceReport;
use crate::engine::service::ServiceName;
use crate::haproxy::traffic::Traffic;

/// What is shown.
pub(super) struct Shown {
    facts: Option<Facts>,
    view: Result<HaproxyView, String>,
    services: BTreeMap<String, Brief>,
    traffic: HashMap<String, Figures>,
    summary: Option<Summary>,
}

impl Default for Shown {
    fn default() -> Self {
        Self {
            facts: None,
            view: Err("it has not been asked yet".to_owned()),
            services: BTreeMap::new(),
            traffic: HashMap::new(),
            summary: None,
        }
    }
}

impl Shown {
    /// Whether nothing is known from `HAProxy`.
    pub(super) fn is_blind(&self) -> bool {
        self.view.is_err()
    }

    /// The services of which the loop knows something else than is shown, those that are gone included.
    pub(super) fn differing(&self, facts: &Facts) -> BTreeSet<String> {
        let Some(before) = &self.facts else { return names(facts).map(str::to_owned).collect() };
        let is_based_anew = !Arc::ptr_eq(&before.report.base, &facts.report.base);
        let same_remarks = Arc::ptr_eq(&before.remarks, &facts.remarks);
        let differs = |name: &&str| {
            let parsed = ServiceName::parse(name).ok();
            let [one, other] = [before, facts].map(|facts| parsed.as_ref().map(|name| known_of(facts, name)));
            is_based_anew
                || one != other
                || !same_remarks && before.remarks.of(name) != facts.remarks.of(name)
        };
        names(before).chain(names(facts)).filter(differs).map(str::to_owned).collect()
    }

    /// Shows what is known now; `differing` services, and those of which `HAProxy` tells something else.
    pub(super) fn renew(
        &mut self,
        facts: Facts,
        mut differing: BTreeSet<String>,
        seen: Seen,
        registries: Vec<RegistryStatus>,
    ) -> Update {
        let traffic = self.take_in(seen, &mut differing);
        let held = self.services.iter().filter(|(_, brief)| brief.is_held).map(|(name, _)| name.clone());
        // What is told of a loss has the time until it is believed.
        differing.extend(held);
        let mut update = Update::default();
        let nothing = ServiceReport::default();
        for name in differing {
            let report = ServiceName::parse(&name).ok().and_then(|name| facts.report.services.get(&name));
            if report.is_none() && !facts.remarks.is_refused(&name) {
                if self.services.remove(&name).is_some() {
                    self.traffic.remove(&name);
                    update.gone.push(name);
                }
                continue;
            }
            let service =
                compose::service(&name, report.unwrap_or(&nothing), &facts, self.view.as_ref().ok());
            self.services.insert(name.clone(), Brief::of(&service));
            if let Ok(json) = serde_json::to_string(&service.1) {
                update.services.push((name, json));
            }
        }
        update.traffic = self.other_traffic(traffic);
        update.summary = self.other_summary(&facts, registries);
        self.facts = Some(facts);
        update
    }

    /// Takes in what `HAProxy` tells, and adds the services to `differing` of which it tells something else.
    fn take_in(&mut self, seen: Seen, differing: &mut BTreeSet<String>) -> HashMap<String, Traffic> {
        match seen {
            Seen::All { view, traffic } => {
                let before = self.view.as_ref().ok();
                let differs =
                    |name: &&String| before.and_then(|before| before.servers(name)) != view.servers(name);
                differing.extend(self.services.keys().filter(differs).cloned());
                self.view = Ok(view);
                traffic
            }
            Seen::Some { info, servers } => {
                if let Ok(view) = &mut self.view {
                    view.info = info;
                    for (name, states) in servers {
                        view.renew(&name, states);
                    }
                }
                HashMap::new()
            }
            Seen::Nothing(why) => {
                if self.view.is_ok() {
                    differing.extend(self.services.keys().cloned());
                }
                self.view = Err(why);
                HashMap::new()
            }
        }
    }

    fn other_traffic(&mut self, seen: HashMap<String, Traffic>) -> Vec<(String, String)> {
        let mut other = Vec::new();
        for (name, traffic) in seen {
            let figures = figures(&traffic);
            // A section of an included file is no service.
            if !self.services.contains_key(&name) || self.traffic.get(&name) == Some(&figures) {
                continue;
            }
            let json = serde_json::to_string(&ServiceTraffic { name: name.clone(), figures });
            self.traffic.insert(name.clone(), figures);
            other.extend(json.ok().map(|json| (name, json)));
        }
        other
    }

    fn other_summary(&mut self, facts: &Facts, registries: Vec<RegistryStatus>) -> Option<String> {
        let summary = Summary {
            proxymgr: compose::proxymgr(facts),
            haproxy: compose::haproxy(facts, self.view.as_ref()),
            last_reload: compose::last_reload(facts),
            counts: compose::counts(self.services.values().copied()),
            includes: compose::includes(facts),
            limits: facts.report.limits.clone(),
            registries,
        };
        let ageless = summary.without_ages();
        if self.summary.as_ref() == Some(&ageless) {
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
