//! Few open files: what has room serves, the rest is told what to do.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::json;

use super::support::backend::{Backends, Behaviour};
use super::support::control::{said, said_of};
use super::support::deadline::eventually;
use super::support::load::Load;
use super::support::ports::{free_port, free_ports};
use super::support::proxymgr::{Proxymgr, binary};
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{SOON, get, local, wait_for_answer, wait_for_backends};
use super::support::running::{
    assert_config_says_what_runs, in_rotation, log_lines, reloads, start, wait_for_message,
};

/// `setup` with this limit of open files for `ProxyMgr` and all that it starts.
fn limited(setup: Setup, files: u32) -> Setup {
    let script = format!("#!/bin/sh\nulimit -n {files} && exec {} \"$@\"\n", binary().display());
    let program = setup.root_file("limited", &script);
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    setup.program(&program)
}

/// A service whose watcher needs no file.
fn fixed(port: u16, server: SocketAddr) -> serde_json::Value {
    json!({"type": "static", "port": port, "default_servers": [server.to_string()]})
}

#[test]
fn services_beyond_the_limit_of_open_files_are_told_and_the_others_serve_on_under_load() {
    let setup = limited(Setup::new().global(&["maxconn 50"]), 160);
    let (backends, [port, ports @ ..]) = (Backends::new(), free_ports::<140>());
    let [first, second] = ["first", "second"].map(|name| backends.start(name));
    let line = |address: SocketAddr| format!("{address}\n");
    let file = setup.root_file("web.servers", &line(first.address));
    setup.paths.write_service("a", &json!({"type": "file", "file": file, "port": port}));
    let define = |port: u16| fixed(port, second.address);
    let proxymgr = start(&setup);
    let load = Load::to(local(port)).short(4).keep_alive(4).rate(500).start();
    for (number, port) in ports.iter().enumerate() {
        setup.paths.write_service(&format!("s{number:03}"), &define(*port));
    }
    let told = wait_for_message(&proxymgr, "the limit of open files is reached; raise it");
    println!("{}", told.message);
    // Those before it serve, and changes go on.
    wait_for_answer(local(ports[0]), "second");
    write_in_one_step(&file, &line(second.address));
    wait_for_backends(port, &["second"]);
    let served = ports.iter().filter(|port| get(local(**port)).is_ok()).count();
    println!("{served} of {} serve", ports.len());
    assert!((50..ports.len()).contains(&served), "{served} of {}", ports.len());
    // With fewer of them there is room for one more that is new.
    for number in 0..60 {
        setup.paths.remove_service(&format!("s{number:03}"));
    }
    let late = free_port();
    setup.paths.write_service("late", &define(late));
    wait_for_answer(local(late), "second");
    eventually(Duration::from_secs(30), "those that had no room serve by themselves", || {
        let refused: Vec<_> = ports[60..].iter().filter(|port| get(local(**port)).is_err()).collect();
        if refused.is_empty() { Ok(()) } else { Err(refused.len()) }
    });
    let report = load.stop();
    println!("{report}");
    report.assert_no_errors();
    assert!(proxymgr.process().is_alive());
    assert_config_says_what_runs(&setup.paths);
    let noise = log_lines(&proxymgr).iter().filter(|line| line.says("the limit of open files")).count();
    assert!(noise <= 2 * ports.len(), "{noise} lines");
}

#[test]
fn many_services_and_few_connections_fit_together() {
    // 200 sockets to inherit, and a HAProxy that counts on few more files than those.
    let setup = Setup::new().global(&["maxconn 20"]);
    let (backends, ports) = (Backends::new(), free_ports::<200>());
    let server = backends.start("web");
    for (number, port) in ports.iter().enumerate() {
        setup.paths.write_service(&format!("s{number}"), &fixed(*port, server.address));
    }
    let proxymgr = start(&setup);
    for port in ports {
        assert_eq!(get(local(port)).unwrap(), "web");
    }
    // Once more, while the numbers of another process are in use.
    let mut definition = fixed(ports[0], server.address);
    definition["listen_options"] = json!(["timeout queue 7s"]);
    setup.paths.write_service("s0", &definition);
    eventually(Duration::from_secs(20), "another process serves", || {
        let starts = log_lines(&proxymgr).iter().filter(|line| line.says("a new HAProxy serves")).count();
        if starts == 2 { Ok(()) } else { Err(starts) }
    });
    wait_for_answer(local(ports[199]), "web");
}

