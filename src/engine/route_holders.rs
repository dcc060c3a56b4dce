//! Who has which route, while services are admitted one after the other.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::http_frontend::HttpFrontend;
use super::policy::Obstacle;
use super::route::{FrontendName, RouteId, Routes};
use super::section::Section;
use super::service::ServiceName;
use super::side_by_side::{Held, side_by_side};
use super::state::AppliedState;

/// There may be thousands, of which few change: those that stay are not looked at one by one.
pub(super) struct RouteHolders<'a> {
    /// What runs.
    running: Option<&'a AppliedState>,
    /// Those that keep the routes by which they are reached now: most, of which each has its own.
    settled: Vec<(&'a ServiceName, &'a Routes)>,
    /// Of all others.
    routes: HashMap<&'a RouteId, &'a ServiceName>,
}

impl<'a> RouteHolders<'a> {
    /// Nobody has any yet.
    pub(super) fn beside(running: Option<&'a AppliedState>) -> Self {
        Self { running, settled: Vec::new(), routes: HashMap::new() }
    }

    /// The routes by which a service is reached now.
    fn runs(&self, service: &ServiceName) -> Option<&'a Arc<Routes>> {
        let runs = self.running?.services.get(service).filter(|runs| runs.takes_connections());
        runs.map(|runs| &runs.section.routes)
    }

    /// Of those that run nobody has another's route; so only what is new of `section` may be taken.
    fn check_settled(&mut self, service: &ServiceName, section: &'a Section) -> Result<(), Obstacle> {
        let new: Vec<_> = match self.runs(service) {
            None => section.routes.keys().collect(),
            Some(runs) => side_by_side(runs, &section.routes)
                .filter_map(|(route, held)| matches!(held, Held::Right(_)).then_some(route))
                .collect(),
        };
        let all: usize = self.settled.iter().map(|(_, routes)| routes.len()).sum();
        if new.len().saturating_mul(self.settled.len()) > all {
            for (holder, routes) in std::mem::take(&mut self.settled) {
                self.routes.extend(routes.keys().map(|route| (route, holder)));
            }
        }
        for route in new {
            if let Some((by, _)) = self.settled.iter().find(|(_, routes)| routes.contains_key(route)) {
                return Err(Obstacle::RouteTaken { route: route.clone(), by: (*by).clone() });
            }
        }
        Ok(())
    }

    /// Takes all routes, or none.
    pub(super) fn take(
        &mut self,
        service: &'a ServiceName,
        section: &'a Section,
        frontends: &BTreeMap<FrontendName, HttpFrontend>,
    ) -> Result<(), Obstacle> {
        if section.routes.is_empty() {
            return Ok(());
        }
        // Nobody else has taken any yet that it has.
        let is_settled = self.runs(service).is_some_and(|runs| Arc::ptr_eq(runs, &section.routes));
        if is_settled && self.routes.is_empty() {
            let are_there = |running: &AppliedState| running.base.frontends.keys().eq(frontends.keys());
            if !self.running.is_some_and(are_there) {
                let missing = |route: &&RouteId| !frontends.contains_key(&route.frontend);
                if let Some(route) = section.routes.keys().find(missing) {
                    return Err(Obstacle::NoFrontend { frontend: route.frontend.clone() });
                }
            }
            self.settled.push((service, &section.routes));
            return Ok(());
        }
        self.check_settled(service, section)?;
        let mut last = None;
        for route in section.routes.keys() {
            let frontend = &route.frontend;
            let obstacle = if last != Some(frontend) && !frontends.contains_key(frontend) {
                Obstacle::NoFrontend { frontend: frontend.clone() }
            } else {
                match self.routes.entry(route) {
                    Entry::Vacant(free) => {
                        free.insert(service);
                        last = Some(frontend);
                        continue;
                    }
                    Entry::Occupied(held) => {
                        Obstacle::RouteTaken { route: route.clone(), by: (*held.get()).clone() }
                    }
                }
            };
            for taken in section.routes.keys().take_while(|taken| *taken != route) {
                self.routes.remove(taken);
            }
            return Err(obstacle);
        }
        Ok(())
    }
}
