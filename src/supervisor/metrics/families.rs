//! All families, from what is known at one moment. Pure.

use std::collections::{BTreeMap, HashMap};

use super::totals::{COMMAND_RESULTS, REGISTRY_EVENTS, Totals};
use super::{Facts, Files};
use crate::admin::exposition::{Family, whole};
use crate::census::SessionCount;
use crate::engine::reload_reason::ReloadReason;
use crate::engine::report::{Place, Report, ServiceReport, ServiceState, Stage};
use crate::haproxy::generations::{Generation, Generations};

const NONE: &[(&str, &str)] = &[];
/// Parts whose panics are told though there were none.
const PARTS: [&str; 8] = [
    "supervisor",
    "registries",
    "watcher",
    "ZooKeeper session",
    "HAProxy",
    "control socket",
    "HTTP",
    "other",
];

/// `usable` is how many servers of each service `HAProxy` would use now, if it tells.
pub(super) fn families(
    facts: &Facts,
    usable: &HashMap<String, u64>,
    files: &Files,
    sessions: &[SessionCount],
) -> Vec<Family> {
    let version = facts.installed.to_string();
    let labels = [("version", env!("CARGO_PKG_VERSION")), ("haproxy", version.as_str())];
    let mut families = vec![
        Family::info("proxymgr_build", "This program, and the HAProxy that is installed.", &labels),
        gauge("proxymgr_ready", "Whether it serves what the registries said.", flag(facts.ready)),
        gauge(
            "proxymgr_start_timestamp_seconds",
            "When this program began: it was started, took the place of another, or read proxymgr.yml again.",
            facts.began,
        ),
    ];
    families.extend(changes(&facts.totals));
    families.extend(haproxy(&facts.report, &facts.generations, &facts.totals));
    families.extend(registries(&facts.totals, sessions));
    families.extend(services(facts, usable));
    families.extend(written(files));
    let all_panics = facts.totals.all_panics();
    let panics = Family::counter("proxymgr_panics", "Panics, each a defect, by the part that began anew.");
    let seldom = all_panics.keys().map(String::as_str).filter(|part| !PARTS.contains(part));
    families.push(counted(panics, "part", PARTS.into_iter().chain(seldom), &all_panics));
    families
}

fn gauge(name: &'static str, help: &'static str, value: f64) -> Family {
    Family::gauge(name, help).with(NONE, value)
}

fn flag(is_so: bool) -> f64 {
    if is_so { 1.0 } else { 0.0 }
}

fn number(count: usize) -> f64 {
    whole(count as u64)
}

fn counted<'a>(
    family: Family,
    label: &'static str,
    known: impl IntoIterator<Item = &'a str>,
    counts: &BTreeMap<String, u64>,
) -> Family {
    // What has not happened yet is told as 0, so that its first time is seen as a step.
    known.into_iter().fold(family, |family, word| {
        family.with(&[(label, word)], whole(counts.get(word).copied().unwrap_or_default()))
    })
}

