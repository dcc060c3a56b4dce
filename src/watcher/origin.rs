//! Where a server is written, found when it is asked for: to keep it for all would cost memory for each.

use std::path::Path;
use std::time::{Duration, SystemTime};

use tokio::time::timeout;

use super::docker::servers_of;
use super::file_format::{self, MAX_BYTES};
use super::{Registries, WatchError, node_format};
use crate::consul::ConsulError;
use crate::directory_watch::bounded_read;
use crate::docker::{ContainerId, Found};
use crate::engine::docker_spec::{DockerHost, DockerSpec};
use crate::engine::listed_server::ListedServer;
use crate::engine::node_rules::NodeRules;
use crate::engine::printable::printable;
use crate::engine::server::ServerName;
use crate::engine::service::{ServiceSpec, WatcherSpec};
use crate::zookeeper::{ConnectString, NodePath, NodeStat, ZookeeperError};

/// The longest wait for a registry.
const PATIENCE: Duration = Duration::from_secs(3);

/// A place in a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    /// For people, printable.
    pub place: String,
    /// How often what stands there was changed, where the registry counts that.
    pub version: Option<i32>,
    /// When it was written last.
    pub written: Option<SystemTime>,
}

impl Origin {
    /// A place of which nothing more is known.
    pub fn at(place: String) -> Self {
        Self { place, version: None, written: None }
    }

    /// The same, with what `ZooKeeper` keeps of it.
    #[must_use]
    pub fn with_stat(self, stat: Option<NodeStat>) -> Self {
        Self { version: stat.map(|stat| stat.version), written: stat.map(|stat| stat.written), ..self }
    }
}

/// Where `server` of the service that `spec` defines is written; `None` when its registry doesn't list it now.
///
/// # Errors
/// When the registry can't be asked.
pub async fn origin_of(
    spec: &ServiceSpec,
    registries: &Registries,
    server: &ServerName,
) -> Result<Option<Origin>, WatchError> {
    let is_meant = |listed: &ListedServer| listed.name() == *server;
    let watched = match &spec.watcher {
        WatcherSpec::Zookeeper { server: servers, path, rules } => {
            node_of(servers, path, rules, registries, is_meant).await?
        }
        WatcherSpec::File { file, rules } => in_file(file, rules, is_meant),
        // The servers' names are made of the addresses that it answers; which name gave which isn't kept.
        WatcherSpec::Dns(spec) => {
            let names = spec.backends.iter().map(|backend| backend.name().to_string());
            Some(Origin::at(format!("DNS {}", names.collect::<Vec<_>>().join(", "))))
        }
        WatcherSpec::Docker(spec) => in_container(spec, registries, is_meant).await?,
        WatcherSpec::Consul(spec) => {
            let asking = super::consul::instance_of(spec, registries, is_meant);
            let no_answer =
                |_elapsed| ConsulError::NoAnswer { server: spec.service.clone(), within: PATIENCE };
            timeout(PATIENCE, asking).await.map_err(no_answer)??.map(Origin::at)
        }
        WatcherSpec::Static => None,
    };
    let is_fixed = spec.fixed_servers.iter().any(is_meant);
    Ok(watched.or_else(|| is_fixed.then(|| Origin::at("its service's definition".to_owned()))))
}

async fn node_of(
    servers: &str,
    path: &str,
    rules: &NodeRules,
    registries: &Registries,
    is_meant: impl Fn(&ListedServer) -> bool,
) -> Result<Option<Origin>, WatchError> {
    let servers = ConnectString::parse(servers).map_err(ZookeeperError::from)?;
    let path = NodePath::parse(path).map_err(ZookeeperError::from)?;
    let (access, ensembles) = (registries.access_to(&servers), &registries.ensembles);
    // The service's watcher follows these nodes: this joins it.
    let mut watch = ensembles.children_of(&servers, &access, &path, Some(node_format::name_suffices));
    let no_answer = |_elapsed| ZookeeperError::NoAnswer(PATIENCE);
    let children = timeout(PATIENCE, watch.next()).await.map_err(no_answer)??;
    let listed = |name: &str, data: &[u8]| node_format::read(name, data, rules).ok().flatten();
    let mut nodes = children.nodes.iter();
    let found = nodes.find(|(name, node)| listed(name, &node.data).is_some_and(|listed| is_meant(&listed)));
    let Some((name, _)) = found else { return Ok(None) };
    let node = path.below(name).map_err(ZookeeperError::from)?;
    let origin = Origin::at(printable(&format!("zookeeper {servers} {node}")));
    let stat = timeout(PATIENCE, ensembles.stat(&servers, &access, &node)).await;
    // What is known without is told all the same.
    Ok(Some(origin.with_stat(stat.ok().and_then(Result::ok).flatten())))
}

async fn in_container(
    spec: &DockerSpec,
    registries: &Registries,
    is_meant: impl Fn(&ListedServer) -> bool,
) -> Result<Option<Origin>, WatchError> {
    // The service's watcher follows these daemons: this joins it.
    let mut watch = registries.daemons.containers_of_all(&spec.hosts);
    // Where one of several is away, what the others know is told all the same.
    let _in_time = timeout(PATIENCE, watch.next()).await.is_ok();
    let everywhere = watch.known();
    if everywhere.is_empty() {
        return Err(WatchError::SilentDaemon(spec.hosts.to_string()));
    }
    let place = |host: &DockerHost, id: &ContainerId, found: &Found| match found {
        Found::Running { stopping, container } => {
            let mut servers = servers_of(container, *stopping, host, spec).into_iter().flatten();
            let place = || printable(&format!("docker {host} container {} ({id})", container.name));
            servers.any(|server| is_meant(&server)).then(place)
        }
        Found::Unreadable(_) => None,
    };
    let mut all = everywhere.iter().flat_map(|(host, those)| those.iter().map(move |one| (host, one)));
    Ok(all.find_map(|(host, (id, found))| place(host, id, found)).map(Origin::at))
}

fn in_file(file: &Path, rules: &NodeRules, is_meant: impl Fn(&ListedServer) -> bool) -> Option<Origin> {
    let data = bounded_read(file, MAX_BYTES as u64).ok()?;
    let listed = file_format::read(file, &data, rules).ok()?;
    listed.servers().iter().find(|listed| is_meant(listed))?;
    let lines = file_format::numbered_lines(file, &data, rules);
    let line = lines.into_iter().flatten().find(|(_, listed)| is_meant(listed)).map(|(number, _)| number);
    let line = line.map_or_else(String::new, |number| format!(", line {number}"));
    let written = file.metadata().and_then(|metadata| metadata.modified()).ok();
    Some(Origin { place: format!("{}{line}", printable(&file.to_string_lossy())), version: None, written })
}
