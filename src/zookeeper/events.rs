//! From watch events to the children that must be read.

use std::collections::BTreeMap;
use std::future::ready;
use std::sync::Arc;

use zookeeper_client::{Error, EventType, PersistentWatcher, SessionState, WatchedEvent};

use super::error::ZookeeperError;
use super::node_path::NodePath;

/// What events say of one child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Read,
    Gone,
}

/// What changed, the last word on each.
#[derive(Debug, Default)]
pub(super) struct Changes {
    /// Whether the node itself came (`true`) or went.
    pub(super) parent_exists: Option<bool>,
    pub(super) children: BTreeMap<Arc<str>, Change>,
}

/// Waits for an event, then takes all that are at hand. Cancel safe: nothing is taken before the first is there.
///
/// # Errors
/// When the session is at its end; `watcher` must not be asked again then (it panics).
pub(super) async fn at_hand(
    watcher: &mut PersistentWatcher,
    root: &NodePath,
) -> Result<Changes, ZookeeperError> {
    let mut changes = Changes::default();
    let mut event = watcher.changed().await;
    loop {
        note(&event, root, &mut changes)?;
        event = tokio::select! {
            biased;
            event = watcher.changed() => event,
            () = ready(()) => return Ok(changes),
        };
    }
}

fn note(event: &WatchedEvent, root: &NodePath, changes: &mut Changes) -> Result<(), ZookeeperError> {
    let change = match event.event_type {
        EventType::NodeCreated | EventType::NodeDataChanged => Change::Read,
        EventType::NodeDeleted => Change::Gone,
        // Recursive watches report the children themselves instead.
        EventType::NodeChildrenChanged => return Ok(()),
        EventType::Session => {
            return match event.session_state {
                SessionState::Expired => Err(Error::SessionExpired.into()),
                SessionState::Closed => Err(Error::ClientClosed.into()),
                SessionState::AuthFailed => Err(ZookeeperError::AuthFailed),
                // The link changes too; that is what is acted upon.
                SessionState::Disconnected
                | SessionState::SyncConnected
                | SessionState::ConnectedReadOnly => Ok(()),
            };
        }
    };
    if let Some(name) = root.child_name(&event.path) {
        changes.children.insert(name.into(), change);
    } else if event.path == root.as_str() {
        changes.parent_exists = Some(change == Change::Read);
    }
    Ok(())
}
