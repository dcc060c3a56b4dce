//! What `ZooKeeper` keeps of a node besides its data (programmer's guide, "`ZooKeeper` Stat Structure").

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::access::Access;
use super::connect_string::ConnectString;
use super::ensembles::Ensembles;
use super::error::ZookeeperError;
use super::load::bounded;
use super::node_path::NodePath;

/// When a node was written, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NodeStat {
    /// How often its data were changed.
    pub version: i32,
    /// When they were written last, by the ensemble's clock.
    pub written: SystemTime,
}

impl Ensembles {
    /// Asks for what is kept of the node at `path`, which is meant below the chroot of `servers`, on a session that is there
    /// already; `None` when there is no such node.
    ///
    /// # Errors
    /// When no session is connected, or there is no answer.
    pub async fn stat(
        &self,
        servers: &ConnectString,
        access: &Access,
        path: &NodePath,
    ) -> Result<Option<NodeStat>, ZookeeperError> {
        let client = self.client(servers, access).ok_or(ZookeeperError::Disconnected)?;
        let stat = bounded(client.check_stat(servers.full_path(path).as_str())).await?;
        Ok(stat.map(|stat| NodeStat {
            version: stat.version,
            written: UNIX_EPOCH + Duration::from_millis(stat.mtime.try_into().unwrap_or(0)),
        }))
    }
}
