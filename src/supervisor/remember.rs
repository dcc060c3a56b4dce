//! Keeps the snapshot of the last good topology up to date, a little behind the changes.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;
use tracing::{info, warn};

use super::snapshot::{self, Saved, Topology};
use crate::deadline::until;
use crate::engine::error_text::with_causes;
use crate::engine::reconciler::{Held, Reconciler};
use crate::engine::service::ServiceName;
use crate::engine::state::AppliedState;
use crate::haproxy::config_file::ConfigFileError;
use crate::service_config::RawDefinition;
use crate::service_manager::{Memory, RegistryEvent};

/// Changes within this time are written together.
const DELAY: Duration = Duration::from_secs(1);
/// Another try after a failure.
const RETRY: Duration = Duration::from_secs(10);

/// What is known of the services, and when it is to be written.
#[derive(Debug)]
pub(super) struct Recorder {
    state_dir: PathBuf,
    definitions: BTreeMap<ServiceName, RawDefinition>,
    due: Option<Instant>,
    failing: bool,
    writing: Option<JoinHandle<Result<(), ConfigFileError>>>,
}

/// What an earlier run left in `state_dir`; what is damaged is reported, never fatal.
pub(super) fn recall(state_dir: &std::path::Path, startup_timeout: Duration) -> Memory {
    let services = snapshot::load(state_dir).unwrap_or_else(|error| {
        let error = with_causes(&error);
        warn!(error, "the snapshot of the last run can't be used; it is set aside, and the start waits for the registries");
        BTreeMap::new()
    });
    if !services.is_empty() {
        info!(services = services.len(), "services of an earlier run are remembered");
    }
    Memory { services, recall_after: Some(startup_timeout) }
}

impl Recorder {
    pub(super) fn new(state_dir: PathBuf) -> Self {
        Self { state_dir, definitions: BTreeMap::new(), due: None, failing: false, writing: None }
    }

    /// Takes in what the registries say.
    pub(super) fn note(&mut self, event: &RegistryEvent) {
        match event {
            RegistryEvent::Defined { name, spec: _, definition, unknown_keys: _ } => {
                self.definitions.insert(name.clone(), definition.clone());
            }
            RegistryEvent::Removed { name } => {
                self.definitions.remove(name);
            }
            RegistryEvent::Servers { .. } | RegistryEvent::FixedServers { .. } => {}
            RegistryEvent::Listed
            | RegistryEvent::Refused { .. }
            | RegistryEvent::Forgotten { .. }
            | RegistryEvent::Remembered { .. } => {
                return;
            }
        }
        self.changed();
    }

    /// What is believed changed.
    pub(super) fn changed(&mut self) {
        self.due.get_or_insert_with(|| Instant::now() + DELAY);
    }

    /// Waits until something is to be written. Cancel safe.
    pub(super) async fn due(&mut self) {
        self.finish().await;
        until(self.due).await;
    }

    /// Writes what is believed now.
    pub(super) async fn write(&mut self, reconciler: &Reconciler) {
        self.finish().await;
        self.begin(reconciler);
        self.finish().await;
    }

    /// Begins to write what is believed now, beside what else is done. Before anything serves it is not believed yet.
    pub(super) fn begin(&mut self, reconciler: &Reconciler) {
        self.due = None;
        if reconciler.applied().is_none() {
            self.due = Some(Instant::now() + DELAY);
            return;
        }
        let serving: BTreeMap<_, _> =
            reconciler.applied().into_iter().flat_map(AppliedState::serving).collect();
        let believed = reconciler.believed().filter_map(|(name, servers)| {
            let definition = self.definitions.get(name)?.clone();
            Some((name.to_string(), definition, servers, serving.get(name).copied().cloned()))
        });
        let believed: Vec<_> = believed.collect();
        let state_dir = self.state_dir.clone();
        let save = move || {
            let saved = believed.into_iter().map(|(name, definition, servers, serving)| {
                let held = serving.map(|service| Held::by(&service.section)).unwrap_or_default();
                Saved { name, definition, servers, held }
            });
            let topology: Topology = saved.collect();
            snapshot::save(&state_dir, &topology)
        };
        self.writing = Some(tokio::task::spawn_blocking(save));
    }

    /// Waits for what is being written. Cancel safe.
    async fn finish(&mut self) {
        let Some(writing) = &mut self.writing else { return };
        let written = writing.await;
        self.writing = None;
        let error = match written {
            Ok(Ok(())) => {
                if std::mem::take(&mut self.failing) {
                    info!("the snapshot of the topology is up to date again");
                }
                return;
            }
            Ok(Err(error)) => with_causes(&error),
            Err(panicked) => panicked.to_string(),
        };
        if !std::mem::replace(&mut self.failing, true) {
            warn!(error, "the snapshot of the topology is not up to date; trying on");
        }
        self.due = Some(Instant::now() + RETRY);
    }

    /// Whether something is still to be written.
    pub(super) fn is_behind(&self) -> bool {
        self.due.is_some() || self.writing.is_some()
    }
}
