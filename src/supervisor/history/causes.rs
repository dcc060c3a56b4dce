//! What happened outside and is not answered yet.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::admin::history::{Cause, CauseEvent, Few};
use crate::engine::moment::Moment;
use crate::engine::service::ServiceName;

/// The most causes that a change tells.
const MOST_TOLD: usize = 5;

type Key = (Option<ServiceName>, CauseEvent);

/// Those that wait for a change; each kind once for each service.
#[derive(Debug, Default)]
pub(super) struct Causes(BTreeMap<Key, Seen>);

/// When and where it was seen first.
#[derive(Debug)]
struct Seen {
    origin: Option<String>,
    at: Moment,
}

/// Those that led to a change.
#[derive(Debug, Default)]
pub(super) struct Answered(BTreeMap<Key, Seen>);

impl Causes {
    /// Something happened.
    pub(super) fn note(
        &mut self,
        service: Option<&ServiceName>,
        event: CauseEvent,
        origin: Option<String>,
        now: Moment,
    ) {
        self.0.entry((service.cloned(), event)).or_insert(Seen { origin, at: now });
    }

    /// Takes those of these services; all, when none are named.
    pub(super) fn take(&mut self, services: Option<&BTreeSet<ServiceName>>) -> Answered {
        let Some(services) = services else { return Answered(std::mem::take(&mut self.0)) };
        let of_them = |key: &Key| key.0.as_ref().is_some_and(|name| services.contains(name));
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(|(key, _)| of_them(key));
        self.0 = left;
        Answered(taken)
    }

    /// What they led to failed: they wait on.
    pub(super) fn put_back(&mut self, answered: Answered) {
        for (key, seen) in answered.0 {
            // It is the earlier one.
            self.0.insert(key, seen);
        }
    }

    /// They led to nothing.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }
}

impl Answered {
    /// The first of them.
    pub(super) fn told(&self) -> Few<Cause> {
        let mut few = Few { total: self.0.len(), first: Vec::new() };
        for ((service, event), seen) in self.0.iter().take(MOST_TOLD) {
            let service = service.as_ref().map(ToString::to_string);
            few.first.push(Cause { event: *event, service, origin: seen.origin.clone() });
        }
        few
    }

    /// How long each of them has waited.
    pub(super) fn waits(&self, now: Moment) -> impl Iterator<Item = Duration> {
        self.0.values().map(move |seen| now - seen.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> ServiceName {
        ServiceName::parse(text).unwrap()
    }

    fn at(millis: u64) -> Moment {
        Moment::after_start(Duration::from_millis(millis))
    }

    #[test]
    fn a_change_takes_the_causes_of_its_services_and_a_failure_gives_them_back() {
        let mut causes = Causes::default();
        let (web, api) = (name("web"), name("api"));
        causes.note(Some(&web), CauseEvent::Servers, Some("file /s".into()), at(1));
        causes.note(Some(&web), CauseEvent::Servers, Some("file /other".into()), at(5));
        causes.note(Some(&api), CauseEvent::Defined, None, at(2));
        causes.note(None, CauseEvent::Includes, None, at(3));
        let of_web = causes.take(Some(&BTreeSet::from([web.clone()])));
        assert_eq!(of_web.waits(at(10)).max(), Some(Duration::from_millis(9)), "the first counts");
        let told = of_web.told();
        assert_eq!((told.total, told.first[0].origin.as_deref()), (1, Some("file /s")));
        causes.put_back(of_web);
        assert_eq!(causes.take(None).told().total, 3);
        causes.note(Some(&web), CauseEvent::Removed, None, at(4));
        causes.forget();
        assert_eq!(causes.take(None).told(), Few::default());
    }
}
