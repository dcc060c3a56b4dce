//! From the instances of a service to servers.

use std::num::NonZeroU16;

use super::server_set::SkippedEntry;
use crate::consul::{ConsulError, Health, Instance, instances_of_health};
use crate::engine::listed_server::ListedServer;
use crate::engine::node_rules::NodeRules;
use crate::engine::server::Weight;
use crate::server_entry::server_at;

/// What an instance is to us.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// A server, after the instance's name.
    Server(String, ListedServer),
    /// None: something is wrong with it.
    Skipped(SkippedEntry),
}

/// All instances that the rules take. Weights keep their proportions; Consul's default, 1, says nothing, so that the one of
/// the service's server options holds. An instance in maintenance drains.
pub(super) fn found(body: &[u8], rules: &NodeRules) -> Result<Vec<Found>, ConsulError> {
    let read = instances_of_health(body)?;
    let taken: Vec<_> = read
        .into_iter()
        .filter(|entry| entry.as_ref().map_or(true, |instance| rules.filter.takes(&instance.labels)))
        .collect();
    let greatest = taken.iter().flatten().map(weight).max().unwrap_or_default();
    let one = |entry: Result<Instance, (String, String)>| {
        let instance = match entry {
            Ok(instance) => instance,
            Err((name, reason)) => return Found::Skipped(SkippedEntry::new(&name, &reason)),
        };
        match server(&instance, rules) {
            Ok(mut server) => {
                server.drain = instance.health == Health::Maintenance;
                if rules.weight_from_node.unwrap_or(true) {
                    server.weight = scaled(weight(&instance), greatest);
                }
                Found::Server(instance.name, server)
            }
            Err(reason) => Found::Skipped(SkippedEntry::new(&instance.name, &reason)),
        }
    };
    Ok(taken.into_iter().map(one).collect())
}

fn server(instance: &Instance, rules: &NodeRules) -> Result<ListedServer, String> {
    let own = u16::try_from(instance.port).map_err(|_| format!("its port is {}", instance.port))?;
    let port = NonZeroU16::new(own).or(rules.remote_port);
    let port = port.ok_or("it is registered without a port; give it one, or the service \"remote_port\"")?;
    server_at(&instance.address, port)
        .map_err(|reason| format!("its address is '{}': {reason}", instance.address))
}

fn weight(instance: &Instance) -> i64 {
    match instance.health {
        Health::Passing => instance.weights.0,
        Health::Warning | Health::Critical | Health::Maintenance => instance.weights.1,
    }
}

/// Onto `HAProxy`'s range (configuration manual, 5.2 `weight`); what is not 0 stays so.
fn scaled(weight: i64, greatest: i64) -> Option<Weight> {
    let most = i64::from(Weight::MAX);
    let scaled = match weight {
        1 => return None,
        ..=0 => 0,
        _ if greatest <= most => weight,
        _ => {
            let exact =
                (i128::from(weight) * i128::from(most) + i128::from(greatest) / 2) / i128::from(greatest);
            i64::try_from(exact).unwrap_or(most).max(1)
        }
    };
    u16::try_from(scaled).ok().and_then(Weight::new)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;
    use crate::engine::node_rules::LabelFilter;
    use crate::engine::own_section::assert_servers_touch_their_own_section_only;

    fn entry(address: &str, port: i64, passing: i64, status: &str) -> Value {
        json!({"Node": {"Node": "n", "Address": "10.9.9.9"},
            "Service": {"ID": address, "Address": address, "Port": port, "Meta": {"az": address},
                "Weights": {"Passing": passing, "Warning": 0}},
            "Checks": [{"CheckID": "_service_maintenance:x", "Status": status}]})
    }

    fn told(entries: &[Value], rules: &NodeRules) -> Vec<String> {
        let all = found(json!(entries).to_string().as_bytes(), rules).unwrap();
        let tell = |found: &Found| match found {
            Found::Server(_, server) => {
                let weight = server.weight.map_or("-".to_owned(), |weight| weight.to_string());
                format!("{} {weight}{}", server.name(), if server.drain { " drain" } else { "" })
            }
            Found::Skipped(entry) => format!("{}: {}", entry.entry, entry.reason),
        };
        all.iter().map(tell).collect()
    }

    #[test]
    fn weights_are_consuls_and_maintenance_drains() {
        let entries = [
            entry("10.0.0.1", 80, 1, "passing"),
            entry("10.0.0.2", 80, 7, "passing"),
            entry("10.0.0.3", 80, 7, "warning"),
            entry("", 80, 1, "critical"),
        ];
        let rules = NodeRules::default();
        let expected = ["10.0.0.1:80 -", "10.0.0.2:80 7", "10.0.0.3:80 0", "10.9.9.9:80 0 drain"];
        assert_eq!(told(&entries, &rules), expected);
        let large = [entry("10.0.0.1", 80, 65535, "passing"), entry("10.0.0.2", 80, 2, "passing")];
        assert_eq!(told(&large, &rules), ["10.0.0.1:80 256", "10.0.0.2:80 1"]);
        let none = NodeRules { weight_from_node: Some(false), ..rules };
        assert_eq!(told(&large, &none), ["10.0.0.1:80 -", "10.0.0.2:80 -"]);
    }

    #[test]
    fn what_is_no_server_is_skipped_and_told() {
        let entries = [entry("10.0.0.1", 0, 1, "passing"), entry("a b", 80, 1, "passing"), json!(7)];
        let all = told(&entries, &NodeRules::default());
        assert!(all[0].contains("registered without a port"), "{all:?}");
        assert!(all[1].contains("its address is 'a b'"), "{all:?}");
        assert!(all[2].starts_with("instance 3"), "{all:?}");
        let rules = NodeRules { remote_port: NonZeroU16::new(8080), ..NodeRules::default() };
        assert_eq!(told(&entries[..1], &rules), ["10.0.0.1:8080 -"]);
    }

    #[test]
    fn metadata_are_labels() {
        let filter = LabelFilter::new([("az".to_owned(), ["10.0.0.2".to_owned()].into())].into());
        let entries = [entry("10.0.0.1", 80, 1, "passing"), entry("10.0.0.2", 80, 1, "passing")];
        assert_eq!(told(&entries, &NodeRules { filter, ..NodeRules::default() }), ["10.0.0.2:80 -"]);
    }

    proptest! {
        #[test]
        fn any_instance_is_a_sane_server_or_skipped(
            address in prop_oneof![Just("10.0.0.1".to_owned()), ".{0,12}"],
            port: i64, small in 0_i64..70_000, weights: (i64, i64), status in "[a-z]{0,9}",
        ) {
            for port in [port, small] {
                let entry = entry(&address, port, weights.0, &status);
                let other = entry_with(weights.1);
                for found in found(json!([entry, other]).to_string().as_bytes(), &NodeRules::default()).unwrap() {
                    match found {
                        Found::Server(_, server) => {
                            let server = server.located(|_| Some([10, 0, 0, 1].into())).unwrap();
                            assert_servers_touch_their_own_section_only(vec![server]);
                        }
                        Found::Skipped(entry) => prop_assert!(!entry.reason.chars().any(char::is_control)),
                    }
                }
            }
        }
    }

    fn entry_with(weight: i64) -> Value {
        entry("10.0.0.7", 80, weight, "passing")
    }
}
