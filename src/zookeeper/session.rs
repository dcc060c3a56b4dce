//! One session with an ensemble: a task keeps a client alive and hands it to the trees.
//!
//! ```text
//! connecting --established--> linked --lost--> waiting --the client reconnects--> linked, next epoch
//!     ^  |refused: back off                       |
//!     +--+----------- expired, closed, suspect ---+   (a new client)
//! ```

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep};
use tracing::{info, warn};
use zookeeper_client::{Client, SessionState, TlsOptions};

use super::access::Access;
use super::children::ChildrenWatch;
use super::error::ZookeeperError;
use super::handshake;
use super::load::bounded;
use super::node_path::NodePath;
use super::tree::TreeTask;
use crate::census::{Counted, Kind};
use crate::engine::backoff::Backoff;
use crate::panics::caught;
use crate::tls::{self, Tls};

/// We own no ephemeral nodes, so an early expiry costs one re-read and a late one only hides an outage.
const SESSION_TIMEOUT: Duration = Duration::from_secs(8);
/// The longest any single operation may take.
pub(super) const OPERATION_TIMEOUT: Duration = Duration::from_secs(10);
/// The client crate loses reconnects when the watched paths pass 128 KiB; a session takes half of it.
const WATCHED_BYTES_LIMIT: usize = 64 * 1024;

/// The client to use now. Each reconnect is a new epoch: watches must be made again and everything read again.
#[derive(Clone, Debug)]
pub(super) struct Link {
    pub(super) client: Client,
    pub(super) epoch: u64,
}

/// What a tree needs of its session.
#[derive(Clone, Debug)]
pub(super) struct SessionHandle {
    pub(super) hosts: Arc<str>,
    /// `None` while disconnected.
    pub(super) link: watch::Receiver<Option<Link>>,
    /// The epoch whose client answers that it is at its end.
    pub(super) suspects: mpsc::Sender<u64>,
}

/// Whether a node's name tells everything, so that its data need not be read.
pub type NameSuffices = fn(&str) -> bool;

/// What tells trees apart: their path, and whether some of their nodes are not read.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct TreeKey {
    path: NodePath,
    names_may_suffice: bool,
}

impl TreeKey {
    fn of(path: &NodePath, name_suffices: Option<NameSuffices>) -> Self {
        Self { path: path.clone(), names_may_suffice: name_suffices.is_some() }
    }
}

#[derive(Debug)]
pub(super) struct Session {
    handle: SessionHandle,
    trees: Mutex<HashMap<TreeKey, Weak<TreeTask>>>,
    keeper: AbortHandle,
}

impl Session {
    pub(super) fn start(hosts: String, access: Access) -> Self {
        let hosts: Arc<str> = hosts.into();
        let (publish, link) = watch::channel(None);
        let (suspects, suspected) = mpsc::channel(16);
        let counted = Counted::new(Kind::Zookeeper, &hosts);
        let keeper = Keeper { hosts: Arc::clone(&hosts), access, publish, suspected, counted, epoch: 0 };
        let keeper = tokio::spawn(keeper.run()).abort_handle();
        Self { handle: SessionHandle { hosts, link, suspects }, trees: Mutex::default(), keeper }
    }

    /// The client, while it is connected.
    pub(super) fn client(&self) -> Option<Client> {
        self.handle.link.borrow().as_ref().map(|link| link.client.clone())
    }

    /// Joins those who follow `path` already, if any do.
    pub(super) fn join(&self, path: &NodePath, name_suffices: Option<NameSuffices>) -> Option<ChildrenWatch> {
        let trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        let tree = trees
            .get(&TreeKey::of(path, name_suffices))
            .and_then(Weak::upgrade)
            .filter(|tree| tree.is_alive())?;
        Some(tree.subscribe())
    }

    /// Is the first to follow `path` here, if there is room for it.
    pub(super) fn follow(
        self: &Arc<Self>,
        path: &NodePath,
        name_suffices: Option<NameSuffices>,
    ) -> Option<ChildrenWatch> {
        let watched: usize = {
            let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
            trees.retain(|_, tree| tree.strong_count() > 0);
            trees.keys().map(|key| key.path.as_str().len()).sum()
        };
        (watched + path.as_str().len() <= WATCHED_BYTES_LIMIT).then(|| self.begin(path, name_suffices))
    }

    /// Follows `path`, however long it is.
    pub(super) fn begin(
        self: &Arc<Self>,
        path: &NodePath,
        name_suffices: Option<NameSuffices>,
    ) -> ChildrenWatch {
        let tree = TreeTask::start(path.clone(), name_suffices, self.handle.clone(), Arc::clone(self));
        let tree = Arc::new(tree);
        let mut trees = self.trees.lock().unwrap_or_else(PoisonError::into_inner);
        trees.insert(TreeKey::of(path, name_suffices), Arc::downgrade(&tree));
        tree.subscribe()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.keeper.abort();
    }
}

