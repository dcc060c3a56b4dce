//! Another program takes over (SIGUSR2), and proxymgr.yml is read again (SIGHUP), without a gap.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;

use nix::sys::signal::Signal;
use serde_json::json;

use super::support::backend::Backends;
use super::support::deadline::eventually;
use super::support::load::Load;
use super::support::ports::{free_port, free_ports};
use super::support::proxymgr::{Proxymgr, binary};
use super::support::proxymgr_setup::{Setup, write_in_one_step, write_program};
use super::support::requests::{SOON, get, local, wait_for_answer, wait_for_backends};
use super::support::running::{assert_config_says_what_runs, log_lines, reloads, start, wait_for_message};

const UPGRADES: usize = 20;

fn count(proxymgr: &Proxymgr, message: &str) -> usize {
    log_lines(proxymgr).iter().filter(|line| line.message == message).count()
}

/// Sends the signal and waits until a program has taken over and heard its registries.
#[track_caller]
fn replace(proxymgr: &Proxymgr, signal: Signal) {
    let before = count(proxymgr, "ready");
    proxymgr.signal(signal);
    eventually(SOON, "the next one is ready", || match count(proxymgr, "ready") {
        more if more > before => Ok(()),
        same => Err(same),
    });
}

#[test]
fn twenty_upgrades_under_load_fail_no_request_and_leave_haproxy_alone() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let servers = [backends.start("a"), backends.start("b")];
    let lines = servers.each_ref().map(|server| server.address.to_string());
    let file = setup.paths.write_file_service("web", port, &lines);
    let proxymgr = start(&setup);
    let haproxies = proxymgr.haproxies();
    let load = Load::to(local(port)).short(8).keep_alive(8).rate(1500).start();
    for _ in 0..UPGRADES {
        replace(&proxymgr, Signal::SIGUSR2);
    }
    let report = load.stop();
    println!("{report}");
    report.assert_no_errors();
    assert!(proxymgr.process().is_alive(), "the process is the same");
    assert_eq!(proxymgr.haproxies(), haproxies, "and so is HAProxy");
    assert_eq!(count(&proxymgr, "ProxyMgr starts"), UPGRADES + 1);
    assert_eq!(reloads(&proxymgr).len(), 1);

    // The last one has everything in hand: servers at run time, reloads, the death of a child.
    let third = backends.start("c");
    write_in_one_step(&file, &format!("{}\n{}\n", lines[1], third.address));
    wait_for_backends(port, &["b", "c"]);
    assert_eq!(reloads(&proxymgr).len(), 1);
    haproxies[0].signal(Signal::SIGKILL);
    wait_for_message(&proxymgr, "SIGKILL");
    wait_for_backends(port, &["b", "c"]);
    assert_config_says_what_runs(&setup.paths);
    assert!(proxymgr.end().success());
}

#[test]
fn servers_that_were_added_or_left_at_run_time_are_handed_over() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let servers = ["a", "b", "c"].map(|name| backends.start(name));
    let lines = servers.each_ref().map(|server| server.address.to_string());
    let file = setup.paths.write_file_service("web", port, &lines[..2]);
    let proxymgr = start(&setup);
    write_in_one_step(&file, &format!("{}\n{} weight=7\n", lines[1], lines[2]));
    wait_for_backends(port, &["b", "c"]);
    let config = fs::read_to_string(&setup.paths.haproxy_cfg).unwrap();
    replace(&proxymgr, Signal::SIGUSR2);
    wait_for_backends(port, &["b", "c"]);
    assert_eq!(reloads(&proxymgr).len(), 1);
    assert_eq!(fs::read_to_string(&setup.paths.haproxy_cfg).unwrap(), config);
    assert_config_says_what_runs(&setup.paths);
}

