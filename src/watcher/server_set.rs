//! All servers of a service as its registry has them, each with its address.

use crate::engine::printable::printable;
use crate::engine::server::Server;

/// The servers, and what couldn't be read as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerSet {
    servers: Vec<Server>,
    skipped: Vec<SkippedEntry>,
}

/// An entry that names no server: it is left out, counted and shown, and harms no other.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SkippedEntry {
    /// The node's name or `line N`, printable.
    pub entry: String,
    /// Why, with what to write instead, printable.
    pub reason: String,
}

impl SkippedEntry {
    /// Makes both texts printable.
    pub fn new(entry: &str, reason: &str) -> Self {
        Self { entry: printable(entry), reason: printable(reason) }
    }
}

impl ServerSet {
    /// Sorts by address; of several entries with one name one stays, whatever their order was: the one without a weight,
    /// else with the least, then the one that is no backup, then the one that doesn't drain, then the one without options.
    /// A host name and an address are two servers, even if one leads to the other now: it may lead elsewhere soon.
    pub fn new(mut servers: Vec<Server>, mut skipped: Vec<SkippedEntry>) -> Self {
        servers.sort_unstable();
        servers.dedup_by(|one, other| one.address() == other.address() && one.host() == other.host());
        skipped.sort_unstable();
        skipped.dedup();
        Self { servers, skipped }
    }

    /// The servers, sorted by address, each name once.
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// What was left out, sorted.
    pub fn skipped(&self) -> &[SkippedEntry] {
        &self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_repetition_make_no_difference() {
        let at = |address: &str| Server::at(address.parse().unwrap()).unwrap();
        let mut drained = at("1.1.1.1:1");
        drained.drain = true;
        let one = ServerSet::new(vec![at("2.2.2.2:2"), drained.clone(), at("1.1.1.1:1")], vec![]);
        let two = ServerSet::new(vec![at("1.1.1.1:1"), at("2.2.2.2:2"), at("2.2.2.2:2"), drained], vec![]);
        assert_eq!(one, two);
        assert_eq!(one.servers(), [at("1.1.1.1:1"), at("2.2.2.2:2")]);
    }
}
