//! What is asked through the control socket.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use serde_json::json;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::Supervisor;
use super::metrics::{Facts, seconds};
use super::replacement::Why;
use crate::admin::history::CauseEvent;
use crate::admin::protocol::{Command, Failure, FailureCode, ServerAddress};
use crate::admin::request::{Answer, Asked, Asker};
use crate::admin::server::{self, Listener};
use crate::engine::printable::printable;
use crate::engine::reconciler::{Input, Unconfirmed};
use crate::engine::server::ServerName;
use crate::engine::service::ServiceName;
use crate::panics::caught;

/// Commands that wait; a full queue only slows their clients down.
const QUEUE: usize = 16;

/// Opens the control socket in `runtime_dir` and gives what is asked there; the channel ends when the task behind it panics.
pub(super) fn listen(runtime_dir: &Path) -> mpsc::Receiver<Asked> {
    let listener = match Listener::open(runtime_dir) {
        Ok(listener) => Some(listener),
        Err(error) => {
            warn!(%error, "the control socket can't be opened in runtime_dir; trying on, commands such as status must wait");
            None
        }
    };
    let (requests, commands) = mpsc::channel(QUEUE);
    tokio::spawn(caught("control socket", server::run(runtime_dir.to_owned(), listener, requests)));
    commands
}

impl Supervisor {
    /// Does what was asked, or begins to, and gives what the reconciler is to be told of it.
    pub(super) async fn carry_out(&mut self, asked: Asked) -> Option<Input> {
        let Asked { command, asker } = asked;
        match command {
            Command::Ping => asker.answer(Answer::Said(json!({}))),
            Command::Reload => self.replacement.begin(Why::Reread, Some(asker), self.reconciler.applied()),
            Command::Upgrade => self.replacement.begin(Why::Upgrade, Some(asker), self.reconciler.applied()),
            Command::Status(query) => {
                let generations = self.haproxy.generations.borrow().clone();
                self.status_desk.answer(query, &self.reconciler, generations, self.clock.now(), asker);
            }
            Command::Events(_) => asker.answer(Answer::Events(self.historian.reader())),
            Command::Metrics => self.answer_metrics(asker),
            Command::Origin { service, server } => self.tell_origin(&service, server, asker),
            Command::Confirm { service } => {
                self.confirm(&service, asker);
                return Some(Input::Tick);
            }
            Command::Drain(of) => return self.drain(of, true, asker).await,
            Command::Undrain(of) => return self.drain(of, false, asker).await,
        }
        None
    }

    fn answer_metrics(&self, asker: Asker) {
        let (refused, skipped) = self.status_desk.refused_and_skipped();
        let facts = Facts {
            began: seconds(self.status_desk.began()),
            ready: self.http.ready(),
            installed: self.status_desk.installed(),
            report: self.reconciler.report(),
            generations: self.haproxy.generations.borrow().clone(),
            refused,
            skipped,
            totals: self.totals.clone(),
        };
        self.metrics_desk.answer(facts, asker);
    }

    fn confirm(&mut self, service: &str, asker: Asker) {
        let parsed = ServiceName::parse(service).map_err(|_no_name| Unconfirmed::NoSuchService);
        let now = self.clock.now();
        match parsed.and_then(|name| self.reconciler.confirm(&name, now).map(|servers| (name, servers))) {
            Ok((name, servers)) => {
                self.historian.note_cause(Some(&name), CauseEvent::Confirmed, None, now);
                warn!(service, servers, "an operator confirmed a loss of servers; they leave");
                self.recorder.changed();
                asker.answer(Answer::Said(json!({"servers": servers})));
            }
            Err(error) => {
                let code = match error {
                    Unconfirmed::NoSuchService => FailureCode::NotFound,
                    Unconfirmed::NothingHeld => FailureCode::NothingHeld,
                };
                asker.refuse(Failure::new(code, format!("{}: {error}", printable(service))));
            }
        }
    }

    async fn drain(&mut self, of: ServerAddress, drains: bool, asker: Asker) -> Option<Input> {
        let known = ServiceName::parse(&of.service)
            .map(|service| (service, ServerName::reported(&of.server)))
            .ok()
            .filter(|(service, server)| self.reconciler.knows_server(service, server));
        let Some((service, server)) = known else {
            let message = format!(
                "there is no server {of}; 'proxymgr status {}' lists its servers",
                printable(&of.service)
            );
            asker.refuse(Failure::new(FailureCode::NotFound, message));
            return None;
        };
        let now = self.clock.now();
        let event = if drains { CauseEvent::Drained } else { CauseEvent::Undrained };
        self.historian.note_cause(Some(&service), event, Some(server.as_str()), now);
        if drains {
            info!(%service, %server, "an operator drains a server");
            let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
            self.reconciler.drain(&service, &server, since, now);
        } else {
            info!(%service, %server, "an operator drains a server no more");
            self.reconciler.undrain(&service, &server, now);
        }
        let saved = self.drains.save(self.reconciler.drained()).await;
        self.drains.wait(service, server, saved, asker);
        Some(Input::Tick)
    }
}
