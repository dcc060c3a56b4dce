//! Servers are the containers of a Docker daemon that name a service.

use std::convert::Infallible;

use super::listed_set::ListedSet;
use super::server_set::SkippedEntry;
use super::updates::Updates;
use super::{WatchError, Watcher};
use crate::docker::{self, Container, Containers, Daemons, Found, Health, Offer};
use crate::engine::docker_spec::DockerSpec;
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
        let mut watch = self.daemons.containers_of(&self.spec.host);
        loop {
            let containers = watch.next().await;
            out.publish(listed(&containers, &self.spec));
        }
    }
}

fn listed(containers: &Containers, spec: &DockerSpec) -> ListedSet {
    let (mut servers, mut skipped) = (Vec::new(), Vec::new());
    for (id, found) in containers {
        match found {
            // Whose server it may be can't be known; all should know.
            Found::Unreadable(reason) => skipped.push(SkippedEntry::new(&id.to_string(), reason)),
            Found::Running { stopping, container } => {
                for read in servers_of(container, *stopping, spec) {
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

/// The servers in `container` of the service that `spec` means, or why there is none. One that has not been healthy yet is none.
pub(super) fn servers_of(
    container: &Container,
    stopping: bool,
    spec: &DockerSpec,
) -> Vec<Result<ListedServer, String>> {
    let meant = |offer: &Offer<'_>| {
        let tags = offer.tags();
        offer.service == spec.service
            && spec.tags.iter().all(|tag| tags.contains(tag.as_str()))
            && spec.rules.filter.takes(&offer.words.attributes())
    };
    let offers = docker::offers(container, &spec.address).into_iter().filter(meant);
    let ready = offers.filter(|_| container.health != Health::Starting);
    ready.map(|offer| server(container, stopping, &offer, spec)).collect()
}

fn server(
    container: &Container,
    stopping: bool,
    offer: &Offer<'_>,
    spec: &DockerSpec,
) -> Result<ListedServer, String> {
    if container.health == Health::Bad {
        return Err("its own health check says that it is unhealthy".to_owned());
    }
    let port = offer.port.clone().or_else(|reason| spec.rules.remote_port.ok_or(reason))?;
    let (host, port) = docker::address(container, port, &spec.address, &spec.host)?;
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
