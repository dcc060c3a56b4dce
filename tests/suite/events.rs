//! `proxymgr events`: what happened, why, what was done and how long it took.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Child, ChildStdout, Stdio};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::support::admin_http::fetch;
use super::support::backend::Backends;
use super::support::control::{Client, said};
use super::support::deadline::eventually;
use super::support::ports::{free_port, free_ports};
use super::support::proc::Process;
use super::support::proxymgr::command;
use super::support::proxymgr_setup::{Paths, Setup, write_in_one_step};
use super::support::requests::{SOON, local, wait_for_answer, wait_for_backends};
use super::support::running::{start, wait_for_message};
use super::support::zookeeper::ZookeeperServer;
use super::support::zookeeper_nodes::{Nodes, definition_path};

#[track_caller]
fn events(paths: &Paths, arguments: &[&str]) -> Vec<Value> {
    let said = said(paths, &[&["events", "--json", "-n", "1000"], arguments].concat());
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// Waits until the last change of `kind` is one that `probe` wants.
#[track_caller]
fn wait_for_last(paths: &Paths, kind: &str, what: &str, probe: impl Fn(&Value) -> bool) -> Value {
    eventually(SOON, what, || {
        let last = events(paths, &[]).into_iter().rfind(|event| event["kind"] == kind);
        match last {
            Some(event) if probe(&event) => Ok(event),
            other => Err(other),
        }
    })
}

fn cause(event: &str, service: &str, origin: impl serde::Serialize) -> Value {
    json!({"total": 1, "first": [{"event": event, "service": service, "origin": origin}]})
}

#[test]
fn each_change_is_told_with_its_cause_its_plan_and_its_duration() {
    let (setup, backends, [port, other]) = (Setup::new(), Backends::new(), free_ports());
    let servers = ["a", "b"].map(|name| backends.start(name));
    let lines = servers.each_ref().map(|server| server.address.to_string());
    let file = setup.paths.write_file_service("web", port, &lines[..1]);
    let _proxymgr = start(&setup);
    wait_for_answer(local(port), "a");
    let first = &events(&setup.paths, &[])[0];
    assert_eq!((&first["number"], &first["kind"]), (&json!(1), &json!("reload")), "{first}");
    assert_eq!(first["reasons"], json!({"total": 1, "first": ["start"]}));
    assert_eq!((&first["result"], &first["services"]["total"]), (&json!("done"), &json!(0)));
    assert!(first["took_ms"].as_u64().unwrap() > 0 && first["at"].as_str().unwrap().ends_with('Z'));

    write_in_one_step(&file, &lines.join("\n"));
    let change = wait_for_last(&setup.paths, "runtime", "a server comes", |event| event["number"] != 1);
    assert_eq!(change["services"], json!({"total": 1, "first": ["web"]}));
    assert_eq!(change["servers"], json!({"added": 1, "removed": 0, "changed": 0}));
    assert_eq!(change["causes"], cause("servers", "web", format!("file {}", file.display())));
    assert!(change["commands"]["first"][0].as_str().unwrap().starts_with("add server web/"), "{change}");
    assert!(change["took_ms"].is_u64() && change["waited_ms"].is_u64(), "{change}");
    assert_eq!((&change["result"], &change["message"]), (&json!("done"), &Value::Null));

    let definition =
        json!({"type": "file", "file": file, "port": port, "listen_options": ["timeout queue 9s"]});
    setup.paths.write_service("web", &definition);
    let reload = wait_for_last(&setup.paths, "reload", "a reload", |event| event["number"] != 1);
    assert_eq!(reload["reasons"]["first"], json!(["web: port, address or options changed"]));
    assert_eq!(reload["causes"], cause("defined", "web", setup.paths.services.join("web.json")));

    let target = format!("web/{}", lines[0]);
    assert_eq!(said(&setup.paths, &["drain", &target]).code, 0);
    let drain = wait_for_last(&setup.paths, "runtime", "a drain", |event| event["servers"]["changed"] == 1);
    assert_eq!(drain["causes"], cause("drained", "web", &lines[0]));

    setup.paths.write_file_service("api", other, &lines[1..]);
    wait_for_answer(local(other), "b");
    let of_api = wait_for_last(&setup.paths, "reload", "api comes", |event| {
        event["services"]["first"] == json!(["api"])
    });
    let of_web = events(&setup.paths, &["web"]);
    assert!(!of_web.contains(&of_api) && of_web.contains(&drain) && of_web.contains(first), "{of_web:?}");
    setup.paths.remove_service("api");
    let gone = wait_for_last(&setup.paths, "runtime", "api goes", |event| {
        event["services"]["first"] == json!(["api"])
    });
    assert_eq!(gone["causes"]["first"][0]["event"], "removed", "{gone}");
    assert_eq!(gone["commands"]["first"], json!(["shutdown frontend api"]));

    let why = said(&setup.paths, &["why", "web", "--json"]).json();
    assert_eq!(why["service"]["last_change"], drain);
    let why = said(&setup.paths, &["why", "web"]).stdout;
    let line = why.lines().find(|line| line.contains("last change")).unwrap();
    assert!(line.contains("web: 1 server changed (an operator drains ") && line.contains(" ms, "), "{line}");
    let text = said(&setup.paths, &["events", "-n", "2"]).stdout;
    assert_eq!(text.lines().count(), 2, "{text}");
    assert!(
        text.ends_with(&format!(
            "api: shutdown frontend api (no definition any more in {})\n",
            setup.paths.services.join("api.json").display()
        )),
        "{text}"
    );
}

#[test]
fn the_node_in_zookeeper_is_told() {
    let (zookeeper, backends) = (ZookeeperServer::start(), Backends::new());
    let (nodes, [port, other]) = (Nodes::of(&zookeeper), free_ports());
    let [a, b] = ["a", "b"].map(|name| backends.start(name));
    nodes.add("web", &a);
    nodes.define("web", port);
    nodes.add("other", &a);
    nodes.define("other", other);
    let setup = Setup::new().zookeeper(&zookeeper.address(), "/service_config");
    let _proxymgr = start(&setup);
    wait_for_answer(local(port), "a");
    nodes.add("web", &b);
    wait_for_backends(port, &["a", "b"]);
    let change = wait_for_last(&setup.paths, "runtime", "a server", |event| event["servers"]["added"] == 1);
    let cause = &change["causes"]["first"][0];
    let origin = cause["origin"].as_str().unwrap();
    assert_eq!(cause["event"], "servers");
    assert!(
        origin.starts_with(&format!("ZooKeeper {}", zookeeper.address())) && origin.ends_with("/web"),
        "{origin}"
    );
    nodes.undefine("web");
    let gone = wait_for_last(&setup.paths, "runtime", "it goes", |event| {
        event["commands"]["first"] == json!(["shutdown frontend web"])
    });
    let origin = gone["causes"]["first"][0]["origin"].as_str().unwrap();
    assert!(origin.contains(&definition_path("web")), "{origin}");
}

#[test]
fn what_failed_and_what_was_not_believed_is_told() {
    let setup = Setup::new().section("safety", json!({"shrink_hold": "700ms"}));
    let (backends, [port, other]) = (Backends::new(), free_ports());
    let servers = ["a", "b", "c", "d", "e", "f"].map(|name| backends.start(name));
    let lines = servers.each_ref().map(|server| server.address.to_string());
    let file = setup.paths.write_file_service("web", port, &lines);
    let proxymgr = start(&setup);
    wait_for_answer(local(port), "a");

    let bad = json!({"type": "file", "file": file, "port": other, "listen_options": ["nonsense 1"]});
    setup.paths.write_service("bad", &bad);
    let refused =
        wait_for_last(&setup.paths, "notice", "it is refused", |event| event["result"] == "trouble");
    assert_eq!(refused["services"]["first"], json!(["bad"]));
    let failed =
        wait_for_last(&setup.paths, "reload", "the reload that failed", |event| event["result"] == "failed");
    assert!(failed["message"].as_str().unwrap().contains("unknown keyword 'nonsense'"), "{failed}");
    assert!(refused["number"].as_u64() > failed["number"].as_u64());
    setup.paths.remove_service("bad");

    write_in_one_step(&file, &lines[0]);
    let held = wait_for_last(&setup.paths, "notice", "a loss is held", |event| {
        event["services"]["first"] == json!(["web"])
    });
    assert!(held["message"].as_str().unwrap().contains("5 servers are missing"), "{held}");
    let taken =
        wait_for_last(&setup.paths, "runtime", "they leave", |event| event["servers"]["removed"] == 5);
    assert_eq!(
        taken["causes"],
        cause("loss_lasted", "web", Value::Null),
        "its answer led to nothing at first"
    );

    proxymgr.haproxies()[0].signal(Signal::SIGKILL);
    let died = wait_for_last(&setup.paths, "notice", "its death", |event| {
        event["message"].to_string().contains("SIGKILL")
    });
    assert_eq!(died["services"]["total"], 0);
    let restart = wait_for_last(&setup.paths, "reload", "its restart", |event| {
        event["number"].as_u64() > died["number"].as_u64()
    });
    assert!(restart["reasons"]["first"][0].as_str().unwrap().starts_with("HAProxy ended ("), "{restart}");
}

#[test]
fn a_change_of_many_servers_is_told_in_few_words() {
    const SERVERS: usize = 2000;
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let server = backends.start("a");
    let file = setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let _proxymgr = start(&setup);
    wait_for_answer(local(port), "a");
    let many: Vec<_> = (0..SERVERS).map(|n| format!("127.0.0.3:{}", 10_000 + n)).collect();
    write_in_one_step(&file, &format!("{}\n{}", server.address, many.join("\n")));
    let change =
        wait_for_last(&setup.paths, "runtime", "they come", |event| event["servers"]["added"] == SERVERS);
    assert!(change["commands"]["total"].as_u64().unwrap() >= 2 * SERVERS as u64);
    assert!(change.to_string().len() < 4000, "{change}");
}

/// `events --follow`; dropped, it is killed.
struct Following(Child);

impl Drop for Following {
    #[expect(clippy::disallowed_methods, reason = "a test's own child")]
    fn drop(&mut self) {
        Process::of_child(&self.0).signal(Signal::SIGKILL);
        self.0.wait().unwrap();
    }
}

fn follow(paths: &Paths) -> (Following, impl Iterator<Item = Value> + use<>) {
    let mut command = command();
    command.args(["events", "--follow", "--json", "-c"]).arg(&paths.proxymgr_yml);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let output: BufReader<ChildStdout> = BufReader::new(child.stdout.take().unwrap());
    (Following(child), output.lines().map(|line| serde_json::from_str(&line.unwrap()).unwrap()))
}

#[test]
fn who_follows_misses_nothing_over_upgrades_and_reloads_and_the_history_is_kept() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let servers = ["a", "b"].map(|name| backends.start(name));
    let lines = servers.each_ref().map(|server| server.address.to_string());
    let file = setup.paths.write_file_service("web", port, &lines[..1]);
    let proxymgr = start(&setup);
    wait_for_answer(local(port), "a");
    let (following, mut seen) = follow(&setup.paths);
    assert_eq!(seen.next().unwrap()["number"], 1);
    write_in_one_step(&file, &lines.join("\n"));
    let second = seen.next().unwrap();
    assert_eq!(second["servers"]["added"], 1, "{second}");
    let before = events(&setup.paths, &[]);

    assert_eq!(said(&setup.paths, &["upgrade"]).code, 0);
    assert_eq!(events(&setup.paths, &[]), before);
    let why = said(&setup.paths, &["why", "web", "--json"]).json();
    assert_eq!(why["service"]["last_change"], second, "it is known from before");
    wait_for_message(&proxymgr, "another program takes over");
    write_in_one_step(&file, &lines[0]);
    let third = seen.next().unwrap();
    assert_eq!(third["servers"]["removed"], 1, "{third}");
    fs::write(&setup.paths.proxymgr_yml, setup.clone().global(&["maxconn 77"]).yaml()).unwrap();
    assert_eq!(said(&setup.paths, &["reload"]).code, 0);
    let fourth = seen.next().unwrap();
    assert_eq!(fourth["reasons"]["first"], json!(["global or defaults changed"]), "{fourth}");
    let all = events(&setup.paths, &[]);
    assert_eq!(all, [before, vec![third, fourth]].concat());
    let numbers: Vec<_> = all.iter().map(|event| event["number"].as_u64().unwrap()).collect();
    assert_eq!(numbers, [1, 2, 3, 4]);

    let process = Process::of_child(&following.0);
    process.signal(Signal::SIGINT);
    eventually(SOON, "it ends", || if process.is_alive() { Err(()) } else { Ok(()) });
}

