//! What the registries say that changes nothing, so that the reconciler doesn't hear of it: refusals, and what plays no part.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::service_manager::RegistryEvent;
use crate::watcher::ServerSet;

/// The most entries that are kept of one list.
const MOST_SKIPPED: usize = 20;

/// The latest remarks, by service.
#[derive(Clone, Debug, Default)]
pub(super) struct Remarks(BTreeMap<String, Remark>);

/// What is to be said of one service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Remark {
    /// Why its definition is refused.
    pub(super) refusal: Option<String>,
    unknown_keys: Vec<String>,
    registered: Skipped,
    fixed: Skipped,
}

/// The entries of one list that name no server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Skipped {
    count: usize,
    first: Vec<String>,
}

impl Remarks {
    /// Takes in what the registries say.
    pub(super) fn note(remarks: &mut Arc<Self>, event: &RegistryEvent) {
        match event {
            RegistryEvent::Defined { name, spec: _, definition: _, unknown_keys } => {
                let unknown_keys: Vec<_> =
                    unknown_keys.iter().map(|key| format!("unknown key: {key}")).collect();
                Self::change(remarks, name.as_str(), |remark| {
                    remark.refusal = None;
                    remark.unknown_keys = unknown_keys;
                });
            }
            RegistryEvent::Refused { name, reason } => {
                Self::change(remarks, name, |remark| remark.refusal = Some(reason.clone()));
            }
            RegistryEvent::Removed { name } => Self::change(remarks, name.as_str(), |remark| {
                *remark = Remark::default();
            }),
            RegistryEvent::Forgotten { name } => {
                Self::change(remarks, name, |remark| *remark = Remark::default());
            }
            RegistryEvent::Servers { name, servers } => {
                Self::change(remarks, name.as_str(), |remark| remark.registered = Skipped::of(servers));
            }
            RegistryEvent::FixedServers { name, servers } => {
                Self::change(remarks, name.as_str(), |remark| remark.fixed = Skipped::of(servers));
            }
            RegistryEvent::Listed | RegistryEvent::Remembered { .. } => {}
        }
    }

    /// Changes one remark; what says nothing takes no room. Most services have none, so most changes cost a look.
    fn change(remarks: &mut Arc<Self>, service: &str, change: impl FnOnce(&mut Remark)) {
        let before = remarks.0.get(service);
        let mut remark = before.cloned().unwrap_or_default();
        change(&mut remark);
        if before.is_none() && remark == Remark::default() || before == Some(&remark) {
            return;
        }
        let all = &mut Arc::make_mut(remarks).0;
        if remark == Remark::default() {
            all.remove(service);
        } else {
            all.insert(service.to_owned(), remark);
        }
    }

    pub(super) fn of(&self, service: &str) -> Option<&Remark> {
        self.0.get(service)
    }

    pub(super) fn is_refused(&self, service: &str) -> bool {
        self.of(service).is_some_and(|remark| remark.refusal.is_some())
    }

    /// How many entries of all registries name no server.
    pub(super) fn skipped(&self) -> usize {
        self.0.values().map(Remark::skipped).sum()
    }

    /// The services whose definition is refused.
    pub(super) fn refused(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter(|(_, remark)| remark.refusal.is_some()).map(|(name, _)| name.as_str())
    }
}

impl Remark {
    /// What plays no part, in words.
    pub(super) fn harmless(&self) -> impl Iterator<Item = &String> {
        self.unknown_keys.iter().chain(&self.registered.first).chain(&self.fixed.first)
    }

    /// How many entries name no server.
    pub(super) fn skipped(&self) -> usize {
        self.registered.count + self.fixed.count
    }
}

impl Skipped {
    fn of(servers: &ServerSet) -> Self {
        let skipped = servers.skipped();
        let first = skipped.iter().take(MOST_SKIPPED);
        Self {
            count: skipped.len(),
            first: first.map(|entry| format!("skipped {}: {}", entry.entry, entry.reason)).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::service::ServiceName;
    use crate::watcher::SkippedEntry;

    fn name() -> ServiceName {
        ServiceName::parse("web").unwrap()
    }

    fn servers(skipped: usize) -> RegistryEvent {
        let skipped = (0..skipped).map(|n| SkippedEntry::new(&format!("n{n:03}"), "no port")).collect();
        RegistryEvent::Servers { name: name(), servers: ServerSet::new(vec![], skipped) }
    }

    #[test]
    fn only_what_says_something_takes_room() {
        let mut remarks = Arc::default();
        Remarks::note(&mut remarks, &servers(0));
        assert!(remarks.0.is_empty());
        Remarks::note(&mut remarks, &RegistryEvent::Refused { name: "web".into(), reason: "bad".into() });
        Remarks::note(&mut remarks, &servers(50));
        let remark = remarks.of("web").unwrap();
        assert_eq!((remark.skipped(), remark.harmless().count()), (50, MOST_SKIPPED));
        assert_eq!(remark.harmless().next().unwrap(), "skipped n000: no port");
        assert_eq!(remarks.refused().collect::<Vec<_>>(), ["web"]);
        Remarks::note(&mut remarks, &servers(0));
        assert!(remarks.is_refused("web"));
        Remarks::note(&mut remarks, &RegistryEvent::Removed { name: name() });
        assert!(remarks.0.is_empty());
    }

    #[test]
    fn who_reads_an_older_state_keeps_it() {
        let mut remarks = Arc::default();
        Remarks::note(&mut remarks, &servers(1));
        let older = Arc::clone(&remarks);
        Remarks::note(&mut remarks, &servers(2));
        assert_eq!((older.of("web").unwrap().skipped(), remarks.of("web").unwrap().skipped()), (1, 2));
    }
}
