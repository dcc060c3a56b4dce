//! What monitoring asks: counts that go on over upgrades, and the state of everything in numbers.

mod families;
mod histogram;
mod process;
mod totals;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::Semaphore;
use tracing::error;

use crate::admin::protocol::{Failure, FailureCode};
use crate::admin::request::{Answer, Asker};
use crate::census::sessions;
use crate::engine::haproxy_version::HaproxyVersion;
use crate::engine::report::{Report, Stage};
use crate::haproxy::generations::Generations;
use crate::haproxy::runtime::RuntimeConnection;
use crate::haproxy::traffic::{BACKENDS, parse_usable};

pub(super) use totals::Totals;

/// How long `HAProxy` may take to answer.
const PATIENCE: Duration = Duration::from_secs(1);

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
    operators_socket: PathBuf,
    /// One answer is put together at a time.
    turn: Arc<Semaphore>,
}

impl MetricsDesk {
    pub(super) fn new(config: PathBuf, snapshot: PathBuf, operators_socket: PathBuf) -> Self {
        Self { config, snapshot, operators_socket, turn: Arc::new(Semaphore::new(1)) }
    }

    /// Answers in a task of its own.
    pub(super) fn answer(&self, facts: Facts, asker: Asker) {
        let (config, snapshot, turn) = (self.config.clone(), self.snapshot.clone(), self.turn.clone());
        let socket = self.operators_socket.clone();
        tokio::spawn(async move {
            // A semaphore that nobody closes.
            let Ok(_turn) = turn.acquire().await else { return };
            let reply = if facts.report.stage == Stage::Serving { ask(&socket).await } else { None };
            let compose = move || {
                let usable = reply.and_then(|reply| parse_usable(&reply).ok()).unwrap_or_default();
                let files =
                    Files { config: process::written(&config), snapshot: process::written(&snapshot) };
                let mut all = families::families(&facts, &usable, &files, &sessions());
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

/// What `HAProxy` tells of all services; `None` when it doesn't in time, which its other metrics tell.
async fn ask(socket: &Path) -> Option<String> {
    RuntimeConnection::connect(socket, PATIENCE).await.ok()?.execute(BACKENDS).await.ok()
}

/// In seconds from 1970.
pub(super) fn seconds(at: SystemTime) -> f64 {
    process::seconds(at)
}
