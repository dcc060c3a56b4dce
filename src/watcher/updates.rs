//! The way of what a watcher lists to who looks up its host names.

use std::sync::Arc;

use tokio::sync::watch;

use super::listed_set::ListedSet;
use crate::engine::service::ServiceName;

/// Where a watcher publishes. Equal sets stop here; the latest wins.
#[derive(Debug)]
pub struct Updates {
    service: ServiceName,
    sets: watch::Sender<Option<Arc<ListedSet>>>,
}

/// A way for the sets of `service`; the receiver holds `None` until the first.
pub fn updates(service: ServiceName) -> (Updates, watch::Receiver<Option<Arc<ListedSet>>>) {
    let (sets, receiver) = watch::channel(None);
    (Updates { service, sets }, receiver)
}

impl Updates {
    /// The service that is watched.
    pub fn service(&self) -> &ServiceName {
        &self.service
    }

    /// Publishes a whole set.
    pub fn publish(&self, set: ListedSet) {
        self.sets.send_if_modified(|last| {
            let differs = last.as_deref() != Some(&set);
            if differs {
                *last = Some(Arc::new(set));
            }
            differs
        });
    }
}

#[cfg(test)]
mod tests {
    use super::super::server_set::SkippedEntry;
    use super::*;

    #[test]
    fn an_equal_set_stops_at_the_door() {
        let (updates, mut sets) = updates(ServiceName::parse("web").unwrap());
        updates.publish(ListedSet::default());
        assert!(sets.has_changed().unwrap());
        assert_eq!(sets.borrow_and_update().as_deref(), Some(&ListedSet::default()));
        updates.publish(ListedSet::default());
        assert!(!sets.has_changed().unwrap());
        updates.publish(ListedSet::new(vec![], vec![SkippedEntry::new("n", "r")]));
        assert!(sets.has_changed().unwrap());
    }
}
