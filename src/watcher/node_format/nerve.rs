//! Nodes of Nerve: `{"host", "port", "name", "weight", "haproxy_server_options", "labels"}`.
//!
//! Sources: airbnb/nerve, lib/nerve/reporter/base.rb (`get_service_data`); airbnb/synapse,
//! `lib/synapse/service_watcher/zookeeper/zookeeper.rb` (`create_backend_info`, `parse_base64_encoded_prefix`).

use serde_json::{Map, Value};

use super::base64;
use crate::engine::node_rules::NodeRules;
use crate::server_entry::{Entry, EntryError, Fields};

/// Names of this kind carry the report: `base64_LENGTH_REPORT_SEQUENCE`, the report in URL-safe base64.
const NAME_PREFIX: &str = "base64_";

/// A weight counts when the definition says so, as with Synapse's `use_nerve_weights`; then it goes before one in the options.
pub(super) fn read(fields: &Fields<'_>, rules: &NodeRules) -> Result<Entry, EntryError> {
    let mut server = fields.server("host", "port")?;
    let words = fields.words("haproxy_server_options")?;
    let own = if rules.weight_from_node.unwrap_or(false) { fields.weight("weight")? } else { None };
    server.weight = own.or(words.weight);
    server.backup = words.backup;
    server.options = words.options;
    Ok(Entry { server, labels: fields.labels("labels")? })
}

/// The report that a node's name carries; with a name that can't be decoded the data counts, as in Synapse.
pub(super) fn report_in_name(name: &str) -> Option<Map<String, Value>> {
    let (length, rest) = name.strip_prefix(NAME_PREFIX)?.split_once('_')?;
    let report = base64::decode(rest.get(..length.parse().ok()?)?)?;
    serde_json::from_slice(&report).ok()
}
