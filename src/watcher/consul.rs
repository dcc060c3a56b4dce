//! Servers are the instances of a service in Consul's catalog.

use std::convert::Infallible;

use super::consul_servers::{Found, found};
use super::listed_set::ListedSet;
use super::updates::Updates;
use super::{Registries, WatchError, Watcher};
use crate::consul::{ConsulError, Follow, InstanceQuery, Query};
use crate::engine::consul::{ConsulAccess, ConsulSpec};
use crate::engine::listed_server::ListedServer;
use crate::engine::printable::printable;

/// Follows one service.
#[derive(Debug)]
pub struct ConsulWatcher {
    registries: Registries,
    spec: ConsulSpec,
}

impl ConsulWatcher {
    /// Follows what `spec` names.
    pub fn new(registries: Registries, spec: ConsulSpec) -> Self {
        Self { registries, spec }
    }
}

impl Watcher for ConsulWatcher {
    async fn watch(&mut self, out: &Updates) -> Result<Infallible, WatchError> {
        let (_, mut follow) = follow(&self.spec, &self.registries);
        loop {
            let (mut servers, mut skipped) = (Vec::new(), Vec::new());
            for found in next(&mut follow, &self.spec).await? {
                match found {
                    Found::Server(_, server) => servers.push(server),
                    Found::Skipped(entry) => skipped.push(entry),
                }
            }
            out.publish(ListedSet::new(servers, skipped));
        }
    }
}

fn follow(spec: &ConsulSpec, registries: &Registries) -> (ConsulAccess, Follow) {
    let access = registries.consul_at(spec.servers.as_ref());
    let of = InstanceQuery {
        tags: &spec.tags,
        passing_only: spec.passing_only,
        near: spec.near.as_deref(),
        expression: spec.expression.as_deref(),
    };
    let dc = spec.dc.clone().or_else(|| access.dc.clone());
    let follow = registries.consuls.follow(&access, Query::health(&spec.service, of, dc));
    (access, follow)
}

async fn next(follow: &mut Follow, spec: &ConsulSpec) -> Result<Vec<Found>, ConsulError> {
    let answer = follow.next().await?;
    found(answer.body.as_deref().unwrap_or(b"[]"), &spec.rules)
}

/// Where the instance stands that `is_meant`, for people.
pub(super) async fn instance_of(
    spec: &ConsulSpec,
    registries: &Registries,
    is_meant: impl Fn(&ListedServer) -> bool,
) -> Result<Option<String>, ConsulError> {
    let (access, mut follow) = follow(spec, registries);
    let all = next(&mut follow, spec).await?;
    Ok(all.into_iter().find_map(|found| match found {
        Found::Server(name, server) if is_meant(&server) => {
            let (servers, service) = (&access.servers, &spec.service);
            Some(printable(&format!("consul {servers} service {service}, instance {name}")))
        }
        Found::Server(..) | Found::Skipped(_) => None,
    }))
}
