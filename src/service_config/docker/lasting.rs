//! Services whose last container has ended, for a while.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

use crate::service_config::listing::{Entry, Listing};

/// As long as a container takes that is stopped and started again: Docker gives it 10 s to end.
const STAYS: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub(super) struct Lasting {
    services: BTreeMap<String, Service>,
}

#[derive(Debug)]
struct Service {
    entry: Entry,
    /// Since when there is no container.
    ends: Option<Instant>,
}

impl Lasting {
    /// These have containers now.
    pub(super) fn update(&mut self, listing: Listing, now: Instant) {
        for (name, service) in &mut self.services {
            if !listing.contains_key(name) {
                service.ends.get_or_insert(now + STAYS);
            }
        }
        let there = listing.into_iter().map(|(name, entry)| (name, Service { entry, ends: None }));
        self.services.extend(there);
        self.expire(now);
    }

    pub(super) fn expire(&mut self, now: Instant) {
        self.services.retain(|_, service| service.ends.is_none_or(|ends| ends > now));
    }

    /// When the next one ends.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.services.values().filter_map(|service| service.ends).min()
    }

    pub(super) fn listing(&self) -> Listing {
        self.services.iter().map(|(name, service)| (name.clone(), service.entry.clone())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: &[&str]) -> Listing {
        let entry = |name: &&str| Entry::Unreadable { origin: (*name).to_owned(), reason: String::new() };
        names.iter().map(|name| ((*name).to_owned(), entry(name))).collect()
    }

    #[test]
    fn a_service_outlives_its_last_container_for_a_while_and_may_come_back() {
        let start = Instant::now();
        let names = |lasting: &Lasting| lasting.listing().into_keys().collect::<Vec<_>>();
        let mut lasting = Lasting::default();
        lasting.update(listing(&["a", "b"]), start);
        assert_eq!(lasting.deadline(), None);
        lasting.update(listing(&[]), start);
        assert_eq!(
            (names(&lasting), lasting.deadline()),
            (vec!["a".into(), "b".into()], Some(start + STAYS))
        );
        let later = start + STAYS / 2;
        lasting.update(listing(&["b"]), later);
        lasting.expire(start + STAYS);
        assert_eq!((names(&lasting), lasting.deadline()), (vec!["b".to_owned()], None));
        lasting.update(listing(&[]), later);
        lasting.update(listing(&[]), start + STAYS);
        assert_eq!(lasting.deadline(), Some(later + STAYS), "the time runs from the last container's end");
        lasting.update(listing(&[]), later + STAYS);
        assert!(names(&lasting).is_empty());
    }
}
