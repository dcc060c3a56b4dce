//! Each service of Consul's catalog with a tag is one of ours.
//!
//! The list of names and tags is one query. Metadata stand with the instances: where the template needs them, each service is
//! followed by a query of its own, and nothing is published before all that are listed have answered once.

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::catalog_template::{CatalogTemplate, Told};
use super::listing::{Entry, Listing, RawDefinition};
use super::{Listings, SourceError, publish};
use crate::consul::{ConsulError, Consuls, Follow, Instance, Query, instances_of_catalog, services};
use crate::document::Format;
use crate::engine::consul::ConsulAccess;
use crate::engine::node_rules::Labels;
use crate::engine::printable::printable;
use crate::panics::caught;
use crate::registry_values::{FollowedValues, Values};

/// What is known of one service.
struct Service {
    tags: BTreeSet<String>,
    meta: Meta,
    /// Follows its metadata.
    task: Option<AbortHandle>,
}

enum Meta {
    /// To come.
    Asked,
    Known(Labels),
    /// Refused, and why.
    Refused(String),
}

impl Drop for Service {
    fn drop(&mut self) {
        if let Some(task) = &self.task {
            task.abort();
        }
    }
}

type Message = (String, Result<Option<Labels>, ConsulError>);

pub(super) async fn follow(
    consuls: &Consuls,
    access: &ConsulAccess,
    tag: &str,
    template: &CatalogTemplate,
    values: Option<&FollowedValues>,
    out: &Listings,
) -> Result<Infallible, SourceError> {
    let mut follow = consuls.follow(access, Query::services(access.dc.clone()));
    // A task of its own: an answer must not be lost while metadata arrive.
    let (lists, mut listed) = mpsc::channel(1);
    let _listing = Task(tokio::spawn(async move {
        let listing = async {
            loop {
                let answer = follow.next().await;
                let answer = answer.and_then(|answer| services(answer.body.as_deref().unwrap_or(b"{}")));
                if lists.send(answer).await.is_err() {
                    return;
                }
            }
        };
        drop(caught("Consul's catalog", listing).await);
    }));
    let (messages, mut inbox) = mpsc::channel::<Message>(64);
    let mut known: BTreeMap<String, Service> = BTreeMap::new();
    let mut values = values.filter(|_| template.needs_values()).cloned();
    let mut is_listed = false;
    loop {
        tokio::select! {
            () = changed(values.as_mut()) => {}
            list = listed.recv() => {
                let ended = || ConsulError::Answer("following the catalog ended; it begins again".to_owned());
                let mut list = list.ok_or_else(ended)??;
                is_listed = true;
                list.retain(|_, tags| tags.contains(tag));
                known.retain(|name, _| list.contains_key(name));
                for (name, tags) in list {
                    if let Some(service) = known.get_mut(&name) {
                        service.tags = tags;
                        continue;
                    }
                    let query = Query::instances(&name, Some(tag), access.dc.clone());
                    let start = || start(consuls.follow(access, query), name.clone(), messages.clone());
                    let task = template.needs_meta().then(start);
                    let meta = if task.is_some() { Meta::Asked } else { Meta::Known(Labels::new()) };
                    known.insert(name, Service { tags, meta, task });
                }
            }
            Some((name, meta)) = inbox.recv() => {
                let Some(service) = known.get_mut(&name) else { continue };
                service.meta = match meta {
                    Ok(Some(meta)) => Meta::Known(meta),
                    // The service is about to leave the list; what it was stays until then.
                    Ok(None) if matches!(service.meta, Meta::Known(_)) => continue,
                    Ok(None) => Meta::Known(Labels::new()),
                    Err(error) => Meta::Refused(error.to_string()),
                };
            }
        }
        let is_known = is_listed && known.values().all(|service| !matches!(service.meta, Meta::Asked));
        let filled_in = values.as_mut().map_or_else(|| Some(Arc::default()), FollowedValues::known);
        if let Some(filled_in) = filled_in.filter(|_| is_known) {
            publish(out, listing(&known, access, template, &filled_in.values));
        }
    }
}

async fn changed(values: Option<&mut FollowedValues>) {
    match values {
        Some(values) => values.changed().await,
        None => std::future::pending().await,
    }
}

struct Task(tokio::task::JoinHandle<()>);

impl Drop for Task {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn start(mut follow: Follow, name: String, messages: mpsc::Sender<Message>) -> AbortHandle {
    let following = async move {
        loop {
            let answer = follow.next().await;
            let meta = answer.and_then(|answer| {
                Ok(meta_of(
                    instances_of_catalog(answer.body.as_deref().unwrap_or(b"[]"))?.into_iter().flatten(),
                ))
            });
            if messages.send((name.clone(), meta)).await.is_err() {
                return;
            }
        }
    };
    tokio::spawn(async move { drop(caught("Consul's catalog", following).await) }).abort_handle()
}

/// Those of the instance that was registered first.
fn meta_of(instances: impl Iterator<Item = Instance>) -> Option<Labels> {
    let first = instances.min_by(|a, b| (a.created, &a.name).cmp(&(b.created, &b.name)));
    first.map(|instance| instance.meta)
}

fn listing(
    known: &BTreeMap<String, Service>,
    access: &ConsulAccess,
    template: &CatalogTemplate,
    values: &Values,
) -> Listing {
    let entry = |(name, service): (&String, &Service)| {
        let origin = format!("consul {} catalog, service {}", access.servers, printable(name));
        let none = Labels::new();
        let meta = match &service.meta {
            Meta::Known(meta) => Ok(meta),
            Meta::Asked => Ok(&none),
            Meta::Refused(reason) => Err(reason.clone()),
        };
        let filled = meta.and_then(|meta| template.fill(Told { name, tags: &service.tags, meta, values }));
        let entry = match filled {
            Ok(data) => Entry::Definition(RawDefinition { data: data.into(), format: Format::Json, origin }),
            Err(reason) => Entry::Unreadable { origin, reason },
        };
        (name.clone(), entry)
    };
    known.iter().map(entry).collect()
}
