//! `proxymgr status` against a running one.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::support::backend::Backends;
use super::support::control::{Said, said};
use super::support::deadline::eventually;
use super::support::haproxy::ask;
use super::support::ports::{free_port, free_ports};
use super::support::proc::Process;
use super::support::proxymgr::{Proxymgr, command};
use super::support::proxymgr_setup::{Paths, Setup, write_in_one_step};
use super::support::requests::{SOON, local, wait_for_answer, wait_for_backends};
use super::support::running::{start, wait_for_message};

#[track_caller]
fn status(paths: &Paths) -> Value {
    let said = said(paths, &["status", "--json"]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    said.json()
}

fn service<'a>(status: &'a Value, name: &str) -> &'a Value {
    let services = status["services"].as_array().unwrap();
    services.iter().find(|service| service["name"] == name).unwrap_or_else(|| panic!("no {name} in {status}"))
}

/// Waits for a status of which `probe` finds what it wants.
#[track_caller]
fn wait_for(paths: &Paths, what: &str, probe: impl Fn(&Value) -> bool) -> Value {
    eventually(SOON, what, || {
        let status = status(paths);
        if probe(&status) { Ok(status) } else { Err(status) }
    })
}

/// Each server with its state and the reason for it.
fn servers(service: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let servers = service["servers"].as_array().unwrap();
    servers.iter().map(|server| (text(&server["state"]), text(&server["why"]))).collect()
}

#[test]
fn it_tells_what_runs() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let servers = ["a", "b"].map(|name| backends.start(name));
    let lines = [format!("{} weight=7", servers[0].address), servers[1].address.to_string()];
    setup.paths.write_file_service("web", port, &lines);
    let proxymgr = start(&setup);
    wait_for_answer(local(port), "a");
    let status = status(&setup.paths);
    assert_eq!(status["proxymgr"]["pid"], proxymgr.process().pid.as_raw());
    assert_eq!(status["proxymgr"]["release"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["haproxy"]["state"], "serving");
    assert_eq!(status["haproxy"]["pid"], proxymgr.haproxies()[0].pid.as_raw());
    assert_eq!(status["haproxy"]["version"], status["haproxy"]["installed"]);
    assert_eq!(status["last_reload"]["reasons"], json!(["start"]));
    assert_eq!(status["last_reload"]["state"], "done");
    assert!(status["last_reload"]["took_ms"].is_u64());
    assert_eq!(
        status["counts"],
        json!({"services": 1, "serving": 1, "refused": 0, "waiting": 0, "held": 0, "servers": 2, "in_rotation": 2})
    );
    let server = |address: &str, weight| json!({"name": address, "address": address, "weight": weight, "backup": false, "state": "up", "why": null});
    let mut expected = [server(&servers[0].address.to_string(), 7), server(&lines[1], 1)];
    expected.sort_by_key(|server| server["name"].as_str().unwrap().to_owned());
    let mut web = service(&status, "web").clone();
    let definition = web["definition"].take();
    assert_eq!(definition["origin"], json!(setup.paths.services.join("web.json")));
    assert_eq!(definition["registry"], format!("file {}", setup.paths.root.join("web.servers").display()));
    assert!(
        definition["at"].as_str().unwrap().starts_with("20")
            && web["servers_changed"].take()["ago_s"].is_u64()
    );
    assert_eq!(
        web,
        json!({
            "name": "web", "state": "serving", "serves": true, "listen": [format!("0.0.0.0:{port}")],
            "definition": null, "servers_from": "registry", "servers_changed": null, "last_command": null, "last_change": null, "gone": null, "held": null, "problems": [], "skipped": 0,
            "servers_total": 2, "servers_in_rotation": 2, "servers": expected,
        })
    );

    let text = said(&setup.paths, &["status"]);
    let lines: Vec<_> = text.stdout.lines().collect();
    assert!(lines[0].starts_with("ProxyMgr ") && lines[1].starts_with("HAProxy "), "{text:?}");
    assert!(lines[2].starts_with("Last reload ") && lines[2].ends_with("; start"), "{text:?}");
    assert_eq!(lines[3], "1 service: 1 serving; 2 of 2 servers in rotation");
    assert_eq!(lines[6], format!("web      serving   2 of 2        0.0.0.0:{port}"));
    assert_eq!((lines.len(), text.stdout.contains('\u{1b}')), (7, false), "{text:?}");
}