#[test]
fn included_sections_are_handed_over() {
    let (setup, backends, [port, own]) = (Setup::new(), Backends::new(), free_ports());
    let server = backends.start("a");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let file = setup.paths.root.join("own.cfg");
    fs::write(&file, format!("listen own\n  bind 127.0.0.1:{own}\n  server a {}\n", server.address)).unwrap();
    let setup = setup.haproxy_key("include", json!([file]));
    let proxymgr = start(&setup);
    wait_for_answer(local(own), "a");
    replace(&proxymgr, Signal::SIGUSR2);
    assert_eq!((get(local(own)).unwrap(), reloads(&proxymgr).len()), ("a".to_owned(), 1));
    fs::write(&file, format!("listen other\n  bind 127.0.0.1:{own}\n  server a {}\n", server.address))
        .unwrap();
    eventually(SOON, "one reload", || if reloads(&proxymgr).len() == 2 { Ok(()) } else { Err(()) });
    wait_for_answer(local(own), "a");
}

#[test]
fn a_draining_process_is_handed_over_with_its_connections() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let server = backends.start("a");
    let file = setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let proxymgr = start(&setup);
    let old = proxymgr.haproxies()[0];
    let mut connection = TcpStream::connect(local(port)).unwrap();
    connection.set_read_timeout(Some(SOON)).unwrap();
    let mut ask = move || {
        connection.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").unwrap();
        let mut reply = [0; 12];
        connection.read_exact(&mut reply).unwrap();
        assert_eq!(&reply, b"HTTP/1.1 200");
        let mut rest = [0; 4096];
        assert_ne!(connection.read(&mut rest).unwrap(), 0);
    };
    ask();
    let definition =
        json!({"type": "file", "file": file, "port": port, "listen_options": ["timeout queue 9s"]});
    setup.paths.write_service("web", &definition);
    wait_for_message(&proxymgr, "the old HAProxy drains");
    replace(&proxymgr, Signal::SIGUSR2);
    assert!(old.is_alive() && proxymgr.haproxies().len() == 2);
    ask();
    drop(ask);
    eventually(
        SOON,
        "the old one ends with its connection",
        || if old.is_alive() { Err(()) } else { Ok(()) },
    );
    wait_for_message(&proxymgr, "an old HAProxy is gone");
}

#[test]
fn a_program_that_refuses_is_not_taken() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let program = setup.paths.root.join("proxymgr-installed");
    write_program(&program, fs::read(binary()).unwrap());
    let setup = setup.program(&program);
    let server = backends.start("a");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let proxymgr = start(&setup);
    let haproxies = proxymgr.haproxies();
    let gone = "#!/bin/sh\nrm \"$0\"\n";
    for (bad, said) in [
        ("#!/bin/sh\necho cannot take it over; exit 3\n", "cannot take it over"),
        ("#!/nowhere/sh\n", "was not found"),
        // Accepts, and can't be executed then.
        (gone, "no other program could take over"),
    ] {
        write_program(&program, bad);
        proxymgr.signal(Signal::SIGUSR2);
        wait_for_message(&proxymgr, said);
        assert_eq!(get(local(port)).unwrap(), "a");
    }
    assert_eq!((count(&proxymgr, "ProxyMgr starts"), reloads(&proxymgr).len()), (1, 1));
    assert_eq!(proxymgr.haproxies(), haproxies);
    write_program(&program, fs::read(binary()).unwrap());
    replace(&proxymgr, Signal::SIGUSR2);
    assert_eq!((count(&proxymgr, "ProxyMgr starts"), reloads(&proxymgr).len()), (2, 1));
    assert_eq!(proxymgr.haproxies(), haproxies);
    assert!(proxymgr.end().success());
}

#[test]
fn an_end_that_is_asked_for_during_an_upgrade_is_not_lost() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let server = backends.start("a");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let mut proxymgr = start(&setup);
    proxymgr.signal(Signal::SIGUSR2);
    wait_for_message(&proxymgr, "another program takes over");
    proxymgr.signal(Signal::SIGTERM);
    assert!(proxymgr.wait_for_end(SOON).success());
}

