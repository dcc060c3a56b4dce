//! The keys of `type: docker`.

use std::collections::BTreeSet;

use crate::docker::service_name;
use crate::engine::docker_spec::{ContainerAddress, DockerHost, DockerHosts, DockerSpec, NetworkName};
use crate::engine::node_rules::NodeRules;
use crate::engine::service::ServiceName;
use crate::service_config::reader::Reader;

/// They choose among formats of nodes; containers have none.
const OF_NODES: [&str; 2] = ["endpoint", "use_ssl_port"];

pub(super) fn read(reader: &mut Reader<'_>, own: &ServiceName, rules: NodeRules) -> Option<DockerSpec> {
    for key in OF_NODES {
        if reader.value(key).is_some() {
            reader.error(format!("\"{key}\" plays no part with \"type\": \"docker\": remove it"));
        }
    }
    let hosts = hosts(reader);
    let service = match reader.optional_text("service") {
        Some(text) => reader.checked("service", ServiceName::parse(&service_name(text))),
        None => Some(own.clone()),
    };
    let network = reader.one("network", NetworkName::parse);
    let address = match reader.flag("published") {
        Some(true) if network.is_some() => {
            reader.error("\"published\" plays no part beside \"network\": remove one of them".to_owned());
            return None;
        }
        Some(true) => ContainerAddress::Published,
        Some(false) | None => ContainerAddress::Network(network),
    };
    if let Some(Err(wrong)) = hosts.as_ref().map(|hosts| hosts.check(&address)) {
        reader.error(format!("\"docker_host\" {wrong}"));
    }
    let tags = ["tags", "tag"].into_iter().flat_map(|key| reader.texts(key));
    let tags: BTreeSet<_> = tags.map(|(_, tag)| tag.to_owned()).collect();
    Some(DockerSpec { hosts: hosts?, service: service?.to_string(), tags, address, rules })
}

fn hosts(reader: &mut Reader<'_>) -> Option<DockerHosts> {
    let Some(value) = reader.value("docker_host") else { return Some(DockerHosts::default()) };
    if value.as_array().is_some_and(Vec::is_empty) {
        reader.error("\"docker_host\" is empty: name a daemon, or leave it out".to_owned());
    }
    DockerHosts::new(reader.parsed("docker_host", DockerHost::parse))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::service::WatcherSpec;
    use crate::service_config::{Format, RawDefinition, parse};

    fn read(keys: &str) -> Result<DockerSpec, Vec<String>> {
        let data = format!(r#"{{"type": "docker", "port": 80{keys}}}"#).into_bytes().into();
        let raw = RawDefinition { data, format: Format::Json, origin: "test".into() };
        let definition = parse(&ServiceName::parse("web").unwrap(), &raw, &BTreeSet::new());
        let definition = definition.map_err(|refusal| refusal.errors)?;
        assert_eq!(definition.unknown_keys, []);
        let WatcherSpec::Docker(spec) = definition.spec.watcher else { panic!("{keys} is no docker") };
        Ok(spec)
    }

    #[test]
    fn the_containers_of_the_service_itself_on_this_host_are_meant_by_themselves() {
        let spec = read("").unwrap();
        assert_eq!(
            (spec.hosts.to_string().as_str(), spec.service.as_str()),
            ("unix:///var/run/docker.sock", "web")
        );
        assert_eq!((spec.address, spec.tags.len()), (ContainerAddress::Network(None), 0));
    }

    #[test]
    fn containers_can_be_chosen() {
        let spec = read(
            r#", "docker_host": "tcp://d.example:2376", "service": "hello/v1", "tags": ["rest", "a"], "tag": "b", "network": "front",
                "filter": {"zone": "a"}, "remote_port": 8080"#,
        );
        let spec = spec.unwrap();
        assert_eq!(
            (spec.hosts.to_string().as_str(), spec.service.as_str()),
            ("tcp://d.example:2376", "hello-v1")
        );
        assert_eq!(spec.address, ContainerAddress::Network(NetworkName::parse("front").ok()));
        let tags: Vec<_> = spec.tags.iter().map(String::as_str).collect();
        assert_eq!((tags.as_slice(), spec.rules.remote_port.is_some()), (&["a", "b", "rest"][..], true));
        let several = read(r#", "docker_host": ["tcp://a:2376", "unix:///b"], "published": true"#).unwrap();
        assert_eq!(several.hosts.to_string(), "tcp://a:2376,unix:///b");
        assert_eq!(read(r#", "published": true"#).unwrap().address, ContainerAddress::Published);
    }

    #[test]
    fn what_is_wrong_is_told_with_its_key() {
        for (keys, reason) in [
            (r#", "docker_host": "docker:2375""#, "\"docker_host\": 'docker:2375' is no Docker daemon"),
            (r#", "docker_host": ["unix:///a", "unix:///b"]"#, "\"docker_host\" names several daemons"),
            (r#", "docker_host": []"#, "\"docker_host\" is empty"),
            (r#", "service": "a b""#, "\"service\": the name holds ' '"),
            (r#", "network": "a b""#, "\"network\": 'a b' is no name of a network"),
            (r#", "network": "a", "published": true"#, "\"published\" plays no part beside"),
            (r#", "published": 1"#, "\"published\" is 1: it must be true or false"),
            (r#", "tags": [1]"#, "\"tags[0]\" is 1"),
            (r#", "endpoint": "x""#, "\"endpoint\" plays no part"),
        ] {
            let errors = read(keys).unwrap_err();
            assert!(errors.len() == 1 && errors[0].contains(reason), "{keys}: {errors:?}");
        }
    }
}
