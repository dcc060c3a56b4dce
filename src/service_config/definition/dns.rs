//! The keys of `type: dns`.

use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroU16;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::dns::RefreshRules;
use crate::engine::dns_spec::{DnsBackend, DnsSpec};
use crate::engine::duration_text::duration;
use crate::engine::host_name::HostName;
use crate::engine::printable::printable;
use crate::service_config::reader::Reader;

const DNS_PORT: u16 = 53;
/// A name is not asked more often, whatever is written.
const LEAST_TTL: Duration = Duration::from_millis(100);
/// Each is asked for again and again.
const MAX_NAMES: usize = 1000;
/// They choose among nodes; names have none.
const OF_NODES: [&str; 5] = ["filter", "weight_from_node", "endpoint", "use_ssl_port", "remote_port"];

pub(super) fn read(reader: &mut Reader<'_>) -> Option<DnsSpec> {
    for key in OF_NODES {
        if reader.value(key).is_some() {
            reader.error(format!("\"{key}\" plays no part with \"type\": \"dns\": remove it"));
        }
    }
    let nameservers = reader.parsed("nameservers", nameserver);
    let defaults = RefreshRules::default();
    let min_ttl = reader.one("min_ttl", shortest);
    let max_ttl = reader.one("max_ttl", shortest);
    let (shortest, longest) = (
        min_ttl.unwrap_or(defaults.min_ttl),
        max_ttl.unwrap_or(defaults.max_ttl.max(min_ttl.unwrap_or_default())),
    );
    if shortest > longest && min_ttl.is_some() {
        reader.error("\"min_ttl\" is longer than \"max_ttl\": make it shorter".to_owned());
    }
    let backends = backends(reader)?;
    Some(DnsSpec { backends, nameservers, min_ttl: shortest.min(longest), max_ttl: longest })
}

fn backends(reader: &mut Reader<'_>) -> Option<Vec<DnsBackend>> {
    let example = "[{\"name\": \"web.example\", \"port\": 80}] or [{\"srv\": \"_http._tcp.web.example\"}]";
    let Some(value) = reader.value("backends") else {
        reader.error(format!("\"backends\" is missing: add the list of names, such as {example}"));
        return None;
    };
    let single = std::slice::from_ref(value);
    let items = value.as_array().map_or(single, Vec::as_slice);
    if items.is_empty() {
        reader.error(format!("\"backends\" is empty: add names, such as {example}"));
    }
    if items.len() > MAX_NAMES {
        reader.error(format!("\"backends\" lists {} names; at most {MAX_NAMES} are taken", items.len()));
        return None;
    }
    let read = |(index, item): (usize, &Value)| {
        let backend = item.as_object().ok_or_else(|| "it must be an object".to_owned()).and_then(backend);
        reader.checked(&format!("backends[{index}]"), backend)
    };
    let backends: Vec<_> = items.iter().enumerate().filter_map(read).collect();
    (!backends.is_empty()).then_some(backends)
}

fn backend(map: &Map<String, Value>) -> Result<DnsBackend, String> {
    if let Some(key) = map.keys().find(|key| !["name", "port", "srv"].contains(&key.as_str())) {
        return Err(format!("the key \"{}\" is unknown; name and port are taken, or srv", printable(key)));
    }
    match (map.get("name"), map.get("srv")) {
        (Some(name), None) => {
            let port = map.get("port").and_then(Value::as_u64).and_then(|port| u16::try_from(port).ok());
            let port = port.and_then(NonZeroU16::new).ok_or("\"port\" must be there, 1 to 65535")?;
            Ok(DnsBackend::Addresses { name: host_name(name)?, port })
        }
        (None, Some(_)) if map.contains_key("port") => {
            Err("\"port\" plays no part beside \"srv\", whose records tell the ports: remove it".to_owned())
        }
        (None, Some(name)) => Ok(DnsBackend::Services { name: host_name(name)? }),
        (_, _) => Err("it must have either \"name\" and \"port\", or \"srv\"".to_owned()),
    }
}

fn host_name(value: &Value) -> Result<HostName, String> {
    let text = value.as_str().ok_or_else(|| "the name must be a string".to_owned())?;
    HostName::parse(text).map_err(|error| error.to_string())
}

