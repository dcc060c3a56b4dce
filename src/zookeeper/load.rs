//! Reads many nodes in few requests.

use std::sync::Arc;

use tokio::time::timeout;
use zookeeper_client::{Client, Error, MultiReadResult};

use super::error::ZookeeperError;
use super::node_path::NodePath;
use super::session::OPERATION_TIMEOUT;

/// `jute.maxbuffer` is 1 MiB (administrator's guide); half of it leaves room for headers.
const MAX_BYTES: usize = 512 * 1024;
const MAX_NODES: usize = 1000;
/// What a reply holds for each node beside its data: header, length and `Stat`.
const REPLY_OVERHEAD: usize = 96;

/// What became of one node.
pub(super) enum Read {
    Data(Arc<[u8]>),
    /// It went between the event and the read.
    Gone,
    /// Its ACL keeps us out.
    NoAuth,
}

/// How many nodes go into one request: learnt from the size of the replies, cut down by failures.
#[derive(Debug)]
pub(super) struct BatchLimit {
    nodes: usize,
    ceiling: usize,
}

impl Default for BatchLimit {
    fn default() -> Self {
        Self { nodes: 64, ceiling: MAX_NODES }
    }
}

impl BatchLimit {
    fn nodes(&self) -> usize {
        self.nodes.min(self.ceiling)
    }

    fn learn(&mut self, nodes: usize, bytes: usize) {
        self.nodes = (MAX_BYTES / (bytes / nodes.max(1)).max(1)).clamp(1, MAX_NODES);
    }

    /// A request of several nodes failed as a whole: the next ones are smaller, down to single reads.
    fn failed(&mut self) {
        self.ceiling = (self.nodes() / 8).max(1);
    }

    /// Everything was read.
    pub(super) fn recovered(&mut self) {
        self.ceiling = MAX_NODES;
    }
}

/// Runs one operation under the time limit that all have.
pub(super) async fn bounded<T>(
    operation: impl Future<Output = Result<T, Error>>,
) -> Result<T, ZookeeperError> {
    match timeout(OPERATION_TIMEOUT, operation).await {
        Ok(result) => Ok(result?),
        Err(_elapsed) => Err(ZookeeperError::NoAnswer(OPERATION_TIMEOUT)),
    }
}

/// The names of the children; `None` when the node doesn't exist.
pub(super) async fn list(client: &Client, root: &NodePath) -> Result<Option<Vec<Arc<str>>>, ZookeeperError> {
    match bounded(client.list_children(root.as_str())).await {
        Ok(names) => Ok(Some(names.into_iter().map(Arc::from).collect())),
        Err(ZookeeperError::Client(Error::NoNode)) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads the children `names` of `root`.
pub(super) async fn read(
    client: &Client,
    root: &NodePath,
    names: Vec<Arc<str>>,
    limit: &mut BatchLimit,
) -> Result<Vec<(Arc<str>, Read)>, ZookeeperError> {
    let mut read = Vec::with_capacity(names.len());
    let mut rest = names.into_iter().peekable();
    while rest.peek().is_some() {
        let mut batch = Vec::new();
        let mut path_bytes = 0;
        while batch.len() < limit.nodes() && path_bytes < MAX_BYTES {
            let Some(name) = rest.next() else { break };
            path_bytes += root.as_str().len() + name.len() + REPLY_OVERHEAD;
            batch.push(name);
        }
        let results = match batch.as_slice() {
            [one] => vec![read_one(client, &root.child(one)).await?],
            many => match read_many(client, root, many).await {
                Ok(results) => results,
                Err(error) => {
                    limit.failed();
                    return Err(error);
                }
            },
        };
        let data_bytes = |read: &Read| match read {
            Read::Data(data) => data.len(),
            Read::Gone | Read::NoAuth => 0,
        };
        if batch.len() > 1 {
            limit.learn(batch.len(), results.iter().map(|read| data_bytes(read) + REPLY_OVERHEAD).sum());
        }
        read.extend(batch.into_iter().zip(results));
    }
    Ok(read)
}

async fn read_one(client: &Client, path: &str) -> Result<Read, ZookeeperError> {
    match bounded(client.get_data(path)).await {
        Ok((data, _stat)) => Ok(Read::Data(data.into())),
        Err(ZookeeperError::Client(Error::NoNode)) => Ok(Read::Gone),
        Err(ZookeeperError::NoAuth) => Ok(Read::NoAuth),
        Err(error) => Err(error),
    }
}

async fn read_many(
    client: &Client,
    root: &NodePath,
    names: &[Arc<str>],
) -> Result<Vec<Read>, ZookeeperError> {
    let mut reader = client.new_multi_reader();
    for name in names {
        reader.add_get_data(&root.child(name))?;
    }
    let results = bounded(reader.commit()).await?;
    if results.len() != names.len() {
        let text = format!("{} nodes asked for, {} answered", names.len(), results.len());
        return Err(Error::UnexpectedError(text).into());
    }
    results.into_iter().map(one_of_many).collect()
}

fn one_of_many(result: MultiReadResult) -> Result<Read, ZookeeperError> {
    match result {
        MultiReadResult::Data { data, .. } => Ok(Read::Data(data.into())),
        MultiReadResult::Error { err: Error::NoNode } => Ok(Read::Gone),
        MultiReadResult::Error { err: Error::NoAuth } => Ok(Read::NoAuth),
        MultiReadResult::Error { err } => Err(err.into()),
        other @ (MultiReadResult::Children { .. } | _) => {
            Err(Error::UnexpectedError(format!("answer of another kind: {other:?}")).into())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_follow_the_size_of_the_replies_and_shrink_to_single_reads_on_failures() {
        let mut limit = BatchLimit::default();
        limit.learn(64, 64 * 200);
        assert_eq!(limit.nodes(), 1000);
        limit.learn(1000, 1000 * 16 * 1024);
        assert_eq!(limit.nodes(), 32);
        for nodes in [4, 1, 1] {
            limit.failed();
            assert_eq!(limit.nodes(), nodes);
        }
        limit.recovered();
        assert_eq!(limit.nodes(), 32);
    }
}
