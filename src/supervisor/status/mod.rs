//! Answers `status`: the loop takes note of a little and, when asked, shares what it knows. The rest is done beside it.

mod compose;
mod departures;
mod haproxy_view;
mod last_reload;
pub(super) mod live;
mod notes;
mod reasons;
mod registries;
mod remarks;
mod servers;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use strsim::jaro_winkler;
use tokio::sync::Semaphore;
use tracing::error;

use crate::admin::history::{Change, Reader};
use crate::admin::protocol::{Failure, FailureCode};
use crate::admin::request::{Answer, Asker, StatusAnswer};
use crate::admin::status::StatusQuery;
use crate::engine::haproxy_version::HaproxyVersion;
use crate::engine::moment::Moment;
use crate::engine::printable::printable;
use crate::engine::reconciler::{Notice, Order, Outcome, Reconciler};
use crate::engine::report::Report;
use crate::engine::service::{ServiceName, ServiceSpec};
use crate::haproxy::generations::Generations;
use crate::service_config::SourceSettings;
use crate::service_manager::RegistryEvent;
use crate::supervisor::registry_name::registry_of;

pub(super) use compose::utc;
use compose::{Facts, compose};
use haproxy_view::look;
use last_reload::LastReload;
use live::Look;
use notes::Notes;
use registries::registries;
use remarks::Remarks;

/// Answers that are made, or sent, at a time: one of 50,000 servers takes some 10 MB.
const AT_A_TIME: usize = 2;

/// What there is to tell besides what the reconciler knows.
#[derive(Debug)]
pub(super) struct StatusDesk {
    began: SystemTime,
    installed: HaproxyVersion,
    operators_socket: PathBuf,
    remarks: Arc<Remarks>,
    values: Arc<BTreeSet<String>>,
    notes: Notes,
    last_reload: Option<LastReload>,
    history: Reader,
    turns: Arc<Semaphore>,
}

impl StatusDesk {
    /// A desk that has heard nothing yet.
    pub(super) fn new(installed: HaproxyVersion, operators_socket: PathBuf, history: Reader) -> Self {
        Self {
            began: SystemTime::now(),
            installed,
            operators_socket,
            remarks: Arc::default(),
            values: Arc::default(),
            notes: Notes::default(),
            last_reload: None,
            history,
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
        }
    }

    /// The registries are heard anew.
    pub(super) fn begin_anew(&mut self) {
        self.remarks = Arc::default();
        self.notes = Notes::default();
    }

    /// Takes note of what the registries say.
    pub(super) fn note_event(&mut self, event: &RegistryEvent, now: Moment) {
        Remarks::note(&mut self.remarks, event);
        self.notes.note_event(event, now);
    }

    /// Where that was found of which a registry speaks.
    pub(super) fn origin_of(&self, event: &RegistryEvent) -> Option<String> {
        self.notes.origin_of(event)
    }

    /// Of which registry it is.
    pub(super) fn registry_of(&self, event: &RegistryEvent, sources: &[SourceSettings]) -> Option<String> {
        let known = self.notes.before(event).map(|note| (&*note.spec, note.origin.as_str()));
        registry_of(event, known, sources)
    }

    /// The definition of a service, with where it was found.
    pub(super) fn definition_of(&self, service: &str) -> Option<(Arc<ServiceSpec>, String)> {
        let note = self.notes.of(Some(service)).into_values().next()?;
        Some((note.spec.clone(), note.origin.clone()))
    }

    /// When this program began.
    pub(super) fn began(&self) -> SystemTime {
        self.began
    }

    /// The version that is installed.
    pub(super) fn installed(&self) -> HaproxyVersion {
        self.installed
    }

    /// The services whose definition is refused as it stands, and how many entries name no server.
    pub(super) fn refused_and_skipped(&self) -> (BTreeSet<String>, usize) {
        (self.remarks.refused().map(str::to_owned).collect(), self.remarks.skipped())
    }

    /// Takes note of what is wrong with the values of a registry.
    pub(super) fn note_values(&mut self, problems: &Arc<BTreeSet<String>>) {
        self.values = Arc::clone(problems);
    }

    /// Takes note of an order for `HAProxy`.
    pub(super) fn note_order(&mut self, order: &Order, now: Moment) {
        self.notes.ordered(order, now);
    }

