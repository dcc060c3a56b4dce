//! What users of an ensemble see: whole snapshots of a node's children.

use std::collections::BTreeMap;
use std::sync::Arc;

use tokio::sync::watch;

use super::error::ZookeeperError;
use super::tree::TreeTask;

/// One child node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What it holds.
    pub data: Arc<[u8]>,
}

/// The direct children of a node as of one moment. Cheap to clone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Children {
    /// Whether the node itself is there; it has no children when it isn't.
    pub parent_exists: bool,
    /// The children by name.
    pub nodes: Arc<BTreeMap<Arc<str>, Node>>,
}

/// The children of one node, followed until this is dropped.
#[derive(Debug)]
pub struct ChildrenWatch {
    snapshots: watch::Receiver<Option<Children>>,
    _following: Arc<TreeTask>,
}

impl ChildrenWatch {
    pub(super) fn new(following: Arc<TreeTask>, mut snapshots: watch::Receiver<Option<Children>>) -> Self {
        // A late comer gets the snapshot that is there already.
        snapshots.mark_changed();
        Self { snapshots, _following: following }
    }

    /// Waits for the first whole snapshot, afterwards for each that differs. The latest wins. Cancel safe.
    ///
    /// # Errors
    /// [`ZookeeperError::Stopped`] when the task behind it died; follow the node again. Outages are no errors.
    pub async fn next(&mut self) -> Result<Children, ZookeeperError> {
        loop {
            self.snapshots.changed().await.map_err(|_| ZookeeperError::Stopped)?;
            if let Some(children) = &*self.snapshots.borrow_and_update() {
                return Ok(children.clone());
            }
        }
    }
}
