//! What the records of the DNS say about servers.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::num::NonZeroU16;

use crate::dns::SrvRecord;
use crate::engine::listed_server::{Host, ListedServer};
use crate::engine::server::Weight;

/// A `SRV` record with the addresses of its target.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) record: SrvRecord,
    pub(super) addresses: BTreeSet<IpAddr>,
}

/// A server for each address that can be connected to.
pub(super) fn servers_of_name(
    port: NonZeroU16,
    addresses: &BTreeSet<IpAddr>,
) -> impl Iterator<Item = ListedServer> {
    addresses.iter().filter_map(move |ip| server(*ip, port.get()))
}

/// A server for each record and address. Those of the lowest priority are active, all others are backups (RFC 2782,
/// "Priority"); weights keep their proportions, unless all are equal.
pub(super) fn servers_of_services(found: &[Found]) -> impl Iterator<Item = ListedServer> {
    let lowest = found.iter().map(|found| found.record.priority).min();
    let weights: BTreeSet<_> = found.iter().map(|found| found.record.weight).collect();
    let greatest = weights.last().copied().filter(|_| weights.len() > 1);
    found.iter().flat_map(move |Found { record, addresses }| {
        addresses.iter().filter_map(move |ip| {
            let mut server = server(*ip, record.port)?;
            server.backup = Some(record.priority) != lowest;
            server.weight = greatest.and_then(|greatest| scaled(record.weight, greatest));
            Some(server)
        })
    })
}

fn server(ip: IpAddr, port: u16) -> Option<ListedServer> {
    Some(ListedServer::new(Host::at(ip)?, NonZeroU16::new(port)?))
}

/// Onto `HAProxy`'s 1 to 256. RFC 2782: weight 0 beside others has a very small chance, but has one; `HAProxy`'s 0 has none.
fn scaled(weight: u16, greatest: u16) -> Option<Weight> {
    let (weight, greatest, most) = (u32::from(weight), u32::from(greatest), u32::from(MOST));
    let scaled = if greatest <= most { weight } else { (weight * most + greatest / 2) / greatest };
    u16::try_from(scaled.max(1)).ok().and_then(Weight::new)
}

/// Configuration manual, 5.2 `weight`.
const MOST: u16 = 256;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::engine::host_name::HostName;

    fn found(priority: u16, weight: u16, port: u16, addresses: &[&str]) -> Found {
        let target = HostName::parse("a.example").unwrap();
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        Found { record: SrvRecord { priority, weight, port, target }, addresses }
    }

    fn told(found: &[Found]) -> Vec<(String, Option<u16>, bool)> {
        servers_of_services(found)
            .map(|server| (server.name().to_string(), server.weight.map(Weight::get), server.backup))
            .collect()
    }

    #[test]
    fn the_lowest_priority_is_active_and_all_others_are_backups() {
        let all = [found(20, 0, 81, &["10.0.0.2"]), found(10, 0, 80, &["10.0.0.1", "fd00::1"])];
        let expected = [("10.0.0.2:81", true), ("10.0.0.1:80", false), ("fd00::1:80", false)];
        assert_eq!(told(&all), expected.map(|(name, backup)| (name.to_owned(), None, backup)));
    }

    #[test]
    fn weights_keep_their_proportions_and_none_is_shut_out() {
        let of = |weights: &[u16]| -> Vec<_> {
            let all: Vec<_> = weights.iter().map(|weight| found(0, *weight, 1, &["10.0.0.1"])).collect();
            told(&all).into_iter().map(|(_, weight, _)| weight).collect()
        };
        assert_eq!(of(&[5, 5]), [None, None]);
        assert_eq!(of(&[10, 0, 30]), [Some(10), Some(1), Some(30)]);
        assert_eq!(of(&[65535, 32768, 1]), [Some(256), Some(128), Some(1)]);
    }

    #[test]
    fn what_cannot_be_connected_to_is_no_server() {
        assert_eq!(told(&[found(0, 0, 0, &["10.0.0.1"]), found(0, 0, 80, &["0.0.0.0", "::"])]), []);
    }

    proptest! {
        #[test]
        fn a_greater_weight_never_becomes_a_smaller_one(one: u16, two: u16, greatest: u16) {
            let greatest = greatest.max(one).max(two).max(1);
            let (one_scaled, two_scaled) = (scaled(one, greatest).unwrap(), scaled(two, greatest).unwrap());
            prop_assert!((one <= two) == (one_scaled <= two_scaled) || one_scaled == two_scaled);
            prop_assert!(one_scaled.get() >= 1);
        }
    }
}
