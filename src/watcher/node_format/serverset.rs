//! Members of serversets: `{"serviceEndpoint": {"host", "port"}, "additionalEndpoints": {NAME: {"host", "port"}},
//! "status": "ALIVE", "shard"}` in nodes that are called `member_`.
//!
//! Sources: twitter-archive/commons, src/java/com/twitter/common/zookeeper/ServerSetImpl.java; twitter/finagle,
//! finagle-serversets/src/main/scala/com/twitter/finagle/serverset2/Entry.scala.

use super::{NodeError, list};
use crate::engine::node_rules::{Labels, NodeRules};
use crate::engine::printable::printable;
use crate::server_entry::{Entry, EntryError, Fields};

/// Only members that are alive take traffic.
pub(super) fn read(
    fields: &Fields<'_>,
    name: Option<&str>,
    rules: &NodeRules,
) -> Result<Option<Entry>, NodeError> {
    if name.is_some_and(|name| !name.starts_with("member_")) {
        return Err(NodeError::NoMember);
    }
    let missing = |key: &str| EntryError::Missing(key.to_owned());
    if fields.text("status")?.ok_or_else(|| missing("status"))? != "ALIVE" {
        return Ok(None);
    }
    let endpoint = match &rules.endpoint {
        None => fields.object("serviceEndpoint")?.ok_or_else(|| missing("serviceEndpoint"))?,
        Some(wanted) => {
            let additional = fields.object("additionalEndpoints")?;
            let found =
                additional.as_ref().map(|additional| additional.object(wanted)).transpose()?.flatten();
            found.ok_or_else(|| NodeError::NoEndpoint {
                wanted: printable(wanted),
                present: list(additional.iter().flat_map(Fields::keys)),
            })?
        }
    };
    Ok(Some(Entry { server: endpoint.server("host", "port")?, labels: Labels::new() }))
}
