//! The keys of `type: consul`.

use serde_json::Value;

use crate::engine::consul::{ConsulServers, ConsulSpec};
use crate::engine::node_rules::NodeRules;
use crate::engine::printable::printable;
use crate::service_config::reader::Reader;

/// Longer than any name, tag or filter in use.
const MAX_BYTES: usize = 2000;
/// More than any instance has.
const MAX_TAGS: usize = 64;
/// They choose among the nodes of other registries.
const OF_OTHERS: [&str; 2] = ["endpoint", "use_ssl_port"];

pub(super) fn read(reader: &mut Reader<'_>, rules: NodeRules) -> Option<ConsulSpec> {
    for key in OF_OTHERS {
        if reader.value(key).is_some() {
            reader.error(format!("\"{key}\" plays no part with \"type\": \"consul\": remove it"));
        }
    }
    let service = reader.required("service", "the service's name in Consul's catalog");
    let service = service.and_then(|text| reader.checked("service", plain(text)));
    let servers = reader.one("server", ConsulServers::parse);
    let mut tags = reader.parsed("tags", plain);
    tags.extend(reader.parsed("tag", plain));
    tags.sort();
    tags.dedup();
    if tags.len() > MAX_TAGS {
        reader.error(format!("\"tags\" lists {} tags; at most {MAX_TAGS} are taken", tags.len()));
    }
    let passing_only = reader.flag("passing_only").unwrap_or(true);
    let expression = match reader.value("filter") {
        Some(Value::String(text)) => reader.checked("filter", plain(text)),
        _ => None,
    };
    let [dc, near] = ["dc", "near"].map(|key| {
        let text = reader.optional_text(key)?;
        reader.checked(key, plain(text))
    });
    Some(ConsulSpec { servers, service: service?, tags, passing_only, dc, near, expression, rules })
}

fn plain(text: &str) -> Result<String, String> {
    if text.is_empty() || text.len() > MAX_BYTES || text.chars().any(char::is_control) {
        let text = printable(text);
        return Err(format!("'{text}' is empty, longer than {MAX_BYTES} bytes or holds a control character"));
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::engine::service::{ServiceName, WatcherSpec};
    use crate::service_config::{Format, RawDefinition, parse};

    fn read(keys: &str) -> Result<ConsulSpec, Vec<String>> {
        let data = format!(r#"{{"type": "consul", "port": 80, {keys}}}"#).into_bytes().into();
        let raw = RawDefinition { data, format: Format::Json, origin: "test".into() };
        let definition = parse(&ServiceName::parse("web").unwrap(), &raw, &BTreeSet::new());
        let WatcherSpec::Consul(spec) = definition.map_err(|refusal| refusal.errors)?.spec.watcher else {
            panic!("{keys} is no consul")
        };
        Ok(spec)
    }

    #[test]
    fn little_must_be_said_and_much_can_be() {
        let spec = read(r#""service": "web""#).unwrap();
        assert_eq!((spec.service.as_str(), spec.passing_only, spec.servers), ("web", true, None));
        let spec = read(
            r#""service": "web", "server": "a:1,[::1]", "tags": ["y", "x"], "tag": "x", "passing_only": false, "dc": "dc2",
               "near": "_agent", "filter": "Service.Meta.az == a", "weight_from_node": false, "remote_port": 8080"#,
        )
        .unwrap();
        assert_eq!(spec.servers.unwrap().to_string(), "a:1,[::1]:8500");
        assert_eq!((spec.tags, spec.passing_only), (vec!["x".to_owned(), "y".to_owned()], false));
        assert_eq!(spec.expression.as_deref(), Some("Service.Meta.az == a"));
        assert_eq!(spec.rules.weight_from_node, Some(false));
    }

    #[test]
    fn a_filter_of_labels_is_none_of_consuls() {
        let spec = read(r#""service": "web", "filter": {"az": "a"}"#).unwrap();
        assert_eq!(spec.expression, None);
        assert!(!spec.rules.filter.takes(&[("az".to_owned(), "b".to_owned())].into()));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        for (keys, reason) in [
            (r#""tag": "a""#, "\"service\" is missing"),
            (r#""service": """#, "\"service\": '' is empty"),
            (r#""service": "web", "server": "http://a""#, "without http://"),
            (r#""service": "web", "endpoint": "a""#, "\"endpoint\" plays no part"),
            (r#""service": "web", "tags": ["a", 1]"#, "\"tags[1]\" is 1: it must be a string"),
            (r#""service": "web", "passing_only": "no""#, "\"passing_only\""),
            (r#""service": "web", "filter": 7"#, "\"filter\" is 7"),
            (r#""service": "web", "near": "a\nb""#, "\"near\": 'a\\nb'"),
        ] {
            let errors = read(keys).unwrap_err();
            assert!(errors.len() == 1 && errors[0].contains(reason), "{keys}: {errors:?}");
        }
    }
}
