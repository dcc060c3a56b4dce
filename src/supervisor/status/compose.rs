//! Puts the answer to `status` together. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::haproxy_view::HaproxyView;
use super::last_reload::LastReload;
use super::notes::{At, Commands, Note, SharedNotes};
use super::reasons::{Clock, Reasons, WAITS};
use super::remarks::{Remark, Remarks};
use super::servers::server_status;
use crate::admin::history::Change;
use crate::admin::status::{
    CommandStatus, Counts, DefinitionStatus, FrontendsStatus, GenerationState, GenerationStatus, GoneStatus,
    HaproxyStatus, HeldStatus, IncludesStatus, ProxymgrStatus, RegistryStatus, ReloadState, ReloadStatus,
    ServerState, ServersFrom, ServiceStatus, Status, StatusQuery, TemplateStatus, TimeStatus, ValuesStatus,
};
use crate::engine::haproxy_version::HaproxyVersion;
use crate::engine::moment::Moment;
use crate::engine::printable::printable;
use crate::engine::report::{Heard, Report, ServiceReport, ServiceState, Wanted};
use crate::engine::route::FrontendName;
use crate::engine::section::Section;
use crate::engine::server::ServerName;
use crate::engine::service::{ServiceName, WatcherSpec};
use crate::engine::utc_text::utc_text;
use crate::haproxy::generations::{Generation, Generations};

/// All that the loop knows, at the moment of the question.
#[derive(Debug)]
pub(super) struct Facts {
    pub(super) query: StatusQuery,
    pub(super) now: Moment,
    pub(super) began: SystemTime,
    pub(super) installed: HaproxyVersion,
    pub(super) report: Report,
    pub(super) generations: Generations,
    pub(super) remarks: Arc<Remarks>,
    /// What is wrong with the values of a registry.
    pub(super) values: Arc<BTreeSet<String>>,
    pub(super) notes: SharedNotes,
    pub(super) last_reload: Option<LastReload>,
    /// Of the service that is asked for.
    pub(super) last_change: Option<Arc<Change>>,
}

/// So many routes of a service are told.
const ROUTES_TOLD: usize = 20;

/// The answer, with what `HAProxy` itself tells.
pub(super) fn compose(
    facts: &Facts,
    view: Result<&HaproxyView, &String>,
    registries: Vec<RegistryStatus>,
) -> Status {
    let services = services(facts, view.ok());
    Status {
        proxymgr: proxymgr(facts),
        haproxy: haproxy(facts, view),
        last_reload: last_reload(facts),
        counts: counts(services.iter().map(Brief::of)),
        includes: includes(facts),
        values: values(facts),
        frontends: frontends(facts),
        template: template(facts),
        limits: facts.report.limits.clone(),
        registries,
        services: services.into_iter().map(|(_, service)| service).collect(),
    }
}

pub(super) fn proxymgr(facts: &Facts) -> ProxymgrStatus {
    ProxymgrStatus {
        release: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        since: utc(facts.began),
        since_s: facts.now.since_start().as_secs(),
    }
}

pub(super) fn haproxy(facts: &Facts, view: Result<&HaproxyView, &String>) -> HaproxyStatus {
    let info = view.ok().map(|view| view.info);
    HaproxyStatus {
        state: facts.report.stage.word().to_owned(),
        installed: facts.installed.to_string(),
        version: info.map(|info| info.version.to_string()),
        pid: info.map(|info| info.pid),
        uptime_s: info.map(|info| info.uptime_seconds),
        connections: info.map(|info| info.current_connections),
        problem: view.err().cloned(),
        generations: generations(&facts.generations),
    }
}

fn generations(seen: &Generations) -> Vec<GenerationStatus> {
    let status = |state| {
        move |generation: &Generation| GenerationStatus {
            generation: generation.number,
            pid: generation.pid,
            state,
            for_s: generation.since.elapsed().as_secs(),
            connections: generation.connections,
        }
    };
    let serving = seen.serving.iter().map(status(GenerationState::Serving));
    serving.chain(seen.draining.iter().map(status(GenerationState::Draining))).collect()
}

pub(super) fn last_reload(facts: &Facts) -> Option<ReloadStatus> {
    facts.last_reload.as_ref().map(|last| reload(last, facts.now))
}

pub(super) fn includes(facts: &Facts) -> IncludesStatus {
    IncludesStatus { problems: facts.report.refused_includes.clone() }
}

pub(super) fn values(facts: &Facts) -> ValuesStatus {
    ValuesStatus { problems: facts.values.iter().cloned().collect() }
}