#[test]
fn one_service_is_shown_with_its_servers_and_an_unknown_one_is_a_failure() {
    let (setup, backends, [web, api]) = (Setup::new(), Backends::new(), free_ports());
    let server = backends.start("a");
    for (name, port) in [("web", web), ("api", api)] {
        setup.paths.write_file_service(name, port, &[server.address.to_string()]);
    }
    let _proxymgr = start(&setup);
    let Said { code, stdout, .. } = said(&setup.paths, &["status", "web"]);
    assert_eq!(code, 0);
    assert!(
        stdout.contains("    SERVER") && stdout.contains("  up\n") && !stdout.contains("api"),
        "{stdout}"
    );
    let one = said(&setup.paths, &["status", "web", "--json"]).json();
    assert_eq!((&one["services"].as_array().unwrap().len(), &one["counts"]["services"]), (&1, &json!(1)));
    let missing = said(&setup.paths, &["status", "webb"]);
    assert_eq!((missing.code, missing.stdout.as_str()), (1, ""));
    assert_eq!(missing.stderr, "proxymgr: there is no service 'webb'; did you mean 'web'?\n");
}

#[test]
fn each_refusal_is_told_with_its_reason_until_it_is_mended() {
    let (setup, backends, [web, own]) = (Setup::new(), Backends::new(), free_ports());
    let server = backends.start("a");
    let lines = [server.address.to_string(), "nonsense".to_owned()];
    let file = setup.paths.write_file_service("web", web, &lines);
    setup.paths.write_file_service("taken", web, &lines);
    setup.paths.write_service("portless", &json!({"type": "file", "file": file}));
    let bad = json!({"type": "file", "file": file, "port": own, "listen_options": ["nonsense 1"]});
    setup.paths.write_service("nonsense", &bad);
    let odd = json!({"type": "file", "file": file, "port": free_port(), "colour": "red"});
    setup.paths.write_service("odd", &odd);
    fs::write(setup.paths.services.join("b c.json"), "{}").unwrap();
    let _proxymgr = start(&setup);
    let status = wait_for(&setup.paths, "all are refused", |status| status["counts"]["refused"] == 4);
    for (name, reason) in [
        ("taken", "belongs to the service "),
        ("portless", "\\\"port\\\" is missing"),
        ("nonsense", "HAProxy says: unknown keyword 'nonsense'"),
        ("b c", "the name holds"),
    ] {
        // Whichever of the two came first has the port.
        let name =
            if name == "taken" && service(&status, "taken")["state"] == "serving" { "web" } else { name };
        let service = service(&status, name);
        assert_eq!((&service["state"], &service["serves"]), (&json!("refused"), &json!(false)), "{service}");
        assert!(service["problems"].to_string().contains(reason), "{service}");
    }
    let odd = service(&status, "odd");
    assert_eq!((&odd["state"], &odd["skipped"]), (&json!("serving"), &json!(1)));
    assert!(odd["problems"].to_string().contains("unknown key: \\\"colour\\\""), "{odd}");
    assert!(odd["problems"].to_string().contains("skipped line 2"), "{odd}");
    let text = said(&setup.paths, &["status"]).stdout;
    assert!(text.contains("\nnonsense  refused   0 of "), "{text}");
    assert!(text.find("nonsense").unwrap() < text.find("\nodd ").unwrap(), "trouble comes first: {text}");

    // A bad definition of one that serves.
    setup.paths.write_service("odd", &json!({"type": "file", "file": file}));
    let status = wait_for(&setup.paths, "its new definition is refused", |status| {
        service(status, "odd")["state"] == "refused"
    });
    assert_eq!(service(&status, "odd")["serves"], true);
    assert!(service(&status, "odd")["problems"].to_string().contains("last good definition serves on"));

    for name in ["portless", "nonsense", "taken", "odd"] {
        setup.paths.remove_service(name);
    }
    fs::remove_file(setup.paths.services.join("b c.json")).unwrap();
    wait_for(&setup.paths, "the refusals are gone", |status| {
        let names: Vec<_> = status["services"].as_array().unwrap().iter().map(|one| &one["name"]).collect();
        names == [&json!("web")]
    });
}

