//! Definitions are made of what containers say of themselves.
//!
//! A service is there while a container runs that defines it, healthy or not, and for a short time after: a container that is
//! started again must not cost its service the listen socket.

mod lasting;
mod of_container;

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;

use tokio::time::Instant;
use tracing::warn;

use super::listing::{Entry, Listing, RawDefinition};
use super::{Listings, publish};
use crate::deadline::until;
use crate::docker::{Container, ContainerId, Daemons, Everywhere, Found, offers};
use crate::document::Format;
use crate::engine::docker_spec::{ContainerAddress, DockerHost, DockerHosts};
use crate::engine::printable::printable;
use lasting::Lasting;
use of_container::{Defining, definition};

/// Where containers run, and what the definitions made of them share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerSource {
    /// The daemons.
    pub hosts: DockerHosts,
    /// How containers are reached.
    pub address: ContainerAddress,
    /// The frontend of routes that name none.
    pub frontend: Option<String>,
}

pub(super) async fn follow(daemons: &Daemons, source: &ContainerSource, out: &Listings) -> Infallible {
    let mut watch = daemons.containers_of_all(&source.hosts);
    let mut services = Lasting::default();
    let mut others = BTreeSet::new();
    loop {
        tokio::select! {
            everywhere = watch.next() => {
                let (listing, disagreeing) = listing(everywhere, source);
                for other in disagreeing.difference(&others) {
                    warn!(docker = %other.host, service = other.service, container = other.container,
                        "the container defines its service otherwise than an older one, whose word counts while it runs");
                }
                others = disagreeing;
                services.update(listing, Instant::now());
            }
            () = until(services.deadline()) => services.expire(Instant::now()),
        }
        publish(out, services.listing());
    }
}

/// A container whose definition doesn't count.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Disagreeing {
    host: DockerHost,
    service: String,
    container: String,
}

/// The definitions by service. Of several the oldest container's counts, so that what runs stays as it is while another comes.
fn listing(everywhere: &Everywhere, source: &ContainerSource) -> (Listing, BTreeSet<Disagreeing>) {
    let all = everywhere.iter().flat_map(|(host, containers)| containers.iter().map(move |one| (host, one)));
    let running = all.filter_map(|(host, (id, found))| match found {
        Found::Running { stopping, container } => {
            Some((*stopping, &container.created, id, host, container.as_ref()))
        }
        Found::Unreadable(_) => None,
    });
    // One that is about to end has no say where another stays.
    let mut by_age: Vec<_> = running.collect();
    by_age.sort_by_key(|(stopping, created, id, ..)| (*stopping, *created, *id));
    let (mut listing, mut disagreeing) = (BTreeMap::new(), BTreeSet::new());
    for (_, _, id, host, container) in by_age {
        for offer in offers(container, &source.address) {
            let Some(defining) = definition(&offer, source) else { continue };
            let entry = entry(defining, origin(host, container, id));
            match listing.get(&offer.service) {
                None => drop(listing.insert(offer.service, entry)),
                Some(first) if says(first) == says(&entry) => {}
                Some(_) => {
                    let (service, container) = (printable(&offer.service), container.name.clone());
                    disagreeing.insert(Disagreeing { host: host.clone(), service, container });
                }
            }
        }
    }
    (listing, disagreeing)
}

fn origin(host: &DockerHost, container: &Container, id: &ContainerId) -> String {
    printable(&format!("docker {host} container {} ({id})", container.name))
}

fn entry(defining: Defining, origin: String) -> Entry {
    match defining {
        Ok(definition) => {
            let data = definition.to_string().into_bytes().into();
            Entry::Definition(RawDefinition { data, format: Format::Json, origin })
        }
        Err(reason) => Entry::Unreadable { origin, reason },
    }
}

fn says(entry: &Entry) -> &[u8] {
    match entry {
        Entry::Definition(definition) => &definition.data,
        Entry::Unreadable { reason, .. } => reason.as_bytes(),
    }
}
