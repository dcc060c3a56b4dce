//! Which definitions have proved themselves: a process that takes a configuration, and serves, may still be killed by it.
//!
//! Each part of a configuration is on trial until it has served for a while without a death. One under which process after
//! process dies is given up for the last one that proved itself. Who of several is to blame can't be told: all that were on
//! trial go, and are tried again later, one after the other. Servers are not on trial: they come and go all the time.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::engine::backoff::Backoff;
use crate::engine::include::Includes;
use crate::engine::moment::Moment;
use crate::engine::section::{Base, Section};
use crate::engine::service::ServiceName;
use crate::engine::state::AppliedState;
use crate::engine::template::Template;

/// What has served for this long without a death has proved itself.
const PROVED_AFTER: Duration = Duration::from_secs(60);
/// The same while nothing else has: better than nothing.
const FIRST_PROVED_AFTER: Duration = Duration::from_secs(10);
/// So many deaths, each within [`PROVED_AFTER`] of the start, and what is on trial is given up.
pub(super) const DEATHS: u32 = 3;
/// The first other try of what was given up...
pub(super) const TRIED_AGAIN_FIRST: Duration = Duration::from_secs(10 * 60);
/// ...and the longest wait for one.
const TRIED_AGAIN_LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// Those that were given up together are tried one by one.
const ONE_BY_ONE: Duration = Duration::from_secs(2 * PROVED_AFTER.as_secs());

/// A part of a configuration that changes by itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Part {
    /// `global` and `defaults`.
    Base,
    /// The included files.
    Includes,
    /// The template.
    Template,
    /// A service's section, without its servers.
    Service(ServiceName),
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Base => f.write_str("global and defaults"),
            Self::Includes => f.write_str("the included files"),
            Self::Template => f.write_str("the template"),
            Self::Service(service) => write!(f, "service {service}"),
        }
    }
}

/// A configuration without its servers.
#[derive(Clone, Debug)]
pub(super) struct Topology {
    pub(super) base: Arc<Base>,
    pub(super) includes: Arc<Includes>,
    pub(super) template: Option<Template>,
    pub(super) sections: BTreeMap<ServiceName, Arc<Section>>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Trial {
    /// When the process was started that serves it; `None` while none does.
    since: Option<Moment>,
    deaths: u32,
}

/// What has proved itself, and what has yet to.
#[derive(Debug, Default)]
pub(super) struct Trials {
    /// `None` until something has.
    proved: Option<Topology>,
    /// What the serving process, or the last one, was loaded with.
    loaded: Option<Topology>,
    on_trial: BTreeMap<Part, Trial>,
    /// How long what was given up waits the next time.
    waits: BTreeMap<Part, Backoff>,
}

impl Topology {
    fn of(applied: &AppliedState) -> Self {
        let sections = applied.serving().map(|(name, service)| (name.clone(), service.section.clone()));
        Self {
            base: applied.base.clone(),
            includes: applied.includes.clone(),
            template: applied.template.clone(),
            sections: sections.collect(),
        }
    }

    fn parts(&self) -> impl Iterator<Item = Part> {
        let services = self.sections.keys().cloned().map(Part::Service);
        [Part::Base, Part::Includes, Part::Template].into_iter().chain(services)
    }

    fn agrees_on(&self, part: &Part, other: &Self) -> bool {
        match part {
            Part::Base => self.base == other.base,
            Part::Includes => self.includes == other.includes,
            Part::Template => self.template == other.template,
            Part::Service(service) => match (self.sections.get(service), other.sections.get(service)) {
                // Routes come and go without a new process, as servers do.
                (Some(one), Some(other)) => one.reads_as(other),
                (one, other) => one == other,
            },
        }
    }

    fn take(&mut self, part: &Part, from: &Self) {
        match part {
            Part::Base => self.base = from.base.clone(),
            Part::Includes => self.includes = from.includes.clone(),
            Part::Template => self.template.clone_from(&from.template),
            Part::Service(service) => {
                if let Some(section) = from.sections.get(service) {
                    self.sections.insert(service.clone(), section.clone());
                }
            }
        }
    }
}

impl Trials {
    /// What runs already when this begins is trusted.
    pub(super) fn trusting(applied: &AppliedState) -> Self {
        let runs = Topology::of(applied);
        Self { proved: Some(runs.clone()), loaded: Some(runs), ..Self::default() }
    }

    /// What has proved itself last.
    pub(super) fn proved(&self) -> Option<&Topology> {
        self.proved.as_ref()
    }

    /// What the serving process, or the last one, was loaded with.
    pub(super) fn loaded(&self) -> Option<&Topology> {
        self.loaded.as_ref()
    }

    /// A process serves `applied` from `now` on.
    pub(super) fn begin(&mut self, applied: &AppliedState, now: Moment) {
        self.settle(now);
        let topology = Topology::of(applied);
        let before = self.loaded.as_ref();
        let proved = self.proved.as_ref();
        let unproved =
            topology.parts().filter(|part| !proved.is_some_and(|proved| proved.agrees_on(part, &topology)));
        let on_trial = unproved.map(|part| {
            let goes_on = before.is_some_and(|before| before.agrees_on(&part, &topology));
            let trial = self.on_trial.get(&part).filter(|_| goes_on).copied().unwrap_or_default();
            let since = trial.since.or(Some(now));
            (part, Trial { since, ..trial })
        });
        self.on_trial = on_trial.collect();
        if let Some(proved) = &mut self.proved {
            proved.sections.retain(|service, _| topology.sections.contains_key(service));
        }
        self.loaded = Some(topology);
    }