#[test]
fn each_server_has_the_one_reason_why_it_gets_no_traffic() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let started = ["a", "b", "c", "d"].map(|name| backends.start(name));
    let lines: Vec<_> = started.iter().map(|server| server.address.to_string()).collect();
    let file = setup.paths.write_file_service("web", port, &lines);
    let checked =
        json!({"type": "file", "file": file, "port": port, "server_options": ["check inter 50ms fall 1"]});
    setup.paths.write_service("web", &checked);
    let _proxymgr = start(&setup);
    wait_for_backends(port, &["a", "b", "c", "d"]);
    let [a, b, c, d] = started;
    let socket = &setup.paths.stats_socket;
    ask(socket, &format!("set server web/{} state drain", a.address)).unwrap();
    ask(socket, &format!("set server web/{} state maint", b.address)).unwrap();
    write_in_one_step(&file, &format!("{}\n{}\n{} drain\n{}\n", lines[0], lines[1], lines[2], lines[3]));
    let down = d.address;
    drop(d);
    let expected = |address: std::net::SocketAddr| {
        if address == a.address {
            ("drain", "drained by an operator")
        } else if address == b.address {
            ("maintenance", "put into maintenance by an operator")
        } else if address == c.address {
            ("drain", "drained by its registry")
        } else {
            assert_eq!(address, down);
            ("down", "its check fails")
        }
    };
    // Between a command and HAProxy's answer it may be another for a moment.
    wait_for(&setup.paths, "each has its reason", |status| {
        service(status, "web")["servers"].as_array().unwrap().iter().all(|server| {
            let (state, why) = expected(server["address"].as_str().unwrap().parse().unwrap());
            server["state"] == state && server["why"] == why
        })
    });
}

#[test]
fn why_tells_where_a_server_is_from_and_what_was_last_done() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let [a, b] = ["a", "b"].map(|name| backends.start(name));
    let (a, b) = (a.address.to_string(), b.address.to_string());
    let file = setup.paths.write_file_service("web", port, std::slice::from_ref(&a));
    let _proxymgr = start(&setup);
    write_in_one_step(&file, &format!("{a}\n{b} drain\n"));
    let of_b = format!("web/{b}");
    let why = eventually(SOON, "the server is there", || {
        let said = said(&setup.paths, &["why", &of_b, "--json"]);
        if said.code == 0 && said.json()["server"]["state"] == "drain" { Ok(said.json()) } else { Err(said) }
    });
    assert_eq!(why["server"]["why"], "drained by its registry");
    assert_eq!(why["last_reload"]["reasons"], json!(["start"]));
    let commands = why["service"]["last_command"]["commands"].to_string();
    assert!(commands.contains(&b) && why["service"]["last_command"]["took_ms"].is_u64(), "{commands}");

    let text = said(&setup.paths, &["why", &of_b]).stdout;
    assert!(
        text.starts_with(&format!("{b} of web gets no traffic (drain): drained by its registry\n")),
        "{text}"
    );
    for part in [
        "    address       ",
        "    definition    ",
        "web.json (written 20",
        "    servers from  file ",
        "; changed ",
    ] {
        assert!(text.contains(part), "{part:?} in {text}");
    }
    assert!(text.contains("    last command  ") && text.contains("    last reload   "), "{text}");
    let text = said(&setup.paths, &["why", "web"]).stdout;
    let first = format!("web serves (serving), 1 of 2 servers in rotation, at 0.0.0.0:{port}\n");
    assert!(text.starts_with(&first), "{text}");

    let missing = said(&setup.paths, &["why", "web/1.1.1.1:1"]);
    assert_eq!((missing.code, missing.stdout.as_str()), (1, ""));
    assert!(missing.stderr.contains("web has no server 1.1.1.1:1"), "{missing:?}");
    assert!(said(&setup.paths, &["why", "wep"]).stderr.contains("did you mean 'web'?"));
}

#[test]
fn losses_that_are_not_believed_are_told() {
    let setup = Setup::new().section("safety", json!({"shrink_hold": "10m"}));
    let (backends, [web, few]) = (Backends::new(), free_ports());
    let started: Vec<_> = (0..6).map(|index| backends.start(&format!("s{index}"))).collect();
    let lines: Vec<_> = started.iter().map(|server| server.address.to_string()).collect();
    let web_file = setup.paths.write_file_service("web", web, &lines);
    let few_file = setup.paths.write_file_service("few", few, &lines[..1]);
    let _proxymgr = start(&setup);
    write_in_one_step(&web_file, &lines[0]);
    write_in_one_step(&few_file, "\n");
    let status = wait_for(&setup.paths, "both are held", |status| status["counts"]["held"] == 2);
    let web = service(&status, "web");
    assert_eq!((&web["held"]["missing"], &web["servers_in_rotation"]), (&json!(5), &json!(6)));
    assert!(web["held"]["for_s"].as_u64().is_some_and(|rest| (500..=600).contains(&rest)), "{web}");
    assert!(
        web["problems"][0].as_str().unwrap().starts_with("5 servers are missing in its registry"),
        "{web}"
    );
    let held = format!(
        "missing in its registry; held by the shrink guard until {}",
        web["held"]["until"].as_str().unwrap()
    );
    let missing = servers(web).into_iter().filter(|(_, why)| *why == held).count();
    assert_eq!(missing, 5);
    let few = service(&status, "few");
    assert_eq!((&few["servers_from"], &few["servers_in_rotation"]), (&json!("kept"), &json!(1)));
    assert!(few["problems"][0].as_str().unwrap().contains("on_empty: keep"), "{few}");
}