fn changes(totals: &Totals) -> Vec<Family> {
    let mut changes =
        Family::counter("proxymgr_changes", "Changes of HAProxy: by commands at run time, or by a reload.");
    for (kind, results) in [("runtime", totals.runtime_changes), ("reload", totals.reloads)] {
        changes.add(&[("kind", kind), ("result", "done")], whole(results.done));
        changes.add(&[("kind", kind), ("result", "failed")], whole(results.failed));
    }
    let mut servers = Family::counter("proxymgr_server_changes", "Servers changed without a reload.");
    let counts = totals.servers;
    for (action, count) in [("added", counts.added), ("removed", counts.removed), ("changed", counts.changed)]
    {
        servers.add(&[("action", action)], whole(count));
    }
    let reasons = Family::counter("proxymgr_reloads", "Reloads begun, by reason; one may have several.");
    let commands =
        Family::counter("proxymgr_runtime_commands", "Commands to HAProxy's runtime socket, by its answer.");
    vec![
        changes,
        servers,
        counted(reasons, "reason", ReloadReason::KINDS, &totals.reload_reasons),
        totals.propagation.family(
            "proxymgr_propagation_seconds",
            "From a registry's event, as it arrived, until HAProxy had confirmed what followed from it; without starts.",
        ),
        totals.reload_durations.family(
            "proxymgr_reload_duration_seconds",
            "From the order for a reload until the new process served.",
        ),
        counted(commands, "result", COMMAND_RESULTS, &totals.commands),
        totals.command_batches.family(
            "proxymgr_runtime_commands_duration_seconds",
            "From sending commands, all of one change at once, to HAProxy's last answer.",
        ),
        Family::counter("proxymgr_refusals", "Definitions, values and included files that did not go ahead.")
            .with(NONE, whole(totals.refusals)),
        Family::counter("proxymgr_held_losses", "Losses of servers that were not believed at first.")
            .with(NONE, whole(totals.held_losses)),
    ]
}

fn haproxy(report: &Report, generations: &Generations, totals: &Totals) -> Vec<Family> {
    let mut processes = Family::gauge("proxymgr_haproxy_processes", "Processes of HAProxy.");
    let mut connections =
        Family::gauge("proxymgr_haproxy_connections", "Connections of clients, of processes that tell.");
    let mut age = Family::gauge(
        "proxymgr_haproxy_process_age_seconds",
        "How long the oldest process has served, or drained.",
    );
    let serving: Vec<&Generation> = generations.serving.iter().collect();
    let draining: Vec<&Generation> = generations.draining.iter().collect();
    for (state, processes_of) in [("serving", serving), ("draining", draining)] {
        let label = [("state", state)];
        processes.add(&label, number(processes_of.len()));
        connections.add(&label, whole(processes_of.iter().filter_map(|one| one.connections).sum()));
        if let Some(oldest) = processes_of.iter().map(|one| one.since.elapsed()).max() {
            age.add(&label, oldest.as_secs_f64());
        }
    }
    vec![
        gauge("proxymgr_haproxy_up", "Whether a HAProxy serves.", flag(report.stage == Stage::Serving)),
        Family::counter("proxymgr_haproxy_starts", "Processes of HAProxy that were started.")
            .with(NONE, whole(generations.started)),
        Family::counter("proxymgr_haproxy_deaths", "Processes of HAProxy that ended by themselves.")
            .with(NONE, whole(totals.deaths)),
        processes,
        connections,
        age,
    ]
}

fn registries(totals: &Totals, sessions: &[SessionCount]) -> Vec<Family> {
    let mut counts = Family::gauge(
        "proxymgr_registry_sessions",
        "Sessions with ZooKeeper ensembles and Consul's agents, and Docker daemons that are followed.",
    );
    let mut down = Family::gauge(
        "proxymgr_registry_down_timestamp_seconds",
        "Since when a session with a registry has not been connected, since 1970; nothing of those that are.",
    );
    for session in sessions {
        let of = [("kind", session.kind.word()), ("registry", &*session.registry)];
        let in_state = |state| [of.as_slice(), &[("state", state)]].concat();
        counts.add(&in_state("connected"), number(session.connected));
        counts.add(&in_state("disconnected"), number(session.disconnected));
        if let Some(since) = session.down_since {
            down.add(&of, super::seconds(since));
        }
    }
    let events = Family::counter("proxymgr_registry_events", "What the registries told.");
    let mut last = Family::gauge(
        "proxymgr_registry_last_event_timestamp_seconds",
        "When each registry told something last, since 1970.",
    );
    for (registry, at) in &totals.last_registry_events {
        last.add(&[("registry", registry)], whole(*at) / 1000.0);
    }
    vec![counts, down, counted(events, "event", REGISTRY_EVENTS, &totals.registry_events), last]
}

