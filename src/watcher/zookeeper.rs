//! Servers are the children of a `ZooKeeper` node.

use std::convert::Infallible;

use tracing::warn;

use super::listed_set::ListedSet;
use super::node_format;
use super::server_set::SkippedEntry;
use super::updates::Updates;
use super::{Registries, WatchError, Watcher};
use crate::engine::node_rules::NodeRules;
use crate::zookeeper::{Children, ConnectString, NodePath, ZookeeperError};

/// Follows one node.
#[derive(Debug)]
pub struct ZookeeperWatcher {
    registries: Registries,
    server: String,
    path: String,
    rules: NodeRules,
}

impl ZookeeperWatcher {
    /// Follows the children of `path` on the ensemble `server`.
    pub fn new(registries: Registries, server: String, path: String, rules: NodeRules) -> Self {
        Self { registries, server, path, rules }
    }
}

impl Watcher for ZookeeperWatcher {
    async fn watch(&mut self, out: &Updates) -> Result<Infallible, WatchError> {
        let servers = ConnectString::parse(&self.server).map_err(ZookeeperError::from)?;
        let path = NodePath::parse(&self.path).map_err(ZookeeperError::from)?;
        let access = self.registries.access_to(&servers);
        let ensembles = &self.registries.ensembles;
        let mut watch = ensembles.children_of(&servers, &access, &path, Some(node_format::name_suffices));
        loop {
            let children = watch.next().await?;
            if !children.parent_exists {
                warn!(service = %out.service(), ensemble = %servers, %path, "the node of the servers doesn't exist; waiting for it");
            }
            out.publish(listed(&children, &self.rules));
        }
    }
}

fn listed(children: &Children, rules: &NodeRules) -> ListedSet {
    let (mut servers, mut skipped) = (Vec::new(), Vec::new());
    for (name, node) in children.nodes.iter() {
        match node_format::read(name, &node.data, rules) {
            Ok(server) => servers.extend(server),
            Err(error) => skipped.push(SkippedEntry::new(name, &error.to_string())),
        }
    }
    ListedSet::new(servers, skipped)
}
