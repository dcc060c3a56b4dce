//! A JSON or YAML list: of objects, in any form that nodes have, or of texts as in lines.

use serde_json::Value;

use super::MAX_BYTES;
use crate::document::{self, Format};
use crate::engine::listed_server::ListedServer;
use crate::engine::node_rules::{Labels, NodeRules};
use crate::server_entry::read_line;
use crate::watcher::listed_set::ListedSet;
use crate::watcher::node_format;
use crate::watcher::server_set::SkippedEntry;

/// A wrong entry is skipped and told with its number, from 1 on.
pub(super) fn read(data: &[u8], format: Format, rules: &NodeRules) -> Result<ListedSet, String> {
    let value = document::read(data, format, MAX_BYTES).map_err(|error| error.without_contents())?;
    let Value::Array(entries) = value else {
        return Err("its top level must be a list of servers".to_owned());
    };
    let (mut servers, mut skipped) = (Vec::new(), Vec::new());
    for (index, entry) in entries.iter().enumerate() {
        match read_entry(entry, rules) {
            Ok(server) => servers.extend(server),
            Err(reason) => skipped.push(SkippedEntry::new(&format!("entry {}", index + 1), &reason)),
        }
    }
    Ok(ListedSet::new(servers, skipped))
}

fn read_entry(entry: &Value, rules: &NodeRules) -> Result<Option<ListedServer>, String> {
    match entry {
        Value::Object(fields) => {
            node_format::read_fields(fields, None, rules).map_err(|error| error.without_contents())
        }
        Value::String(text) => {
            let server = read_line(text).map_err(|error| error.without_contents())?;
            Ok(rules.filter.takes(&Labels::new()).then_some(server))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            Err("a server is written as \"address:port\" or as an object".to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(set: &ListedSet) -> Vec<String> {
        set.servers().iter().map(|server| server.name().to_string()).collect()
    }

    #[test]
    fn objects_and_texts_are_taken_and_wrong_ones_told_by_number() {
        let json = br#"["1.1.1.1:1 weight=5", {"address": "2.2.2.2", "port": 2, "backup": true}, 3, "nonsense",
            {"host": "3.3.3.3", "port": 3, "name": "i-3", "haproxy_server_options": null, "labels": null}, "[::1]:4", {}]"#;
        let yaml = b"- 1.1.1.1:1 weight=5\n- {address: 2.2.2.2, port: 2, backup: true}\n- 3\n- nonsense\n\
            - {host: 3.3.3.3, port: 3}\n- '[::1]:4'\n- {}\n";
        let rules = NodeRules::default();
        let set = read(json, Format::Json, &rules).unwrap();
        assert_eq!(names(&set), ["1.1.1.1:1", "2.2.2.2:2", "3.3.3.3:3", "::1:4"]);
        let skipped: Vec<_> = set.skipped().iter().map(|skipped| skipped.entry.as_str()).collect();
        assert_eq!(skipped, ["entry 3", "entry 4", "entry 7"]);
        assert_eq!(read(yaml, Format::Yaml, &rules), Ok(set));
    }

    #[test]
    fn a_list_that_is_none_says_nothing_about_the_servers() {
        for bad in ["", "{}", "[", "[1", "null", "[\"1.1.1.1:1\"]x"] {
            assert!(read(bad.as_bytes(), Format::Json, &NodeRules::default()).is_err(), "{bad}");
        }
        assert_eq!(read(b"[]", Format::Json, &NodeRules::default()), Ok(ListedSet::default()));
    }
}
