//! Definitions are the keys of a folder in Consul's store.

use std::collections::BTreeMap;
use std::convert::Infallible;

use tracing::warn;

use super::listing::{Entry, Listing, RawDefinition};
use super::{Listings, SourceError, publish};
use crate::consul::{Consuls, Key, Query, keys};
use crate::document::Format;
use crate::engine::consul::ConsulAccess;
use crate::engine::printable::printable;

pub(super) async fn follow(
    consuls: &Consuls,
    access: &ConsulAccess,
    path: &str,
    out: &Listings,
) -> Result<Infallible, SourceError> {
    let mut follow = consuls.follow(access, Query::keys_below(path, access.dc.clone()));
    loop {
        if let Some(body) = follow.next().await?.body {
            publish(out, listing(keys(&body)?, access, path));
            continue;
        }
        // A folder that nobody made yet is no list; one that is gone is an empty one.
        if out.borrow().is_some() {
            publish(out, Listing::new());
        }
        warn!(consul = %access.servers, path, "no key lies below the folder that lists the services; waiting for one, the services known stay");
    }
}

/// A key's last part is the service's name: folders below are for people.
fn listing(keys: Vec<Key>, access: &ConsulAccess, path: &str) -> Listing {
    let mut by_name: BTreeMap<String, Entry> = BTreeMap::new();
    for Key { path: key, value } in keys {
        let name = key.rsplit('/').next().unwrap_or_default();
        // An empty one stands for a folder.
        if name.is_empty() {
            continue;
        }
        let origin = printable(&format!("consul {} {key}", access.servers));
        let entry = match by_name.get(name) {
            None => Entry::Definition(RawDefinition { data: value.into(), format: Format::Json, origin }),
            Some(other) => {
                let reason = format!("{} and {origin} define it: remove all but one", other.origin());
                Entry::Unreadable { origin: printable(&format!("consul {} {path}", access.servers)), reason }
            }
        };
        by_name.insert(name.to_owned(), entry);
    }
    by_name
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::consul::ConsulServers;

    #[test]
    fn a_keys_last_part_is_the_name_and_two_of_one_name_are_none() {
        let access = ConsulAccess::to(ConsulServers::parse("a:1").unwrap());
        let key = |path: &str| Key { path: path.to_owned(), value: b"{}".to_vec() };
        let listing = listing(vec![key("s/"), key("s/web"), key("s/eu/db"), key("s/x/web")], &access, "s");
        assert_eq!(listing.keys().collect::<Vec<_>>(), ["db", "web"]);
        assert_eq!(listing["db"].origin(), "consul a:1 s/eu/db");
        let Entry::Unreadable { reason, .. } = &listing["web"] else { panic!("{listing:?}") };
        assert!(reason.contains("s/web and consul a:1 s/x/web define it"), "{reason}");
    }
}
