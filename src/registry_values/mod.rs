//! Values in a registry that lines of proxymgr.yml are filled with: `${kv:path:-default}`.
//!
//! Nothing is told before each of them was answered once. An outage tells nothing: what was known stays. A value that can't be
//! filled in leaves the last good one of its path in place.

mod consul;
mod zookeeper;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tokio::sync::{mpsc, watch};
use tokio::task::AbortHandle;
use tracing::info;

use crate::consul::Consuls;
use crate::engine::consul::ConsulAccess;
use crate::engine::placeholders::is_plain_word;
use crate::engine::printable::printable;
use crate::panics::supervised;
use crate::zookeeper::{Access, ConnectString, Ensembles, NodePath};

/// Those that are there, by their path. A path that is not there has no value.
pub type Values = BTreeMap<String, String>;

/// What is known once each path was answered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Known {
    /// The last good ones.
    pub values: Values,
    /// Paths that hold something that can't be filled in.
    pub unfit: BTreeSet<String>,
}

/// Where values are looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValuesRegistry {
    /// The data of nodes.
    Zookeeper {
        /// The ensemble.
        servers: ConnectString,
        /// Who we are to it, and how we speak with it.
        access: Access,
        /// The node that paths are meant below.
        path: NodePath,
    },
    /// Keys of Consul's store.
    Consul {
        /// Which Consul, and who we are to it.
        access: ConsulAccess,
        /// The folder that paths are meant below, without slashes at its ends; empty for none.
        path: String,
    },
}

/// Some values, followed for as long as somebody holds this.
#[derive(Clone, Debug)]
pub struct FollowedValues {
    known: watch::Receiver<Option<Arc<Known>>>,
    _following: Arc<Following>,
}

#[derive(Debug)]
struct Following(AbortHandle);

/// What one path holds: nothing, or this.
type Answer = (String, Option<Vec<u8>>);

/// Follows the values of `paths`. Must be called within a tokio runtime.
pub fn follow(
    registry: ValuesRegistry,
    paths: BTreeSet<String>,
    ensembles: &Ensembles,
    consuls: &Consuls,
) -> FollowedValues {
    let (out, known) = watch::channel(None);
    let lasting = (registry, paths, ensembles.clone(), consuls.clone(), out);
    let following = supervised("registry values", lasting, |(registry, paths, ensembles, consuls, out)| {
        Box::pin(run(registry, paths, ensembles, consuls, out))
    });
    let following = Arc::new(Following(tokio::spawn(following).abort_handle()));
    FollowedValues { known, _following: following }
}

impl FollowedValues {
    /// What is known now; `None` while an answer is still to come.
    pub fn known(&mut self) -> Option<Arc<Known>> {
        self.known.borrow_and_update().clone()
    }

    /// Waits until something else is known. Cancel safe.
    pub async fn changed(&mut self) {
        if self.known.changed().await.is_err() {
            // Nothing more comes.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.0.abort();
    }
}

async fn run(
    registry: &ValuesRegistry,
    paths: &BTreeSet<String>,
    ensembles: &Ensembles,
    consuls: &Consuls,
    out: &watch::Sender<Option<Arc<Known>>>,
) {
    let (answers, mut inbox) = mpsc::channel::<Answer>(16);
    let collecting = async {
        let mut answered = BTreeSet::new();
        let mut known = Known::clone(&out.borrow().clone().unwrap_or_default());
        while let Some((path, data)) = inbox.recv().await {
            known.take(&path, data);
            answered.insert(path);
            if answered.len() == paths.len() {
                publish(out, &known);
            }
        }
    };
    match registry {
        ValuesRegistry::Zookeeper { servers, access, path } => {
            let asking = zookeeper::ask(ensembles, servers, access, path, paths, &answers);
            tokio::select! { () = asking => {}, () = collecting => {} }
        }
        ValuesRegistry::Consul { access, path } => {
            let asking = consul::ask(consuls, access, path, paths, &answers);
            tokio::select! { () = asking => {}, () = collecting => {} }
        }
    }
}

impl Known {
    /// What is no plain word leaves the value as it was.
    fn take(&mut self, path: &str, data: Option<Vec<u8>>) {
        self.unfit.remove(path);
        let Some(data) = data else {
            if self.values.remove(path).is_some() {
                info!(path = printable(path), "a value is gone from its registry; its default stands in");
            }
            return;
        };
        let text = String::from_utf8(data).ok();
        let text =
            text.map(|text| text.trim().to_owned()).filter(|text| text.is_empty() || is_plain_word(text));
        match text {
            Some(text) => {
                self.values.insert(path.to_owned(), text);
            }
            None => {
                self.unfit.insert(path.to_owned());
            }
        }
    }
}

fn publish(out: &watch::Sender<Option<Arc<Known>>>, known: &Known) {
    out.send_if_modified(|last| {
        let differs = last.as_deref() != Some(known);
        if differs {
            *last = Some(Arc::new(known.clone()));
        }
        differs
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_not_be_filled_in_leaves_the_last_good_value() {
        let mut known = Known::default();
        for (data, value, is_fit) in [
            (Some("5s\n"), Some("5s"), true),
            (Some("5s\nlisten evil"), Some("5s"), false),
            (Some("a b"), Some("5s"), false),
            (Some("6s"), Some("6s"), true),
            (None, None, true),
            (Some("\""), None, false),
            (Some(""), Some(""), true),
        ] {
            known.take("timeout", data.map(|text| text.as_bytes().to_vec()));
            assert_eq!(known.values.get("timeout").map(String::as_str), value, "{data:?}");
            assert_eq!(known.unfit.is_empty(), is_fit, "{data:?}");
        }
    }
}
