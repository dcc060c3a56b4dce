//! A status for people.

use std::fmt::Write as _;

use super::line::Line;
use super::report_text::one_line;
use super::terminal::Screen;
use crate::admin::status::{
    GenerationState, GenerationStatus, RegistryStatus, ReloadState, ReloadStatus, ServerStatus,
    ServiceStatus, Status,
};

/// The most problems shown of one service where all are listed; `status SERVICE` has all.
const MAX_PROBLEMS: usize = 3;

/// What goes on in another line begins there.
const HANG: usize = 8;

/// Who runs, what came of the last reload, then a line for each service, those in trouble first, with what is wrong below it.
/// `whole`, the servers too, and nothing is cut.
pub(super) fn text(status: &Status, whole: bool, screen: Screen) -> String {
    let mut lines: Vec<Line> = head(status).into_iter().map(Line::plain).collect();
    lines.push(Line::plain(String::new()));
    let mut services: Vec<_> = status.services.iter().collect();
    services.sort_by_key(|service| is_well(service));
    let names = services.iter().map(|service| service.name.chars().count());
    let width = names.max().unwrap_or(0).max("SERVICE".len());
    if !services.is_empty() {
        lines.push(Line::plain(format!("{:width$}  STATE     SERVERS       LISTENS ON", "SERVICE")));
    }
    for service in services {
        let servers = format!("{} of {}", service.servers_in_rotation, service.servers_total);
        let after = format!("  {servers:12}  {}", service.listen.join(" "));
        lines.push(Line {
            before: format!("{:width$}  ", one_line(&service.name)),
            state: format!("{:8}", one_line(&service.state)),
            after: after.trim_end().to_owned(),
        });
        lines.extend(problems(service, whole).into_iter().map(Line::plain));
        lines.extend(servers_table(service));
    }
    let shown = |line: &Line| if whole { line.wrapped(HANG, screen) } else { line.cut(screen) };
    lines.iter().map(|line| shown(line) + "\n").collect()
}

fn is_well(service: &ServiceStatus) -> bool {
    service.state == "serving" && service.problems.is_empty() && service.servers_in_rotation > 0
}

fn head(status: &Status) -> Vec<String> {
    let (proxymgr, haproxy) = (&status.proxymgr, &status.haproxy);
    let mut lines = vec![format!(
        "ProxyMgr {}, pid {}, since {} ({})",
        proxymgr.release,
        proxymgr.pid,
        proxymgr.since,
        span(proxymgr.since_s)
    )];
    let version = haproxy.version.as_ref().unwrap_or(&haproxy.installed);
    let mut line = format!("HAProxy {version}, {}", haproxy.state);
    if let Some(pid) = haproxy.pid {
        let _ = write!(line, ", pid {pid}");
    }
    if let Some(uptime) = haproxy.uptime_s {
        let _ = write!(line, ", for {}", span(uptime));
    }
    if let Some(connections) = haproxy.connections {
        let _ = write!(line, ", {}", counted(connections, "connection"));
    }
    if *version != haproxy.installed {
        let _ = write!(line, "; {} is installed", haproxy.installed);
    }
    if let Some(problem) = haproxy.problem.as_ref().filter(|_| haproxy.state == "serving") {
        let _ = write!(line, "; it does not answer: {}", one_line(problem));
    }
    lines.push(line);
    lines.extend(draining(&haproxy.generations));
    lines.push(match &status.last_reload {
        None => "No reload since this program began".to_owned(),
        Some(reload) => format!("Last reload {}", reload_line(reload)),
    });
    let counts = status.counts;
    let mut line = counted(counts.services as u64, "service");
    let _ = write!(line, ": {} serving", counts.serving);
    for (count, word) in [(counts.refused, "refused"), (counts.waiting, "waiting"), (counts.held, "held")] {
        if count > 0 {
            let _ = write!(line, ", {count} {word}");
        }
    }
    let servers = counted(counts.servers as u64, "server");
    let _ = write!(line, "; {} of {servers} in rotation", counts.in_rotation);
    lines.push(line);
    lines.extend(registries(&status.registries));
    lines.extend(status.limits.iter().map(|limit| format!("Limit: {}", one_line(limit))));
    let problems = [&status.frontends.problems, &status.template.problems, &status.includes.problems];
    lines.extend(problems.into_iter().flatten().map(|problem| format!("    {}", one_line(problem))));
    lines
        .extend(status.values.problems.iter().map(|problem| format!("Value refused: {}", one_line(problem))));
    lines
}