#[test]
fn clients_beyond_what_open_files_allow_wait_and_the_operator_is_told_under_load() {
    let setup = limited(Setup::new().global(&["maxconn 1000"]), 300);
    let (backends, port) = (Backends::new(), free_port());
    let server = backends.start("web");
    server.behave(Behaviour::AnswerAfter(Duration::from_millis(100)));
    setup.paths.write_service("web", &fixed(port, server.address));
    let proxymgr = start(&setup);
    let load = Load::to(local(port)).short(250).timeout(SOON).start();
    eventually(SOON, "the load runs", || match load.so_far() {
        report if report.successes > 3000 => Ok(()),
        report => Err(report.successes),
    });
    let report = load.stop();
    println!("{report}");
    report.assert_no_errors();
    let told = "clients at a time instead; raise its limit to";
    let lines = || log_lines(&proxymgr).into_iter().filter(|line| line.says(told)).count();
    assert_eq!(lines(), 1);
    let status = said(&setup.paths, &["status", "--json"]).json();
    assert!(status["limits"][0].as_str().unwrap().contains(told), "{status}");
    let text = said(&setup.paths, &["status"]).stdout;
    assert!(text.lines().any(|line| line.starts_with("Limit: HAProxy needs ")), "{text}");
    // Once is enough, whatever else changes.
    write_in_one_step(
        &setup.paths.services.join("other.json"),
        &fixed(free_port(), server.address).to_string(),
    );
    eventually(SOON, "another process serves", || match haproxies_started(&proxymgr) {
        2 => Ok(()),
        other => Err(other),
    });
    assert_eq!(lines(), 1);
    assert_config_says_what_runs(&setup.paths);
}

#[test]
fn check_tells_what_would_run_out() {
    let setup = Setup::new().global(&["maxconn 9990"]);
    let (backends, port) = (Backends::new(), free_port());
    setup.paths.write_service("web", &fixed(port, backends.start("web").address));
    std::fs::write(&setup.paths.proxymgr_yml, setup.yaml()).unwrap();
    let script = format!(
        "#!/bin/sh\nulimit -n 4096 && exec {} check -c {} \"$@\"\n",
        binary().display(),
        setup.paths.proxymgr_yml.display()
    );
    let program = setup.root_file("check", &script);
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let text = said_of(&mut std::process::Command::new(&program));
    assert_eq!(text.code, 0, "{text:?}");
    assert!(text.stdout.contains("limits\n    HAProxy needs "), "{text:?}");
    let json = said_of(std::process::Command::new(&program).arg("--json")).json();
    assert!(json["limits"][0].as_str().unwrap().contains(" open files (9990 clients by maxconn"), "{json}");
}

#[test]
fn a_process_counts_its_files_anew_when_many_checked_servers_came() {
    let setup = Setup::new().global(&["maxconn 20"]);
    let (backends, port) = (Backends::new(), free_port());
    let server = backends.start("web");
    let servers = |count: u8| (1..=count).map(|host| format!("127.0.9.{host}:{}\n", server.port()));
    let file = setup.root_file("web.servers", &servers(1).collect::<String>());
    let definition =
        json!({"type": "file", "file": file, "port": port, "server_options": ["check inter 1h"]});
    setup.paths.write_service("web", &definition);
    let proxymgr = start(&setup);
    for (count, starts) in [(11, 1), (12, 2), (22, 2)] {
        write_in_one_step(&file, &servers(count).collect::<String>());
        eventually(SOON, "they are there", || {
            let known = in_rotation(&setup.paths).len();
            let seen = (known, haproxies_started(&proxymgr));
            if seen == (usize::from(count), starts) { Ok(()) } else { Err(seen) }
        });
    }
    let reasons = reloads(&proxymgr);
    assert!(reasons[1].contains("open files for the checks of 11 servers"), "{reasons:?}");
}

fn haproxies_started(proxymgr: &Proxymgr) -> usize {
    log_lines(proxymgr).iter().filter(|line| line.says("a new HAProxy serves")).count()
}
