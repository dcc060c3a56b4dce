//! Definitions are the children of a `ZooKeeper` node.

use std::convert::Infallible;
use std::sync::Arc;

use tracing::warn;

use super::listing::{Entry, Listing, RawDefinition};
use super::settings::SourceSettings;
use super::{Listings, SourceError, publish};
use crate::document::Format;
use crate::zookeeper::{Access, Children, ConnectString, Ensembles, NodePath};

pub(super) async fn follow(
    ensembles: &Ensembles,
    servers: &ConnectString,
    access: &Access,
    path: &NodePath,
    out: &Listings,
) -> Result<Infallible, SourceError> {
    let mut watch = ensembles.children_of(servers, access, path, None);
    loop {
        let children = watch.next().await?;
        // A node that nobody made yet is no list; one that is gone is an empty one.
        if children.parent_exists || out.borrow().is_some() {
            publish(out, listing(&children, servers, path));
        }
        if !children.parent_exists {
            warn!(ensemble = %servers, %path, "the node that lists the services doesn't exist; waiting for it, the services known stay");
        }
    }
}

fn listing(children: &Children, servers: &ConnectString, path: &NodePath) -> Listing {
    let entry = |name: &str, data: &Arc<[u8]>| {
        let origin = SourceSettings::origin_of(servers, path, name);
        let definition = RawDefinition { data: Arc::clone(data), format: Format::Json, origin };
        (name.to_owned(), Entry::Definition(definition))
    };
    children.nodes.iter().map(|(name, node)| entry(name, &node.data)).collect()
}
