//! Whatever a node holds: a server that touches its own section only, or an error that can be printed.

use proptest::prelude::*;
use serde_json::{Value, json};

use std::num::NonZeroU16;

use super::*;
use crate::engine::node_rules::LabelFilter;
use crate::engine::own_section::assert_servers_touch_their_own_section_only;

fn filtered(label: &str, value: &str) -> NodeRules {
    let filter = LabelFilter::new([(label.to_owned(), [value.to_owned()].into())].into());
    NodeRules { filter, ..NodeRules::default() }
}

/// Anything, with the keys and values of the forms among it.
fn any_value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        Just("ALIVE".to_owned()),
        Just("1.2.3.4".to_owned()),
        Just("a".to_owned()),
        Just("check maxconn 5 weight 3".to_owned()),
        any::<String>(),
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0_u32..70_000).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 24, 8, |inner| {
        let keys = proptest::sample::select(vec![
            "address",
            "port",
            "host",
            "weight",
            "backup",
            "drain",
            "labels",
            "haproxy_server_options",
            "serviceEndpoint",
            "additionalEndpoints",
            "status",
            "sslPort",
            "enabled",
            "payload",
            "metadata",
            "name",
            "az",
        ]);
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::btree_map(keys, inner, 0..8)
                .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

fn any_rules() -> impl Strategy<Value = NodeRules> {
    (any::<Option<bool>>(), any::<bool>(), any::<Option<u16>>(), proptest::option::of("[a-z]{0,3}")).prop_map(
        |(weight_from_node, use_ssl_port, port, endpoint)| NodeRules {
            filter: LabelFilter::default(),
            weight_from_node,
            endpoint,
            use_ssl_port,
            remote_port: port.and_then(NonZeroU16::new),
        },
    )
}

/// What may stand in haproxy.cfg.
fn assert_sane(read: &Result<Option<ListedServer>, NodeError>) {
    match read {
        Ok(Some(listed)) => {
            let server = listed.located(|_| Some([10, 0, 0, 1].into())).unwrap();
            assert!(server.address().port() != 0 && !server.address().ip().is_unspecified(), "{server:?}");
            let name = server.name().to_string();
            assert!(name.bytes().all(|b| b.is_ascii_alphanumeric() || b":.-_".contains(&b)), "{name}");
            let options = server.options.as_ref().map(ToString::to_string).unwrap_or_default();
            assert!(options.bytes().all(|b| b.is_ascii_alphanumeric() || b" -_.:".contains(&b)), "{options}");
            assert_servers_touch_their_own_section_only(vec![server]);
        }
        Ok(None) => {}
        Err(error) => assert!(!error.to_string().chars().any(char::is_control), "{error}"),
    }
}

/// A node of one of the forms, with some of its fields exchanged.
fn any_node() -> impl Strategy<Value = Value> {
    let labels = json!({"az": "a", "tier": 1, "live": true});
    let forms = [
        json!({"address": "1.2.3.4", "port": 80, "weight": 5, "backup": true, "drain": false, "labels": labels}),
        json!({"host": "::1", "port": "80", "name": "i-1", "weight": 3, "haproxy_server_options": "check inter 2s weight 7 backup",
            "labels": labels}),
        json!({"serviceEndpoint": {"host": "web.example", "port": 80}, "additionalEndpoints": {"a": {"host": "1.2.3.4", "port": 81}},
            "status": "ALIVE", "shard": 1}),
        json!({"name": "web", "id": "1", "address": "1.2.3.4", "port": 80, "sslPort": 443, "enabled": true,
            "payload": {"metadata": labels}}),
    ];
    let exchanged = proptest::collection::vec((any::<proptest::sample::Index>(), any_value()), 0..3);
    (proptest::sample::select(forms.to_vec()), exchanged).prop_map(|(mut node, exchanged)| {
        let fields = node.as_object_mut().unwrap();
        for (which, value) in exchanged {
            let key = which.get(&fields.keys().cloned().collect::<Vec<_>>()).clone();
            fields.insert(key, value);
        }
        node
    })
}

/// The label `az` of a node of any form that has labels, as text.
fn az(node: &Value) -> Option<String> {
    let curator =
        ["sslPort", "enabled"].iter().any(|key| node.get(key).is_some()) && node.get("host").is_none();
    let labels = if curator { node.get("payload")?.get("metadata")? } else { node.get("labels")? };
    match labels.get("az")? {
        Value::String(text) => Some(text.clone()),
        value @ (Value::Bool(_) | Value::Number(_)) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

proptest! {
    #[test]
    fn any_node_is_a_sane_server_or_an_error(node in any_node(), rules in any_rules()) {
        assert_sane(&read("member_1", node.to_string().as_bytes(), &rules));
    }

    #[test]
    fn any_labels_let_a_server_in_or_keep_it_out(node in any_node()) {
        let node = node.to_string();
        let found = read("member_1", node.as_bytes(), &filtered("az", "a"));
        if let Ok(Some(_)) = found {
            prop_assert_eq!(az(&serde_json::from_str(&node).unwrap()), Some("a".to_owned()));
            prop_assert_eq!(found, read("member_1", node.as_bytes(), &NodeRules::default()));
        }
    }

    #[test]
    fn any_bytes_are_a_sane_server_or_an_error(name in ".*", data: Vec<u8>, rules in any_rules()) {
        assert_sane(&read(&name, &data, &rules));
    }

    #[test]
    fn any_object_is_a_sane_server_or_an_error(data in any_value(), name in "(member_)?[0-9]{3}", rules in any_rules()) {
        assert_sane(&read(&name, data.to_string().as_bytes(), &rules));
    }

    #[test]
    fn any_name_is_a_sane_server_or_an_error(name in "(base64_[0-9]{0,3}_)?[a-zA-Z0-9:.\\[\\]_=-]{0,40}", rules in any_rules()) {
        assert_sane(&read(&name, b"", &rules));
    }
}
