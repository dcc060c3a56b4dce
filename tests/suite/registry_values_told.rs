//! Where values of a registry that are refused or waited for are told.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::process::Stdio;

use serde_json::{Value, json};

use super::support::backend::Backends;
use super::support::consul::ConsulServer;
use super::support::control::said;
use super::support::deadline::eventually;
use super::support::load::Load;
use super::support::ports::free_port;
use super::support::proxymgr::command;
use super::support::proxymgr_setup::{Paths, Setup};
use super::support::requests::{SOON, local, wait_for_backends};
use super::support::running::{reloads, start};

/// A service, and lines with values of `consul`.
fn setup(consul: &ConsulServer, port: u16, server: &str) -> Setup {
    let setup = Setup::new()
        .global(&["maxconn ${kv:haproxy/maxconn:-4096}"])
        .defaults(&[
            "mode http",
            "timeout connect 2s",
            "timeout client 30s",
            "timeout server ${kv:haproxy/timeout:-30s}",
        ])
        .section("consul", json!({"servers": consul.address()}));
    setup.paths.write_file_service("web", port, &[server.to_owned()]);
    setup
}

#[track_caller]
fn wait_for_problems(paths: &Paths, are: impl Fn(&[String]) -> bool) -> Vec<String> {
    eventually(SOON, "the status tells of values", || {
        let status = said(paths, &["status", "--json"]).json();
        let problems: Vec<String> = serde_json::from_value(status["values"]["problems"].clone()).unwrap();
        if are(&problems) { Ok(problems) } else { Err(problems) }
    })
}