/// `10.0.0.1`, `10.0.0.1:5353`, `::1`, `[::1]:53`.
fn nameserver(text: &str) -> Result<SocketAddr, String> {
    let with_port = || text.parse::<SocketAddr>().ok();
    let alone = || text.parse::<IpAddr>().ok().map(|ip| SocketAddr::new(ip, DNS_PORT));
    with_port().or_else(alone).filter(|address| address.port() != 0).ok_or_else(|| {
        format!(
            "'{}' is no name server; write its address, such as 10.0.0.1 or 10.0.0.1:5353",
            printable(text)
        )
    })
}

fn shortest(text: &str) -> Result<Duration, String> {
    let ttl = duration(text)?;
    if ttl < LEAST_TTL { Err("is too short; at least 100ms".to_owned()) } else { Ok(ttl) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::engine::service::{ServiceName, WatcherSpec};
    use crate::service_config::{Format, RawDefinition, parse};

    fn read(keys: &str) -> Result<DnsSpec, Vec<String>> {
        let data = format!(r#"{{"type": "dns", "port": 80, {keys}}}"#).into_bytes().into();
        let raw = RawDefinition { data, format: Format::Json, origin: "test".into() };
        let definition = parse(&ServiceName::parse("web").unwrap(), &raw, &BTreeSet::new());
        let WatcherSpec::Dns(spec) = definition.map_err(|refusal| refusal.errors)?.spec.watcher else {
            panic!("{keys} is no dns")
        };
        Ok(spec)
    }

    #[test]
    fn names_and_services_are_read() {
        let spec =
            read(r#""backends": [{"name": "Web.example.", "port": 80}, {"srv": "_http._tcp.example"}]"#)
                .unwrap();
        let name = |text| HostName::parse(text).unwrap();
        let web = DnsBackend::Addresses { name: name("web.example"), port: NonZeroU16::new(80).unwrap() };
        assert_eq!(spec.backends, [web, DnsBackend::Services { name: name("_http._tcp.example") }]);
        assert_eq!(spec.nameservers, []);
        assert_eq!((spec.min_ttl, spec.max_ttl), (Duration::from_secs(1), Duration::from_secs(60)));
    }

    #[test]
    fn name_servers_have_port_53_unless_they_name_another() {
        let web = r#""backends": {"name": "a", "port": 1}"#;
        let spec =
            read(&format!(r#"{web}, "nameservers": ["10.0.0.1", "10.0.0.1:5353", "::1", "[::1]:54"]"#))
                .unwrap();
        let told: Vec<_> = spec.nameservers.iter().map(ToString::to_string).collect();
        assert_eq!(told, ["10.0.0.1:53", "10.0.0.1:5353", "[::1]:53", "[::1]:54"]);
        let spec = read(&format!(r#"{web}, "min_ttl": "2m", "nameservers": "10.0.0.1""#)).unwrap();
        assert_eq!((spec.min_ttl, spec.max_ttl), (Duration::from_secs(120), Duration::from_secs(120)));
    }

    #[test]
    fn what_is_wrong_is_told_with_its_place() {
        let web = r#""backends": [{"name": "a", "port": 1}]"#;
        for (keys, reason) in [
            (r#""min_ttl": "1s""#.to_owned(), "\"backends\" is missing: add"),
            (r#""backends": []"#.into(), "\"backends\" is empty"),
            (r#""backends": ["web:80"]"#.into(), "\"backends[0]\": it must be an object"),
            (r#""backends": [{"name": "web"}]"#.into(), "\"backends[0]\": \"port\" must be there"),
            (r#""backends": [{"name": "web", "port": 0}]"#.into(), "1 to 65535"),
            (r#""backends": [{"name": "a b", "port": 1}]"#.into(), "'a b' is no host name"),
            (r#""backends": [{"name": "a", "port": 1, "prot": 2}]"#.into(), "the key \"prot\" is unknown"),
            (r#""backends": [{"srv": "a", "port": 1}]"#.into(), "\"port\" plays no part beside \"srv\""),
            (r#""backends": [{"srv": "a", "name": "b"}]"#.into(), "either"),
            (
                format!(r#"{web}, "nameservers": ["ns.example"]"#),
                "\"nameservers[0]\": 'ns.example' is no name server",
            ),
            (format!(r#"{web}, "min_ttl": "1ms""#), "\"min_ttl\": '1ms' is too short"),
            (format!(r#"{web}, "min_ttl": "2m", "max_ttl": "1m""#), "\"min_ttl\" is longer than \"max_ttl\""),
            (format!(r#"{web}, "filter": {{"az": "a"}}"#), "\"filter\" plays no part"),
        ] {
            let errors = read(&keys).unwrap_err();
            assert!(errors.len() == 1 && errors[0].contains(reason), "{keys}: {errors:?}");
        }
    }
}
