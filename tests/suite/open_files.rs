//! Few open files: what has room serves, the rest is told what to do.

use std::net::SocketAddr;

use serde_json::json;

use super::support::backend::Backends;
use super::support::deadline::eventually;
use super::support::load::Load;
use super::support::ports::{free_port, free_ports};
use super::support::proxymgr::binary;
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{get, local, wait_for_answer, wait_for_backends};
use super::support::running::{assert_config_says_what_runs, log_lines, start, wait_for_message};

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
    eventually(std::time::Duration::from_secs(30), "those that had no room serve by themselves", || {
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
    eventually(std::time::Duration::from_secs(20), "another process serves", || {
        let starts = log_lines(&proxymgr).iter().filter(|line| line.says("a new HAProxy serves")).count();
        if starts == 2 { Ok(()) } else { Err(starts) }
    });
    wait_for_answer(local(ports[199]), "web");
}
