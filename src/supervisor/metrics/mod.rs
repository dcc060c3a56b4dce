//! What monitoring asks: counts that go on over upgrades, and the state of everything in numbers.

mod families;
mod histogram;
mod process;
mod totals;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use tokio::sync::Semaphore;
use tracing::error;

use crate::admin::protocol::{Failure, FailureCode};
use crate::admin::request::{Answer, Asker};
use crate::engine::haproxy_version::HaproxyVersion;
use crate::engine::report::Report;
use crate::haproxy::generations::Generations;
use crate::zookeeper::sessions;

pub(super) use totals::Totals;

/// What is known at the moment of the question.
#[derive(Debug)]
pub(super) struct Facts {
    /// In seconds from 1970.
    pub(super) began: f64,
    pub(super) ready: bool,
    pub(super) installed: HaproxyVersion,
    pub(super) report: Report,
    pub(super) generations: Generations,
    /// Services whose definition is refused before the engine hears of it.
    pub(super) refused: BTreeSet<String>,
    /// Entries that name no server.
    pub(super) skipped: usize,
    pub(super) totals: Totals,
}

/// When they were written, in seconds from 1970.
#[derive(Clone, Copy, Debug, Default)]
struct Files {
    config: Option<f64>,
    snapshot: Option<f64>,
}

/// Answers.
#[derive(Debug)]
pub(super) struct MetricsDesk {
    config: PathBuf,
    snapshot: PathBuf,
    /// One answer is put together at a time.
    turn: Arc<Semaphore>,
}

impl MetricsDesk {
    pub(super) fn new(config: PathBuf, snapshot: PathBuf) -> Self {
        Self { config, snapshot, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Answers in a task of its own.
    pub(super) fn answer(&self, facts: Facts, asker: Asker) {
        let (config, snapshot, turn) = (self.config.clone(), self.snapshot.clone(), self.turn.clone());
        tokio::spawn(async move {
            // A semaphore that nobody closes.
            let Ok(_turn) = turn.acquire().await else { return };
            let compose = move || {
                let files =
                    Files { config: process::written(&config), snapshot: process::written(&snapshot) };
                let mut all = families::families(&facts, &files, &sessions());
                all.extend(process::families());
                all
            };
            match tokio::task::spawn_blocking(compose).await {
                Ok(families) => asker.answer(Answer::Metrics(Arc::new(families))),
                Err(panicked) => {
                    error!(%panicked, "the metrics could not be put together; this is a defect of ProxyMgr");
                    let message = "the metrics could not be put together; ProxyMgr's log tells more";
                    asker.refuse(Failure::new(FailureCode::Internal, message));
                }
            }
        });
    }
}

/// In seconds from 1970.
pub(super) fn seconds(at: SystemTime) -> f64 {
    process::seconds(at)
}
