//! The containers of several daemons, as one.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt as _, StreamExt as _};
use tokio::time::Instant;

use super::daemons::{ContainersWatch, Daemons};
use super::inventory::Containers;
use crate::deadline::until;
use crate::engine::docker_spec::{DockerHost, DockerHosts};

/// So long the first word of a daemon is waited for where others have spoken; then what it may have is left out. Longer than a daemon
/// takes to start again, and than a start waits for its services, which goes on with those of before meanwhile.
const PATIENCE: Duration = Duration::from_secs(30);

/// All that run, by daemon.
pub type Everywhere = BTreeMap<DockerHost, Arc<Containers>>;

/// What runs on some daemons.
#[derive(Debug)]
pub struct TogetherWatch {
    watches: Vec<(DockerHost, ContainersWatch)>,
    known: Everywhere,
    /// Until when those are waited for that have not spoken.
    patience: Option<Instant>,
}

impl Daemons {
    /// Follows the containers of all `hosts`. Must be called within a tokio runtime.
    pub fn containers_of_all(&self, hosts: &DockerHosts) -> TogetherWatch {
        let watches: Vec<_> = hosts.iter().map(|host| (host.clone(), self.containers_of(host))).collect();
        // One that has been away for long is not waited for again by each that comes to watch.
        let patience = watches.iter().map(|(_, watch)| watch.since() + PATIENCE).max();
        TogetherWatch { watches, known: Everywhere::new(), patience }
    }
}

impl TogetherWatch {
    /// What those said that have spoken.
    pub fn known(&self) -> &Everywhere {
        &self.known
    }

    /// All that run: at first once each daemon has told its own, or those that do in time; then after each change. A daemon
    /// that is away changes nothing. Cancel safe.
    pub async fn next(&mut self) -> &Everywhere {
        loop {
            let patience = self.patience;
            let watches = self.watches.iter_mut();
            let mut asked: FuturesUnordered<_> =
                watches.map(|(host, watch)| async { (host.clone(), watch.next().await) }).collect();
            tokio::select! {
                biased;
                Some(told) = asked.next() => {
                    let others = std::iter::from_fn(|| asked.next().now_or_never().flatten());
                    self.known.extend(std::iter::once(told).chain(others));
                }
                () = until(patience) => self.patience = None,
            }
            drop(asked);
            if self.known.len() == self.watches.len() {
                self.patience = None;
            }
            if self.patience.is_none() && !self.known.is_empty() {
                return &self.known;
            }
        }
    }
}
