//! Each path is a node; those of one parent are followed together.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::mpsc;
use tokio::time::sleep;
use tracing::warn;

use super::Answer;
use crate::engine::backoff::Backoff;
use crate::zookeeper::{Access, ConnectString, Ensembles, NodePath, ZookeeperError};

/// Runs until nobody listens.
pub(super) async fn ask(
    ensembles: &Ensembles,
    servers: &ConnectString,
    access: &Access,
    root: &NodePath,
    paths: &BTreeSet<String>,
    answers: &mpsc::Sender<Answer>,
) {
    let mut by_parent: BTreeMap<&str, Vec<(&str, &String)>> = BTreeMap::new();
    for path in paths {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        by_parent.entry(parent).or_default().push((name, path));
    }
    let one = async |(parent, nodes): (&str, Vec<(&str, &String)>)| {
        let mut backoff = Backoff::new(Duration::from_millis(200), Duration::from_secs(5));
        let mut told = None;
        loop {
            let Err(error) = follow(ensembles, servers, access, root, parent, &nodes, answers).await else {
                return;
            };
            let reason = error.to_string();
            if told.as_ref() != Some(&reason) {
                warn!(
                    path = parent,
                    reason, "values can't be read from ZooKeeper; trying on, the last ones stay"
                );
                told = Some(reason);
            }
            sleep(backoff.next_wait()).await;
        }
    };
    join_all(by_parent.into_iter().map(one)).await;
}

async fn follow(
    ensembles: &Ensembles,
    servers: &ConnectString,
    access: &Access,
    root: &NodePath,
    parent: &str,
    nodes: &[(&str, &String)],
    answers: &mpsc::Sender<Answer>,
) -> Result<(), ZookeeperError> {
    let parent = if parent.is_empty() { root.clone() } else { root.below(parent)? };
    let mut watch = ensembles.children_of(servers, access, &parent, None);
    loop {
        let children = watch.next().await?;
        for (name, path) in nodes {
            let data = children.nodes.get(*name).map(|node| node.data.to_vec());
            if answers.send(((*path).clone(), data)).await.is_err() {
                return Ok(());
            }
        }
    }
}
