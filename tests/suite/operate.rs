//! `proxymgr drain`, `undrain` and `confirm` against a running one.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::support::backend::Backends;
use super::support::control::said;
use super::support::deadline::eventually;
use super::support::load::Load;
use super::support::ports::free_port;
use super::support::proxymgr_setup::{Paths, Setup, write_in_one_step};
use super::support::requests::{SOON, local, wait_for_backends};
use super::support::running::{assert_config_says_what_runs, reloads, start};

/// A service `web` with so many servers, named a, b, c...
fn with_servers(setup: &Setup, count: usize) -> (Backends, Vec<super::support::backend::Backend>, u16) {
    let (backends, port) = (Backends::new(), free_port());
    let names = ["a", "b", "c", "d", "e", "f"];
    let servers: Vec<_> = names[..count].iter().map(|name| backends.start(name)).collect();
    write_list(
        &setup.paths,
        port,
        &servers.iter().map(|server| server.address.to_string()).collect::<Vec<_>>(),
    );
    (backends, servers, port)
}

fn write_list(paths: &Paths, port: u16, lines: &[String]) {
    paths.write_file_service("web", port, lines);
}

fn server_status(paths: &Paths, address: &str) -> (Value, Value) {
    let status = said(paths, &["status", "web", "--json"]).json();
    let servers = status["services"][0]["servers"].as_array().unwrap();
    let server = servers.iter().find(|server| server["name"] == address).unwrap();
    (server["state"].clone(), server["why"].clone())
}

#[track_caller]
fn assert_drained(paths: &Paths, address: &str) {
    let (state, why) = server_status(paths, address);
    assert_eq!(state, "drain");
    let why = why.as_str().unwrap();
    assert!(why.starts_with("drained by an operator since 20") && why.ends_with('Z'), "{why}");
}

#[test]
fn a_drained_server_gets_no_new_traffic_over_reloads_upgrades_and_restarts() {
    let setup = Setup::new();
    let (_backends, servers, port) = with_servers(&setup, 3);
    let proxymgr = start(&setup);
    wait_for_backends(port, &["a", "b", "c"]);
    let drained = servers[1].address.to_string();
    let target = format!("web/{drained}");
    let load = Load::to(local(port)).short(4).keep_alive(4).rate(500).start();

    let done = said(&setup.paths, &["drain", &target]);
    assert_eq!(done.code, 0, "{done:?}");
    assert_eq!(done.stdout, format!("{target} drains: it gets no new connections\n"));
    wait_for_backends(port, &["a", "c"]);
    assert_drained(&setup.paths, &drained);
    assert_config_says_what_runs(&setup.paths);
    let again = said(&setup.paths, &["drain", &target, "--json"]);
    let report = json!({"done": true, "service": "web", "server": drained, "saved": true, "error": null});
    assert_eq!((again.code, again.json()), (0, report));

    assert_eq!(said(&setup.paths, &["upgrade"]).code, 0);
    wait_for_backends(port, &["a", "c"]);
    assert_drained(&setup.paths, &drained);
    assert_eq!(reloads(&proxymgr).len(), 1);
    fs::write(&setup.paths.proxymgr_yml, setup.clone().global(&["maxconn 77"]).yaml()).unwrap();
    assert_eq!(said(&setup.paths, &["reload"]).code, 0);
    eventually(SOON, "a reload", || if reloads(&proxymgr).len() == 2 { Ok(()) } else { Err(()) });
    wait_for_backends(port, &["a", "c"]);
    load.stop().assert_no_errors();

    assert!(proxymgr.end().success());
    let drains = setup.paths.state_dir.join("drains.json");
    assert_eq!(fs::metadata(&drains).unwrap().permissions().mode() & 0o777, 0o600);
    let log = fs::read_to_string(&setup.paths.log).unwrap().len();
    let proxymgr = setup.start();
    eventually(SOON, "it is ready again", || {
        if proxymgr.log()[log..].contains("\"ready\"") { Ok(()) } else { Err(()) }
    });
    wait_for_backends(port, &["a", "c"]);
    assert_drained(&setup.paths, &drained);
    let done = said(&setup.paths, &["undrain", &target]);
    assert_eq!(
        (done.code, done.stdout.as_str()),
        (0, &*format!("{target} is drained by no operator any more\n"))
    );
    wait_for_backends(port, &["a", "b", "c"]);
    assert_eq!(server_status(&setup.paths, &drained), (json!("up"), Value::Null));
    assert_config_says_what_runs(&setup.paths);
}

