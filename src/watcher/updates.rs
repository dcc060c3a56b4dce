//! The way of server sets from a watcher to who asked for them.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;
use tracing::warn;

use super::server_set::{ServerSet, SkippedEntry};
use crate::engine::service::ServiceName;

/// The most entries named in the log for one set.
const MAX_WARNINGS: usize = 20;

/// Where a watcher publishes. Equal sets stop here; the latest wins.
#[derive(Debug)]
pub struct Updates {
    service: ServiceName,
    sets: watch::Sender<Option<ServerSet>>,
    warned: Mutex<BTreeSet<SkippedEntry>>,
}

/// A way for the sets of `service`; the receiver holds `None` until the first.
pub fn updates(service: ServiceName) -> (Updates, watch::Receiver<Option<ServerSet>>) {
    let (sets, receiver) = watch::channel(None);
    (Updates { service, sets, warned: Mutex::default() }, receiver)
}

impl Updates {
    /// The service that is watched.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// Publishes a whole set; entries that are skipped for the first time are logged.
    pub fn publish(&self, set: ServerSet) {
        self.warn_of_new(set.skipped());
        self.sets.send_if_modified(|last| {
            let differs = last.as_ref() != Some(&set);
            if differs {
                *last = Some(set);
            }
            differs
        });
    }

    fn warn_of_new(&self, skipped: &[SkippedEntry]) {
        let mut warned = self.warned.lock().unwrap_or_else(PoisonError::into_inner);
        let new: Vec<_> = skipped.iter().filter(|entry| !warned.contains(*entry)).collect();
        for SkippedEntry { entry, reason } in new.iter().take(MAX_WARNINGS) {
            warn!(service = %self.service, entry, reason, "server entry skipped");
        }
        if let Some(more) = new.len().checked_sub(MAX_WARNINGS).filter(|more| *more > 0) {
            warn!(service = %self.service, more, "further server entries skipped");
        }
        // Only what is wrong now is kept, which bounds it by the registry's size.
        *warned = skipped.iter().cloned().collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_equal_set_stops_at_the_door() {
        let (updates, mut sets) = updates(ServiceName::parse("web").unwrap());
        updates.publish(ServerSet::default());
        assert!(sets.has_changed().unwrap());
        assert_eq!(*sets.borrow_and_update(), Some(ServerSet::default()));
        updates.publish(ServerSet::default());
        assert!(!sets.has_changed().unwrap());
        updates.publish(ServerSet::new(vec![], vec![SkippedEntry::new("n", "r")]));
        assert!(sets.has_changed().unwrap());
    }
}
