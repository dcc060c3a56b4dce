//! Finds the follower of a daemon that runs already, or starts it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::follow::follow;
use super::inventory::Containers;
use crate::engine::docker_spec::DockerHost;
use crate::engine::tls_files::TlsFiles;

/// All daemons of this process: each is followed once, while somebody looks.
#[derive(Clone, Debug, Default)]
pub struct Daemons {
    files: Arc<BTreeMap<DockerHost, TlsFiles>>,
    followers: Arc<Mutex<BTreeMap<DockerHost, Weak<Follower>>>>,
}

#[derive(Debug)]
struct Follower {
    since: Instant,
    containers: watch::Receiver<Option<Arc<Containers>>>,
    task: AbortHandle,
}

/// What runs on one daemon.
#[derive(Debug)]
pub(super) struct ContainersWatch {
    containers: watch::Receiver<Option<Arc<Containers>>>,
    follower: Arc<Follower>,
}

impl Daemons {
    /// None followed yet. Those that are reached by TLS have these files.
    pub fn new(files: impl Iterator<Item = (DockerHost, TlsFiles)>) -> Self {
        Self { files: Arc::new(files.collect()), followers: Arc::default() }
    }

    /// Follows the containers of `host`. Must be called within a tokio runtime. With the last watch the following ends.
    pub(super) fn containers_of(&self, host: &DockerHost) -> ContainersWatch {
        let mut followers = self.followers.lock().unwrap_or_else(PoisonError::into_inner);
        followers.retain(|_, follower| follower.strong_count() > 0);
        let follower = followers.get(host).and_then(Weak::upgrade).unwrap_or_else(|| {
            let follower = Arc::new(Follower::start(host.clone(), self.files.get(host).cloned()));
            followers.insert(host.clone(), Arc::downgrade(&follower));
            follower
        });
        let mut containers = follower.containers.clone();
        containers.mark_changed();
        ContainersWatch { containers, follower }
    }
}

impl Follower {
    fn start(host: DockerHost, files: Option<TlsFiles>) -> Self {
        let (out, containers) = watch::channel(None);
        let task = tokio::spawn(async move { follow(&host, files.as_ref(), &out).await });
        Self { since: Instant::now(), containers, task: task.abort_handle() }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl ContainersWatch {
    /// Since when the daemon is followed, by whomever.
    pub(super) fn since(&self) -> Instant {
        self.follower.since
    }

    /// All that run: at first those known, as soon as they are; then after each change. Cancel safe.
    pub(super) async fn next(&mut self) -> Arc<Containers> {
        loop {
            if self.containers.changed().await.is_err() {
                // The follower lives as long as this.
                std::future::pending::<()>().await;
            }
            if let Some(containers) = self.containers.borrow_and_update().clone() {
                return containers;
            }
        }
    }
}
