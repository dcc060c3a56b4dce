//! The definition that a container gives of its service: JSON, for the reader of all definitions to judge.

use serde_json::{Map, Value, json};

use super::ContainerSource;
use crate::docker::Offer;
use crate::engine::docker_spec::ContainerAddress;
use crate::engine::printable::printable;

/// What a container says of itself, not of its service.
const ITS_OWN: [&str; 8] = ["service", "port", "tags", "network", "weight", "backup", "drain", "ignore"];
const ROUTE: &str = "route.";

/// A definition, or why there can't be one.
pub(super) type Defining = Result<Value, String>;

/// The definition of the service that `offer` is for; `None` when the container defines none, so that another source may.
///
/// By labels, `proxymgr.KEY` is the key KEY, `proxymgr.route.KEY` is the key KEY of its route, and `proxymgr.listen_port` is its
/// port; each line of a value is an entry of a list. Cosmonaut's variables say the same in other words: `PREDICATE` is a host name
/// or, with `CONFIG_MODE=path`, a path; `COOKIE` is the cookie.
pub(super) fn definition(offer: &Offer<'_>, source: &ContainerSource) -> Option<Defining> {
    let (mut keys, mut route) = (Map::new(), Map::new());
    let mut labels: Vec<_> = offer.words.labels().collect();
    // Those of this port alone come last, and count.
    labels.retain(|(key, _)| !ITS_OWN.contains(key));
    for (key, text) in labels {
        match key.strip_prefix(ROUTE) {
            Some(key) => route.insert(key.to_owned(), value(text)),
            None => keys.insert(key.to_owned(), value(text)),
        };
    }
    let named = offer.words.label("service").is_some();
    let cosmonauts = match cosmonaut(offer) {
        Ok(found) => found,
        Err(reason) => return Some(Err(reason)),
    };
    if keys.is_empty() && route.is_empty() && cosmonauts.is_none() && !named {
        return None;
    }
    if let Some((key, place)) = cosmonauts {
        if route.is_empty() {
            route.insert(key.to_owned(), place.into());
        }
        // Alone it is another program's.
        if let Some(cookie) = offer.words.variable("COOKIE") {
            keys.entry("cookie").or_insert_with(|| cookie.into());
        }
    }
    if let Some(port) = keys.remove("listen_port") {
        keys.insert("port".to_owned(), port);
    }
    if !route.is_empty() {
        if let Some(frontend) = &source.frontend {
            route.entry("frontend").or_insert_with(|| frontend.as_str().into());
        }
        keys.insert("route".to_owned(), route.into());
    }
    keys.extend(servers(offer, source));
    Some(Ok(Value::Object(keys)))
}

/// Where the servers are found, which no label changes.
fn servers(offer: &Offer<'_>, source: &ContainerSource) -> Map<String, Value> {
    let mut keys = Map::new();
    keys.insert("type".to_owned(), json!("docker"));
    let hosts: Vec<_> = source.hosts.iter().map(ToString::to_string).collect();
    keys.insert("docker_host".to_owned(), json!(hosts));
    keys.insert("service".to_owned(), json!(offer.service));
    match &source.address {
        ContainerAddress::Published => drop(keys.insert("published".to_owned(), json!(true))),
        ContainerAddress::Network(None) => {}
        ContainerAddress::Network(Some(name)) => {
            keys.insert("network".to_owned(), json!(name.as_str()));
        }
    }
    keys
}

/// The key of a route and its value.
fn cosmonaut(offer: &Offer<'_>) -> Result<Option<(&'static str, String)>, String> {
    let Some(predicate) = offer.words.variable("PREDICATE") else { return Ok(None) };
    match offer.words.variable("CONFIG_MODE") {
        None | Some("host") => Ok(Some(("host", predicate.to_owned()))),
        Some("path") => Ok(Some(("path", format!("/{}", predicate.trim_start_matches('/'))))),
        Some(other) => Err(format!(
            "its variable CONFIG_MODE is '{}'; \"host\" and \"path\" are taken",
            printable(other)
        )),
    }
}

