//! Writes the history: puts what the registries and operators said together with what `HAProxy` was told for it.

mod causes;
mod describe;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::admin::history::{
    CauseEvent, Change, ChangeKind, ChangeResult, Few, History, Reader, ServersChanged,
};
use crate::engine::moment::Moment;
use crate::engine::reconciler::{Notice, Order, Outcome};
use crate::engine::reload_reason::ReloadReason;
use crate::engine::service::ServiceName;
use crate::engine::utc_text::utc_text_of_millis;
use crate::service_manager::RegistryEvent;

use causes::{Answered, Causes};
pub(super) use describe::failed_reload;
use describe::{
    About, bounded, commands, failed_commands, names, notice_about, only_deletes, reasons, servers,
    service_of_reason,
};

/// Writes the history.
#[derive(Debug)]
pub(super) struct Historian {
    history: History,
    causes: Causes,
    under_way: Option<UnderWay>,
}

/// A change whose outcome is not known yet.
#[derive(Debug)]
struct UnderWay {
    began: Moment,
    services: BTreeSet<ServiceName>,
    causes: Answered,
    change: Change,
}

/// A change that is over.
#[derive(Debug)]
pub(super) struct Finished {
    /// Its number.
    pub(super) number: u64,
    /// Those that it concerns; none when all.
    pub(super) services: BTreeSet<ServiceName>,
    /// What it was.
    pub(super) kind: ChangeKind,
    /// What came of it.
    pub(super) result: ChangeResult,
    /// Servers changed without a reload.
    pub(super) servers: ServersChanged,
    /// How long it took.
    pub(super) took: Duration,
    /// How long each of its causes has waited for it, all in all; none of a start.
    pub(super) waits: Vec<Duration>,
}

impl Historian {
    /// Goes on with `history`.
    pub(super) fn new(history: History) -> Self {
        Self { history, causes: Causes::default(), under_way: None }
    }

    /// Where it is read.
    pub(super) fn reader(&self) -> Reader {
        self.history.reader()
    }

    /// The registries are heard anew.
    pub(super) fn begin_anew(&mut self) {
        self.causes.forget();
    }

    /// A registry says something of a service that it keeps at `origin`.
    pub(super) fn note_event(&mut self, event: &RegistryEvent, origin: Option<&str>, now: Moment) {
        let (name, event) = match event {
            RegistryEvent::Defined { name, .. } => (name, CauseEvent::Defined),
            RegistryEvent::Removed { name } => (name, CauseEvent::Removed),
            RegistryEvent::Servers { name, .. } | RegistryEvent::FixedServers { name, .. } => {
                (name, CauseEvent::Servers)
            }
            RegistryEvent::Listed
            | RegistryEvent::Remembered { .. }
            | RegistryEvent::Refused { .. }
            | RegistryEvent::Forgotten { .. } => return,
        };
        self.note_cause(Some(name), event, origin, now);
    }

    /// Something else happened.
    pub(super) fn note_cause(
        &mut self,
        service: Option<&ServiceName>,
        event: CauseEvent,
        origin: Option<&str>,
        now: Moment,
    ) {
        self.causes.note(service, event, origin.map(bounded), now);
    }

    /// An order goes out.
    pub(super) fn note_order(&mut self, order: &Order, now: Moment) {
        let (kind, told, why) = match order {
            Order::Reload { reasons, first, .. } => (ChangeKind::Reload, first.as_slice(), Some(reasons)),
            Order::Apply { commands, .. } if !only_deletes(commands) => {
                (ChangeKind::Runtime, commands.as_slice(), None)
            }
            Order::Apply { .. } | Order::Compare { .. } => return,
        };
        let of_commands = told.iter().map(crate::engine::command::RuntimeCommand::service).cloned();
        let of_reasons = why.into_iter().flatten().filter_map(service_of_reason).cloned();
        let mut services: BTreeSet<_> = of_commands.chain(of_reasons).collect();
        if why.is_some_and(|why| why.iter().any(|reason| service_of_reason(reason).is_none())) {
            services.clear();
        }
        // A reload brings all that is wanted.
        let causes = self.causes.take(why.is_none().then_some(&services));
        let waited = causes.waits(now).max();
        let change = Change {
            number: 0,
            at: now_text(),
            kind,
            result: ChangeResult::Done,
            services: names(&services),
            servers: servers(told),
            causes: causes.told(),
            reasons: why.map(reasons).unwrap_or_default(),
            commands: commands(told),
            waited_ms: waited.map(millis),
            took_ms: None,
            message: None,
        };
        self.under_way = Some(UnderWay { began: now, services, causes, change });
    }

    /// The order under way is done.
    pub(super) fn note_outcome(&mut self, outcome: &Outcome, now: Moment) -> Option<Finished> {
        let UnderWay { began, services, causes, mut change } = self.under_way.take()?;
        change.took_ms = Some(millis(now - began));
        let unwritten = |error: &Option<String>| {
            error.as_ref().map(|error| bounded(&format!("haproxy.cfg is not up to date: {error}")))
        };
        let failure = match outcome {
            Outcome::Applied { verdicts, config_error } => {
                change.message = unwritten(config_error);
                failed_commands(change.commands.total, verdicts)
            }
            Outcome::Reloaded { took: _, config_error } => {
                change.message = unwritten(config_error);
                None
            }
            Outcome::ReloadFailed(failure) => Some(failed_reload(failure)),
            Outcome::Compared(_) | Outcome::CompareFailed(_) => None,
        };
        let starts = change.reasons.first == [ReloadReason::Start.to_string()];
        let waits = if starts { Vec::new() } else { causes.waits(now).collect() };
        if failure.is_some() {
            change.result = ChangeResult::Failed;
            change.message = failure;
            self.causes.put_back(causes);
        }
        let (kind, result, servers) = (change.kind, change.result, change.servers);
        let (took, number) = (now - began, self.history.add(change));
        Some(Finished { number, services, kind, result, servers, took, waits })
    }

    /// Something that an operator should know.
    pub(super) fn note_notice(&mut self, notice: &Notice, now: Moment) {
        if let Notice::LossTaken { service, missing: _ } = notice {
            self.causes.note(Some(service), CauseEvent::LossLasted, None, now);
        }
        let about = match notice_about(notice) {
            About::Service(service) => Some(service),
            About::All => None,
            About::Change => return,
        };
        let result = if notice.is_trouble() { ChangeResult::Trouble } else { ChangeResult::Told };
        self.history.add(Change {
            number: 0,
            at: now_text(),
            kind: ChangeKind::Notice,
            result,
            services: Few::of(about.map(ToString::to_string), 1),
            servers: ServersChanged::default(),
            causes: Few::default(),
            reasons: Few::default(),
            commands: Few::default(),
            waited_ms: None,
            took_ms: None,
            message: Some(bounded(&notice.to_string())),
        });
    }

    /// All that happened has been answered: what led to no change leads to none any more.
    pub(super) fn settled(&mut self) {
        self.causes.forget();
    }
}

fn now_text() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    utc_text_of_millis(millis(since))
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
