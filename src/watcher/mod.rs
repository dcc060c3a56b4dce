//! Finds the servers of a service and keeps looking.
//!
//! A watcher publishes whole server sets, never deltas. It ends only with an error; [`drive`] starts it again. To add one:
//! a file with its `impl Watcher`, a variant of [`WatcherSpec`], and the match in [`run`] that the compiler points at.

mod dns;
mod dns_servers;
mod drive;
mod file;
mod file_format;
mod node_format;
mod server_set;
mod updates;
mod zookeeper;

use std::convert::Infallible;
use std::path::PathBuf;

pub use dns::DnsWatcher;
pub use drive::drive;
pub use file::FileWatcher;
pub use server_set::{ServerSet, SkippedEntry};
pub use updates::{Updates, updates};
pub use zookeeper::ZookeeperWatcher;

use crate::directory_watch::DirectoryWatchError;
use crate::dns::Names;
use crate::engine::service::WatcherSpec;
use crate::zookeeper::{Auth, ConnectString, Ensembles, ZookeeperError};

/// Follows one registry for one service.
pub trait Watcher: Send + 'static {
    /// Publishes whole server sets until something fails; retry, back-off and cancel are the driver's.
    fn watch(&mut self, out: &Updates) -> impl Future<Output = Result<Infallible, WatchError>> + Send;
}

/// Why a watcher had to give up for now.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The ensemble, or how it is written.
    #[error("ZooKeeper: {0}")]
    Zookeeper(#[from] ZookeeperError),
    /// The file's directory can't be watched.
    #[error(transparent)]
    DirectoryWatch(#[from] DirectoryWatchError),
    /// The file can't be followed.
    #[error("'{path}' is no absolute path; write it in full", path = .0.display())]
    RelativePath(PathBuf),
}

/// What watchers share.
#[derive(Clone, Debug, Default)]
pub struct Registries {
    /// The `ZooKeeper` sessions.
    pub ensembles: Ensembles,
    /// The names that are followed.
    pub names: Names,
    /// Credentials, each for the servers that they were given for.
    pub credentials: Vec<(ConnectString, Auth)>,
}

impl Registries {
    /// The credentials for the ensemble of `servers`.
    fn auth_for(&self, servers: &ConnectString) -> Option<Auth> {
        let same = |(known, _): &&(ConnectString, Auth)| known.hosts() == servers.hosts();
        self.credentials.iter().find(same).map(|(_, auth)| auth.clone())
    }
}

/// Runs the watcher that `spec` asks for, until dropped.
pub async fn run(spec: &WatcherSpec, registries: Registries, out: &Updates) -> Infallible {
    match spec {
        WatcherSpec::Zookeeper { server, path, rules } => {
            let (server, path) = (server.clone(), path.clone());
            drive(ZookeeperWatcher::new(registries, server, path, rules.clone()), out).await
        }
        WatcherSpec::File { file, rules } => drive(FileWatcher::new(file.clone(), rules.clone()), out).await,
        WatcherSpec::Dns(spec) => drive(DnsWatcher::new(registries.names, spec.clone()), out).await,
        WatcherSpec::Static => std::future::pending().await,
    }
}
