//! Servers that a definition names itself.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::engine::listed_server::{ListedServer, MAX_SERVERS};
use crate::engine::printable::printable;
use crate::server_entry::{Fields, read_line, read_object};
use crate::service_config::reader::Reader;

/// `default_servers` and `backup_servers`, by name; one that is in both is no backup.
pub(super) fn read(reader: &mut Reader<'_>) -> Vec<ListedServer> {
    let mut servers = BTreeMap::new();
    for mut server in list(reader, "backup_servers") {
        server.backup = true;
        servers.insert(server.name(), server);
    }
    for server in list(reader, "default_servers") {
        servers.insert(server.name(), server);
    }
    servers.into_values().collect()
}

fn list(reader: &mut Reader<'_>, key: &str) -> Vec<ListedServer> {
    match reader.value(key) {
        None => Vec::new(),
        Some(Value::Array(items)) => {
            if items.len() > MAX_SERVERS {
                reader.error(format!(
                    "\"{key}\" names {} servers: a service has at most {MAX_SERVERS}; split it",
                    items.len()
                ));
                return Vec::new();
            }
            let read = |(index, item)| one(reader, &format!("{key}[{index}]"), item);
            items.iter().enumerate().filter_map(read).collect()
        }
        Some(single) => one(reader, key, single).into_iter().collect(),
    }
}

fn one(reader: &mut Reader<'_>, at: &str, item: &Value) -> Option<ListedServer> {
    match item {
        Value::String(text) => reader.checked(at, read_line(text)),
        Value::Object(map) => {
            let entry = read_object(&Fields::new(map), true);
            reader.checked(at, entry.map(|entry| entry.server))
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) => {
            let found = printable(&item.to_string());
            reader.error(format!("\"{at}\" is {found}: it must be \"address:port\" or an object"));
            None
        }
    }
}
