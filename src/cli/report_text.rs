//! A report for people.

use std::fmt::Write as _;

use super::report::{Report, ServiceReport, Status};

/// The most problems shown of one service; `--json` has all.
const MAX_PROBLEMS: usize = 5;

/// One line a service, its problems indented below, then a summary. `colour` marks what is good and bad.
pub(super) fn text(report: &Report, colour: bool) -> String {
    let mut text = String::new();
    let name_width = report.services.iter().map(|service| service.name.chars().count()).max().unwrap_or(0);
    let servers_width =
        report.services.iter().map(|service| service.servers.to_string().len()).max().unwrap_or(0);
    for service in &report.services {
        let status = painted(service.status, colour);
        let servers = match (service.status, service.servers) {
            (Status::Ok | Status::Refused, 1) => format!("{:>servers_width$} server", 1),
            (Status::Ok, count) => format!("{count:>servers_width$} servers"),
            (Status::Refused, count) if count > 0 => format!("{count:>servers_width$} servers"),
            (Status::Refused | Status::Unanswered, _) => String::new(),
        };
        let line = format!("{:name_width$}  {status}  {servers}", service.name);
        let _ = writeln!(text, "{}", line.trim_end());
        push_problems(&mut text, &service.problems);
    }
    for include in &report.includes {
        let status = if include.accepted { Status::Ok } else { Status::Refused };
        let line = format!("{}  {}", one_line(&include.file), painted(status, colour));
        let _ = writeln!(text, "{}", line.trim_end());
        push_problems(&mut text, &include.problems);
    }
    if !report.values.problems.is_empty() {
        text.push_str("values\n");
        push_problems(&mut text, &report.values.problems);
    }
    if !report.haproxy.messages.is_empty() {
        text.push_str("global and defaults\n");
        push_problems(&mut text, &report.haproxy.messages);
    }
    if !report.limits.is_empty() {
        text.push_str("limits\n");
        push_problems(&mut text, &report.limits);
    }
    let _ = writeln!(text, "{}", summary(report));
    text
}

fn push_problems(text: &mut String, problems: &[String]) {
    for problem in problems.iter().take(MAX_PROBLEMS) {
        let _ = writeln!(text, "    {}", one_line(problem));
    }
    if let Some(more) = problems.len().checked_sub(MAX_PROBLEMS).filter(|more| *more > 0) {
        let _ = writeln!(text, "    and {more} more (--json shows all)");
    }
}

/// Words of others can't end a line or colour a terminal.
pub(super) fn one_line(text: &str) -> String {
    text.chars().flat_map(|c| if c.is_control() { c.escape_default().collect() } else { vec![c] }).collect()
}

/// Padded to the longest; the colours are ECMA-48's.
fn painted(status: Status, colour: bool) -> String {
    let (word, number) = match status {
        Status::Ok => ("ok        ", 32),
        Status::Refused => ("refused   ", 31),
        Status::Unanswered => ("unanswered", 33),
    };
    if colour { format!("\x1b[{number}m{word}\x1b[0m") } else { word.to_owned() }
}

fn summary(report: &Report) -> String {
    let count = |status| report.services.iter().filter(|service| service.status == status).count();
    let (refused, unanswered) = (count(Status::Refused), count(Status::Unanswered));
    let mut parts = vec![format!("{} ok", count(Status::Ok))];
    parts.extend((refused > 0).then(|| format!("{refused} refused")));
    parts.extend((unanswered > 0).then(|| format!("{unanswered} unanswered")));
    parts.extend((!report.registries.answered).then(|| "the list is incomplete".to_owned()));
    let services = match report.services.len() {
        0 => "no services".to_owned(),
        1 => "1 service".to_owned(),
        count => format!("{count} services"),
    };
    let version = report.haproxy.version.as_deref().unwrap_or_default();
    let refused_includes = report.includes.iter().filter(|include| !include.accepted).count();
    let verdict = match report.haproxy.accepted {
        Some(true) if refused + refused_includes > 0 => format!("HAProxy {version} takes the rest"),
        Some(true) => format!("HAProxy {version} takes the result"),
        Some(false) if report.haproxy.messages.iter().any(|text| text.starts_with("haproxy.template")) => {
            format!("HAProxy {version} refuses what the template writes")
        }
        Some(false) => format!("HAProxy {version} refuses the sections global or defaults"),
        None => "HAProxy gave no verdict".to_owned(),
    };
    let all: usize = report.services.iter().filter(|service| service.status == Status::Ok).map(servers).sum();
    let servers = if all == 1 { "1 server".to_owned() } else { format!("{all} servers") };
    let head = if report.ok { "good" } else { "bad" };
    if report.services.is_empty() && report.registries.answered {
        return format!("{head}: {services}; {verdict}");
    }
    format!("{head}: {services} ({}), {servers}; {verdict}", parts.join(", "))
}

fn servers(service: &ServiceReport) -> usize {
    service.servers
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::Exit;
    use super::*;

    fn service(name: &str, status: Status, servers: usize, problems: &[&str]) -> ServiceReport {
        let problems = problems.iter().map(|text| (*text).to_owned()).collect();
        ServiceReport { name: name.into(), status, servers, problems }
    }

    fn report(services: Vec<ServiceReport>) -> Report {
        let mut report = Report::early(Path::new("/p.yml"), Exit::Failure);
        report.registries.answered = true;
        report.services = services;
        report.haproxy.version = Some("2.6.12".into());
        report.haproxy.accepted = Some(true);
        report
    }

    #[test]
    fn columns_are_aligned_and_problems_stand_below_their_service() {
        let report = report(vec![
            service("a", Status::Ok, 12, &[]),
            service("cache", Status::Unanswered, 0, &["no answer"]),
            service("db", Status::Refused, 0, &["bad\nport"]),
            service("web", Status::Ok, 1, &[]),
        ]);
        assert_eq!(
            text(&report, false),
            "a      ok          12 servers\n\
             cache  unanswered\n    no answer\n\
             db     refused\n    bad\\nport\n\
             web    ok           1 server\n\
             bad: 4 services (2 ok, 1 refused, 1 unanswered), 13 servers; HAProxy 2.6.12 takes the rest\n"
        );
    }

    #[test]
    fn many_problems_are_cut_and_only_a_terminal_is_coloured() {
        let report = report(vec![service("a", Status::Refused, 0, &["x"; 8])]);
        assert!(text(&report, false).contains("    x\n    and 3 more (--json shows all)\n"));
        assert!(
            text(&report, true).contains("\x1b[31mrefused   \x1b[0m")
                && !text(&report, false).contains('\x1b')
        );
    }
}