#[test]
fn the_history_and_the_counts_go_on_after_a_crash_and_a_restart() {
    let [port, http] = free_ports();
    let (setup, backends) = (Setup::new().http(http), Backends::new());
    let servers = ["a", "b"].map(|name| backends.start(name));
    let lines = servers.each_ref().map(|server| server.address.to_string());
    let file = setup.paths.write_file_service("web", port, &lines[..1]);
    let proxymgr = start(&setup);
    wait_for_answer(local(port), "a");
    write_in_one_step(&file, &lines.join("\n"));
    wait_for_backends(port, &["a", "b"]);
    // The next program writes what this one has not yet.
    assert_eq!(said(&setup.paths, &["upgrade"]).code, 0);
    let saved = setup.paths.state_dir.join("history.json");
    eventually(SOON, "it is written", || match fs::read_to_string(&saved).unwrap_or_default() {
        text if text.contains("add server web/") => Ok(()),
        text => Err(text),
    });
    let before = events(&setup.paths, &[]);
    assert_eq!(fs::metadata(&saved).unwrap().permissions().mode() & 0o777, 0o600);
    let ready = || proxymgr_ready(&setup.paths);
    let readies = ready();
    proxymgr.signal(Signal::SIGKILL);
    drop(proxymgr);
    let proxymgr = setup.start();
    eventually(SOON, "it is ready again", || if ready() > readies { Ok(()) } else { Err(()) });
    let after = events(&setup.paths, &[]);
    assert_eq!(after[..before.len()], before);
    assert!(after.len() > before.len(), "{after:?}");

    assert!(proxymgr.end().success());
    let readies = ready();
    let _proxymgr = setup.start();
    eventually(SOON, "it is ready again", || if ready() > readies { Ok(()) } else { Err(()) });
    let last = events(&setup.paths, &[]);
    assert!(
        last.starts_with(&after) && last.last().unwrap()["reasons"]["first"] == json!(["start"]),
        "{last:?}"
    );
    let added = "proxymgr_server_changes_total{action=\"added\"}";
    assert_eq!(fetch(http, "/metrics").count(added), 1, "the counts go on too");
}

