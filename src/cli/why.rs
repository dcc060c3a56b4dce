//! `proxymgr why`: where a service or a server is from, what was last done, and why it gets traffic or none.

use serde::Deserialize as _;

use super::Exit;
use super::args::WhyArgs;
use super::events_text::what;
use super::line::Line;
use super::output::{answer, answer_json};
use super::report_text::one_line;
use super::running::{ask, socket_of, tell_failure};
use super::status_text::{reload_line, span};
use super::terminal::Screen;
use crate::admin::client::ClientError;
use crate::admin::history::ChangeResult;
use crate::admin::origin::{OriginStatus, Origins};
use crate::admin::protocol::Command;
use crate::admin::status::{ServerStatus, ServersFrom, ServiceStatus, Status, StatusQuery};
use crate::admin::why::Why;

/// What goes on in another line begins there: below what the titles tell.
const HANG: usize = 18;
/// The same of the first line, which has none.
const HANG_OF_FIRST: usize = 4;

/// Tells what is known of a service, or of one of its servers.
pub fn why(args: &WhyArgs) -> Exit {
    let socket = match socket_of(&args.running) {
        Ok(socket) => socket,
        Err(exit) => return exit,
    };
    let (service, server) = match args.of.split_once('/') {
        Some((service, server)) => (service, Some(server)),
        None => (args.of.as_str(), None),
    };
    let command = Command::Status(StatusQuery { service: Some(service.to_owned()), servers: true });
    let status = ask(&socket, &command, &mut |_| {})
        .and_then(|status| Status::deserialize(status).map_err(ClientError::NotUnderstood));
    let status = match status {
        Ok(status) => status,
        Err(error) => {
            tell_failure(&error);
            return Exit::Failure;
        }
    };
    let why = match Why::of(&status, server) {
        Ok(why) => why,
        Err(failure) => {
            tell_failure(&failure);
            return Exit::Failure;
        }
    };
    let server_name = why.server.map(|server| server.name.clone());
    let command = Command::Origin { service: why.service.name.clone(), server: server_name };
    // A service that was never defined, and one that has just gone, have none.
    let origin = ask(&socket, &command, &mut |_| {}).ok();
    let why = why.with(origin.and_then(|origin| Origins::deserialize(origin).ok()));
    if args.json {
        answer_json(&why, Exit::Success)
    } else {
        answer(&text(&why, Screen::of_stdout()), Exit::Success)
    }
}

fn text(why: &Why<'_>, screen: Screen) -> String {
    let service = why.service;
    let mut lines = vec![match why.server {
        Some(server) => server_line(server, service),
        None => service_line(service),
    }];
    let mut tell = |title: &str, text: String| lines.push(Line::plain(format!("    {title:13} {text}")));
    if let Some(server) = why.server {
        let backup = if server.backup { ", backup" } else { "" };
        tell("address", format!("{}, weight {}{backup}", one_line(&server.address), server.weight));
    }
    if let Some(definition) = &service.definition {
        let taken = when(definition.ago_s, &definition.at);
        let place = why.origin.as_ref().and_then(|origin| origin.definition.as_ref());
        let place = place.map_or_else(|| one_line(&definition.origin), place_text);
        tell("definition", format!("{place}; taken {taken}"));
        let changed = match &service.servers_changed {
            Some(changed) => format!("; changed {}", when(changed.ago_s, &changed.at)),
            None if service.servers_from == ServersFrom::Definition => String::new(),
            None => "; not heard yet".to_owned(),
        };
        tell("servers from", format!("{}{changed}", one_line(&definition.registry)));
    }
    if let Some(place) = why.origin.as_ref().and_then(|origin| origin.server.as_ref()) {
        tell("listed in", place_text(place));
    }
    if let Some(problem) = why.origin.as_ref().and_then(|origin| origin.problem.as_ref()) {
        tell("note", one_line(problem));
    }
    if let Some(change) = &service.last_change {
        let took = change.took_ms.map_or(String::new(), |took| format!("took {took} ms, "));
        let failed = if change.result == ChangeResult::Failed { "failed, " } else { "" };
        tell("last change", format!("{}; {failed}{took}{}", one_line(&change.at), what(change)));
    }
    if let Some(last) = &service.last_command {
        let commands = one_line(&last.commands.join("; "));
        tell("last command", format!("{}, took {} ms; {commands}", when(last.ago_s, &last.at), last.took_ms));
    }
    tell("last reload", why.last_reload.map_or("none since this program began".to_owned(), reload_line));
    for problem in &service.problems {
        tell("note", one_line(problem));
    }
    let hang = |number| if number == 0 { HANG_OF_FIRST } else { HANG };
    lines.iter().enumerate().map(|(number, line)| line.wrapped(hang(number), screen) + "\n").collect()
}

fn service_line(service: &ServiceStatus) -> Line {
    let serves = if service.serves { "serves" } else { "does not serve" };
    let listen = if service.listen.is_empty() { "no address".to_owned() } else { service.listen.join(" ") };
    let (in_rotation, total) = (service.servers_in_rotation, service.servers_total);
    Line {
        before: format!("{} {serves} (", one_line(&service.name)),
        state: one_line(&service.state),
        after: format!("), {in_rotation} of {total} servers in rotation, at {listen}"),
    }
}

fn server_line(server: &ServerStatus, service: &ServiceStatus) -> Line {
    let (name, service) = (one_line(&server.name), one_line(&service.name));
    let gets = if server.state.is_in_rotation() { "gets traffic" } else { "gets no traffic" };
    let why = server.why.as_ref().map_or(String::new(), |why| format!(": {}", one_line(why)));
    Line {
        before: format!("{name} of {service} {gets} ("),
        state: server.state.word().to_owned(),
        after: format!("){why}"),
    }
}

fn place_text(place: &OriginStatus) -> String {
    let version = place.version.map(|version| format!("version {version}"));
    let written = place.written.as_ref().map(|written| format!("written {}", one_line(written)));
    let more: Vec<_> = version.into_iter().chain(written).collect();
    let more = if more.is_empty() { String::new() } else { format!(" ({})", more.join(", ")) };
    format!("{}{more}", one_line(&place.place))
}

fn when(ago_s: u64, at: &str) -> String {
    format!("{} ago ({})", span(ago_s), one_line(at))
}
