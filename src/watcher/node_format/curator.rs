//! Instances of Curator's service discovery, which Spring Cloud writes too: `{"name", "id", "address", "port", "sslPort",
//! "payload", "registrationTimeUTC", "serviceType", "uriSpec", "enabled"}`.
//!
//! Sources: apache/curator, curator-x-discovery, ServiceInstance.java and JsonInstanceSerializer.java (`enabled` came with
//! 3.0); spring-cloud/spring-cloud-zookeeper, ZookeeperInstance.java (the payload).

use super::NodeError;
use crate::engine::node_rules::{Labels, NodeRules};
use crate::server_entry::{Entry, EntryError, Fields};

/// What only Curator writes.
pub(super) const KEYS: [&str; 5] = ["registrationTimeUTC", "serviceType", "sslPort", "uriSpec", "enabled"];

/// An instance that is switched off, or whose `instance_status` isn't UP, takes no traffic. Spring's metadata are its labels.
///
/// The port is `port`, `sslPort` when there is no other; with `use_ssl_port` only `sslPort`, since the two speak differently.
pub(super) fn read(fields: &Fields<'_>, rules: &NodeRules) -> Result<Option<Entry>, NodeError> {
    let labels = labels(fields);
    let up = labels.get("instance_status").is_none_or(|status| status.eq_ignore_ascii_case("UP"));
    if !fields.flag("enabled", true)? || !up {
        return Ok(None);
    }
    let (ssl_port, missing) = (fields.port("sslPort")?, |key: &str| EntryError::Missing(key.to_owned()));
    let port = if rules.use_ssl_port {
        ssl_port.ok_or_else(|| missing("sslPort"))?
    } else {
        fields.port("port")?.or(ssl_port).ok_or_else(|| missing("port"))?
    };
    Ok(Some(Entry { server: fields.server_at("address", port)?, labels }))
}

/// A payload is the application's own: one of another shape has no labels.
fn labels(fields: &Fields<'_>) -> Labels {
    let payload = fields.object("payload").ok().flatten();
    payload.and_then(|payload| payload.labels("metadata").ok()).unwrap_or_default()
}