fn events(paths: &Paths) -> Vec<Value> {
    let said = said(paths, &["events", "--json"]).stdout;
    said.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn each_refused_value_stands_for_itself_and_is_told_in_status_and_events_under_load() {
    let (consul, backends, port) = (ConsulServer::start(), Backends::new(), free_port());
    let one = backends.start("one");
    let setup = setup(&consul, port, &one.address.to_string());
    let proxymgr = start(&setup);
    wait_for_backends(port, &["one"]);
    assert_eq!(wait_for_problems(&setup.paths, <[_]>::is_empty), [""; 0]);
    let load = Load::to(local(port)).short(2).keep_alive(2).rate(200).start();

    consul.write("haproxy/timeout", "soon");
    let problems = wait_for_problems(&setup.paths, |problems| problems.len() == 1);
    assert!(problems[0].starts_with("haproxy/timeout: HAProxy says: "), "{problems:?}");
    let text = said(&setup.paths, &["status"]).stdout;
    assert!(text.contains(&format!("Value refused: {}", problems[0])), "{text}");
    assert_eq!(reloads(&proxymgr).len(), 1);

    // A good one that comes after it, and one that comes with it.
    let is_written = |line: &str| {
        eventually(SOON, line, || {
            let config = fs::read_to_string(&setup.paths.haproxy_cfg).unwrap();
            if config.lines().any(|found| found.trim() == line) { Ok(()) } else { Err(config) }
        });
    };
    consul.write("haproxy/maxconn", "2000");
    is_written("maxconn 2000");
    is_written("timeout server 30s");
    consul.write("haproxy/maxconn", "20 00");
    let problems = wait_for_problems(&setup.paths, |problems| problems.len() == 2);
    assert!(problems[0].starts_with("haproxy/maxconn: it can't be filled in"), "{problems:?}");
    consul.delete("haproxy/timeout");
    consul.write("haproxy/maxconn", "3000");
    is_written("maxconn 3000");
    wait_for_problems(&setup.paths, <[_]>::is_empty);

    let of_values = |events: &[Value]| -> Vec<String> {
        let reloads = events.iter().filter(|event| event["kind"] == "reload");
        reloads
            .flat_map(|event| event["causes"]["first"].as_array().unwrap())
            .filter(|cause| cause["event"] == "values")
            .map(|cause| cause["origin"].as_str().unwrap().to_owned())
            .collect()
    };
    let events = eventually(SOON, "both reloads are over", || {
        let events = events(&setup.paths);
        if of_values(&events) == ["haproxy/maxconn"; 2] { Ok(events) } else { Err(events) }
    });
    let told: Vec<_> = events
        .iter()
        .filter(|event| event["kind"] == "notice")
        .map(|event| (event["result"].as_str().unwrap(), event["message"].as_str().unwrap()))
        .collect();
    let of = |result: &str, text: &str| {
        told.iter().filter(|(was, message)| *was == result && message.contains(text)).count()
    };
    assert_eq!(of("trouble", "haproxy/timeout: HAProxy says: "), 1, "told once: {told:?}");
    assert_eq!(of("trouble", "haproxy/maxconn: it can't be filled in"), 1, "{told:?}");
    assert_eq!(of("told", "all values of the registry go ahead"), 1, "{told:?}");
    let text = said(&setup.paths, &["events"]).stdout;
    assert!(text.contains("(values changed: haproxy/maxconn)"), "{text}");
    load.stop().assert_no_errors();
}

/// Runs a dry run, gives what it says first, does `then`, and gives its exit code and what else it says.
fn waiting(setup: &Setup, words: &[&str], then: impl FnOnce()) -> (String, i32, String, String) {
    let mut run = command();
    run.args(words).arg("-c").arg(&setup.paths.proxymgr_yml).stdin(Stdio::null());
    let mut child = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    stderr.read_line(&mut first).unwrap();
    then();
    let rest = stderr.lines().map(Result::unwrap).collect::<Vec<_>>().join("\n");
    #[expect(clippy::disallowed_methods, reason = "a test's own child")]
    let output = child.wait_with_output().unwrap();
    (first, output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap(), rest)
}

#[test]
fn check_and_render_wait_for_values_and_say_so() {
    let (consul, backends) = (ConsulServer::start(), Backends::new());
    let one = backends.start("one");
    let setup = setup(&consul, free_port(), &one.address.to_string());
    fs::write(&setup.paths.proxymgr_yml, setup.yaml()).unwrap();
    consul.write("haproxy/maxconn", "2000");
    let waits =
        "waiting for the values of a registry (values), 10s at the longest (safety.startup_timeout)\n";

    // They go on as soon as the values are there.
    consul.freeze();
    let (first, code, text, rest) = waiting(&setup, &["check"], || consul.thaw());
    assert_eq!((first.as_str(), code), (waits, 0), "{text} {rest}");
    consul.freeze();
    let (first, code, text, rest) = waiting(&setup, &["render"], || consul.thaw());
    assert_eq!((first.as_str(), code), (waits, 0), "{text} {rest}");
    assert!(text.contains("maxconn 2000"), "{text}");

    // Without any in time the defaults stand in, and that is told.
    let setup = setup.section("safety", json!({"startup_timeout": "2s"}));
    fs::write(&setup.paths.proxymgr_yml, setup.yaml()).unwrap();
    let waits = waits.replace("10s", "2s");
    let none = "the registry of values did not answer within 2s (safety.startup_timeout)";
    consul.freeze();
    let (first, code, text, rest) = waiting(&setup, &["check"], || {});
    assert_eq!((first.as_str(), code), (waits.as_str(), 1), "{text} {rest}");
    assert!(text.contains(&format!("values\n    {none}")), "{text}");
    let (first, code, text, rest) = waiting(&setup, &["render"], || {});
    assert_eq!((first.as_str(), code), (waits.as_str(), 1), "{text} {rest}");
    assert!(text.contains("maxconn 4096") && rest.contains(&format!("proxymgr: values: {none}")), "{rest}");
    consul.thaw();
}

#[test]
fn check_and_render_tell_of_a_refused_value_and_show_what_would_run() {
    let (consul, backends) = (ConsulServer::start(), Backends::new());
    let one = backends.start("one");
    let setup = setup(&consul, free_port(), &one.address.to_string());
    fs::write(&setup.paths.proxymgr_yml, setup.yaml()).unwrap();
    consul.write("haproxy/maxconn", "2000");
    consul.write("haproxy/timeout", "soon");
    let checked = said(&setup.paths, &["check"]);
    assert_eq!(checked.code, 1, "{checked:?}");
    assert!(checked.stdout.contains("values\n    haproxy/timeout: HAProxy says: "), "{checked:?}");
    let json = said(&setup.paths, &["check", "--json"]).json();
    assert_eq!(
        (json["values"]["problems"].as_array().unwrap().len(), &json["haproxy"]["accepted"]),
        (1, &json!(true))
    );
    let shown = said(&setup.paths, &["render"]);
    assert_eq!(shown.code, 0, "{shown:?}");
    assert!(shown.stderr.contains("proxymgr: values: haproxy/timeout: HAProxy says: "), "{shown:?}");
    let lines: Vec<_> = shown.stdout.lines().map(str::trim).collect();
    assert!(lines.contains(&"maxconn 2000") && lines.contains(&"timeout server 30s"), "{shown:?}");
}
