//! What a server node of a registry holds: one of five forms, told apart by its shape, node by node.
//!
//! | form | recognised by | read in |
//! |---|---|---|
//! | `ProxyMgr`'s own | `address` | [`crate::server_entry`] |
//! | Nerve | `host`, or a name that begins with `base64_` | `nerve` |
//! | serverset of Finagle and Aurora | `serviceEndpoint` | `serverset` |
//! | Curator, Spring Cloud | `address` and a key that only Curator writes | `curator` |
//! | the name alone | no data | `name` |

mod base64;
mod curator;
mod name;
mod nerve;
mod serverset;

use serde_json::{Map, Value};

use crate::engine::listed_server::ListedServer;
use crate::engine::node_rules::NodeRules;
use crate::engine::printable::printable;
use crate::server_entry::{EntryError, Fields, read_object};

/// More than a server node can need.
const MAX_BYTES: usize = 64 * 1024;

/// Why a node names no server; fit for users, printable.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NodeError {
    /// No data, and a name that says nothing either.
    #[error(
        "the node is empty and its name is no server ({0}); write {{\"address\": \"1.2.3.4\", \"port\": 8080}} into it"
    )]
    Empty(String),
    /// Beyond [`MAX_BYTES`].
    #[error("the node holds {0} bytes; at most {MAX_BYTES} are read")]
    TooLarge(usize),
    /// No JSON, or nested beyond 128 levels.
    #[error("no valid JSON: {0}")]
    Json(String),
    /// JSON, but no object.
    #[error("the node must hold a JSON object such as {{\"address\": \"1.2.3.4\", \"port\": 8080}}")]
    NoObject,
    /// A field.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A serverset entry under another name.
    #[error("a serverset's members have names that begin with member_")]
    NoMember,
    /// A serverset entry without the endpoint that the definition names.
    #[error("there is no additional endpoint '{wanted}'; there is {present}")]
    NoEndpoint {
        /// The definition's.
        wanted: String,
        /// The node's.
        present: String,
    },
}

impl NodeError {
    /// What is wrong, without what the node holds.
    pub(super) fn without_contents(&self) -> String {
        match self {
            Self::Empty(_) => "it is empty, and its name is no server".to_owned(),
            Self::Json(_) => "no valid JSON".to_owned(),
            Self::Entry(error) => error.without_contents(),
            Self::NoEndpoint { wanted, present: _ } => format!("there is no additional endpoint '{wanted}'"),
            Self::TooLarge(_) | Self::NoObject | Self::NoMember => self.to_string(),
        }
    }
}

/// Whether the node's name tells everything, so that its data need not be read.
pub(super) fn name_suffices(name: &str) -> bool {
    nerve::report_in_name(name).is_some()
}

/// Reads the node `name`; `None` when it says itself that its server is to get no traffic, or the filter leaves it out.
pub(super) fn read(name: &str, data: &[u8], rules: &NodeRules) -> Result<Option<ListedServer>, NodeError> {
    if let Some(report) = nerve::report_in_name(name) {
        return read_fields(&report, None, rules);
    }
    if data.len() > MAX_BYTES {
        return Err(NodeError::TooLarge(data.len()));
    }
    if data.trim_ascii().is_empty() {
        return name::read(name, rules);
    }
    let value: Value = serde_json::from_slice(data).map_err(|error| NodeError::Json(error.to_string()))?;
    let Value::Object(node) = value else { return Err(NodeError::NoObject) };
    read_fields(&node, Some(name), rules)
}

/// Reads an object of any of the forms; `name` is that of its node, if it has one.
pub(super) fn read_fields(
    node: &Map<String, Value>,
    name: Option<&str>,
    rules: &NodeRules,
) -> Result<Option<ListedServer>, NodeError> {
    let fields = Fields::new(node);
    let entry = if fields.has("serviceEndpoint") {
        serverset::read(&fields, name, rules)?
    } else if fields.has("host") {
        Some(nerve::read(&fields, rules)?)
    } else if curator::KEYS.iter().any(|key| fields.has(key)) {
        curator::read(&fields, rules)?
    } else {
        Some(read_object(&fields, rules.weight_from_node.unwrap_or(true))?)
    };
    Ok(entry.filter(|entry| rules.filter.takes(&entry.labels)).map(|entry| entry.server))
}

fn list(names: impl Iterator<Item = impl AsRef<str>>) -> String {
    let names: Vec<_> = names.map(|name| printable(name.as_ref())).collect();
    if names.is_empty() { "none".to_owned() } else { names.join(", ") }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