    /// Takes note of an order's end.
    pub(super) fn note_outcome(&mut self, outcome: &Outcome, now: Moment) {
        LastReload::note_outcome(&mut self.last_reload, outcome);
        self.notes.done(now);
    }

    /// Takes note of a change of these services.
    pub(super) fn note_change(&mut self, number: u64, services: &BTreeSet<ServiceName>) {
        self.notes.changed(number, services);
    }

    /// Takes note of reloads.
    pub(super) fn note_notice(&mut self, notice: &Notice, now: Moment) {
        LastReload::note(&mut self.last_reload, notice, now);
    }

    /// Answers in a task of its own.
    pub(super) fn answer(
        &self,
        query: StatusQuery,
        reconciler: &Reconciler,
        generations: Generations,
        now: Moment,
        asker: Asker,
    ) {
        let mut report = reconciler.report();
        if let Some(service) = &query.service {
            report.services.retain(|name, _| name.as_str() == service);
            if report.services.is_empty() && !self.remarks.is_refused(service) {
                asker.refuse(no_such_service(service, &reconciler.report(), &self.remarks));
                return;
            }
        }
        let last_change = query.service.as_deref().and_then(|service| self.last_change(service));
        let facts = self.facts(query, report, generations, now, last_change);
        let (turns, socket) = (self.turns.clone(), self.operators_socket.clone());
        tokio::spawn(async move {
            // A semaphore that nobody closes.
            let Ok(turn) = turns.acquire_owned().await else { return };
            let view = look(&socket, &facts).await;
            let composing = move || compose(&facts, view.as_ref(), registries());
            match tokio::task::spawn_blocking(composing).await {
                Ok(status) => asker.answer(Answer::Status(Arc::new(StatusAnswer { status, turn }))),
                Err(panicked) => {
                    error!(%panicked, "the status could not be put together; this is a defect of ProxyMgr");
                    let message = "the status could not be put together; ProxyMgr's log tells more";
                    asker.refuse(Failure::new(FailureCode::Internal, message));
                }
            }
        });
    }

    fn facts(
        &self,
        query: StatusQuery,
        report: Report,
        generations: Generations,
        now: Moment,
        last_change: Option<Arc<Change>>,
    ) -> Facts {
        Facts {
            now,
            began: self.began,
            installed: self.installed,
            report,
            generations,
            remarks: self.remarks.clone(),
            values: self.values.clone(),
            notes: self.notes.of(query.service.as_deref()),
            last_reload: self.last_reload.clone(),
            last_change,
            query,
        }
    }

    /// Shows all to who keeps the live stream.
    pub(super) fn show(&self, look: Look, reconciler: &Reconciler, generations: Generations, now: Moment) {
        let query = StatusQuery { service: None, servers: true };
        look.answer(self.facts(query, reconciler.report(), generations, now, None));
    }

    /// The last change of a service; one of before this program if that names it.
    fn last_change(&self, service: &str) -> Option<Arc<Change>> {
        let number = self.notes.last_change(service);
        number.map_or_else(|| self.history.last_of(service), |number| self.history.numbered(number))
    }
}

fn no_such_service(asked: &str, report: &Report, remarks: &Remarks) -> Failure {
    let names = report.services.keys().map(ServiceName::as_str).chain(remarks.refused());
    let near = |name: &&str| jaro_winkler(asked, name);
    let nearest =
        names.max_by(|one, other| near(one).total_cmp(&near(other))).filter(|name| near(name) > 0.7);
    let hint = nearest.map_or_else(
        || "'proxymgr status' lists those that there are".to_owned(),
        |name| format!("did you mean '{name}'?"),
    );
    Failure::new(FailureCode::NotFound, format!("there is no service '{}'; {hint}", printable(asked)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_registries_said_is_forgotten_when_they_are_heard_anew() {
        let mut desk = StatusDesk::new(HaproxyVersion::new(2, 6, 0), "/s".into(), Reader::default());
        let refused = RegistryEvent::Refused { name: "web".into(), reason: "bad".into() };
        desk.note_event(&refused, Moment::START);
        assert!(desk.remarks.is_refused("web"));
        desk.begin_anew();
        assert!(!desk.remarks.is_refused("web"));
    }
}
