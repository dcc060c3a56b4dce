//! The drains of operators: kept in `state_dir`, and who waits until `HAProxy` has one.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::json;
use tracing::{info, warn};

use super::sealed::{SealError, seal, unseal};
use crate::admin::request::{Answer, Asker};
use crate::engine::error_text::with_causes;
use crate::engine::moment::Moment;
use crate::engine::printable::printable;
use crate::engine::reconciler::Reconciler;
use crate::engine::report::Drained;
use crate::engine::server::ServerName;
use crate::engine::service::ServiceName;
use crate::haproxy::config_file::{ConfigFileError, write_atomically};
use crate::own_files;

const NAME: &str = "drains.json";
const SET_ASIDE: &str = "drains.json.damaged";
const FORMAT: u32 = 1;
const OWNER_ONLY: u32 = 0o600;

/// Each server with the seconds from 1970 to when its drain began, by service.
type Saved = BTreeMap<String, BTreeMap<String, u64>>;

#[derive(Debug, thiserror::Error)]
enum DrainsError {
    #[error("'{}' can't be read", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("it can't be understood")]
    Json(#[from] serde_json::Error),
    #[error("the drains can't be written")]
    Write(#[from] ConfigFileError),
    #[error("the drains were not written")]
    Panicked(#[from] tokio::task::JoinError),
}

/// Where drains are kept, and who waits.
#[derive(Debug)]
pub(super) struct OperatorDrains {
    state_dir: PathBuf,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    service: ServiceName,
    server: ServerName,
    saved: bool,
    asker: Asker,
}

impl OperatorDrains {
    pub(super) fn new(state_dir: PathBuf) -> Self {
        Self { state_dir, waiting: Vec::new() }
    }

    /// Tells `reconciler` what was drained before.
    pub(super) fn recall(&self, reconciler: &mut Reconciler, now: Moment) {
        let saved = load(&self.state_dir).unwrap_or_else(|error| {
            warn!(
                error = with_causes(&error),
                "what operators drained before can't be known; it is set aside"
            );
            Saved::new()
        });
        let mut count = 0;
        for (service, servers) in saved {
            let Ok(service) = ServiceName::parse(&service) else {
                warn!(service = printable(&service), "a drain names no service; it is left out");
                continue;
            };
            for (server, since) in servers {
                reconciler.drain(&service, &ServerName::reported(&server), since, now);
                count += 1;
            }
        }
        if count > 0 {
            info!(servers = count, "servers are drained by operators since before the start");
        }
    }

    /// Writes all drains; `false` when they will not outlive this process, which is logged.
    pub(super) async fn save(&self, drained: &BTreeMap<ServiceName, Drained>) -> bool {
        let servers = |drained: &Drained| {
            drained.iter().map(|(server, since)| (server.to_string(), *since)).collect::<BTreeMap<_, _>>()
        };
        let saved: Saved =
            drained.iter().map(|(service, drained)| (service.to_string(), servers(drained))).collect();
        let state_dir = self.state_dir.clone();
        let written = tokio::task::spawn_blocking(move || write(&state_dir, &saved)).await;
        match written.unwrap_or_else(|panicked| Err(panicked.into())) {
            Ok(()) => true,
            Err(error) => {
                warn!(error = with_causes(&error), "an operator's drain will not outlive this process");
                false
            }
        }
    }

    /// Lets `asker` wait until what runs is as it is wanted.
    pub(super) fn wait(&mut self, service: ServiceName, server: ServerName, saved: bool, asker: Asker) {
        asker.waits_for("HAProxy to take it");
        self.waiting.push(Waiting { service, server, saved, asker });
    }

    /// Tells those who wait for what is done.
    pub(super) fn tell(&mut self, reconciler: &Reconciler) {
        self.waiting.retain(|waiting| !waiting.asker.is_gone());
        let done = |waiting: &mut Waiting| reconciler.has_wanted_weight(&waiting.service, &waiting.server);
        for waiting in self.waiting.extract_if(.., done) {
            waiting.asker.answer(Answer::Said(json!({"saved": waiting.saved})));
        }
    }
}

fn write(state_dir: &Path, saved: &Saved) -> Result<(), DrainsError> {
    let text = seal(FORMAT, &serde_json::to_string(saved)?)?;
    write_atomically(&state_dir.join(NAME), &text, OWNER_ONLY)?;
    Ok(())
}

fn load(state_dir: &Path) -> Result<Saved, DrainsError> {
    let path = state_dir.join(NAME);
    let text = match own_files::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Saved::new()),
        Err(source) => return Err(DrainsError::Unreadable { path, source }),
    };
    parse(&text).inspect_err(|_damaged| {
        if let Err(error) = std::fs::rename(&path, state_dir.join(SET_ASIDE)) {
            warn!(%error, "the damaged drains stay where they are");
        }
    })
}

fn parse(text: &str) -> Result<Saved, DrainsError> {
    Ok(serde_json::from_str(unseal(FORMAT, text)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_damage_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path()).unwrap().is_empty());
        let saved = Saved::from([("web".into(), BTreeMap::from([("1.1.1.1:1".into(), 7)]))]);
        write(dir.path(), &saved).unwrap();
        assert_eq!(load(dir.path()).unwrap(), saved);
        let path = dir.path().join(NAME);
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace('7', "8")).unwrap();
        assert!(matches!(load(dir.path()), Err(DrainsError::Seal(_))));
        assert!(dir.path().join(SET_ASIDE).exists() && load(dir.path()).unwrap().is_empty());
    }
}