/// Those that answer in one line, then each that doesn't.
fn registries(all: &[RegistryStatus]) -> Vec<String> {
    let name = |one: &RegistryStatus| format!("{} {}", one.kind.name(), one_line(&one.ensemble));
    let (down, up): (Vec<_>, Vec<_>) = all.iter().partition(|one| one.disconnected > 0);
    let up: Vec<_> = up.into_iter().map(name).collect();
    let connected = (!up.is_empty()).then(|| format!("Connected with {}", up.join("; ")));
    let missing = |one: &RegistryStatus| {
        let since = one.down_since.as_ref().zip(one.down_s);
        let since = since.map(|(at, down)| format!(" since {at} ({})", span(down))).unwrap_or_default();
        let some = if one.connected > 0 {
            format!(" of {} of {} sessions", one.disconnected, one.connected + one.disconnected)
        } else {
            String::new()
        };
        format!("No connection with {}{some}{since}; what it said last stays, the log tells why", name(one))
    };
    connected.into_iter().chain(down.into_iter().map(missing)).collect()
}

/// The old processes, if any.
fn draining(generations: &[GenerationStatus]) -> Option<String> {
    let old = generations.iter().filter(|generation| generation.state == GenerationState::Draining);
    let one = |old: &GenerationStatus| {
        let clients = old.connections.map(|count| format!(", {}", counted(count, "connection")));
        format!("pid {} for {}{}", old.pid, span(old.for_s), clients.unwrap_or_default())
    };
    let old: Vec<_> = old.map(one).collect();
    (!old.is_empty()).then(|| format!("Old ones that drain: {}", old.join("; ")))
}

/// How long ago it was, what came of it, and why it was.
pub(super) fn reload_line(reload: &ReloadStatus) -> String {
    let outcome = match (reload.state, reload.took_ms, &reload.error) {
        (ReloadState::UnderWay, _, _) => "under way".to_owned(),
        (ReloadState::Done, Some(took), _) => format!("took {took} ms"),
        (ReloadState::Done, None, _) => "done".to_owned(),
        (ReloadState::Failed, _, error) => {
            format!("failed: {}", error.as_ref().map(|error| one_line(error)).unwrap_or_default())
        }
    };
    format!("{} ago, {outcome}; {}", span(reload.ago_s), one_line(&reload.reasons.join(", ")))
}

fn problems(service: &ServiceStatus, whole: bool) -> Vec<String> {
    let most = if whole { usize::MAX } else { MAX_PROBLEMS };
    let mut lines: Vec<_> =
        service.problems.iter().take(most).map(|problem| format!("    {}", one_line(problem))).collect();
    if let Some(more) = service.problems.len().checked_sub(most).filter(|more| *more > 0) {
        lines.push(format!("    and {more} more ('proxymgr status {}' shows all)", one_line(&service.name)));
    }
    lines
}

fn servers_table(service: &ServiceStatus) -> Vec<Line> {
    let Some(servers) = service.servers.as_ref().filter(|servers| !servers.is_empty()) else {
        return Vec::new();
    };
    let widest = |text: fn(&ServerStatus) -> &String, title: &str| {
        let widths = servers.iter().map(|server| text(server).chars().count());
        widths.max().unwrap_or(0).max(title.len())
    };
    let name_width = widest(|server| &server.name, "SERVER");
    let address_width = widest(|server| &server.address, "ADDRESS");
    let title = format!("    {:name_width$}  {:address_width$}  WEIGHT  STATE", "SERVER", "ADDRESS");
    let line = |server: &ServerStatus| {
        let (name, address) = (one_line(&server.name), one_line(&server.address));
        let backup = if server.backup { ", backup" } else { "" };
        let why = server.why.as_ref().map(|why| format!(": {}", one_line(why))).unwrap_or_default();
        Line {
            before: format!("    {name:name_width$}  {address:address_width$}  {:6}  ", server.weight),
            state: server.state.word().to_owned(),
            after: format!("{backup}{why}"),
        }
    };
    std::iter::once(Line::plain(title)).chain(servers.iter().map(line)).collect()
}