#[test]
fn proxymgr_yml_is_read_again_and_only_what_changed_is_done() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let server = backends.start("a");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let proxymgr = start(&setup);
    let haproxies = proxymgr.haproxies();

    for bad in ["haproxy: [", "nonsense: 1\n", &setup.clone().global(&["nonsense 1"]).yaml()] {
        let refusals = count(&proxymgr, "proxymgr.yml is not taken; the settings of before stay");
        fs::write(&setup.paths.proxymgr_yml, bad).unwrap();
        proxymgr.signal(Signal::SIGHUP);
        eventually(SOON, "it is refused", || {
            match count(&proxymgr, "proxymgr.yml is not taken; the settings of before stay") {
                more if more > refusals => Ok(()),
                same => Err(same),
            }
        });
    }
    assert_eq!((proxymgr.haproxies(), reloads(&proxymgr).len()), (haproxies.clone(), 1));

    let quieter = setup.clone().section("log", json!({"format": "json", "level": "info"}));
    fs::write(&setup.paths.proxymgr_yml, quieter.yaml()).unwrap();
    replace(&proxymgr, Signal::SIGHUP);
    assert_eq!((proxymgr.haproxies(), reloads(&proxymgr).len()), (haproxies, 1));

    fs::write(&setup.paths.proxymgr_yml, quieter.global(&["maxconn 77"]).yaml()).unwrap();
    replace(&proxymgr, Signal::SIGHUP);
    eventually(SOON, "one reload", || match reloads(&proxymgr).as_slice() {
        [_, reason] => Ok(reason.clone()),
        other => Err(other.len()),
    });
    eventually(SOON, "haproxy.cfg is written", || {
        let config = fs::read_to_string(&setup.paths.haproxy_cfg).unwrap();
        if config.contains("maxconn 77") { Ok(()) } else { Err(config) }
    });
    assert_eq!(get(local(port)).unwrap(), "a");
}

#[test]
fn another_operators_socket_is_opened_when_proxymgr_yml_is_read_again() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let server = backends.start("a");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let proxymgr = start(&setup);
    let mut moved = setup.clone();
    moved.paths.stats_socket = setup.paths.root.join("other.sock");
    fs::write(&setup.paths.proxymgr_yml, moved.yaml()).unwrap();
    replace(&proxymgr, Signal::SIGHUP);
    eventually(SOON, "HAProxy answers there", || {
        super::support::haproxy::ask(&moved.paths.stats_socket, "show info")
            .map_err(|error| error.to_string())
    });
    assert!(!setup.paths.stats_socket.exists());
    assert_eq!(reloads(&proxymgr).len(), 2);
}

#[test]
fn another_haproxy_is_run_once_proxymgr_yml_is_read_again() {
    let (setup, backends, port) = (Setup::new().before_haproxy(""), Backends::new(), free_port());
    let server = backends.start("a");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let proxymgr = start(&setup);
    let haproxies = proxymgr.haproxies();
    replace(&proxymgr, Signal::SIGHUP);
    assert_eq!((proxymgr.haproxies(), reloads(&proxymgr).len()), (haproxies, 1), "nothing has changed");

    let load = Load::to(local(port)).short(4).keep_alive(4).rate(500).start();
    let wait_for_another = |before: usize| {
        replace(&proxymgr, Signal::SIGHUP);
        eventually(SOON, "one reload", || match reloads(&proxymgr) {
            all if all.len() > before => Ok(all),
            all => Err(all),
        });
        assert_eq!(reloads(&proxymgr)[before..], ["another HAProxy is installed"]);
    };
    // In the same place, as a package does it.
    let installed = setup.clone().before_haproxy("# another one");
    wait_for_another(1);
    // In another place.
    let elsewhere = setup.paths.root.join("haproxy-elsewhere");
    fs::copy(setup.paths.root.join("other-haproxy"), &elsewhere).unwrap();
    fs::write(&setup.paths.proxymgr_yml, installed.haproxy_key("path", json!(elsewhere)).yaml()).unwrap();
    wait_for_another(2);
    let report = load.stop();
    println!("{report}");
    report.assert_no_errors();
    assert!(proxymgr.end().success());
}