/// Of how many servers what is known.
#[derive(Clone, Copy, Default)]
struct Places {
    in_rotation: usize,
    drained: usize,
    coming: usize,
    leaving: usize,
}

impl Places {
    fn of(service: &ServiceReport, report: &Report) -> Self {
        let mut places = Self::default();
        for server in service.servers(&report.base) {
            let place = match server.place {
                Place::InRotation if server.drains => &mut places.drained,
                Place::InRotation => &mut places.in_rotation,
                Place::Coming => &mut places.coming,
                Place::Leaving => &mut places.leaving,
            };
            *place += 1;
        }
        places
    }
}

fn services(facts: &Facts, usable: &HashMap<String, u64>) -> Vec<Family> {
    let report = &facts.report;
    let mut serves = Family::gauge("proxymgr_service_serves", "Whether clients of a service are served.");
    let mut in_rotation = Family::gauge(
        "proxymgr_service_servers_in_rotation",
        "Servers of a service that get traffic unless their checks fail.",
    );
    let mut up = Family::gauge(
        "proxymgr_service_servers_up",
        "Servers of a service that HAProxy gives traffic, backups included: in rotation, and not down by their checks.",
    );
    let mut all =
        Family::gauge("proxymgr_service_servers", "Servers of a service, without those that leave.");
    let (mut totals, mut held) = (Places::default(), 0);
    let mut states: BTreeMap<&str, usize> = BTreeMap::new();
    for (name, service) in &report.services {
        let label = [("service", name.as_str())];
        let places = Places::of(service, report);
        serves.add(&label, flag(service.runs.is_some()));
        if let Some(count) = usable.get(name.as_str()) {
            up.add(&label, whole(*count));
        }
        in_rotation.add(&label, number(places.in_rotation));
        all.add(&label, number(places.in_rotation + places.drained + places.coming));
        totals.in_rotation += places.in_rotation;
        totals.drained += places.drained;
        totals.coming += places.coming;
        totals.leaving += places.leaving;
        held += usize::from(service.held().is_some() || service.is_kept());
        let is_refused = facts.refused.contains(name.as_str());
        let state = if is_refused { ServiceState::Refused } else { service.state() };
        *states.entry(state.word()).or_default() += 1;
    }
    let unknown = |name: &&String| !report.services.keys().any(|known| known.as_str() == name.as_str());
    *states.entry(ServiceState::Refused.word()).or_default() += facts.refused.iter().filter(unknown).count();
    let mut by_state = Family::gauge("proxymgr_services", "Services.");
    for state in ServiceState::ALL {
        by_state
            .add(&[("state", state.word())], number(states.get(state.word()).copied().unwrap_or_default()));
    }
    let mut by_place = Family::gauge("proxymgr_servers", "Servers of all services, as ProxyMgr steers them.");
    for (place, count) in [
        ("in_rotation", totals.in_rotation),
        ("drained", totals.drained),
        ("coming", totals.coming),
        ("leaving", totals.leaving),
    ] {
        by_place.add(&[("place", place)], number(count));
    }
    vec![
        by_state,
        gauge("proxymgr_services_held", "Services of which a loss of servers is not believed.", number(held)),
        by_place,
        gauge(
            "proxymgr_skipped_entries",
            "Entries of registries that name no server, and play no part.",
            number(facts.skipped),
        ),
        serves,
        in_rotation,
        up,
        all,
    ]
}

fn written(files: &Files) -> Vec<Family> {
    let one = |name, help, at: Option<f64>| at.map(|at| gauge(name, help, at));
    let config = "When haproxy.cfg was written, since 1970.";
    let snapshot = "When the snapshot of the topology was written, since 1970.";
    [
        one("proxymgr_config_written_timestamp_seconds", config, files.config),
        one("proxymgr_snapshot_written_timestamp_seconds", snapshot, files.snapshot),
    ]
    .into_iter()
    .flatten()
    .collect()
}
