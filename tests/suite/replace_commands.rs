//! `proxymgr upgrade` and `proxymgr reload` against a running one.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use serde_json::{Value, json};

use super::support::backend::Backends;
use super::support::control::{Client, said, said_of};
use super::support::load::Load;
use super::support::ports::free_port;
use super::support::proxymgr::{binary, command};
use super::support::proxymgr_setup::Setup;
use super::support::requests::{get, local};
use super::support::running::{reloads, start, wait_for_message};

fn install(program: &Path, content: &[u8]) {
    let new = program.with_extension("new");
    fs::write(&new, content).unwrap();
    fs::set_permissions(&new, Permissions::from_mode(0o755)).unwrap();
    fs::rename(&new, program).unwrap();
}

#[test]
fn an_upgrade_tells_that_the_new_program_answers() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let server = backends.start("a");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let proxymgr = start(&setup);
    let haproxies = proxymgr.haproxies();
    let load = Load::to(local(port)).short(4).keep_alive(4).rate(500).start();
    let mut before = Client::connect(&setup.paths).line().unwrap();
    for _ in 0..3 {
        let said = said(&setup.paths, &["upgrade"]);
        assert_eq!(said.code, 0, "{said:?}");
        let pid = proxymgr.process().pid;
        let release = env!("CARGO_PKG_VERSION");
        assert_eq!(said.stdout, format!("upgraded: ProxyMgr {release} (pid {pid}) goes on\n"));
        assert!(said.stderr.starts_with("waiting for the installed program to check"), "{said:?}");
        assert!(said.stderr.ends_with("waiting for the program that takes over to answer\n"), "{said:?}");
        let now = Client::connect(&setup.paths).line().unwrap();
        assert_eq!(now["hello"]["pid"], before["hello"]["pid"]);
        assert_ne!(now["hello"]["incarnation"], before["hello"]["incarnation"]);
        before = now;
    }
    load.stop().assert_no_errors();
    assert_eq!((proxymgr.haproxies(), reloads(&proxymgr).len()), (haproxies, 1));
}

#[test]
fn an_upgrade_to_a_bad_program_is_refused_with_what_it_said() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let program = setup.paths.root.join("proxymgr-installed");
    install(&program, &fs::read(binary()).unwrap());
    let setup = setup.program(&program);
    let server = backends.start("a");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let proxymgr = start(&setup);
    let before = Client::connect(&setup.paths).line().unwrap();
    for (bad, expected) in [
        ("#!/bin/sh\necho cannot take it over; exit 3\n", "cannot take it over"),
        ("#!/nowhere/sh\n", "was not found"),
        // Accepts, and can't be executed then.
        ("#!/bin/sh\nrm \"$0\"\n", "no other program could take over"),
    ] {
        install(&program, bad.as_bytes());
        let said = said(&setup.paths, &["upgrade"]);
        assert_eq!((said.code, said.stdout.as_str()), (1, ""), "{said:?}");
        assert!(said.stderr.contains("this one goes on") && said.stderr.contains(expected), "{said:?}");
        assert_eq!(get(local(port)).unwrap(), "a");
    }
    install(&program, b"#!/bin/sh\necho no; exit 3\n");
    let said_json = said(&setup.paths, &["upgrade", "--json"]);
    let report = said_json.json();
    assert_eq!((said_json.code, said_json.stderr.as_str()), (1, ""));
    assert_eq!((&report["done"], &report["error"]["code"]), (&json!(false), &json!("refused")));
    assert_eq!(report["now"], report["before"]);
    assert_eq!(Client::connect(&setup.paths).line().unwrap(), before);

    install(&program, &fs::read(binary()).unwrap());
    let report = said(&setup.paths, &["upgrade", "--json"]).json();
    let release = json!({"release": env!("CARGO_PKG_VERSION")});
    let pid = proxymgr.process().pid.as_raw();
    assert_eq!(
        report,
        json!({"done": true, "pid": pid, "before": release, "now": release, "error": Value::Null})
    );
}

#[test]
fn two_upgrades_at_a_time_are_both_told() {
    let setup = Setup::new();
    let proxymgr = start(&setup);
    let said: Vec<_> = std::thread::scope(|scope| {
        let paths = &setup.paths;
        let both = [(); 2].map(|()| scope.spawn(|| said(paths, &["upgrade"])));
        both.into_iter().map(|one| one.join().unwrap()).collect()
    });
    assert_eq!(said.iter().map(|said| said.code).collect::<Vec<_>>(), [0, 0], "{said:?}");
    assert!(proxymgr.process().is_alive());
}

#[test]
fn a_reload_tells_whether_proxymgr_yml_is_taken() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let server = backends.start("a");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let proxymgr = start(&setup);
    let haproxies = proxymgr.haproxies();
    for (bad, why) in [
        (setup.clone().section("nonsense", json!(1)).yaml(), "nonsense"),
        (setup.clone().global(&["nonsense 1"]).yaml(), "nonsense"),
    ] {
        fs::write(&setup.paths.proxymgr_yml, bad).unwrap();
        let said = said(&setup.paths, &["reload"]);
        assert_eq!((said.code, said.stdout.as_str()), (1, ""), "{said:?}");
        assert!(said.stderr.contains("proxymgr.yml is not taken") && said.stderr.contains(why), "{said:?}");
    }
    // Not even its runtime_dir can be read; the running one can still be asked.
    fs::write(&setup.paths.proxymgr_yml, "haproxy: [").unwrap();
    assert_eq!(said(&setup.paths, &["reload"]).code, 78);
    let by_socket = said_of(command().args(["reload", "--socket"]).arg(setup.paths.control_socket()));
    assert_eq!(by_socket.code, 1, "{by_socket:?}");
    assert_eq!((proxymgr.haproxies(), reloads(&proxymgr).len()), (haproxies, 1));

    fs::write(&setup.paths.proxymgr_yml, setup.clone().global(&["maxconn 77"]).yaml()).unwrap();
    let said = said(&setup.paths, &["reload"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.stdout.starts_with("proxymgr.yml is read again: ProxyMgr "), "{said:?}");
    wait_for_message(&proxymgr, "global or defaults changed");
}

#[test]
fn other_values_of_the_file_may_need_variables_that_only_the_running_one_has() {
    let setup =
        Setup::new().variable("PROXYMGR_TEST_MAXCONN", "99").global(&["maxconn ${PROXYMGR_TEST_MAXCONN}"]);
    let proxymgr = start(&setup);
    let said = said(&setup.paths, &["reload"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(proxymgr.process().is_alive());
}