struct Keeper {
    hosts: Arc<str>,
    access: Access,
    publish: watch::Sender<Option<Link>>,
    suspected: mpsc::Receiver<u64>,
    counted: Counted,
    epoch: u64,
}

/// How a session ended.
struct Ended {
    reason: String,
    lasted: Duration,
}

impl Keeper {
    async fn run(mut self) {
        let mut backoff = Backoff::new(Duration::from_millis(100), Duration::from_secs(5));
        let mut told = None;
        loop {
            let ended = match caught("ZooKeeper session", self.serve_once()).await {
                Ok(Ok(ended)) => ended,
                Ok(Err(error)) => {
                    let reason = error.to_string();
                    if told.as_ref() != Some(&reason) {
                        warn!(ensemble = %self.hosts, reason, "ZooKeeper can't be reached; trying on");
                        told = Some(reason);
                    }
                    sleep(backoff.next_wait()).await;
                    continue;
                }
                Err(panicked) => Ended { reason: panicked.to_string(), lasted: Duration::ZERO },
            };
            self.publish.send_replace(None);
            self.counted.is_connected(false);
            warn!(ensemble = %self.hosts, reason = ended.reason, "ZooKeeper session ended; a new one follows, the last known answers stay");
            told = None;
            if ended.lasted > SESSION_TIMEOUT {
                backoff.reset();
            }
            sleep(backoff.next_wait()).await;
        }
    }

    /// One session, from its beginning to its end.
    async fn serve_once(&mut self) -> Result<Ended, ZookeeperError> {
        let client = self.connect().await?;
        let since = Instant::now();
        info!(ensemble = %self.hosts, session = %client.session_id(), "ZooKeeper session established");
        let reason = self.keep(client).await.to_owned();
        Ok(Ended { reason, lasted: since.elapsed() })
    }

    async fn connect(&self) -> Result<Client, ZookeeperError> {
        let mut connector = Client::connector().with_session_timeout(SESSION_TIMEOUT).with_fail_eagerly();
        if let Some(auth) = &self.access.auth {
            connector = connector.with_auth(&auth.scheme, auth.credentials.expose().as_bytes());
        }
        let Some(files) = &self.access.tls else { return bounded(connector.connect(&self.hosts)).await };
        let tls = tls::read(files)?;
        handshake::check_names(&self.hosts)?;
        let connecting = connector.with_tls(options(&tls)?).secure_connect(&self.hosts);
        match bounded(connecting).await {
            Err(error @ (ZookeeperError::Unreachable | ZookeeperError::NoAnswer(_))) => {
                Err(handshake::trouble(&self.hosts, &tls).await.unwrap_or(error))
            }
            result => result,
        }
    }

    /// Publishes the client and each of its reconnects until it is of no more use; returns why.
    async fn keep(&mut self, client: Client) -> &'static str {
        let mut states = client.state_watcher();
        let mut state = states.peek_state();
        let mut lost = false;
        loop {
            match state {
                SessionState::SyncConnected | SessionState::ConnectedReadOnly => {
                    self.epoch += 1;
                    self.counted.is_connected(true);
                    self.publish.send_replace(Some(Link { client: client.clone(), epoch: self.epoch }));
                    if lost {
                        info!(ensemble = %self.hosts, "ZooKeeper answers again, in the same session");
                    }
                    lost = false;
                }
                SessionState::Disconnected => {
                    self.publish.send_replace(None);
                    self.counted.is_connected(false);
                    lost = true;
                    warn!(ensemble = %self.hosts, "connection to ZooKeeper lost; the last known answers stay");
                }
                SessionState::Expired => return "expired",
                SessionState::AuthFailed => {
                    return "authentication failed; check the scheme and the credentials";
                }
                SessionState::Closed => return "closed",
            }
            state = tokio::select! {
                state = states.changed() => state,
                () = suspicion(&mut self.suspected, self.epoch) => return "the client ended",
            };
        }
    }
}

/// Waits until a tree says that the client of `epoch` is at its end.
async fn suspicion(suspected: &mut mpsc::Receiver<u64>, epoch: u64) {
    while let Some(suspect) = suspected.recv().await {
        if suspect == epoch {
            return;
        }
    }
    std::future::pending::<()>().await;
}

/// The same for the client crate.
fn options(tls: &Tls) -> Result<TlsOptions, zookeeper_client::Error> {
    let options = TlsOptions::new().with_pem_ca(&tls.ca)?;
    match &tls.identity {
        Some((cert, key)) => options.with_pem_identity(cert, key),
        None => Ok(options),
    }
}
