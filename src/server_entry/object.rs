//! `ProxyMgr`'s own form: `{"address": "1.2.3.4", "port": 8080}`, and optionally `weight`, `backup`, `drain`, `labels`.

use super::error::EntryError;
use super::fields::Fields;
use crate::engine::listed_server::ListedServer;
use crate::engine::node_rules::Labels;

/// What an object says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The server.
    pub server: ListedServer,
    /// What else it says of it.
    pub labels: Labels,
}

/// Reads one server; its weight is looked at only if `weight_counts`. Other keys are the writer's own business.
///
/// # Errors
/// What is missing or wrong.
pub fn read_object(fields: &Fields<'_>, weight_counts: bool) -> Result<Entry, EntryError> {
    let mut server = fields.server("address", "port")?;
    if weight_counts {
        server.weight = fields.weight("weight")?;
    }
    server.backup = fields.flag("backup", false)?;
    server.drain = fields.flag("drain", false)?;
    Ok(Entry { server, labels: fields.labels("labels")? })
}
