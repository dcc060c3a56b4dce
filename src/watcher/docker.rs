//! Servers are the containers of a Docker daemon that name a service.

use std::convert::Infallible;

use super::listed_set::ListedSet;
use super::server_set::SkippedEntry;
use super::updates::Updates;
use super::{WatchError, Watcher};
use crate::docker::{self, Container, Daemons, Everywhere, Found, Health, Offer};
use crate::engine::docker_spec::{DockerHost, DockerSpec};
use crate::engine::listed_server::ListedServer;
use crate::engine::printable::printable;
use crate::engine::server::Weight;

/// Follows the containers of one service.
#[derive(Debug)]
pub struct DockerWatcher {
    daemons: Daemons,
    spec: DockerSpec,
}

impl DockerWatcher {
    /// Follows those that `spec` means.
    pub fn new(daemons: Daemons, spec: DockerSpec) -> Self {
        Self { daemons, spec }
    }
}

impl Watcher for DockerWatcher {
    /// A daemon that is away is told by who follows it, once for all its services.
    async fn watch(&mut self, out: &Updates) -> Result<Infallible, WatchError> {
        let mut watch = self.daemons.containers_of_all(&self.spec.hosts);
        loop {
            out.publish(listed(watch.next().await, &self.spec));
        }
    }
}

fn listed(everywhere: &Everywhere, spec: &DockerSpec) -> ListedSet {
    let (mut servers, mut skipped) = (Vec::new(), Vec::new());
    let all = everywhere.iter().flat_map(|(host, containers)| containers.iter().map(move |one| (host, one)));
    for (host, (id, found)) in all {
        match found {
            // Whose server it may be can't be known; all should know.
            Found::Unreadable(reason) => skipped.push(SkippedEntry::new(&id.to_string(), reason)),
            Found::Running { stopping, container } => {
                for read in servers_of(container, *stopping, host, spec) {
                    match read {
                        Ok(server) => servers.push(server),
                        Err(reason) => {
                            let name = format!("{} ({id})", container.name);
                            skipped.push(SkippedEntry::new(&name, &reason));
                        }
                    }
                }
            }
        }
    }
    ListedSet::new(servers, skipped)
}

/// The servers in `container`, which runs on `host`, of the service that `spec` means, or why there is none. One that has not been healthy yet is none.
pub(super) fn servers_of(
    container: &Container,
    stopping: bool,
    host: &DockerHost,
    spec: &DockerSpec,
) -> Vec<Result<ListedServer, String>> {
    if !container.may_serve(&spec.service) {
        return Vec::new();
    }
    let meant = |offer: &Offer<'_>| {
        let tags = offer.tags();
        offer.service == spec.service
            && spec.tags.iter().all(|tag| tags.contains(tag.as_str()))
            && spec.rules.filter.takes(&offer.words.attributes())
    };
    let offers = docker::offers(container, &spec.address).into_iter().filter(meant);
    let ready = offers.filter(|_| container.health != Health::Starting);
    ready.map(|offer| server(container, stopping, host, &offer, spec)).collect()
}

fn server(
    container: &Container,
    stopping: bool,
    host: &DockerHost,
    offer: &Offer<'_>,
    spec: &DockerSpec,
) -> Result<ListedServer, String> {
    if container.health == Health::Bad {
        return Err("its own health check says that it is unhealthy".to_owned());
    }
    let port = offer.port.clone().or_else(|reason| spec.rules.remote_port.ok_or(reason))?;
    let (host, port) = docker::address(container, port, &spec.address, host)?;
    let mut server = ListedServer::new(host, port);
    if spec.rules.weight_from_node != Some(false) {
        server.weight = offer.words.label("weight").map(weight).transpose()?;
    }
    server.backup = offer.words.label("backup") == Some("true");
    server.drain = stopping || offer.words.label("drain") == Some("true");
    Ok(server)
}