/// How often a program has become ready so far.
fn proxymgr_ready(paths: &Paths) -> usize {
    fs::read_to_string(&paths.log).unwrap().matches("\"message\":\"ready\"").count()
}

#[test]
fn who_follows_by_hand_may_ask_something_else_and_is_let_go_of() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let server = backends.start("a");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let proxymgr = start(&setup);
    wait_for_answer(local(port), "a");
    let mut client = Client::connect(&setup.paths);
    client.line().unwrap();
    let first = client.ask(r#"{"command": "events", "follow": true}"#);
    assert_eq!(first["event"]["number"], 1, "{first}");
    assert_eq!(client.ask(r#"{"command": "ping"}"#), json!({"result": {}}));
    let sockets = || fs::read_dir(format!("/proc/{}/fd", proxymgr.process().pid)).unwrap().count();
    let before = sockets();
    client.ask(r#"{"command": "events", "follow": true}"#);
    drop(client);
    eventually(Duration::from_secs(5), "who left is let go of", || match sockets() {
        fewer if fewer < before => Ok(()),
        same => Err(same),
    });
}

#[test]
fn without_a_running_one_it_fails() {
    let setup = Setup::new();
    for arguments in [&["events"][..], &["events", "--follow"]] {
        let mut command = command();
        command.args(arguments).arg("--socket").arg(setup.paths.control_socket());
        let said = super::support::control::said_of(&mut command);
        assert_eq!((said.code, said.stdout.as_str()), (1, ""));
        assert!(said.stderr.contains("no ProxyMgr listens on"), "{said:?}");
    }
}
