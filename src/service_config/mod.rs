//! Where the list of services comes from, and what a definition says.
//!
//! A source publishes whole listings: the raw definitions by name. Reading a definition is pure ([`parse`]).

mod catalog_template;
mod consul;
mod consul_catalog;
mod definition;
mod docker;
mod file;
mod keys;
mod listing;
mod reader;
mod settings;
mod zookeeper;

use std::convert::Infallible;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tracing::warn;

pub use crate::document::Format;
pub use catalog_template::CatalogTemplate;
pub use definition::{Definition, Refusal, parse};
pub use docker::ContainerSource;
pub use keys::UnknownKey;
pub use listing::{Entry, Listing, RawDefinition};
pub use settings::{SourceSettings, zookeeper_access};

use crate::consul::{ConsulError, Consuls};
use crate::directory_watch::DirectoryWatchError;
use crate::docker::Daemons;
use crate::engine::backoff::Backoff;
use crate::panics::caught;
use crate::registry_values::FollowedValues;
use crate::zookeeper::{Ensembles, ZookeeperError};

const MIN_WAIT: Duration = Duration::from_millis(100);
const MAX_WAIT: Duration = Duration::from_secs(5);

/// Why a source had to give up for now.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The ensemble.
    #[error("ZooKeeper: {0}")]
    Zookeeper(#[from] ZookeeperError),
    /// Consul.
    #[error("Consul: {0}")]
    Consul(#[from] ConsulError),
    /// What `catalog.template` says.
    #[error("catalog.template: {0}")]
    Template(String),
    /// The directory can't be watched.
    #[error(transparent)]
    DirectoryWatch(#[from] DirectoryWatchError),
}

/// Where a source publishes; `None` until its first good answer. Equal listings stop here, the latest wins.
pub type Listings = watch::Sender<Option<Listing>>;

/// Follows a source until dropped; `values` are for templates. Failures and panics publish nothing and are retried with back-off.
pub async fn run(
    settings: &SourceSettings,
    ensembles: &Ensembles,
    consuls: &Consuls,
    daemons: &Daemons,
    values: Option<&FollowedValues>,
    out: &Listings,
) -> Infallible {
    let mut backoff = Backoff::new(MIN_WAIT, MAX_WAIT);
    let mut last_reason = String::new();
    loop {
        let since = Instant::now();
        let following = async {
            match settings {
                SourceSettings::Zookeeper { servers, path, access } => {
                    zookeeper::follow(ensembles, servers, access, path, out).await
                }
                SourceSettings::ConsulKeys { access, path } => {
                    consul::follow(consuls, access, path, out).await
                }
                SourceSettings::ConsulCatalog { access, tag, template } => {
                    consul_catalog::follow(consuls, access, tag, template, values, out).await
                }
                SourceSettings::File { path } => file::follow(path, out).await,
                SourceSettings::Docker { containers, tls: _ } => {
                    Ok(docker::follow(daemons, containers, out).await)
                }
            }
        };
        let reason = match caught("source of services", following).await {
            Ok(Err(error)) => error.to_string(),
            Err(panicked) => panicked.to_string(),
        };
        if since.elapsed() > MAX_WAIT {
            backoff.reset();
            last_reason.clear();
        }
        if reason != last_reason {
            warn!(source = %settings, reason, "following the list of services failed; trying on, the last known list stays");
            last_reason = reason;
        }
        sleep(backoff.next_wait()).await;
    }
}

/// Publishes `listing` unless it equals the last.
fn publish(out: &Listings, listing: Listing) {
    out.send_if_modified(|last| {
        let differs = last.as_ref() != Some(&listing);
        if differs {
            *last = Some(listing);
        }
        differs
    });
}
