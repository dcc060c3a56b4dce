//! Whatever a definition holds: no panic, errors that can be printed, and what is taken stays in its own section.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;
use crate::document::Format;
use crate::engine::any_text::any_line;
use crate::engine::host_name::HostName;
use crate::engine::own_section::assert_touches_its_own_section_only;
use crate::service_config::keys::KNOWN;

fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        ".{0,12}",
        "[a-z0-9.:/@*,\\[\\]'\"\\\\#${};-]{0,16}",
        prop::sample::select(vec![
            "static",
            "file",
            "dns",
            "zookeeper",
            "zk:2181",
            "/a",
            "*",
            "::",
            "keep",
            "50%",
            "5s"
        ])
        .prop_map(str::to_owned),
        any_line(),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        (0_u32..70_000).prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text().prop_map(Value::from),
    ];
    leaf.prop_recursive(2, 12, 4, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(
                prop::sample::select(vec![
                    "address", "port", "name", "srv", "weight", "frontend", "host", "path"
                ]),
                inner,
                0..4
            )
            .prop_map(|map| map.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()),
        ]
    })
}

fn definition() -> impl Strategy<Value = Value> {
    let keys = prop::sample::select(KNOWN.to_vec()).prop_map(str::to_owned);
    let entries = prop::collection::btree_map(prop_oneof![9 => keys, 1 => ".{0,8}"], value(), 0..8);
    (entries, any::<bool>()).prop_map(|(entries, good)| {
        let mut map: Map<String, Value> = entries.into_iter().collect();
        if good {
            map.insert("type".into(), "static".into());
            map.insert("port".into(), 80.into());
            map.entry("default_servers").or_insert_with(|| "10.0.0.1:80".into());
        }
        map.into()
    })
}

fn check(name: &str, data: &[u8], format: Format) -> Result<(), TestCaseError> {
    let raw = RawDefinition { data: data.into(), format, origin: "test".into() };
    let name = ServiceName::parse(name).unwrap();
    match parse(&name, &raw, &BTreeSet::new()) {
        Ok(Definition { spec, unknown_keys }) => {
            let somewhere = |_: &HostName| Some([10, 0, 0, 1].into());
            let servers = spec.fixed_servers.iter().filter_map(|server| server.located(somewhere)).collect();
            assert_touches_its_own_section_only(&name, &spec, servers);
            for key in unknown_keys {
                prop_assert!(!key.to_string().chars().any(char::is_control), "{key}");
            }
        }
        Err(refusal) => {
            prop_assert!(!refusal.errors.is_empty());
            prop_assert!(!refusal.to_string().chars().any(char::is_control), "{refusal}");
        }
    }
    Ok(())
}

const NAME: &str = "[a-zA-Z0-9._:-]{1,9}";

/// A definition that is good but for what its lines say.
fn lines() -> impl Strategy<Value = Value> {
    let lines = || prop::collection::vec(any_line(), 0..4);
    (lines(), lines(), lines(), any::<bool>()).prop_map(|(listen, server, bind, all)| {
        let mut definition =
            serde_json::json!({"type": "static", "port": 80, "default_servers": ["10.0.0.1:80", "[::1]:80"]});
        definition["listen_options"] = listen.into();
        if all {
            definition["server_options"] = server.into();
            definition["bind_options"] = bind.into();
        }
        definition
    })
}

proptest! {
    #[test]
    fn any_bytes_are_a_definition_or_are_refused(data: Vec<u8>, name in NAME, yaml: bool) {
        check(&name, &data, if yaml { Format::Yaml } else { Format::Json })?;
    }

    #[test]
    fn any_values_are_a_definition_or_are_refused(definition in definition(), name in NAME, yaml: bool) {
        check(&name, definition.to_string().as_bytes(), if yaml { Format::Yaml } else { Format::Json })?;
    }

    #[test]
    fn any_lines_are_a_definitions_or_are_refused(definition in lines(), name in NAME) {
        check(&name, definition.to_string().as_bytes(), Format::Json)?;
    }
}
