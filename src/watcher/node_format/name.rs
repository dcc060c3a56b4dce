//! Nodes without data: the name is the server, `host:port`, or a host whose port the definition names (`remote_port`).

use super::NodeError;
use crate::engine::listed_server::ListedServer;
use crate::engine::node_rules::{Labels, NodeRules};
use crate::engine::printable::printable;
use crate::server_entry::{EntryError, host_and_port, server_at};

pub(super) fn read(name: &str, rules: &NodeRules) -> Result<Option<ListedServer>, NodeError> {
    let empty = |error: EntryError| NodeError::Empty(error.to_string());
    let (host, port) = host_and_port(name).map_err(empty)?;
    let wrong = |reason| empty(EntryError::Address { text: printable(name), reason });
    let no_port = "it has no port, and the service has no \"remote_port\"";
    let port = port.or(rules.remote_port).ok_or_else(|| wrong(no_port))?;
    let server = server_at(host, port).map_err(wrong)?;
    Ok(rules.filter.takes(&Labels::new()).then_some(server))
}
