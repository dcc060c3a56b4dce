//! The host names that one service looks up now.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;

use tokio::task::{AbortHandle, JoinSet};

use crate::dns::{Followed, Names, Nameservers, Progress, RefreshRules};
use crate::engine::host_name::HostName;

/// What is known of a name.
pub(super) type Addresses = Progress<BTreeSet<IpAddr>>;

/// Follows names until they are let go, or this is dropped.
#[derive(Debug)]
pub(super) struct Lookups {
    names: Names,
    /// Each waits for news of one name.
    waiting: JoinSet<(HostName, Followed<BTreeSet<IpAddr>>)>,
    tasks: BTreeMap<HostName, AbortHandle>,
}

impl Lookups {
    pub(super) fn new(names: Names) -> Self {
        Self { names, waiting: JoinSet::new(), tasks: BTreeMap::new() }
    }

    /// Follows one more name, as the system looks it up; others may know something of it already.
    pub(super) fn begin(&mut self, name: &HostName) -> Addresses {
        let followed = self.names.addresses(&Nameservers::System, name, RefreshRules::default());
        let known = followed.progress();
        self.wait(name.clone(), followed);
        known
    }

    /// Lets go of all names but these.
    pub(super) fn end_others(&mut self, names: &BTreeSet<HostName>) {
        self.tasks.retain(|name, task| {
            let stays = names.contains(name);
            if !stays {
                task.abort();
            }
            stays
        });
    }

    /// The next news; none, while nothing is followed. Cancel safe.
    pub(super) async fn next(&mut self) -> (HostName, Addresses) {
        loop {
            match self.waiting.join_next_with_id().await {
                None => std::future::pending().await,
                Some(Ok((id, (name, followed)))) => {
                    // One that was let go may have ended by itself just before.
                    if self.tasks.get(&name).is_some_and(|task| task.id() == id) {
                        let known = followed.progress();
                        self.wait(name.clone(), followed);
                        return (name, known);
                    }
                }
                Some(Err(ended)) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
                Some(Err(_let_go)) => {}
            }
        }
    }

    fn wait(&mut self, name: HostName, mut followed: Followed<BTreeSet<IpAddr>>) {
        let waited = name.clone();
        let task = self.waiting.spawn(async move {
            followed.changed().await;
            (waited, followed)
        });
        self.tasks.insert(name, task);
    }
}
