//! From the text of a definition to a [`ServiceSpec`], with all that is wrong at once.

mod consul;
mod dns;
mod docker;
mod node_rules;
mod routes;
mod server_lines;
mod servers;

use std::fmt;
use std::path::PathBuf;

use super::keys::{KNOWN, UnknownKey, nearest};
use super::listing::{MAX_BYTES, RawDefinition};
use super::reader::Reader;
use crate::document;
use crate::engine::bind_line::{OwnBind, own_binds};
use crate::engine::cookie::CookieName;
use crate::engine::duration_text::duration;
use crate::engine::line_limits::{MAX_BIND_OPTIONS, MAX_SERVER_OPTIONS, MAX_WORDS};
use crate::engine::listed_server::MAX_SERVERS;
use crate::engine::option_line::{LineEnd, OptionLine};
use crate::engine::outage_rules::{OnEmpty, OwnOutageRules, Percent};
use crate::engine::printable::printable;
use crate::engine::risk::{Allowed, check_risks};
use crate::engine::service::{BindAddress, Entrance, ServiceName, ServiceSpec, WatcherSpec};
use crate::zookeeper::{ConnectString, NodePath};

const TYPES: &[&str] = &["zookeeper", "consul", "dns", "docker", "file", "static"];

/// The most addresses that one service listens on: each takes up to three of the open files that all share.
const MAX_ADDRESSES: usize = 256;
/// The most unknown keys that are told.
const MAX_UNKNOWN_KEYS: usize = 20;

/// How lines begin that a definition ends.
const BIND: &str = "bind -";
const SERVER: &str = "server - -";

/// A definition that was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The service.
    pub spec: ServiceSpec,
    /// Keys that play no part, 20 at most.
    pub unknown_keys: Vec<UnknownKey>,
}

/// All that is wrong with a definition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct Refusal {
    /// One text for each, for users, printable.
    pub errors: Vec<String>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.errors.join("; "))
    }
}

/// Reads the definition of `service`; its lines may hold the risks that are `allowed`.
///
/// # Errors
/// All that is wrong with it.
pub fn parse(service: &ServiceName, raw: &RawDefinition, allowed: &Allowed) -> Result<Definition, Refusal> {
    let safety = Safety { service, allowed };
    let map = document::read_map(&raw.data, raw.format, MAX_BYTES)
        .map_err(|error| Refusal { errors: vec![printable(&error.to_string())] })?;
    let mut reader = Reader::new(&map);
    let mut unknown_keys = Vec::new();
    for key in map.keys() {
        if !KNOWN.contains(&key.as_str()) && unknown_keys.len() < MAX_UNKNOWN_KEYS {
            unknown_keys.push(UnknownKey::new(key));
        }
    }
    let entrance = routes::read_entrance(&mut reader, &mut unknown_keys);
    unknown_keys.truncate(MAX_UNKNOWN_KEYS);
    let cookie = reader.one("cookie", |text| CookieName::parse(text).map_err(|error| error.to_string()));
    let bind = reader.parsed("bind", BindAddress::parse);
    let bind_options =
        joined(&mut reader, "bind_options", |end| safety.line_end(BIND, end), MAX_BIND_OPTIONS);
    let lines = reader.parsed("listen_options", |text| safety.listen_line(text));
    let server_options =
        joined(&mut reader, "server_options", |end| safety.line_end(SERVER, end), MAX_SERVER_OPTIONS);
    let fixed_servers = servers::read(&mut reader);
    let watcher = watcher(&mut reader, service);
    let outage = OwnOutageRules {
        on_empty: reader.one("on_empty", on_empty),
        max_shrink: reader.one("max_shrink", Percent::parse),
        shrink_hold: reader.one("shrink_hold", duration),
    };
    let (mut own_binds, mut listen_options) = (Vec::new(), Vec::new());
    for line in lines {
        match line {
            ListenLine::Binds(binds) => own_binds.extend(binds),
            ListenLine::Other(line) => listen_options.push(line),
        }
    }
    let own_servers = listen_options.iter().map(server_lines::count).sum::<usize>();
    if own_servers > MAX_SERVERS {
        reader
            .error(format!("\"listen_options\" has {own_servers} servers; at most {MAX_SERVERS} are taken"));
    }
    let addresses = bind.len() + own_binds.len();
    if addresses > MAX_ADDRESSES {
        reader.error(format!("it listens on {addresses} addresses; at most {MAX_ADDRESSES} are taken"));
    }
    if matches!(entrance, Some(Entrance::Routes(_))) && !own_binds.is_empty() {
        reader.error(
            "\"listen_options\" has a 'bind' line: a service that is reached by routes has none".to_owned(),
        );
    }
    let errors = reader.finish();
    match (entrance, watcher) {
        (Some(entrance), Some(watcher)) if errors.is_empty() => {
            let server_options = server_options.into_iter().collect();
            let spec = ServiceSpec {
                entrance,
                cookie,
                bind,
                bind_options,
                own_binds,
                listen_options,
                server_options,
                watcher,
                fixed_servers,
                outage,
            };
            Ok(Definition { spec, unknown_keys })
        }
        (_, _) => Err(Refusal { errors }),
    }
}