    /// The serving process died. Gives what is given up for it, each with how long it waits for another try.
    pub(super) fn death(&mut self, now: Moment) -> Vec<(Part, Duration)> {
        self.settle(now);
        for trial in self.on_trial.values_mut() {
            *trial = Trial { since: None, deaths: trial.deaths + 1 };
        }
        // Without anything better there is nothing to go back to.
        if self.proved.is_none() {
            return Vec::new();
        }
        let guilty: Vec<_> = self
            .on_trial
            .iter()
            .filter(|(_, trial)| trial.deaths >= DEATHS)
            .map(|(part, _)| part.clone())
            .collect();
        if !guilty.is_empty() {
            // The others may have nothing to do with it.
            self.on_trial.retain(|part, _| !guilty.contains(part));
            self.on_trial.values_mut().for_each(|trial| trial.deaths = 0);
        }
        let wait = |(number, part): (u32, Part)| {
            let first = || Backoff::new(TRIED_AGAIN_FIRST, TRIED_AGAIN_LONGEST);
            let wait = self.waits.entry(part.clone()).or_insert_with(first).next_wait();
            (part, wait + ONE_BY_ONE * number)
        };
        (0..).zip(guilty).map(wait).collect()
    }

    /// Whether a definition of `service` was given up, and none has proved itself since.
    pub(super) fn was_given_up(&self, service: &ServiceName) -> bool {
        self.waits.contains_key(&Part::Service(service.clone()))
    }

    /// Notes what has served for long enough.
    fn settle(&mut self, now: Moment) {
        let Some(loaded) = &self.loaded else { return };
        let enough = if self.proved.is_some() { PROVED_AFTER } else { FIRST_PROVED_AFTER };
        let has_proved_itself = |trial: &Trial| trial.since.is_some_and(|since| now - since >= enough);
        let proved: Vec<_> = self
            .on_trial
            .iter()
            .filter(|(_, trial)| has_proved_itself(trial))
            .map(|(part, _)| part.clone())
            .collect();
        for part in proved {
            let topology = self.proved.get_or_insert_with(|| Topology {
                base: loaded.base.clone(),
                includes: loaded.includes.clone(),
                template: loaded.template.clone(),
                sections: BTreeMap::new(),
            });
            topology.take(&part, loaded);
            self.on_trial.remove(&part);
            self.waits.remove(&part);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::fixtures::{desired, name};

    fn applied(services: &[(&str, u16)]) -> AppliedState {
        let services: Vec<_> = services.iter().map(|(name, port)| (*name, *port, "", &[][..])).collect();
        AppliedState::loaded(&desired(&services), None)
    }

    fn at(seconds: u64) -> Moment {
        Moment::after_start(Duration::from_secs(seconds))
    }

    fn names(guilty: &[(Part, Duration)]) -> Vec<String> {
        guilty.iter().map(|(part, _)| part.to_string()).collect()
    }

    #[test]
    fn what_is_new_is_given_up_after_three_deaths_and_what_proved_itself_stays() {
        let mut trials = Trials::default();
        trials.begin(&applied(&[("a", 80), ("b", 81)]), at(0));
        let changed = applied(&[("a", 80), ("b", 99), ("c", 82)]);
        trials.begin(&changed, at(100));
        assert_eq!(trials.proved().unwrap().sections.len(), 2);
        for second in [101, 130] {
            assert!(trials.death(at(second)).is_empty());
            trials.begin(&changed, at(second));
        }
        let guilty = trials.death(at(189));
        assert_eq!(names(&guilty), ["service b", "service c"]);
        assert_eq!(guilty[1].1, guilty[0].1 + ONE_BY_ONE, "they are tried one by one");
        let back = applied(&[("a", 80), ("b", 81)]);
        trials.begin(&back, at(190));
        assert!((191..200).all(|second| trials.death(at(second)).is_empty()), "nothing is on trial");
    }

    #[test]
    fn deaths_count_only_while_on_trial_and_a_long_life_ends_it() {
        let mut trials = Trials::trusting(&applied(&[("a", 80)]));
        let with_b = applied(&[("a", 80), ("b", 81)]);
        for second in [0, 10] {
            trials.begin(&with_b, at(second));
            assert!(trials.death(at(second)).is_empty());
        }
        trials.begin(&with_b, at(20));
        // A reload that doesn't touch it neither ends nor lengthens its trial.
        trials.begin(&applied(&[("a", 80), ("b", 81), ("c", 82)]), at(50));
        assert!(trials.death(at(80)).is_empty(), "b has lived for a minute, c saw its first death");
        assert_eq!(trials.proved().unwrap().sections[&name("b")].listen[0].to_string(), "0.0.0.0:81");
    }

    #[test]
    fn without_anything_that_proved_itself_nothing_is_given_up() {
        let mut trials = Trials::default();
        for second in 0..10 {
            trials.begin(&applied(&[("a", 80)]), at(second));
            assert!(trials.death(at(second)).is_empty());
        }
    }

    #[test]
    fn who_is_given_up_again_waits_longer_until_it_has_proved_itself() {
        let mut trials = Trials::trusting(&applied(&[("a", 80)]));
        let with_b = applied(&[("a", 80), ("b", 81)]);
        let mut waits = Vec::new();
        for round in 0..3 {
            let second = round * 1000;
            for death in 1..=DEATHS {
                trials.begin(&with_b, at(second));
                let guilty = trials.death(at(second));
                assert_eq!(guilty.is_empty(), death < DEATHS);
                waits.extend(guilty.into_iter().map(|(_, wait)| wait));
            }
            trials.begin(&applied(&[("a", 80)]), at(second));
        }
        assert_eq!(waits, [TRIED_AGAIN_FIRST, TRIED_AGAIN_FIRST * 2, TRIED_AGAIN_FIRST * 4]);
    }
}