pub(super) fn frontends(facts: &Facts) -> FrontendsStatus {
    let lost = facts.report.frontends.iter();
    FrontendsStatus { problems: lost.map(|(name, reason)| format!("frontend {name}: {reason}")).collect() }
}

pub(super) fn template(facts: &Facts) -> TemplateStatus {
    TemplateStatus { problems: facts.report.refused_template.iter().cloned().collect() }
}

fn reload(last: &LastReload, now: Moment) -> ReloadStatus {
    let (state, took, error) = match &last.end {
        None => (ReloadState::UnderWay, None, None),
        Some(Ok(took)) => (ReloadState::Done, Some(*took), None),
        Some(Err(why)) => (ReloadState::Failed, None, Some(why.clone())),
    };
    let (at, ago_s) = time(last.began, now);
    ReloadStatus { at, ago_s, reasons: last.reasons.clone(), state, took_ms: took.map(millis), error }
}

/// As much of a service as is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Brief {
    state: ServiceState,
    pub(super) is_held: bool,
    /// It, or a server of it, waits for a reload.
    pub(super) waits: bool,
    servers: usize,
    in_rotation: usize,
}

impl Brief {
    pub(super) fn of((state, service): &(ServiceState, ServiceStatus)) -> Self {
        Self {
            state: *state,
            waits: *state == ServiceState::Starting
                || service.problems.iter().any(|problem| problem.starts_with(WAITS))
                || service.servers.iter().flatten().any(|server| server.state == ServerState::Coming),
            is_held: service.held.is_some() || service.servers_from == ServersFrom::Kept,
            servers: service.servers_total,
            in_rotation: service.servers_in_rotation,
        }
    }
}

pub(super) fn counts(services: impl Iterator<Item = Brief>) -> Counts {
    let mut counts = Counts::default();
    for service in services {
        counts.services += 1;
        match service.state {
            ServiceState::Serving => counts.serving += 1,
            ServiceState::Refused => counts.refused += 1,
            ServiceState::Waiting | ServiceState::Starting => counts.waiting += 1,
            ServiceState::Leaving => {}
        }
        counts.held += usize::from(service.is_held);
        counts.servers += service.servers;
        counts.in_rotation += service.in_rotation;
    }
    counts
}

/// The services that are known or run, and those that were refused and never known.
fn services(facts: &Facts, view: Option<&HaproxyView>) -> Vec<(ServiceState, ServiceStatus)> {
    let nothing = ServiceReport::default();
    let known = facts.report.services.keys().map(ServiceName::as_str);
    let asked = |name: &&str| facts.query.service.as_deref().is_none_or(|asked| asked == *name);
    let names: BTreeSet<&str> = known.chain(facts.remarks.refused().filter(asked)).collect();
    let reports: BTreeMap<&str, &ServiceReport> =
        facts.report.services.iter().map(|(name, report)| (name.as_str(), report)).collect();
    let one = |name| service(name, reports.get(name).copied().unwrap_or(&nothing), facts, view);
    names.into_iter().map(one).collect()
}

pub(super) fn service(
    name: &str,
    report: &ServiceReport,
    facts: &Facts,
    view: Option<&HaproxyView>,
) -> (ServiceState, ServiceStatus) {
    let remark = facts.remarks.of(name);
    let note = ServiceName::parse(name).ok().and_then(|name| facts.notes.get(&name));
    let refusal = remark.and_then(|remark| remark.refusal.as_ref());
    let state = if refusal.is_some() { ServiceState::Refused } else { report.state() };
    let section = report
        .runs
        .as_ref()
        .map(|runs| &runs.section)
        .or(report.wanted.as_ref().map(|wanted| &wanted.section));
    let refusal = refusal.cloned().or_else(|| report.obstacle.as_ref().map(ToString::to_string));
    let clock = Clock { began: facts.began, now: facts.now };
    let Report { stage, reload, .. } = facts.report;
    let reasons = Reasons { service: report, refusal, stage, reload, clock };
    let servers: Vec<_> = report
        .servers(&facts.report.base)
        .iter()
        .map(|server| {
            let seen = view.and_then(|view| view.server(name, server.name.as_str()));
            server_status(server, seen, &reasons)
        })
        .collect();
    let held = report.held().map(|(missing, until)| HeldStatus {
        missing,
        for_s: (until - facts.now).as_secs(),
        until: clock.utc(until),
    });
    let mut problems = reasons.remarks();
    problems.extend(section.into_iter().flat_map(|section| lost_frontends(section, &facts.report)));
    problems.extend(remark.into_iter().flat_map(|remark| remark.harmless().cloned()));
    let is_asked_alone = facts.query.service.is_some();
    let status = ServiceStatus {
        name: name.to_owned(),
        state: state.word().to_owned(),
        serves: report.runs.is_some(),
        listen: section.map(|section| reached_at(section)).unwrap_or_default(),
        definition: note.map(|note| definition(note, facts.now)),
        servers_changed: note.and_then(|note| note.servers_changed).map(|at| {
            let (at, ago_s) = time(at, facts.now);
            TimeStatus { at, ago_s }
        }),
        last_command: note.and_then(|note| note.commands.as_ref()).map(|last| commands(last, facts.now)),
        last_change: facts.last_change.as_deref().cloned(),
        servers_from: report.wanted.as_ref().map_or(ServersFrom::Nowhere, servers_from),
        gone: note.filter(|_| is_asked_alone).map(|note| gone(note, facts.now)),
        held,
        problems,
        skipped: remark.map_or(0, Remark::skipped),
        servers_total: servers.iter().filter(|server| server.state != ServerState::Leaving).count(),
        servers_in_rotation: servers.iter().filter(|server| server.state.is_in_rotation()).count(),
        servers: facts.query.servers.then_some(servers),
    };
    (state, status)
}

