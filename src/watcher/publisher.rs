//! The way of server sets to who asked for them.

use std::collections::BTreeSet;

use tokio::sync::watch;
use tracing::warn;

use super::server_set::{ServerSet, SkippedEntry};
use crate::engine::service::ServiceName;

/// The most entries named in the log for one set.
const MAX_WARNINGS: usize = 20;

/// Where the servers of a service are published, each with its address. Equal sets stop here; the latest wins.
#[derive(Debug)]
pub struct Publisher {
    service: ServiceName,
    sets: watch::Sender<Option<ServerSet>>,
    warned: BTreeSet<SkippedEntry>,
}

/// A way for the servers of `service`; the receiver holds `None` until the first.
pub fn publisher(service: ServiceName) -> (Publisher, watch::Receiver<Option<ServerSet>>) {
    let (sets, receiver) = watch::channel(None);
    (Publisher { service, sets, warned: BTreeSet::new() }, receiver)
}

impl Publisher {
    /// The service whose servers they are.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// Publishes a whole set; entries that are skipped for the first time are logged.
    pub(super) fn publish(&mut self, set: ServerSet) {
        self.warn_of_new(set.skipped());
        self.sets.send_if_modified(|last| {
            let differs = last.as_ref() != Some(&set);
            if differs {
                *last = Some(set);
            }
            differs
        });
    }

    fn warn_of_new(&mut self, skipped: &[SkippedEntry]) {
        let new: Vec<_> = skipped.iter().filter(|entry| !self.warned.contains(*entry)).collect();
        for SkippedEntry { entry, reason } in new.iter().take(MAX_WARNINGS) {
            warn!(service = %self.service, entry, reason, "server entry skipped");
        }
        if let Some(more) = new.len().checked_sub(MAX_WARNINGS).filter(|more| *more > 0) {
            warn!(service = %self.service, more, "further server entries skipped");
        }
        // Only what is wrong now is kept, which bounds it by the registry's size.
        self.warned = skipped.iter().cloned().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_equal_set_stops_at_the_door() {
        let (mut publisher, mut sets) = publisher(ServiceName::parse("web").unwrap());
        publisher.publish(ServerSet::default());
        assert_eq!(*sets.borrow_and_update(), Some(ServerSet::default()));
        publisher.publish(ServerSet::default());
        assert!(!sets.has_changed().unwrap());
        publisher.publish(ServerSet::new(vec![], vec![SkippedEntry::new("n", "r")]));
        assert!(sets.has_changed().unwrap());
    }
}