fn weight(text: &str) -> Result<Weight, String> {
    text.parse().ok().and_then(Weight::new).ok_or_else(|| {
        format!("its label proxymgr.weight is '{}'; it must be 0 to {}", printable(text), Weight::MAX)
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::num::NonZeroU16;

    use super::*;
    use crate::docker::container_saying;
    use crate::engine::docker_spec::{ContainerAddress, DockerHosts};
    use crate::engine::node_rules::{LabelFilter, NodeRules};

    fn spec() -> DockerSpec {
        DockerSpec {
            hosts: DockerHosts::default(),
            service: "web".to_owned(),
            tags: BTreeSet::new(),
            address: ContainerAddress::Network(None),
            rules: NodeRules::default(),
        }
    }

    fn saying(words: &[(&str, &str)]) -> Container {
        let mut container = container_saying(words, &[80]);
        container.addresses.insert("bridge".into(), "172.17.0.2".parse().unwrap());
        container
    }

    fn told(container: &Container, stopping: bool, spec: &DockerSpec) -> Vec<String> {
        let tell = |read: Result<ListedServer, String>| match read {
            Ok(server) => {
                let weight = server.weight.map(|weight| format!(" weight {weight}")).unwrap_or_default();
                let flags = [(server.backup, " backup"), (server.drain, " drain")];
                let flags: String = flags.iter().filter(|(is, _)| *is).map(|(_, word)| *word).collect();
                format!("{}{weight}{flags}", server.name())
            }
            Err(reason) => reason,
        };
        servers_of(container, stopping, &DockerHost::default(), spec).into_iter().map(tell).collect()
    }

    #[test]
    fn a_container_of_the_service_is_a_server_with_what_its_labels_say() {
        assert_eq!(told(&saying(&[("proxymgr.service", "web")]), false, &spec()), ["172.17.0.2:80"]);
        assert_eq!(told(&saying(&[("SERVICE_NAME", "other")]), false, &spec()), [""; 0]);
        let words = [("SERVICE_NAME", "web"), ("proxymgr.weight", "7"), ("proxymgr.backup", "true")];
        assert_eq!(told(&saying(&words), true, &spec()), ["172.17.0.2:80 weight 7 backup drain"]);
        let rules = NodeRules { weight_from_node: Some(false), ..NodeRules::default() };
        assert_eq!(told(&saying(&words), false, &DockerSpec { rules, ..spec() }), ["172.17.0.2:80 backup"]);
        let words = [("SERVICE_NAME", "web"), ("proxymgr.weight", "-1")];
        assert!(told(&saying(&words), false, &spec())[0].contains("it must be 0 to 256"));
        let words = [("SERVICE_NAME", "web"), ("proxymgr.drain", "true")];
        assert_eq!(told(&saying(&words), false, &spec()), ["172.17.0.2:80 drain"]);
    }

    #[test]
    fn tags_labels_and_registrators_attributes_choose() {
        let web =
            saying(&[("SERVICE_NAME", "web"), ("SERVICE_TAGS", "a,b"), ("SERVICE_ZONE", "z1"), ("x.y", "1")]);
        let with = |tags: &[&str], label: &str, value: &str| {
            let filter = LabelFilter::new([(label.to_owned(), BTreeSet::from([value.to_owned()]))].into());
            let tags = tags.iter().map(|tag| (*tag).to_owned()).collect();
            let rules = NodeRules { filter, ..NodeRules::default() };
            told(&web, false, &DockerSpec { tags, rules, ..spec() }).len()
        };
        assert_eq!((with(&["a"], "zone", "z1"), with(&["a", "b"], "x.y", "1")), (1, 1));
        assert_eq!((with(&["c"], "zone", "z1"), with(&[], "zone", "z2"), with(&[], "other", "1")), (0, 0, 0));
    }

    #[test]
    fn one_that_is_not_well_is_told_and_one_that_begins_is_waited_for() {
        let mut web = saying(&[("SERVICE_NAME", "web")]);
        web.health = Health::Starting;
        assert_eq!(told(&web, false, &spec()), [""; 0]);
        web.health = Health::Bad;
        assert_eq!(told(&web, false, &spec()), ["its own health check says that it is unhealthy"]);
    }

    #[test]
    fn the_definitions_port_stands_in_for_one_that_is_not_said() {
        let mut web = saying(&[("proxymgr.service", "web")]);
        web.exposed.clear();
        let rules = NodeRules { remote_port: NonZeroU16::new(3000), ..NodeRules::default() };
        let spec = DockerSpec { rules, ..spec() };
        assert_eq!(told(&web, false, &spec), ["172.17.0.2:3000"]);
        web.exposed.insert(NonZeroU16::MIN);
        assert_eq!(told(&web, false, &spec), ["172.17.0.2:1"]);
    }
}