#[test]
fn registries_that_do_not_answer_are_told_and_what_stands_in_for_them() {
    let setup = Setup::new().section("safety", json!({"startup_timeout": "1s"}));
    let (backends, [web, new]) = (Backends::new(), free_ports());
    let server = backends.start("a");
    let file = setup.paths.write_file_service("web", web, &[server.address.to_string()]);
    let mut first = start(&setup);
    eventually(SOON, "the snapshot is written", || {
        let snapshot = fs::read_to_string(setup.paths.state_dir.join("topology.json")).unwrap_or_default();
        if snapshot.contains(&server.address.to_string()) { Ok(()) } else { Err(snapshot) }
    });
    first.signal(Signal::SIGTERM);
    first.wait_for_end(SOON);
    fs::remove_file(&file).unwrap();
    let nowhere = setup.paths.root.join("nowhere");
    setup.paths.write_service("new", &json!({"type": "file", "file": nowhere, "port": new}));
    let second = setup.start();
    let status = eventually(SOON, "it serves", || {
        let said = said(&setup.paths, &["status", "--json"]);
        if said.code != 0 {
            return Err(said.stderr);
        }
        if said.json()["haproxy"]["state"] == "serving" { Ok(said.json()) } else { Err(said.stdout) }
    });
    let (web, new) = (service(&status, "web"), service(&status, "new"));
    assert_eq!((&web["state"], &web["servers_from"]), (&json!("serving"), &json!("snapshot")), "{web}");
    assert_eq!((&new["state"], &new["servers_from"]), (&json!("waiting"), &json!("nowhere")), "{new}");
    drop(second);
}

#[test]
fn a_dead_haproxy_is_told() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let server = backends.start("a");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let proxymgr = start(&setup);
    let before = status(&setup.paths)["haproxy"]["pid"].clone();
    let haproxy = proxymgr.haproxies()[0];
    // One that hangs: there is an answer all the same, in time.
    haproxy.signal(Signal::SIGSTOP);
    let asked = Instant::now();
    let hangs = status(&setup.paths);
    assert!(asked.elapsed() < SOON);
    assert_eq!(
        (&hangs["haproxy"]["pid"], hangs["haproxy"]["problem"].is_string()),
        (&Value::Null, true),
        "of {}: {hangs}",
        haproxy.pid
    );
    assert_eq!(servers(service(&hangs, "web")), [("unknown".to_owned(), String::new())]);
    assert!(said(&setup.paths, &["status"]).stdout.contains("it does not answer"));
    haproxy.signal(Signal::SIGKILL);
    // It may answer before its start is counted as a reload.
    wait_for(&setup.paths, "another serves, and why is told", |status| {
        let pid = &status["haproxy"]["pid"];
        let reasons = status["last_reload"]["reasons"].to_string();
        pid.is_u64() && *pid != before && reasons.contains("HAProxy ended")
    });
}

#[test]
fn what_was_taken_over_is_told() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let server = backends.start("a");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let proxymgr = start(&setup);
    assert_eq!(said(&setup.paths, &["upgrade"]).code, 0);
    let status = wait_for(&setup.paths, "the registry is heard", |status| {
        service(status, "web")["servers_from"] == "registry"
    });
    assert_eq!(
        (&status["last_reload"], &service(&status, "web")["state"]),
        (&Value::Null, &json!("serving"))
    );
    assert!(proxymgr.process().is_alive());
}

