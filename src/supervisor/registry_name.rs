//! Which registry an event is of, in a word that stays the same: what metrics are told apart by.

use crate::engine::service::{ServiceSpec, WatcherSpec};
use crate::service_config::SourceSettings;
use crate::service_manager::RegistryEvent;
use crate::zookeeper::ConnectString;

/// Files on this host.
const FILE: &str = "file";
/// Consul: which, is not known of a service that leaves it to proxymgr.yml.
const CONSUL: &str = "consul";
/// The name servers.
const DNS: &str = "dns";

/// The servers of an ensemble of `ZooKeeper`, a Docker daemon (or several, whose containers are one service), `consul`, `file` or
/// `dns`; `None` where several sources are asked and the event does not tell which it is of. `known` is the definition of its service, with where it was found.
pub(super) fn registry_of(
    event: &RegistryEvent,
    known: Option<(&ServiceSpec, &str)>,
    sources: &[SourceSettings],
) -> Option<String> {
    match event {
        RegistryEvent::Servers { .. } => watched(known?.0),
        RegistryEvent::FixedServers { .. } => Some(DNS.to_owned()),
        RegistryEvent::Defined { definition, .. } => listed(&definition.origin, sources),
        RegistryEvent::Removed { .. } => listed(known?.1, sources),
        RegistryEvent::Listed | RegistryEvent::Refused { .. } | RegistryEvent::Forgotten { .. } => {
            let [only] = sources else { return None };
            Some(name(only))
        }
        RegistryEvent::Remembered { .. } => None,
    }
}

fn watched(spec: &ServiceSpec) -> Option<String> {
    match &spec.watcher {
        WatcherSpec::Zookeeper { server, .. } => Some(ConnectString::parse(server).ok()?.hosts().to_owned()),
        WatcherSpec::File { .. } => Some(FILE.to_owned()),
        WatcherSpec::Dns(_) => Some(DNS.to_owned()),
        WatcherSpec::Consul(_) => Some(CONSUL.to_owned()),
        WatcherSpec::Docker(spec) => Some(spec.hosts.to_string()),
        WatcherSpec::Static => None,
    }
}

fn listed(origin: &str, sources: &[SourceSettings]) -> Option<String> {
    // That of a file is its path.
    if origin.starts_with('/') {
        return Some(FILE.to_owned());
    }
    if origin.starts_with("consul ") {
        return Some(CONSUL.to_owned());
    }
    // Each container is of one daemon, whatever others its source asks.
    if let Some((host, _)) = origin.strip_prefix("docker ").and_then(|rest| rest.split_once(" container ")) {
        return Some(host.to_owned());
    }
    sources.iter().find(|source| origin.starts_with(&source.to_string())).map(name)
}

fn name(source: &SourceSettings) -> String {
    match source {
        SourceSettings::Zookeeper { servers, .. } => servers.hosts().to_owned(),
        SourceSettings::Docker { containers, .. } => containers.hosts.to_string(),
        SourceSettings::ConsulKeys { .. } | SourceSettings::ConsulCatalog { .. } => CONSUL.to_owned(),
        SourceSettings::File { .. } => FILE.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SourceConfig;
    use crate::engine::docker_spec::{ContainerAddress, DockerHosts};

    #[test]
    fn where_it_is_listed_is_told_by_its_origin_and_a_list_by_the_only_source() {
        let zookeeper = SourceConfig::Zookeeper {
            servers: "zk1,zk2/prod".into(),
            path: "/s".into(),
            auth: None,
            tls: None,
        };
        let file = SourceConfig::File { path: "/etc/services".into() };
        let docker = SourceConfig::Docker {
            hosts: DockerHosts::default(),
            tls: None,
            address: ContainerAddress::Published,
            frontend: None,
        };
        let sources = [zookeeper, file, docker].map(|source| SourceSettings::try_from(&source).unwrap());
        for (origin, registry) in [
            ("zookeeper zk1:2181,zk2:2181/prod /s/web", Some("zk1:2181,zk2:2181")),
            ("/etc/services/web.json", Some("file")),
            ("docker unix:///var/run/docker.sock container web (1f)", Some("unix:///var/run/docker.sock")),
            ("consul a:8500 catalog, service web", Some("consul")),
            ("zookeeper zk9:2181 /s/web", None),
        ] {
            assert_eq!(listed(origin, &sources).as_deref(), registry, "{origin}");
        }
        assert_eq!(registry_of(&RegistryEvent::Listed, None, &sources), None);
        assert_eq!(
            registry_of(&RegistryEvent::Listed, None, &sources[..1]).as_deref(),
            Some("zk1:2181,zk2:2181")
        );
        assert_eq!(registry_of(&RegistryEvent::Listed, None, &sources[1..2]).as_deref(), Some("file"));
    }
}
