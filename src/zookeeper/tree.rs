//! One watched node: its children in memory, kept up to date by one persistent recursive watch.

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{debug, info, warn};
use zookeeper_client::{AddWatchMode, Client, Error, PersistentWatcher};

use super::children::{Children, ChildrenWatch, Node};
use super::error::ZookeeperError;
use super::events::{self, Change, Changes};
use super::load::{self, BatchLimit, Read, bounded};
use super::node_path::NodePath;
use super::session::{Link, NameSuffices, Session, SessionHandle};
use crate::deadline::until;
use crate::engine::backoff::Backoff;
use crate::engine::printable::printable;
use crate::panics::caught;

/// All children are read again this often, in case an event was lost.
const FULL_READ_INTERVAL: Duration = Duration::from_secs(300);
/// The longest wait for news that catch up with what was read.
const LONGEST_OVERTAKEN: Duration = Duration::from_secs(2);

/// The task behind all [`ChildrenWatch`] of one path. There may be thousands, so what is seldom under way is boxed.
#[derive(Debug)]
pub(super) struct TreeTask {
    snapshots: watch::Receiver<Option<Children>>,
    task: AbortHandle,
    /// The session lives while a tree of it does.
    _session: Arc<Session>,
}

impl TreeTask {
    pub(super) fn start(
        root: NodePath,
        name_suffices: Option<NameSuffices>,
        handle: SessionHandle,
        session: Arc<Session>,
    ) -> Self {
        let (publish, snapshots) = watch::channel(None);
        let (watcher, unreadable) = (None, BTreeSet::new());
        let limit = BatchLimit::default();
        let (known, overtaken_since) = (Children::default(), None);
        let tree = Tree {
            root,
            name_suffices,
            session: handle,
            publish,
            known,
            overtaken_since,
            watcher,
            unreadable,
            limit,
        };
        // After a panic those who follow it begin anew, with another.
        let task = tokio::spawn(caught("ZooKeeper node", tree.run())).abort_handle();
        Self { snapshots, task, _session: session }
    }

    pub(super) fn is_alive(&self) -> bool {
        !self.task.is_finished()
    }

    pub(super) fn subscribe(self: Arc<Self>) -> ChildrenWatch {
        let snapshots = self.snapshots.clone();
        ChildrenWatch::new(self, snapshots)
    }
}

impl Drop for TreeTask {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Tree {
    root: NodePath,
    name_suffices: Option<NameSuffices>,
    session: SessionHandle,
    publish: watch::Sender<Option<Children>>,
    /// As far as the events told.
    known: Children,
    /// Since when nodes were gone before they could be read: what took their place is told by events that are yet to come,
    /// and without it the servers of a service that is replaced quickly would seem to vanish.
    overtaken_since: Option<Instant>,
    /// The watch of the last link, kept until its successor stands.
    watcher: Option<PersistentWatcher>,
    unreadable: BTreeSet<Arc<str>>,
    limit: BatchLimit,
}

impl Tree {
    async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let mut trouble = None;
        loop {
            let link = self.connected().await;
            let Err(error) = self.follow(&link, &mut backoff, &mut trouble).await else { continue };
            let text = error.to_string();
            if is_end_of_client(&error) {
                // A full queue holds suspicions enough.
                if let Err(full) = self.session.suspects.try_send(link.epoch) {
                    debug!(ensemble = %self.session.hosts, %full, "the session is suspected already");
                }
            } else if !is_connection_loss(&error) && trouble.as_ref() != Some(&text) {
                warn!(ensemble = %self.session.hosts, path = %self.root, reason = %text,
                    "reading from ZooKeeper failed; trying on, the last known answers stay");
                trouble = Some(text);
            }
            tokio::select! {
                () = sleep(backoff.next_wait()) => {}
                () = next_link(&mut self.session.link) => {}
            }
        }
    }

    async fn connected(&mut self) -> Link {
        loop {
            if let Some(link) = &*self.session.link.borrow_and_update() {
                return link.clone();
            }
            next_link(&mut self.session.link).await;
        }
    }

    /// Follows the node until the link changes.
    async fn follow(
        &mut self,
        link: &Link,
        backoff: &mut Backoff,
        trouble: &mut Option<String>,
    ) -> Result<(), ZookeeperError> {
        // The client doesn't set persistent watches again after a reconnect, so each link needs its own; the new one must
        // stand before the old one is dropped and before the list is read, else a change could fall between.
        let watch = link.client.watch(self.root.as_str(), AddWatchMode::PersistentRecursive);
        let mut watcher = Box::pin(bounded(watch)).await?;
        self.watcher = None;
        let outcome = self.serve(link, &mut watcher, backoff, trouble).await;
        self.watcher = Some(watcher);
        outcome
    }