#[test]
fn old_processes_are_told_as_long_as_they_drain() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let server = backends.start("a");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let _proxymgr = start(&setup);
    let before = status(&setup.paths)["haproxy"]["generations"].clone();
    assert_eq!((&before[0]["generation"], &before[0]["state"]), (&json!(1), &json!("serving")), "{before}");
    let mut connection = TcpStream::connect(local(port)).unwrap();
    connection.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
    assert_ne!(connection.read(&mut [0; 4096]).unwrap(), 0);
    let definition = json!({"type": "file", "file": setup.paths.root.join("web.servers"), "port": port, "listen_options": ["timeout queue 9s"]});
    setup.paths.write_service("web", &definition);
    let after = wait_for(&setup.paths, "the old one drains with its client", |status| {
        let old = &status["haproxy"]["generations"][1];
        old["state"] == "draining" && old["connections"] == 1
    });
    let [new, old] = [0, 1].map(|index: usize| after["haproxy"]["generations"][index].clone());
    assert_eq!((&old["pid"], &new["generation"]), (&before[0]["pid"], &json!(2)));
    assert!(said(&setup.paths, &["status"]).stdout.contains("\nOld ones that drain: pid "));
    drop(connection);
    wait_for(&setup.paths, "it is gone", |status| {
        status["haproxy"]["generations"].as_array().is_some_and(|generations| generations.len() == 1)
    });
}

/// A command that runs on; dropped, it is killed.
struct Watching(Child);

impl Drop for Watching {
    #[expect(clippy::disallowed_methods, reason = "a test's own child")]
    fn drop(&mut self) {
        Process::of_child(&self.0).signal(Signal::SIGKILL);
        self.0.wait().unwrap();
    }
}

fn watch(paths: &Paths, arguments: &[&str]) -> (Watching, impl Iterator<Item = String>) {
    let mut command = command();
    command.args(["status", "--watch"]).args(arguments).arg("-c").arg(&paths.proxymgr_yml);
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let output = BufReader::new(child.stdout.take().unwrap());
    (Watching(child), output.lines().map(Result::unwrap))
}

#[test]
fn watching_goes_on_over_changes_and_upgrades_and_ends_with_ctrl_c() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let servers = ["a", "b"].map(|name| backends.start(name));
    let lines = servers.each_ref().map(|server| server.address.to_string());
    let file = setup.paths.write_file_service("web", port, &lines[..1]);
    let proxymgr: Proxymgr = start(&setup);
    let (watching, lines_seen) = watch(&setup.paths, &["--json"]);
    let mut total = lines_seen.map(|line| {
        let status: Value = serde_json::from_str(&line).unwrap();
        status["counts"]["servers"].as_u64().unwrap()
    });
    assert_eq!(total.next(), Some(1));
    write_in_one_step(&file, &lines.join("\n"));
    assert_eq!(total.find(|total| *total == 2), Some(2));
    proxymgr.signal(Signal::SIGUSR2);
    wait_for_message(&proxymgr, "another program takes over");
    write_in_one_step(&file, &lines[0]);
    assert_eq!(total.find(|total| *total == 1), Some(1), "it goes on with the next program");
    let process = Process::of_child(&watching.0);
    process.signal(Signal::SIGINT);
    eventually(SOON, "it ends", || if process.is_alive() { Err(()) } else { Ok(()) });
}

#[test]
fn a_thousand_services_are_told_quickly_under_load() {
    const SERVICES: u16 = 1000;
    const SERVERS: u16 = 20;
    let setup = Setup::new();
    let servers: Vec<_> = (0..SERVERS).map(|index| format!("127.0.0.2:{}", 10_000 + index)).collect();
    for index in 0..SERVICES {
        let bind = format!("unix@{}/s{index}", setup.paths.root.display());
        let definition = json!({"type": "static", "default_servers": servers, "port": 1, "bind": bind});
        setup.paths.write_service(&format!("s{index:04}"), &definition);
    }
    let proxymgr = setup.start();
    eventually(Duration::from_secs(90), "all serve", || {
        let said = said(&setup.paths, &["status", "--json"]);
        let serving = (said.code == 0).then(|| said.json()["counts"].clone());
        match &serving {
            Some(counts) if counts["serving"] == SERVICES => Ok(()),
            _ => Err((said.stderr, serving)),
        }
    });
    let before = proxymgr.process().memory();
    let mut took: Vec<_> = (0..20)
        .map(|_| {
            let asked = Instant::now();
            let counts = status(&setup.paths)["counts"].clone();
            assert_eq!(counts["servers"], u64::from(SERVICES) * u64::from(SERVERS));
            asked.elapsed()
        })
        .collect();
    took.sort_unstable();
    let text = Instant::now();
    assert_eq!(said(&setup.paths, &["status"]).code, 0);
    let (text, after) = (text.elapsed(), proxymgr.process().memory());
    println!(
        "status --json of 20,000 servers: median {:?}, longest {:?}; as text {text:?}",
        took[10], took[19]
    );
    println!("memory before {} kB, after {} kB", before / 1024, after / 1024);
    assert!(took[10] < Duration::from_secs(5), "{took:?}");
    assert!(after < before + (64 << 20), "{before} {after}");
}
