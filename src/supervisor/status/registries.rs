//! The registries that this process is connected with, or not.

use std::time::SystemTime;

use super::utc;
use crate::admin::status::{RegistryKind, RegistryStatus};
use crate::census::{Kind, SessionCount, sessions};

/// As they are now.
pub(super) fn registries() -> Vec<RegistryStatus> {
    let now = SystemTime::now();
    sessions().into_iter().map(|count| told(&count, now)).collect()
}

fn told(count: &SessionCount, now: SystemTime) -> RegistryStatus {
    RegistryStatus {
        kind: match count.kind {
            Kind::Zookeeper => RegistryKind::Zookeeper,
            Kind::Consul => RegistryKind::Consul,
            Kind::Docker => RegistryKind::Docker,
        },
        ensemble: count.registry.to_string(),
        connected: count.connected,
        disconnected: count.disconnected,
        down_since: count.down_since.map(utc),
        // A clock that was set back meanwhile makes it none.
        down_s: count.down_since.map(|since| now.duration_since(since).unwrap_or_default().as_secs()),
    }
}