/// Addresses and routes; of many routes the first.
fn reached_at(section: &Section) -> Vec<String> {
    let routes = &section.routes;
    let more = routes.len().saturating_sub(ROUTES_TOLD);
    let addresses = section.listen.iter().map(ToString::to_string);
    let told = routes.keys().take(ROUTES_TOLD).map(ToString::to_string);
    addresses.chain(told).chain((more > 0).then(|| format!("and {more} more"))).collect()
}

/// Those of its frontends that can't listen.
fn lost_frontends<'a>(section: &'a Section, report: &'a Report) -> impl Iterator<Item = String> + 'a {
    let is_its = |name: &FrontendName| section.routes.keys().any(|route| route.frontend == *name);
    let lost = report.frontends.iter().filter(move |(name, _)| is_its(name));
    lost.map(|(name, reason)| format!("its frontend {name} can't listen: {reason}"))
}

fn definition(note: &Note, now: Moment) -> DefinitionStatus {
    let (at, ago_s) = time(note.defined, now);
    DefinitionStatus { origin: note.origin.clone(), registry: registry(&note.spec.watcher), at, ago_s }
}

/// Where servers are found, for people.
pub(super) fn registry(watcher: &WatcherSpec) -> String {
    match watcher {
        WatcherSpec::Zookeeper { server, path, rules: _ } => format!("ZooKeeper {server}, {path}"),
        WatcherSpec::File { file, rules: _ } => format!("file {}", file.display()),
        WatcherSpec::Dns(spec) => {
            let names = spec.backends.iter().map(|backend| backend.name().to_string());
            format!("DNS {}", names.collect::<Vec<_>>().join(", "))
        }
        WatcherSpec::Docker(spec) => format!("Docker {}, service {}", spec.hosts, spec.service),
        WatcherSpec::Consul(spec) => {
            let at = spec.servers.as_ref().map(|servers| format!(" {servers}")).unwrap_or_default();
            printable(&format!("Consul{at}, service {}", spec.service))
        }
        WatcherSpec::Static => "its definition".to_owned(),
    }
}

fn gone(note: &Note, now: Moment) -> Vec<GoneStatus> {
    let one = |(server, left): &(ServerName, At)| {
        let (at, ago_s) = time(*left, now);
        GoneStatus { name: server.to_string(), at, ago_s }
    };
    note.departures.latest().map(one).collect()
}

fn commands(last: &Commands, now: Moment) -> CommandStatus {
    let (at, ago_s) = time(last.began, now);
    CommandStatus { at, ago_s, took_ms: millis(last.took), commands: last.texts.clone() }
}

fn time(at: At, now: Moment) -> (String, u64) {
    (utc(at.time), (now - at.moment).as_secs())
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn servers_from(wanted: &Wanted) -> ServersFrom {
    match wanted.heard {
        Heard::Answer => ServersFrom::Registry,
        Heard::Emptiness => ServersFrom::Kept,
        Heard::Memory => ServersFrom::Snapshot,
        Heard::Nothing if wanted.servers.is_none() => ServersFrom::Nowhere,
        Heard::Nothing => ServersFrom::Definition,
    }
}

pub(in crate::supervisor) fn utc(time: SystemTime) -> String {
    utc_text(time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs())
}
