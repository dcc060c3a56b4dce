//! What there is to tell of all this.

use std::collections::BTreeMap;

use super::{Phase, Reconciler, UnderWay};
use crate::engine::report::{ReloadAhead, Report, ServiceReport, Stage, Wanted};
use crate::engine::state::AppliedState;

impl Reconciler {
    /// All that is known, wanted and done. It shares what it tells of: a few words for each service.
    pub fn report(&self) -> Report {
        let mut services: BTreeMap<_, ServiceReport> = BTreeMap::new();
        for (name, wanted) in self.known.wanted() {
            let obstacle = self.obstacles.get(name).cloned();
            services.insert(name.clone(), ServiceReport { wanted: Some(wanted), obstacle, runs: None });
        }
        let running = self.applied.as_ref().filter(|_| self.phase == Phase::Running);
        for (name, service) in running.into_iter().flat_map(AppliedState::serving) {
            let report = services.entry(name.clone()).or_default();
            report.runs = Some(service.clone());
            report.obstacle = report.obstacle.take().or_else(|| self.obstacles.get(name).cloned());
            if self.taken_over && report.wanted.is_none() {
                report.wanted = Some(Wanted::of_unheard(service));
            }
        }
        let stage = match self.phase {
            Phase::Collecting => Stage::Collecting,
            Phase::Starting => Stage::Starting,
            Phase::Running => Stage::Serving,
            Phase::Down => Stage::Down,
        };
        let reload = match self.under_way {
            Some(UnderWay::Reload { .. }) => ReloadAhead::UnderWay,
            Some(UnderWay::Apply { .. } | UnderWay::Compare | UnderWay::Forgotten) | None => {
                self.reload_due().map_or(ReloadAhead::None, ReloadAhead::Waits)
            }
        };
        let (base, includes) = (self.settings.base.clone(), self.includes.told().to_vec());
        let limits = self.limits().iter().map(|warning| warning.text.clone()).collect();
        let (frontends, refused_includes) = (self.lost_frontends(), includes);
        // One that fails with the servers of now stays in use, and is told until it does not.
        let template = self.applied.as_ref().and_then(|applied| applied.template.as_ref());
        let is_the_templates =
            |why: &&String| template.is_some_and(|template| why.starts_with(template.path()));
        let unwritten = self.config_unwritten.as_ref().filter(is_the_templates);
        let refused_template = self.template.told().map(str::to_owned).or_else(|| unwritten.cloned());
        Report { stage, reload, base, services, frontends, refused_includes, refused_template, limits }
    }
}
