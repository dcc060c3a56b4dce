//! Finds the servers of a service and keeps looking.
//!
//! ```text
//! Watcher --ListedSet, host names and all--> locate --ServerSet, each server with its address--> who asked
//! ```
//!
//! A watcher publishes whole server sets, never deltas. It ends only with an error; [`drive`] starts it again. To add one:
//! a file with its `impl Watcher`, a variant of [`WatcherSpec`], and the match in `watch` that the compiler points at.

mod consul;
mod consul_servers;
mod dns;
mod dns_servers;
mod docker;
mod drive;
mod file;
mod file_format;
mod host_addresses;
mod listed_set;
mod locate;
mod lookups;
mod node_format;
mod origin;
mod publisher;
mod server_set;
mod updates;
mod zookeeper;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::path::PathBuf;

pub use consul::ConsulWatcher;
pub use dns::DnsWatcher;
pub use docker::DockerWatcher;
pub use drive::drive;
pub use file::FileWatcher;
pub use host_addresses::{LastAddresses, last_addresses};
pub use listed_set::ListedSet;
pub use origin::{Origin, origin_of};
pub use publisher::{Publisher, publisher};
pub use server_set::{ServerSet, SkippedEntry};
pub use updates::{Updates, updates};
pub use zookeeper::ZookeeperWatcher;

pub use locate::HostNames;
use locate::locate;

use crate::consul::{ConsulError, Consuls};
use crate::directory_watch::DirectoryWatchError;
use crate::docker::Daemons;
use crate::engine::consul::{ConsulAccess, ConsulServers};
use crate::engine::listed_server::ListedServer;
use crate::engine::service::WatcherSpec;
use crate::registry_values::{self, FollowedValues, ValuesRegistry};
use crate::zookeeper::{Access, ConnectString, Ensembles, ZookeeperError};

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
    /// Consul.
    #[error("Consul: {0}")]
    Consul(#[from] ConsulError),
    /// The file's directory can't be watched.
    #[error(transparent)]
    DirectoryWatch(#[from] DirectoryWatchError),
    /// Nothing is known of the containers yet.
    #[error("Docker at {0} has not answered yet; the log tells why")]
    SilentDaemon(String),
    /// The file can't be followed.
    #[error("'{path}' is no absolute path; write it in full", path = .0.display())]
    RelativePath(PathBuf),
}

/// What watchers share.
#[derive(Clone, Debug)]
pub struct Registries {
    /// The `ZooKeeper` sessions.
    pub ensembles: Ensembles,
    /// Credentials and TLS, each for the servers that they were given for.
    pub access: Vec<(ConnectString, Access)>,
    /// The Docker daemons.
    pub daemons: Daemons,
    /// The connections to Consul.
    pub consuls: Consuls,
    /// The Consuls of proxymgr.yml, the one that is meant where none is named first.
    pub known_consuls: Vec<ConsulAccess>,
    /// The values that lines and templates name, if any do.
    pub values: Option<FollowedValues>,
    /// Where host names of servers lead to.
    pub host_names: HostNames,
}

impl Registries {
    /// No session yet; credentials and TLS count for watchers of the same ensemble too.
    pub fn new(access: impl Iterator<Item = (ConnectString, Access)>, host_names: HostNames) -> Self {
        let access = access.filter(|(_, access)| *access != Access::default()).collect();
        let (ensembles, consuls) = (Ensembles::default(), Consuls::default());
        let daemons = Daemons::default();
        Self { ensembles, access, daemons, consuls, known_consuls: Vec::new(), values: None, host_names }
    }

    /// The same with these Docker daemons.
    #[must_use]
    pub fn with_daemons(self, daemons: Daemons) -> Self {
        Self { daemons, ..self }
    }

    /// The same with the Consuls of proxymgr.yml, the one that is meant where none is named first.
    #[must_use]
    pub fn knowing(self, known_consuls: Vec<ConsulAccess>) -> Self {
        Self { known_consuls, ..self }
    }

    /// How the Consul of `servers` is spoken with, or the one that is meant where none is named.
    fn consul_at(&self, servers: Option<&ConsulServers>) -> ConsulAccess {
        let is_meant = |known: &&ConsulAccess| servers.is_none_or(|servers| known.servers == *servers);
        let known = self.known_consuls.iter().find(is_meant).cloned();
        known.unwrap_or_else(|| ConsulAccess::to(servers.cloned().unwrap_or_else(ConsulServers::local)))
    }

    /// The same, following the values at these paths.
    #[must_use]
    pub fn following(self, registry: ValuesRegistry, paths: BTreeSet<String>) -> Self {
        let values = Some(registry_values::follow(registry, paths, &self.ensembles, &self.consuls));
        Self { values, ..self }
    }

    /// How the ensemble of `servers` is spoken with.
    fn access_to(&self, servers: &ConnectString) -> Access {
        let same = |(known, _): &&(ConnectString, Access)| known.hosts() == servers.hosts();
        self.access.iter().find(same).map(|(_, access)| access.clone()).unwrap_or_default()
    }
}

/// Where servers are listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ServerList {
    /// Where a definition says that they are found.
    Watched(WatcherSpec),
    /// In the definition itself.
    Fixed(Vec<ListedServer>),
}

/// Publishes the servers of `list` in `out`, until dropped. Host names begin with these `addresses`.
pub async fn run(
    list: &ServerList,
    registries: Registries,
    addresses: LastAddresses,
    out: &mut Publisher,
) -> Infallible {
    let (listings, listed) = updates(out.service().clone());
    let host_names = registries.host_names.clone();
    let listing = async {
        match list {
            ServerList::Watched(spec) => watch(spec, registries, &listings).await,
            ServerList::Fixed(servers) => {
                listings.publish(ListedSet::new(servers.clone(), Vec::new()));
                std::future::pending().await
            }
        }
    };
    tokio::select! {
        never = listing => never,
        never = locate(listed, host_names, addresses, out) => never,
    }
}

/// Runs the watcher that `spec` asks for. Boxed, so that not each of thousands takes the room of the largest.
async fn watch(spec: &WatcherSpec, registries: Registries, out: &Updates) -> Infallible {
    match spec {
        WatcherSpec::Zookeeper { server, path, rules } => {
            let (server, path) = (server.clone(), path.clone());
            Box::pin(drive(ZookeeperWatcher::new(registries, server, path, rules.clone()), out)).await
        }
        WatcherSpec::File { file, rules } => {
            Box::pin(drive(FileWatcher::new(file.clone(), rules.clone()), out)).await
        }
        WatcherSpec::Dns(spec) => {
            Box::pin(drive(DnsWatcher::new(registries.host_names.names, spec.clone()), out)).await
        }
        WatcherSpec::Docker(spec) => {
            Box::pin(drive(DockerWatcher::new(registries.daemons, spec.clone()), out)).await
        }
        WatcherSpec::Consul(spec) => Box::pin(drive(ConsulWatcher::new(registries, spec.clone()), out)).await,
        WatcherSpec::Static => std::future::pending().await,
    }
}
