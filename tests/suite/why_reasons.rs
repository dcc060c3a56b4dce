//! `proxymgr why` tells the one reason why a server gets no traffic, or why it gets some though it should not.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::admin_http::fetch;
use super::support::backend::Backends;
use super::support::control::{Said, said};
use super::support::deadline::eventually;
use super::support::ports::{free_port, free_ports};
use super::support::proxymgr_setup::{Paths, Setup, write_in_one_step};
use super::support::requests::{SOON, local, wait_for_answer, wait_for_backends};
use super::support::running::start;

/// Addresses where nobody listens.
fn nobody(count: u16) -> Vec<String> {
    (1..=count).map(|number| local(number).to_string()).collect()
}

fn list(lines: &[String]) -> String {
    lines.join("\n") + "\n"
}

/// Waits until the first line of `why OF` holds `text`, and gives all of it.
#[track_caller]
fn wait_for_why(paths: &Paths, of: &str, text: &str) -> String {
    eventually(SOON, &format!("{of}: {text}"), || {
        let said = said(paths, &["why", of]);
        let first = said.stdout.lines().next().unwrap_or_default();
        if first.contains(text) { Ok(said.stdout) } else { Err(said) }
    })
}

/// That of `why OF --json`.
#[track_caller]
fn why(paths: &Paths, of: &str) -> Value {
    let said = said(paths, &["why", of, "--json"]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    said.json()
}

/// Why there is no such server.
#[track_caller]
fn missing(paths: &Paths, of: &str) -> String {
    let Said { code, stdout, stderr } = said(paths, &["why", of]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    stderr
}

/// A time as it is told, at the end of a text.
#[track_caller]
fn assert_ends_with_a_time(text: &str) {
    let time = text.trim_end().rsplit(' ').next().unwrap();
    assert!(time.starts_with("20") && time.ends_with('Z') && time.len() == 20, "{text}");
}

#[test]
fn never_seen() {
    let setup = Setup::new().section("safety", json!({"startup_timeout": "1s"}));
    let [web, silent] = free_ports();
    setup.paths.write_file_service("web", web, &nobody(1));
    setup.paths.write_service("silent", &json!({"type": "file", "file": "/none/servers", "port": silent}));
    let _proxymgr = start(&setup);
    let stderr = missing(&setup.paths, "web/10.9.9.9:1");
    let begins = "proxymgr: web has no server 10.9.9.9:1: never seen: its registry has not listed it since this program began, at 20";
    assert!(stderr.starts_with(begins), "{stderr}");
    let text = wait_for_why(&setup.paths, "silent", "silent does not serve (waiting)");
    assert!(text.contains("its registry has not answered yet: its servers were never seen"), "{text}");
}

#[test]
fn refused_with_the_message() {
    let setup = Setup::new();
    let [web, bad, http] = free_ports();
    let setup = setup.http(http);
    let file = setup.paths.write_file_service("web", web, &["nonsense".to_owned(), nobody(1).remove(0)]);
    let refused = json!({"type": "file", "file": file, "port": bad, "listen_options": ["nonsense 1"]});
    setup.paths.write_service("bad", &refused);
    setup.paths.write_service("portless", &json!({"type": "file", "file": file}));
    let _proxymgr = start(&setup);
    let skipped = "skipped line 1: it has no port; write address:port, or [address]:port for IPv6";
    let message = "HAProxy says: unknown keyword 'nonsense' in 'listen' section";
    let of_server = format!("bad/{}", local(1));
    let text = wait_for_why(&setup.paths, &of_server, "gets no traffic (coming): its service is refused: ");
    assert!(text.lines().next().unwrap().ends_with(message), "{text}");
    let told = fetch(http, &format!("/api/v1/why/{of_server}")).json();
    assert_eq!(told["server"]["why"], format!("its service is refused: {message}"));
    assert_eq!(why(&setup.paths, "bad")["service"]["problems"], json!([message, skipped]));
    assert!(said(&setup.paths, &["why", "portless"]).stdout.contains("\"port\" is missing"));
    // Of an entry that names no server.
    let stderr = missing(&setup.paths, "web/nonsense");
    assert!(stderr.contains(&format!("unless it is one of 1 that are refused: {skipped}; ")), "{stderr}");
}

#[test]
fn held_by_the_shrink_guard_until_a_time_and_gone_after_it() {
    let setup = Setup::new().section("safety", json!({"shrink_hold": "10m"}));
    let (port, lines) = (free_port(), nobody(6));
    let file = setup.paths.write_file_service("web", port, &lines);
    let _proxymgr = start(&setup);
    write_in_one_step(&file, &list(&lines[..1]));
    let of = format!("web/{}", lines[3]);
    let text = wait_for_why(&setup.paths, &of, "missing in its registry; held by the shrink guard until 20");
    assert_ends_with_a_time(text.lines().next().unwrap());
    let until = why(&setup.paths, &of)["service"]["held"]["until"].clone();
    assert!(text.contains(until.as_str().unwrap()), "{until} in {text}");
    assert_eq!(said(&setup.paths, &["confirm", "web"]).code, 0);
    let stderr = eventually(SOON, "it is gone", || {
        let said = said(&setup.paths, &["why", &of]);
        if said.code == 1 { Ok(said.stderr) } else { Err(said) }
    });
    assert!(stderr.contains(": it is gone from its registry, and left at 20"), "{stderr}");
    assert_ends_with_a_time(&stderr);
}

#[test]
fn kept_though_gone() {
    let setup = Setup::new();
    let lines = nobody(1);
    let file = setup.paths.write_file_service("web", free_port(), &lines);
    let _proxymgr = start(&setup);
    write_in_one_step(&file, "\n");
    let of = format!("web/{}", lines[0]);
    wait_for_why(
        &setup.paths,
        &of,
        "gets traffic (up): missing in its registry; kept though gone (on_empty: keep)",
    );
    assert_eq!(why(&setup.paths, "web")["service"]["servers_from"], "kept");
}

#[test]
fn drained_by_an_operator() {
    let (setup, lines) = (Setup::new(), nobody(2));
    setup.paths.write_file_service("web", free_port(), &lines);
    let _proxymgr = start(&setup);
    let of = format!("web/{}", lines[0]);
    assert_eq!(said(&setup.paths, &["drain", &of]).code, 0);
    let text = wait_for_why(&setup.paths, &of, "gets no traffic (drain): drained by an operator since 20");
    assert_ends_with_a_time(text.lines().next().unwrap());
}

#[test]
fn down_by_its_check() {
    let (setup, lines) = (Setup::new(), nobody(1));
    let file = setup.paths.write_file_service("web", free_port(), &lines);
    let checked = json!({"type": "file", "file": file, "port": free_port(), "server_options": "check inter 50ms fall 1"});
    setup.paths.write_service("web", &checked);
    let _proxymgr = start(&setup);
    wait_for_why(&setup.paths, &format!("web/{}", lines[0]), "gets no traffic (down): its check fails");
}

#[test]
fn waiting_for_a_reload() {
    let setup = Setup::new().section("reload", json!({"min_interval": "1h"}));
    let (backends, port) = (Backends::new(), free_port());
    let server = backends.start("a");
    let lines = [server.address.to_string(), local(1).to_string()];
    let file = setup.paths.write_file_service("web", port, &lines[..1]);
    let fixed = json!({"type": "file", "file": file, "port": port, "listen_options": ["balance static-rr"]});
    setup.paths.write_service("web", &fixed);
    let _proxymgr = start(&setup);
    wait_for_answer(local(port), "a");
    write_in_one_step(&file, &list(&lines));
    let text = wait_for_why(
        &setup.paths,
        &format!("web/{}", lines[1]),
        "gets no traffic (coming): waits for the next reload, at 20",
    );
    assert!(text.lines().next().unwrap().ends_with("Z (reload.min_interval)"), "{text}");
    let changed = json!({"type": "file", "file": file, "port": port, "listen_options": ["balance first"]});
    setup.paths.write_service("web", &changed);
    eventually(SOON, "its definition waits too", || {
        let text = said(&setup.paths, &["why", "web"]).stdout;
        if text.contains("its new definition waits for the next reload, at 20") { Ok(()) } else { Err(text) }
    });
}

#[test]
fn what_was_done_is_told_with_how_long_it_took() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let servers = ["a", "b"].map(|name| backends.start(name));
    let lines = servers.each_ref().map(|server| server.address.to_string());
    let file = setup.paths.write_file_service("web", port, &lines[..1]);
    let _proxymgr = start(&setup);
    write_in_one_step(&file, &list(&lines));
    wait_for_backends(port, &["a", "b"]);
    let of = format!("web/{}", lines[1]);
    let told = eventually(SOON, "it is told", || {
        let told = why(&setup.paths, &of);
        if told["service"]["last_command"].is_null() { Err(told) } else { Ok(told) }
    });
    let command = &told["service"]["last_command"];
    assert!(command["took_ms"].as_u64().is_some_and(|took| u128::from(took) < SOON.as_millis()), "{told}");
    let change = &told["service"]["last_change"];
    assert_eq!((&change["kind"], &change["servers"]["added"]), (&json!("runtime"), &json!(1)), "{told}");
    assert!(change["took_ms"].is_u64() && change["causes"]["first"][0]["event"] == "servers", "{told}");
    let reload = &told["last_reload"];
    assert_eq!((&reload["state"], &reload["reasons"]), (&json!("done"), &json!(["start"])));
    assert!(reload["took_ms"].as_u64().is_some_and(|took| took < 60_000), "{told}");

    let other = json!({"type": "file", "file": file, "port": port, "listen_options": ["timeout queue 9s"]});
    setup.paths.write_service("web", &other);
    let told = eventually(Duration::from_secs(20), "the reload is told", || {
        let told = why(&setup.paths, "web");
        if told["service"]["last_change"]["kind"] == "reload" { Ok(told) } else { Err(told) }
    });
    let text = said(&setup.paths, &["why", "web"]).stdout;
    let took = format!(
        "took {} ms, reload: web: port, address or options changed",
        told["service"]["last_change"]["took_ms"]
    );
    assert!(text.contains(&took), "{took} in {text}");
}
