//! The history and the counts in `state_dir`, for the next start: after a crash, or another day. What is damaged is left out.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::Instant;
use tracing::{debug, warn};

use super::handover::inherited::Legacy;
use super::metrics::Totals;
use super::sealed::{SealError, seal, unseal};
use crate::admin::history::{History, Reader};
use crate::deadline::until;
use crate::engine::error_text::with_causes;
use crate::haproxy::config_file::{ConfigFileError, write_atomically};

const NAME: &str = "history.json";
const FORMAT: u32 = 1;
/// Commands name servers, which others need not see.
const OWNER_ONLY: u32 = 0o600;
/// Changes within this time are written together; a crash loses no more.
const DELAY: Duration = Duration::from_secs(5);

#[derive(Debug, thiserror::Error)]
enum PastError {
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
    #[error("it can't be written")]
    Write(#[from] ConfigFileError),
}

/// Both as texts that a newer or older version understands as far as it can.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
struct Saved {
    history: String,
    totals: String,
}

/// Writes them now and then; nothing waits for the disk.
#[derive(Debug)]
pub(super) struct PastKeeper {
    path: PathBuf,
    /// The latest change that was written.
    written: u64,
    due: Option<Instant>,
    writing: Option<JoinHandle<()>>,
    failing: Arc<AtomicBool>,
}

impl PastKeeper {
    /// What was written before is not known here: a program that was replaced may have been about to.
    pub(super) fn new(state_dir: &Path) -> Self {
        Self { path: state_dir.join(NAME), written: 0, due: None, writing: None, failing: Arc::default() }
    }

    /// The latest change is this one.
    pub(super) fn note(&mut self, latest: u64) {
        if latest != self.written {
            self.due.get_or_insert_with(|| Instant::now() + DELAY);
        }
    }

    /// Waits until it is to be written. Cancel safe.
    pub(super) async fn due(&self) {
        until(self.due).await;
    }

    /// Begins to write, unless the last time is not over.
    pub(super) fn write(&mut self, history: Reader, totals: String) {
        self.due = None;
        if self.writing.as_ref().is_some_and(|writing| !writing.is_finished()) {
            self.due = Some(Instant::now() + DELAY);
            return;
        }
        self.written = history.latest();
        let (path, failing) = (self.path.clone(), Arc::clone(&self.failing));
        self.writing = Some(spawn_blocking(move || {
            let saved = Saved { history: history.to_lines(), totals };
            match save(&path, &saved) {
                Ok(()) => failing.store(false, Ordering::Relaxed),
                Err(error) if failing.swap(true, Ordering::Relaxed) => {
                    debug!(error = with_causes(&error), "the history is still not kept");
                }
                Err(error) => warn!(
                    error = with_causes(&error),
                    "the history of changes will not outlive this process; it is tried again with the next one"
                ),
            }
        }));
    }

    /// Writes what is not written yet, and waits for it.
    pub(super) async fn end(mut self, history: Reader, totals: String) {
        if let Some(writing) = self.writing.take()
            && let Err(error) = writing.await
        {
            debug!(%error, "the history was not written");
        }
        if history.latest() != self.written {
            self.write(history, totals);
        }
        if let Some(writing) = self.writing.take()
            && let Err(error) = writing.await
        {
            debug!(%error, "the history was not written");
        }
    }
}

/// What an earlier run left.
pub(super) fn recall(state_dir: &Path) -> Legacy {
    let saved = load(state_dir).unwrap_or_else(|error| {
        warn!(error = with_causes(&error), "the history of earlier changes can't be known");
        Saved::default()
    });
    let (history, totals) = (History::from_lines(&saved.history), Totals::from_text(&saved.totals));
    Legacy { history, totals, http: None }
}

fn save(path: &Path, saved: &Saved) -> Result<(), PastError> {
    let text = seal(FORMAT, &serde_json::to_string(saved)?)?;
    write_atomically(path, &text, OWNER_ONLY)?;
    Ok(())
}

fn load(state_dir: &Path) -> Result<Saved, PastError> {
    let path = state_dir.join(NAME);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Saved::default()),
        Err(source) => return Err(PastError::Unreadable { path, source }),
    };
    Ok(serde_json::from_str(unseal(FORMAT, &text)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again_and_damage_is_left_out() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(recall(dir.path()).history.reader().latest(), 0);
        let saved = Saved { history: "not a change\n".into(), totals: "{\"deaths\": 3}".into() };
        let path = dir.path().join(NAME);
        save(&path, &saved).unwrap();
        assert_eq!(load(dir.path()).unwrap().history, saved.history);
        let legacy = recall(dir.path());
        assert_eq!((legacy.history.reader().latest(), legacy.totals), (0, Totals::from_text(&saved.totals)));
        let text = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, text.replace('3', "4")).unwrap();
        assert!(matches!(load(dir.path()), Err(PastError::Seal(_))));
        assert_eq!(recall(dir.path()).totals, Totals::default());
    }
}
