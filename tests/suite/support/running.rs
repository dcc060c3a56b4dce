//! What a running `ProxyMgr` shows to the outside: its log, and haproxy.cfg against what runs.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::SocketAddr;
use std::path::Path;

use serde_json::Value;

use super::deadline::eventually;
use super::haproxy::{self, Haproxy, ServerRow};
use super::ports::free_port;
use super::proxymgr::Proxymgr;
use super::proxymgr_setup::{Paths, Setup};
use super::requests::SOON;

/// A started `ProxyMgr` whose `HAProxy` serves what the files said.
#[track_caller]
pub fn start(setup: &Setup) -> Proxymgr {
    let proxymgr = setup.start();
    // Nothing that has it in it, such as "already in use".
    eventually(SOON, "it is ready", || {
        let lines = log_lines(&proxymgr);
        let last = lines.last().cloned();
        lines.into_iter().find(|line| line.message == "ready").map(drop).ok_or(last)
    });
    proxymgr
}

/// One event of the log.
#[derive(Clone, Debug)]
pub struct LogLine {
    pub level: String,
    /// `haproxy` for what `HAProxy` itself printed.
    pub target: String,
    pub message: String,
    pub fields: Value,
}

/// All whole lines of the log; the test fails when one is no JSON.
#[track_caller]
pub fn log_lines(proxymgr: &Proxymgr) -> Vec<LogLine> {
    let log = proxymgr.log();
    let whole = log.rfind('\n').map_or("", |end| &log[..end]);
    whole.lines().map(log_line).collect()
}

#[track_caller]
fn log_line(line: &str) -> LogLine {
    let parsed: Value =
        serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in the log line {line:?}"));
    let text =
        |key: &str| parsed[key].as_str().unwrap_or_else(|| panic!("no {key:?} in {line:?}")).to_owned();
    LogLine {
        level: text("level"),
        target: text("target"),
        message: text("message"),
        fields: parsed["fields"].clone(),
    }
}

/// Waits for a line whose message or fields hold `text`.
#[track_caller]
pub fn wait_for_message(proxymgr: &Proxymgr, text: &str) -> LogLine {
    eventually(SOON, &format!("a log line with {text:?}"), || {
        let lines = log_lines(proxymgr);
        let last = lines.last().cloned();
        lines.into_iter().find(|line| line.says(text)).ok_or(last)
    })
}

impl LogLine {
    pub fn says(&self, text: &str) -> bool {
        let in_field = |value: &Value| value.as_str().is_some_and(|value| value.contains(text));
        self.message.contains(text) || self.fields.as_object().unwrap().values().any(in_field)
    }
}

/// The reasons of every reload so far, the start's first.
#[track_caller]
pub fn reloads(proxymgr: &Proxymgr) -> Vec<String> {
    let reasons = |line: LogLine| line.message.strip_prefix("reloading HAProxy: ").map(str::to_owned);
    log_lines(proxymgr).into_iter().filter_map(reasons).collect()
}

/// The servers in rotation of the running `HAProxy`, of services that take connections.
pub fn in_rotation(paths: &Paths) -> BTreeSet<Server> {
    eventually(SOON, "HAProxy tells its servers", || {
        ask_in_rotation(paths).map_err(|error| error.to_string())
    })
}

/// An error when an old process took the connection just before it stopped to listen.
fn ask_in_rotation(paths: &Paths) -> io::Result<BTreeSet<Server>> {
    let rows = haproxy::servers(&paths.stats_socket)?;
    let stopped = haproxy::stopped_frontends(&paths.stats_socket)?;
    let serves = |row: &&ServerRow| !row.in_maintenance() && !stopped.contains(&row.backend);
    Ok(rows.iter().filter(serves).map(Server::running).collect())
}

/// What haproxy.cfg and `show servers state` both tell of a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Server {
    pub service: String,
    pub name: String,
    pub address: SocketAddr,
    pub id: u32,
    pub weight: u16,
}

impl Server {
    fn running(row: &ServerRow) -> Self {
        Self {
            service: row.backend.clone(),
            name: row.name.clone(),
            address: SocketAddr::new(row.address, row.port),
            id: row.id,
            weight: row.weight,
        }
    }

    /// Of a line `server NAME ADDRESS ... id N ... weight N`.
    fn configured(service: &str, words: &[&str]) -> Self {
        let after = |word: &str| words[words.iter().position(|found| *found == word).unwrap() + 1];
        Self {
            service: service.to_owned(),
            name: words[1].to_owned(),
            address: words[2].parse().unwrap(),
            id: after("id").parse().unwrap(),
            weight: after("weight").parse().unwrap(),
        }
    }
}

/// The servers that haproxy.cfg on disk holds.
pub fn configured(config: &Path) -> BTreeSet<Server> {
    let text = fs::read_to_string(config).unwrap();
    let mut service = "";
    let mut servers = BTreeSet::new();
    for line in text.lines() {
        let words: Vec<_> = line.split_ascii_whitespace().collect();
        match words.as_slice() {
            ["listen", name] | ["backend", name, "from", _] => service = name,
            ["server", ..] => assert!(servers.insert(Server::configured(service, &words)), "twice: {line}"),
            _ => {}
        }
    }
    servers
}

/// Checks that haproxy.cfg says what runs: it holds the running servers, `haproxy -c` takes it as it stands, and a second
/// `HAProxy` started from it has the same servers.
#[track_caller]
pub fn assert_config_says_what_runs(paths: &Paths) {
    let running = eventually(SOON, "haproxy.cfg holds the servers that run", || {
        let (running, configured) = (in_rotation(paths), configured(&paths.haproxy_cfg));
        if running == configured { Ok(running) } else { Err((running, configured)) }
    });
    haproxy::check(&paths.haproxy_cfg).unwrap();
    let directory = tempfile::tempdir().unwrap();
    let socket = directory.path().join("second.sock");
    let second = Haproxy::start_elsewhere(&paths.haproxy_cfg, &elsewhere(&paths.haproxy_cfg, &socket));
    let rows =
        eventually(SOON, "a HAProxy started from haproxy.cfg by hand serves", || haproxy::servers(&socket));
    drop(second);
    let by_hand: BTreeSet<_> = rows.iter().map(Server::running).collect();
    assert_eq!(by_hand, running, "a HAProxy started by hand has other servers than the running one");
}

/// A value for each `"${VARIABLE-default}"` of a `bind` or `stats socket` line, so that both `HAProxy` can run at a time.
fn elsewhere(config: &Path, socket: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(config).unwrap();
    let variables = text.lines().filter_map(|line| {
        let (before, rest) = line.split_once("\"${")?;
        let (variable, _default) = rest.split_once('-')?;
        let place = match before.trim() {
            "bind" => format!("127.0.0.1:{}", free_port()),
            "stats socket" => socket.display().to_string(),
            _ => return None,
        };
        Some((variable.to_owned(), place))
    });
    variables.collect()
}