    async fn serve(
        &mut self,
        link: &Link,
        watcher: &mut PersistentWatcher,
        backoff: &mut Backoff,
        trouble: &mut Option<String>,
    ) -> Result<(), ZookeeperError> {
        let mut next_full_read = Instant::now() + self.stagger();
        loop {
            Box::pin(self.read_all(&link.client)).await?;
            backoff.reset();
            if trouble.take().is_some() {
                info!(ensemble = %self.session.hosts, path = %self.root, "reading from ZooKeeper works again");
            }
            loop {
                tokio::select! {
                    biased;
                    () = next_link(&mut self.session.link) => return Ok(()),
                    changes = events::at_hand(watcher, &self.root) => {
                        Box::pin(self.apply(&link.client, changes?)).await?;
                    }
                    () = until(self.overtaken_since.map(|since| since + LONGEST_OVERTAKEN)) => {
                        self.overtaken_since = None;
                        self.publish();
                    }
                    () = sleep_until(next_full_read) => break,
                }
            }
            next_full_read = Instant::now() + FULL_READ_INTERVAL;
        }
    }

    async fn read_all(&mut self, client: &Client) -> Result<(), ZookeeperError> {
        let names = load::list(client, &self.root).await?;
        let parent_exists = names.is_some();
        let read = self.read(client, names.unwrap_or_default()).await?;
        self.limit.recovered();
        let (mut nodes, mut unreadable, mut overtaken) = (BTreeMap::new(), BTreeSet::new(), false);
        for (name, read) in read {
            match read {
                Read::Data(data) => {
                    nodes.insert(name, Node { data });
                }
                Read::Gone => overtaken = true,
                Read::NoAuth => {
                    if let Some(node) = self.known.nodes.get(&name) {
                        nodes.insert(Arc::clone(&name), node.clone());
                    }
                    unreadable.insert(name);
                }
            }
        }
        for name in unreadable.difference(&self.unreadable) {
            self.warn_unreadable(name);
        }
        self.unreadable = unreadable;
        self.know(Children { parent_exists, nodes: Arc::new(nodes) }, overtaken);
        Ok(())
    }

    /// Reads what doesn't stand in the names already.
    async fn read(
        &mut self,
        client: &Client,
        names: Vec<Arc<str>>,
    ) -> Result<Vec<(Arc<str>, Read)>, ZookeeperError> {
        let Some(suffices) = self.name_suffices else {
            return load::read(client, &self.root, names, &mut self.limit).await;
        };
        let (sufficient, others) = names.into_iter().partition(|name| suffices(name));
        let mut read = load::read(client, &self.root, others, &mut self.limit).await?;
        let sufficient: Vec<_> = sufficient;
        read.extend(sufficient.into_iter().map(|name| (name, Read::Data(Arc::default()))));
        Ok(read)
    }

    /// One read per created or changed node, none for a deleted one; published as one snapshot.
    async fn apply(&mut self, client: &Client, changes: Changes) -> Result<(), ZookeeperError> {
        if changes.children.is_empty() && changes.parent_exists.is_none() {
            return Ok(());
        }
        let to_read = changes.children.iter().filter(|(_, change)| **change == Change::Read);
        let names = to_read.map(|(name, _)| Arc::clone(name)).collect();
        let read = self.read(client, names).await?;
        let (mut children, mut overtaken) = (self.known.clone(), false);
        children.parent_exists = changes.parent_exists.unwrap_or(children.parent_exists);
        let nodes = Arc::make_mut(&mut children.nodes);
        for (name, _) in changes.children.iter().filter(|(_, change)| **change == Change::Gone) {
            nodes.remove(name);
            self.unreadable.remove(name);
        }
        for (name, read) in read {
            match read {
                Read::Data(data) => {
                    self.unreadable.remove(&name);
                    nodes.insert(name, Node { data });
                }
                Read::Gone => {
                    nodes.remove(&name);
                    overtaken = true;
                }
                Read::NoAuth => {
                    if self.unreadable.insert(Arc::clone(&name)) {
                        self.warn_unreadable(&name);
                    }
                }
            }
        }
        self.know(children, overtaken);
        Ok(())
    }

    fn know(&mut self, children: Children, overtaken: bool) {
        self.known = children;
        if overtaken {
            self.overtaken_since.get_or_insert_with(Instant::now);
        } else {
            self.overtaken_since = None;
            self.publish();
        }
    }

    fn publish(&self) {
        self.publish.send_if_modified(|last| {
            let differs = last.as_ref() != Some(&self.known);
            if differs {
                *last = Some(self.known.clone());
            }
            differs
        });
    }

    fn warn_unreadable(&self, name: &str) {
        warn!(ensemble = %self.session.hosts, path = %self.root, node = %printable(name),
            "not allowed to read this node; check its ACL and the credentials");
    }

    /// The first full read is early by a part that differs from path to path, so that not all read at once.
    fn stagger(&self) -> Duration {
        let mut hasher = DefaultHasher::new();
        self.root.hash(&mut hasher);
        let half = FULL_READ_INTERVAL / 2;
        half + half * u32::from(hasher.finish().to_le_bytes()[0]) / 256
    }
}

/// Waits until the session has another link. When the session is gone this task is about to end: it waits for that.
async fn next_link(link: &mut watch::Receiver<Option<Link>>) {
    if link.changed().await.is_err() {
        std::future::pending::<()>().await;
    }
}

fn is_end_of_client(error: &ZookeeperError) -> bool {
    matches!(
        error,
        ZookeeperError::Client(Error::SessionExpired | Error::ClientClosed) | ZookeeperError::AuthFailed
    )
}

fn is_connection_loss(error: &ZookeeperError) -> bool {
    matches!(error, ZookeeperError::Client(Error::ConnectionLoss))
}
