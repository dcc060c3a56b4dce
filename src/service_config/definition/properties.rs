//! Whatever a definition holds: no panic, and errors that can be printed.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Map, Value};

use super::*;
use crate::document::Format;
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
        "(bind |global|mode |server x |default-server )[ -~]{0,20}",
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
                prop::sample::select(vec!["address", "port", "name", "srv", "weight"]),
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

fn check(data: &[u8], format: Format) -> Result<(), TestCaseError> {
    let raw = RawDefinition { data: data.into(), format, origin: "test".into() };
    match parse(&ServiceName::parse("web").unwrap(), &raw, &BTreeSet::new()) {
        Ok(definition) => {
            let ends = definition.spec.server_options.iter().map(LineEnd::as_str);
            for line in definition.spec.listen_options.iter().map(OptionLine::as_str).chain(ends) {
                prop_assert!(!line.chars().any(char::is_control), "{line}");
            }
        }
        Err(refusal) => {
            prop_assert!(!refusal.errors.is_empty());
            prop_assert!(!refusal.to_string().chars().any(char::is_control), "{refusal}");
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn any_bytes_are_a_definition_or_are_refused(data: Vec<u8>, yaml: bool) {
        check(&data, if yaml { Format::Yaml } else { Format::Json })?;
    }

    #[test]
    fn any_values_are_a_definition_or_are_refused(definition in definition(), yaml: bool) {
        check(definition.to_string().as_bytes(), if yaml { Format::Yaml } else { Format::Json })?;
    }
}