fn watcher(reader: &mut Reader<'_>, service: &ServiceName) -> Option<WatcherSpec> {
    let rules = node_rules::read(reader);
    match reader.required("type", "\"zookeeper\", \"consul\", \"dns\", \"docker\", \"file\" or \"static\"")? {
        "zookeeper" => {
            let server = reader.required("server", "the ensemble, such as \"zk1:2181,zk2:2181\"");
            let path = reader.required("path", "the node whose children are the servers");
            let server = server.and_then(|text| reader.checked("server", ConnectString::parse(text)));
            let path = path.and_then(|text| reader.checked("path", NodePath::parse(text)));
            Some(WatcherSpec::Zookeeper { server: server?.to_string(), path: path?.to_string(), rules })
        }
        "file" => {
            let file = reader.required("file", "the absolute path of the file that lists the servers")?;
            reader.checked("file", absolute(file)).map(|file| WatcherSpec::File { file, rules })
        }
        "consul" => consul::read(reader, rules).map(WatcherSpec::Consul),
        "dns" => dns::read(reader).map(WatcherSpec::Dns),
        "docker" => docker::read(reader, service, rules).map(WatcherSpec::Docker),
        "static" => {
            if reader.value("default_servers").is_none() && reader.value("backup_servers").is_none() {
                reader.error(
                    "\"type\" is \"static\": add \"default_servers\", the list of the servers".to_owned(),
                );
            }
            Some(WatcherSpec::Static)
        }
        other => {
            let hint =
                nearest(other, TYPES).map(|name| format!(", did you mean \"{name}\"?")).unwrap_or_default();
            reader.error(format!(
                "\"type\" is \"{}\"{hint}; zookeeper, consul, dns, docker, file and static are taken",
                printable(other)
            ));
            None
        }
    }
}

/// Words that may be spread over a list, in one line.
fn joined(
    reader: &mut Reader<'_>,
    key: &str,
    line_end: impl Fn(&str) -> Result<LineEnd, String>,
    most: usize,
) -> Option<LineEnd> {
    let parts = reader.texts(key);
    let words: Vec<_> =
        parts.iter().map(|(_, text)| text.trim_matches(' ')).filter(|text| !text.is_empty()).collect();
    if words.is_empty() {
        return None;
    }
    let end = line_end(&words.join(" ")).and_then(|end| match end.count_words() {
        count if count > most => Err(format!(
            "{count} words are too many: a line of haproxy.cfg takes {MAX_WORDS}, {most} of them from here"
        )),
        _fits => Ok(end),
    });
    reader.checked(key, end)
}

/// A line of `listen_options`.
enum ListenLine {
    Binds(Vec<OwnBind>),
    Other(OptionLine),
}

/// Whose lines are read, and what they may do.
struct Safety<'a> {
    service: &'a ServiceName,
    allowed: &'a Allowed,
}

impl Safety<'_> {
    fn listen_line(&self, text: &str) -> Result<ListenLine, String> {
        let line = OptionLine::parse(text).map_err(|error| error.to_string())?;
        let Some(binds) = own_binds(&line) else {
            server_lines::check(&line)?;
            return self.check(line.as_str()).map(|()| ListenLine::Other(line));
        };
        let binds = binds.map_err(|error| printable(&error.to_string()))?;
        for options in binds.iter().filter_map(|bind| bind.options.as_ref()) {
            self.check(&format!("{BIND} {options}"))?;
        }
        Ok(ListenLine::Binds(binds))
    }

    fn line_end(&self, begin: &str, text: &str) -> Result<LineEnd, String> {
        let end = LineEnd::parse(text).map_err(|error| error.to_string())?;
        self.check(&format!("{begin} {end}")).map(|()| end)
    }

    fn check(&self, line: &str) -> Result<(), String> {
        check_risks(line, self.service, self.allowed).map_err(|forbidden| printable(&forbidden.to_string()))
    }
}

fn on_empty(text: &str) -> Result<OnEmpty, String> {
    let word = OnEmpty::WORDS.iter().find(|(word, _)| *word == text);
    word.map(|(_, meaning)| *meaning).ok_or_else(|| "must be \"keep\" or \"drain\"".to_owned())
}

fn absolute(text: &str) -> Result<PathBuf, String> {
    if !text.starts_with('/') {
        return Err(format!("'{}' is no absolute path; write it in full", printable(text)));
    }
    if text.chars().any(char::is_control) {
        return Err(format!("'{}' holds a control character", printable(text)));
    }
    Ok(PathBuf::from(text))
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod routes_tests;
#[cfg(test)]
mod tests;
