//! All servers of a service as its registry lists them, host names not looked up yet.

use std::collections::BTreeSet;

use super::server_set::SkippedEntry;
use crate::engine::host_name::HostName;
use crate::engine::listed_server::{ListedServer, MAX_SERVERS};

/// The servers, and what couldn't be read as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ListedSet {
    servers: Vec<ListedServer>,
    skipped: Vec<SkippedEntry>,
}

impl ListedSet {
    /// A set in which neither order nor repetition makes a difference. Of too many servers the first are taken, as they are
    /// sorted.
    pub fn new(mut servers: Vec<ListedServer>, mut skipped: Vec<SkippedEntry>) -> Self {
        servers.sort_unstable();
        servers.dedup();
        if let Some(more) = servers.len().checked_sub(MAX_SERVERS).filter(|more| *more > 0) {
            servers.truncate(MAX_SERVERS);
            let reason = format!("a service has at most {MAX_SERVERS} servers; split it");
            skipped.push(SkippedEntry::new(&format!("the last {more} servers"), &reason));
        }
        skipped.sort_unstable();
        skipped.dedup();
        Self { servers, skipped }
    }

    /// The servers, sorted.
    pub fn servers(&self) -> &[ListedServer] {
        &self.servers
    }

    /// What was left out, sorted.
    pub fn skipped(&self) -> &[SkippedEntry] {
        &self.skipped
    }

    /// The names to look up.
    pub fn host_names(&self) -> BTreeSet<HostName> {
        self.servers.iter().filter_map(ListedServer::host_name).cloned().collect()
    }
}