fn value(text: &str) -> Value {
    let lines: Vec<_> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
    match lines.as_slice() {
        ["true"] => true.into(),
        ["false"] => false.into(),
        [one] => (*one).into(),
        several => json!(several),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::docker::{container_saying, offers};
    use crate::document::Format;
    use crate::engine::docker_spec::{DockerHosts, NetworkName};
    use crate::engine::risk::Allowed;
    use crate::engine::service::{ServiceName, WatcherSpec};
    use crate::service_config::{RawDefinition, parse};

    fn source() -> ContainerSource {
        ContainerSource {
            hosts: DockerHosts::default(),
            address: ContainerAddress::Network(None),
            frontend: None,
        }
    }

    fn defined(words: &[(&str, &str)], source: &ContainerSource) -> Vec<Option<Defining>> {
        let container = container_saying(words, &[80]);
        offers(&container, &source.address).iter().map(|offer| definition(offer, source)).collect()
    }

    fn keys(words: &[(&str, &str)]) -> Value {
        let [Some(Ok(definition))] = &defined(words, &source())[..] else { panic!("{words:?}") };
        let mut definition = definition.clone();
        for key in ["type", "docker_host", "service"] {
            definition.as_object_mut().unwrap().remove(key).unwrap();
        }
        definition
    }

    #[test]
    fn labels_are_the_keys_of_the_definition_and_of_its_route() {
        let web = ("proxymgr.service", "web");
        assert_eq!(keys(&[web, ("proxymgr.listen_port", "8080")]), json!({"port": "8080"}));
        let lines = "mode http\n\n  option httpchk\n";
        let all =
            [web, ("proxymgr.listen_options", lines), ("proxymgr.on_empty", "drain"), ("other.key", "x")];
        assert_eq!(
            keys(&all),
            json!({"listen_options": ["mode http", "option httpchk"], "on_empty": "drain"})
        );
        let route = [
            web,
            ("proxymgr.route.host", "a.example"),
            ("proxymgr.route.path", "/hello/v1"),
            ("proxymgr.route.strip_prefix", "true"),
            ("proxymgr.cookie", "SID"),
        ];
        let expected = json!({"host": "a.example", "path": "/hello/v1", "strip_prefix": true});
        assert_eq!(keys(&route), json!({"cookie": "SID", "route": expected}));
        let own = [
            ("proxymgr.80.service", "web"),
            ("proxymgr.80.on_empty", "drain"),
            ("proxymgr.on_empty", "keep"),
            ("proxymgr.81.on_empty", "other"),
        ];
        assert_eq!(keys(&own), json!({"on_empty": "drain"}));
        assert_eq!(keys(&[web]), json!({}), "which the reader refuses: it has no port");
    }

    #[test]
    fn cosmonauts_variables_make_a_route() {
        let web = ("SERVICE_NAME", "app1");
        let host = [web, ("PREDICATE", "first.example.com"), ("COOKIE", "JSESSIONID")];
        let route = json!({"host": "first.example.com"});
        assert_eq!(keys(&host), json!({"route": route, "cookie": "JSESSIONID"}));
        for predicate in ["hello/v1", "/hello/v1"] {
            let path = [web, ("CONFIG_MODE", "path"), ("PREDICATE", predicate)];
            assert_eq!(keys(&path), json!({"route": {"path": "/hello/v1"}}));
        }
        let wrong = [web, ("CONFIG_MODE", "tcp"), ("PREDICATE", "x")];
        let [Some(Err(reason))] = &defined(&wrong, &source())[..] else { panic!() };
        assert_eq!(reason, "its variable CONFIG_MODE is 'tcp'; \"host\" and \"path\" are taken");
        let labels_too = [web, ("PREDICATE", "x"), ("proxymgr.route.path", "/y")];
        assert_eq!(keys(&labels_too), json!({"route": {"path": "/y"}}));
    }

    #[test]
    fn a_container_that_only_names_a_service_leaves_it_to_others_to_define_it() {
        for words in [&[("SERVICE_NAME", "web")][..], &[("SERVICE_NAME", "web"), ("COOKIE", "erlang")]] {
            assert!(matches!(&defined(words, &source())[..], [None]), "{words:?}");
        }
    }

    #[test]
    fn where_the_servers_are_is_said_by_the_source_alone() {
        let network = NetworkName::parse("front").ok();
        let source = ContainerSource {
            address: ContainerAddress::Network(network),
            frontend: Some("http-in".to_owned()),
            ..source()
        };
        let words = [
            ("proxymgr.80.service", "web"),
            ("proxymgr.type", "static"),
            ("proxymgr.docker_host", "tcp://evil:1"),
            ("proxymgr.route.path", "/a"),
        ];
        let [Some(Ok(definition))] = &defined(&words, &source)[..] else { panic!() };
        let expected = json!({"type": "docker", "docker_host": ["unix:///var/run/docker.sock"], "service": "web",
            "network": "front", "route": {"path": "/a", "frontend": "http-in"}});
        assert_eq!(*definition, expected);
    }

    proptest! {
        /// Whatever a container says, its definition is taken or refused, and its servers are found in Docker alone.
        #[test]
        fn any_words_of_a_container_are_taken_or_refused_without_a_panic(
            words in prop::collection::vec((KEYS, prop_oneof![VALUES, any::<String>()]), 0..8),
            ports in prop::collection::vec(any::<u16>(), 0..4),
            published in any::<bool>(),
        ) {
            let words: Vec<_> = words.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
            let container = container_saying(&words, &ports);
            let address =
                if published { ContainerAddress::Published } else { ContainerAddress::Network(None) };
            let source = ContainerSource { address, ..source() };
            for offer in offers(&container, &source.address) {
                offer.tags();
                offer.words.attributes();
                prop_assert!(container.may_serve(&offer.service));
                let (Ok(service), Some(Ok(keys))) =
                    (ServiceName::parse(&offer.service), definition(&offer, &source))
                else {
                    continue;
                };
                let data = keys.to_string().into_bytes().into();
                let raw = RawDefinition { data, format: Format::Json, origin: String::new() };
                if let Ok(taken) = parse(&service, &raw, &Allowed::new()) {
                    let WatcherSpec::Docker(spec) = taken.spec.watcher else { panic!("{:?}", taken.spec) };
                    prop_assert_eq!((spec.hosts, spec.service), (source.hosts.clone(), offer.service.clone()));
                }
            }
        }
    }

    const KEYS: &str = "(proxymgr[.]|SERVICE_)((80|1|x)[._])?(service|port|listen_port|route[.](host|path)|tags|type|NAME|TAGS|IGNORE|\\PC{0,5})|PORT|PREDICATE|CONFIG_MODE|COOKIE";
    const VALUES: &str = "web|80|[0-9]{1,6}|true|path|/a/b|a[.]example|a\nb|check|mode http";
}
