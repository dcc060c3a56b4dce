//! What a definition takes from the nodes of its registry.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use crate::engine::node_rules::{LabelFilter, NodeRules};
use crate::engine::printable::printable;
use crate::service_config::reader::Reader;

pub(super) fn read(reader: &mut Reader<'_>) -> NodeRules {
    NodeRules {
        filter: filter(reader),
        weight_from_node: reader.flag("weight_from_node"),
        endpoint: reader.optional_text("endpoint").map(str::to_owned),
        use_ssl_port: reader.flag("use_ssl_port").unwrap_or(false),
        remote_port: reader.optional_port("remote_port"),
    }
}

/// A map from labels to a value each, or to a list of values that will do.
fn filter(reader: &mut Reader<'_>) -> LabelFilter {
    let map = match reader.value("filter") {
        None => return LabelFilter::default(),
        Some(Value::Object(map)) => map,
        // Consul's own kind of filter.
        Some(Value::String(_)) if reader.value("type").is_some_and(|kind| kind == "consul") => {
            return LabelFilter::default();
        }
        Some(other) => {
            let found = printable(&other.to_string());
            reader.error(format!("\"filter\" is {found}: it must be a map of labels and values"));
            return LabelFilter::default();
        }
    };
    let mut wanted = BTreeMap::new();
    for (label, value) in map {
        if let Some(values) = values(value) {
            wanted.insert(label.clone(), values);
        } else {
            let (label, found) = (printable(label), printable(&value.to_string()));
            reader.error(format!("\"filter.{label}\" is {found}: it must be a value or a list of them"));
        }
    }
    LabelFilter::new(wanted)
}

fn values(value: &Value) -> Option<BTreeSet<String>> {
    match value {
        Value::String(text) => Some(BTreeSet::from([text.clone()])),
        Value::Bool(_) | Value::Number(_) => Some(BTreeSet::from([value.to_string()])),
        Value::Array(items) if !items.is_empty() => {
            let all: Option<Vec<_>> = items.iter().map(values).collect();
            Some(all?.into_iter().flatten().collect())
        }
        Value::Null | Value::Object(_) | Value::Array(_) => None,
    }
}
