//! What programs read stays as it is: the keys of all JSON, each of them documented.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpStream;

use serde_json::{Value, json};

use super::http::LOCALHOST;
use super::support::admin_http::fetch;
use super::support::control::said;
use super::support::deadline::eventually;
use super::support::ports::free_ports;
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::{Paths, Setup, write_in_one_step};
use super::support::requests::{SOON, local};
use super::support::running::start;

/// Where each key is found. One that is missing here is new: document it, then add it. One that is missing in what is printed
/// was taken from those who read it, which must not be.
const STATUS: &str = "
proxymgr release pid since since_s
haproxy state installed version pid uptime_s connections problem generations
haproxy.generations generation pid state for_s connections
last_reload at ago_s reasons state took_ms error
counts services serving refused waiting held servers in_rotation
includes problems
values problems
frontends problems
template problems
";
const SERVICES: &str = "
. name state serves listen definition servers_from servers_changed last_command last_change gone held problems skipped servers_total servers_in_rotation servers
definition origin registry at ago_s
servers_changed at ago_s
last_command at ago_s took_ms commands
gone name at ago_s
held missing for_s until
servers name address weight backup state why
";
const CHANGE: &str = "
. number at kind result services servers causes reasons commands waited_ms took_ms message
services total first
servers added removed changed
causes total first
causes.first event service origin
reasons total first
commands total first
";
const FIGURES: &str = ". name sessions per_s total bytes_in bytes_out errors";

/// The paths of a table: each line a place, and the keys there.
fn listed(place: &str, table: &str) -> BTreeSet<String> {
    let keys_at = |line: &str| {
        let (at, keys) = line.split_once(' ').unwrap();
        let parts: Vec<_> = [place, at].into_iter().filter(|part| !part.is_empty() && *part != ".").collect();
        let at = parts.join(".");
        keys.split(' ')
            .map(|key| format!("{at}.{key}").trim_start_matches('.').to_owned())
            .collect::<Vec<_>>()
    };
    table.lines().filter(|line| !line.is_empty()).flat_map(keys_at).collect()
}