/// `3 d 4 h`: the two largest units.
pub(super) fn span(seconds: u64) -> String {
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds} s"),
        (0, 0, _) => format!("{minutes} min {} s", seconds % 60),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (_, _, _) => format!("{days} d {hours} h"),
    }
}

pub(super) fn counted(number: u64, what: &str) -> String {
    if number == 1 { format!("1 {what}") } else { format!("{number} {what}s") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::status::{
        Counts, FrontendsStatus, HaproxyStatus, IncludesStatus, ProxymgrStatus, RegistryKind, ServerState,
        ServersFrom, TemplateStatus, ValuesStatus,
    };

    fn service(name: &str, state: &str, problems: &[&str]) -> ServiceStatus {
        ServiceStatus {
            name: name.into(),
            state: state.into(),
            serves: true,
            listen: vec!["0.0.0.0:80".into()],
            definition: None,
            servers_from: ServersFrom::Registry,
            servers_changed: None,
            last_command: None,
            last_change: None,
            gone: None,
            held: None,
            problems: problems.iter().map(|problem| (*problem).to_owned()).collect(),
            skipped: 0,
            servers_total: 2,
            servers_in_rotation: 1,
            servers: None,
        }
    }

    fn status(services: Vec<ServiceStatus>) -> Status {
        let since = "2026-11-21T07:33:12Z".to_owned();
        Status {
            proxymgr: ProxymgrStatus { release: "0.1.0".into(), pid: 7, since: since.clone(), since_s: 7500 },
            haproxy: HaproxyStatus {
                state: "serving".into(),
                installed: "2.6.12".into(),
                version: Some("2.6.12".into()),
                pid: Some(8),
                uptime_s: Some(59),
                connections: Some(1),
                problem: None,
                generations: Vec::new(),
            },
            last_reload: Some(ReloadStatus {
                at: since,
                ago_s: 61,
                reasons: vec!["web: new service".into()],
                state: ReloadState::Done,
                took_ms: Some(85),
                error: None,
            }),
            counts: Counts {
                services: 2,
                serving: 1,
                refused: 1,
                waiting: 0,
                held: 0,
                servers: 4,
                in_rotation: 2,
            },
            includes: IncludesStatus::default(),
            values: ValuesStatus::default(),
            frontends: FrontendsStatus::default(),
            template: TemplateStatus::default(),
            limits: Vec::new(),
            registries: Vec::new(),
            services,
        }
    }

    #[test]
    fn columns_are_aligned_and_trouble_comes_first() {
        let status = status(vec![
            service("a-long-name", "serving", &[]),
            service("web", "refused", &["bad\nport", "2", "3", "4"]),
        ]);
        assert_eq!(
            text(&status, false, Screen::default()),
            "ProxyMgr 0.1.0, pid 7, since 2026-11-21T07:33:12Z (2 h 5 min)\n\
             HAProxy 2.6.12, serving, pid 8, for 59 s, 1 connection\n\
             Last reload 1 min 1 s ago, took 85 ms; web: new service\n\
             2 services: 1 serving, 1 refused; 2 of 4 servers in rotation\n\
             \n\
             SERVICE      STATE     SERVERS       LISTENS ON\n\
             web          refused   1 of 2        0.0.0.0:80\n    bad\\nport\n    2\n    3\n\
             \x20   and 1 more ('proxymgr status web' shows all)\n\
             a-long-name  serving   1 of 2        0.0.0.0:80\n"
        );
    }

    #[test]
    fn old_processes_are_told_as_long_as_they_drain() {
        let mut status = status(Vec::new());
        let generation =
            |pid, state, connections| GenerationStatus { generation: 1, pid, state, for_s: 61, connections };
        status.haproxy.generations = vec![
            generation(8, GenerationState::Serving, None),
            generation(6, GenerationState::Draining, Some(1)),
            generation(7, GenerationState::Draining, None),
        ];
        let text = text(&status, false, Screen::default());
        let expected = "Old ones that drain: pid 6 for 1 min 1 s, 1 connection; pid 7 for 1 min 1 s";
        assert_eq!(text.lines().nth(2), Some(expected));
    }

    #[test]
    fn a_registry_that_is_away_is_told_with_since_when() {
        let registry = |kind, ensemble: &str, connected, disconnected: usize| RegistryStatus {
            kind,
            ensemble: ensemble.into(),
            connected,
            disconnected,
            down_since: (disconnected > 0).then(|| "2026-11-21T07:33:12Z".into()),
            down_s: (disconnected > 0).then_some(61),
        };
        let mut status = status(Vec::new());
        status.registries = vec![
            registry(RegistryKind::Zookeeper, "zk1:2181", 1, 2),
            registry(RegistryKind::Consul, "127.0.0.1:8500", 1, 0),
            registry(RegistryKind::Docker, "tcp://a:2376", 0, 1),
            registry(RegistryKind::Docker, "unix:///b", 1, 0),
        ];
        let text = text(&status, false, Screen::default());
        let lines: Vec<_> = text.lines().skip(4).take(3).collect();
        let end = "since 2026-11-21T07:33:12Z (1 min 1 s); what it said last stays, the log tells why";
        assert_eq!(
            lines,
            [
                "Connected with Consul 127.0.0.1:8500; Docker unix:///b".to_owned(),
                format!("No connection with ZooKeeper zk1:2181 of 2 of 3 sessions {end}"),
                format!("No connection with Docker tcp://a:2376 {end}"),
            ]
        );
    }

    #[test]
    fn servers_stand_below_their_service_with_the_reason_why_they_get_no_traffic() {
        let mut web = service("web", "serving", &[]);
        let server = |name: &str, state, why: Option<&str>| ServerStatus {
            name: name.into(),
            address: "10.0.0.1:80".into(),
            weight: 1,
            backup: why.is_none(),
            state,
            why: why.map(str::to_owned),
        };
        web.servers = Some(vec![
            server("10.0.0.1:80", ServerState::Up, None),
            server("db:80", ServerState::Down, Some("its check fails")),
        ]);
        let text = text(&status(vec![web]), true, Screen::default());
        let lines: Vec<_> = text.lines().skip(7).collect();
        assert_eq!(
            lines,
            [
                "    SERVER       ADDRESS      WEIGHT  STATE",
                "    10.0.0.1:80  10.0.0.1:80       1  up, backup",
                "    db:80        10.0.0.1:80       1  down: its check fails",
            ]
        );
    }

    #[test]
    fn a_terminal_gets_colours_and_no_more_than_fits() {
        let services =
            vec![service("web", "refused", &["a problem that is longer than the terminal is wide"])];
        let screen = Screen { colour: true, width: Some(40), height: None };
        let shown = text(&status(services.clone()), false, screen);
        assert!(shown.lines().all(|line| line.replace("\x1b[31m", "").chars().count() <= 44), "{shown}");
        assert!(shown.contains("    a problem that is longer than the t…\n"), "{shown}");
        let wide = text(&status(services.clone()), false, Screen { width: None, ..screen });
        assert!(wide.contains("\x1b[31mrefused \x1b[0m"), "{wide:?}");
        assert!(!text(&status(services), false, Screen::default()).contains('\x1b'));
    }

    #[test]
    fn spans_are_told_by_their_two_largest_units() {
        for (seconds, text) in
            [(0, "0 s"), (59, "59 s"), (61, "1 min 1 s"), (7500, "2 h 5 min"), (273_600, "3 d 4 h")]
        {
            assert_eq!(span(seconds), text);
        }
    }
}