#[test]
fn a_server_that_is_not_there_can_not_be_drained_but_one_that_left_can_be_undrained() {
    let setup = Setup::new();
    let (_backends, servers, port) = with_servers(&setup, 2);
    let _proxymgr = start(&setup);
    let [a, b] = [0, 1].map(|index: usize| servers[index].address.to_string());
    for target in ["web/127.0.0.1:1", "other/127.0.0.1:1"] {
        let refused = said(&setup.paths, &["drain", target]);
        assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
        assert!(
            refused.stderr.contains(&format!("there is no server {target}; 'proxymgr status")),
            "{refused:?}"
        );
    }
    let refused = said(&setup.paths, &["drain", "web/127.0.0.1:1", "--json"]);
    assert_eq!(refused.json()["error"]["code"], "not_found");
    assert_eq!(said(&setup.paths, &["drain", "web"]).code, 64);

    assert_eq!(said(&setup.paths, &["drain", &format!("web/{a}")]).code, 0);
    write_list(&setup.paths, port, &[b]);
    wait_for_backends(port, &["b"]);
    eventually(SOON, "the status tells of it", || {
        let status = said(&setup.paths, &["status", "web"]).stdout;
        let told = format!("{a}, which is not there, is drained by an operator since");
        if status.contains(&told) { Ok(()) } else { Err(status) }
    });
    assert_eq!(said(&setup.paths, &["undrain", &format!("web/{a}")]).code, 0);
    assert!(!said(&setup.paths, &["status", "web"]).stdout.contains("drained by an operator"));
}

#[test]
fn damaged_drains_are_set_aside() {
    let setup = Setup::new();
    let (_backends, servers, port) = with_servers(&setup, 2);
    fs::write(setup.paths.state_dir.join("drains.json"), "{\"format\":1,\"crc32\":7}\n{\"web\":{}}\n")
        .unwrap();
    let proxymgr = start(&setup);
    wait_for_backends(port, &["a", "b"]);
    assert!(proxymgr.log().contains("what operators drained before can't be known"), "it is told");
    assert!(setup.paths.state_dir.join("drains.json.damaged").exists());
    assert_eq!(said(&setup.paths, &["drain", &format!("web/{}", servers[0].address)]).code, 0);
    wait_for_backends(port, &["b"]);
}

#[test]
fn a_drain_that_can_not_be_kept_is_done_all_the_same_and_told() {
    let setup = Setup::new();
    let (_backends, servers, port) = with_servers(&setup, 2);
    let _proxymgr = start(&setup);
    // A directory can't be replaced by a file, not even by root.
    fs::create_dir_all(setup.paths.state_dir.join("drains.json/x")).unwrap();
    let done = said(&setup.paths, &["drain", &format!("web/{}", servers[0].address)]);
    assert_eq!(done.code, 0, "{done:?}");
    assert!(done.stderr.contains("it ends with ProxyMgr"), "{done:?}");
    wait_for_backends(port, &["b"]);
}

#[test]
fn a_drain_waits_for_an_haproxy_that_is_being_started() {
    let setup = Setup::new();
    let (_backends, servers, port) = with_servers(&setup, 2);
    let proxymgr = start(&setup);
    proxymgr.haproxies()[0].signal(Signal::SIGKILL);
    let done = said(&setup.paths, &["drain", &format!("web/{}", servers[0].address)]);
    assert_eq!(done.code, 0, "{done:?}");
    wait_for_backends(port, &["b"]);
}

#[test]
fn a_held_loss_and_an_empty_answer_are_confirmed_by_hand() {
    let setup = Setup::new().section("safety", json!({"shrink_hold": "10m"}));
    let (_backends, servers, port) = with_servers(&setup, 6);
    let file = setup.paths.root.join("web.servers");
    let proxymgr = start(&setup);
    let held = |count: u64| {
        eventually(SOON, "it is held", || {
            let counts = said(&setup.paths, &["status", "--json"]).json()["counts"].clone();
            if counts["held"] == count { Ok(()) } else { Err(counts) }
        });
    };
    let refused = said(&setup.paths, &["confirm", "web"]);
    assert_eq!((refused.code, refused.stdout.as_str()), (1, ""));
    assert!(refused.stderr.contains("web: no loss of servers is held"), "{refused:?}");
    assert_eq!(said(&setup.paths, &["confirm", "no", "--json"]).json()["error"]["code"], "not_found");

    write_in_one_step(&file, &servers[0].address.to_string());
    held(1);
    let done = said(&setup.paths, &["confirm", "web"]);
    assert_eq!((done.code, done.stdout.as_str()), (0, "web: 5 servers leave\n"), "{done:?}");
    wait_for_backends(port, &["a"]);
    held(0);

    write_in_one_step(&file, "\n");
    held(1);
    let done = said(&setup.paths, &["confirm", "web", "--json"]).json();
    assert_eq!(done, json!({"done": true, "service": "web", "servers": 1, "error": null}));
    eventually(SOON, "no server is left", || {
        let web = said(&setup.paths, &["status", "web", "--json"]).json()["services"][0].clone();
        if web["servers_total"] == 0 && web["held"].is_null() { Ok(()) } else { Err(web) }
    });
    assert_eq!(reloads(&proxymgr).len(), 1);
    // The snapshot says what was confirmed.
    eventually(SOON, "the snapshot is written", || {
        let snapshot = fs::read_to_string(setup.paths.state_dir.join("topology.json")).unwrap_or_default();
        if snapshot.contains("\"servers\":[]") { Ok(()) } else { Err(snapshot) }
    });
}