/// The paths of all keys in `value`.
fn paths(place: &str, value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                let path = format!("{place}.{key}").trim_start_matches('.').to_owned();
                paths(&path, value, found);
                found.insert(path);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| paths(place, item, found)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[track_caller]
fn assert_keys(what: &str, value: &Value, expected: &BTreeSet<String>) {
    let mut found = BTreeSet::new();
    paths("", value, &mut found);
    let gone: Vec<_> = expected.difference(&found).collect();
    let new: Vec<_> = found.difference(expected).collect();
    assert!(gone.is_empty() && new.is_empty(), "{what}: gone {gone:?}, new {new:?} in {value}");
    let readme = include_str!("../../README.md");
    let help = |name: &str| {
        let mut all = proxymgr::cli::args::description();
        all.find_subcommand_mut(name).unwrap().render_long_help().to_string()
    };
    let documents = [readme.to_owned(), help("events"), help("why"), help("check"), help("drain")].concat();
    let words: BTreeSet<&str> = documents.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    for key in expected.iter().map(|path| path.rsplit('.').next().unwrap()) {
        assert!(words.contains(key), "{key} of {what} is documented nowhere");
    }
}

/// A service `web` of which one server left, and more are missing and held.
fn eventful() -> (Setup, Proxymgr, u16) {
    let [web, http] = free_ports();
    let setup = Setup::new().http(http);
    let lines: Vec<_> = (1..=6).map(|number| local(number).to_string()).collect();
    let file = setup.paths.write_file_service("web", web, &lines);
    let proxymgr = start(&setup);
    write_in_one_step(&file, &lines[..5].join("\n"));
    wait_for_service(&setup.paths, |web| web["gone"][0].is_object() && !web["last_command"].is_null());
    write_in_one_step(&file, &lines[0]);
    wait_for_service(&setup.paths, |web| web["held"].is_object() && web["last_change"].is_object());
    (setup, proxymgr, http)
}

#[track_caller]
fn wait_for_service(paths: &Paths, probe: impl Fn(&Value) -> bool) -> Value {
    eventually(SOON, "the service is as wanted", || {
        let status = said(paths, &["status", "web", "--json"]).json();
        if probe(&status["services"][0]) { Ok(status) } else { Err(status) }
    })
}

fn union<const N: usize>(sets: [BTreeSet<String>; N]) -> BTreeSet<String> {
    sets.into_iter().flatten().collect()
}

fn keys(names: &str) -> BTreeSet<String> {
    names.split(' ').map(str::to_owned).collect()
}

fn service_at(place: &str) -> BTreeSet<String> {
    let at = |part: &str| {
        [place, part].iter().filter(|part| !part.is_empty()).copied().collect::<Vec<_>>().join(".")
    };
    union([listed(place, SERVICES), listed(&at("last_change"), CHANGE)])
}

#[test]
fn the_keys_of_status_why_and_events_stay_and_are_documented() {
    let (setup, _proxymgr, http) = eventful();
    let status = wait_for_service(&setup.paths, |web| web["last_change"]["kind"] == "runtime");
    let top = keys(
        "proxymgr haproxy last_reload counts includes values frontends template limits registries services",
    );
    // Of a runtime change no reason for a reload is told; its causes are.
    assert_keys("status", &status, &union([top, listed("", STATUS), service_at("services")]));
    let of = format!("web/{}", local(1));
    let why = said(&setup.paths, &["why", &of, "--json"]).json();
    let origin = listed(
        "origin",
        ". definition server problem\ndefinition place version written\nserver place version written",
    );
    let server = listed("server", ". name address weight backup state why");
    let reload = listed("last_reload", ". at ago_s reasons state took_ms error");
    let top = keys("service server last_reload origin");
    let expected = union([top, origin, server, reload, service_at("service")]);
    assert_keys("why", &why, &expected);
    assert_keys("/api/v1/why", &fetch(http, &format!("/api/v1/why/{of}")).json(), &expected);
    let events = said(&setup.paths, &["events", "--json"]).stdout;
    let events: Vec<Value> = events.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_keys("events", &json!(events), &listed("", CHANGE));
    let traffic = fetch(http, "/api/v1/traffic/web").json();
    let servers = listed("servers", &format!("{FIGURES} check"));
    assert_keys("/api/v1/traffic", &traffic, &union([keys("name servers"), servers]));
}

/// What the stream says until something was told of each kind.
fn heard(http: u16) -> Vec<(String, Value)> {
    let mut stream = TcpStream::connect(local(http)).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    let request = format!("GET /api/v1/stream HTTP/1.1\r\n{LOCALHOST}\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines().map(Result::unwrap);
    let (mut heard, mut event) = (Vec::new(), String::new());
    let is_all = |heard: &[(String, Value)]| {
        ["hello", "summary", "services", "all", "traffic", "change"]
            .iter()
            .all(|kind| heard.iter().any(|(event, _)| event == kind))
    };
    while !is_all(&heard) {
        let line = lines.next().unwrap();
        if let Some(name) = line.strip_prefix("event: ") {
            name.clone_into(&mut event);
        } else if let Some(data) = line.strip_prefix("data: ") {
            heard.push((event.clone(), serde_json::from_str(data).unwrap()));
        }
    }
    heard
}

#[test]
fn the_keys_of_the_stream_stay_and_are_documented() {
    let (_setup, _proxymgr, http) = eventful();
    let heard = heard(http);
    let first = |kind: &str| &heard.iter().find(|(event, _)| event == kind).unwrap().1;
    assert_eq!(heard[0].0, "hello");
    assert_keys("hello", first("hello"), &keys("version release now"));
    let top =
        keys("proxymgr haproxy last_reload counts includes values frontends template limits registries");
    assert_keys("summary", first("summary"), &union([top, listed("", STATUS)]));
    let mut service = listed("", SERVICES);
    // Those are told where a service is asked for alone.
    service.retain(|path| !path.starts_with("gone."));
    assert_keys("services", first("services"), &service);
    assert_eq!(first("all"), &json!(1));
    assert_keys("traffic", first("traffic"), &listed("", FIGURES));
    let changes: Vec<_> =
        heard.iter().filter(|(event, _)| event == "change").map(|(_, change)| change).collect();
    let mut change = listed("", CHANGE);
    // The first is the start.
    let mut found = BTreeSet::new();
    paths("", &json!(changes), &mut found);
    change.retain(|path| found.contains(path) || !path.starts_with("causes.first."));
    assert_keys("change", &json!(changes), &change);
}
