//! Servers come and go, and services come, under constant load: no request fails, and only new services need a reload.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use serde_json::json;

use super::support::backend::{Backend, Backends};
use super::support::deadline::eventually;
use super::support::haproxy;
use super::support::load::{Load, RunningLoad};
use super::support::load_report::LoadReport;
use super::support::ports::{free_port, free_ports};
use super::support::proxymgr_setup::{Paths, Setup, write_in_one_step};
use super::support::requests::{SOON, get, local, wait_for_answer, wait_for_refusal};
use super::support::running::{assert_config_says_what_runs, configured, in_rotation, reloads, start};

const REPLACEMENTS: usize = 200;

/// Half of it on short connections, half on kept ones.
fn constant_load(port: u16) -> RunningLoad {
    Load::to(local(port)).short(8).keep_alive(8).rate(1500).start()
}

/// The load was what the test promises; says nothing of how much more would go.
#[track_caller]
fn assert_constant_load_without_errors(report: &LoadReport) {
    println!("{report}");
    report.assert_no_errors();
    assert!(report.rate() >= 1000.0, "the load was to be at least 1000 requests/s: {report}");
}

fn servers_file(paths: &Paths, servers: &VecDeque<Backend>) {
    let lines: Vec<_> = servers.iter().map(|server| server.address.to_string()).collect();
    write_in_one_step(&paths.root.join("web.servers"), &(lines.join("\n") + "\n"));
}

/// A server that left the file, and the requests it had got when that was applied.
struct Gone {
    server: Backend,
    requests: u64,
}

#[test]
fn two_hundred_servers_are_replaced_under_load_without_a_failed_request_or_a_reload() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let mut servers: VecDeque<_> = (0..4).map(|index| backends.start(&format!("first-{index}"))).collect();
    let first: Vec<_> = servers.iter().map(|server| server.address.to_string()).collect();
    setup.paths.write_file_service("web", port, &first);
    let proxymgr = start(&setup);
    let load = constant_load(port);

    let mut gone: VecDeque<Gone> = VecDeque::new();
    let mut slowest = Duration::ZERO;
    for index in 0..REPLACEMENTS {
        let new = backends.start(&format!("new-{index}"));
        let leaving = servers.pop_front().unwrap();
        servers.push_back(new);
        let written = Instant::now();
        servers_file(&setup.paths, &servers);
        let new = servers.back().unwrap();
        eventually(
            SOON,
            "the new server takes traffic",
            || if new.requests() > 0 { Ok(()) } else { Err(()) },
        );
        slowest = slowest.max(written.elapsed());
        eventually(SOON, "the server that left is out of rotation", || {
            let rotation = in_rotation(&setup.paths);
            if rotation.iter().all(|server| server.address != leaving.address) {
                Ok(())
            } else {
                Err(rotation)
            }
        });
        // A request that was under way then has come by the time that its successor has served twenty.
        eventually(SOON, "the new server takes twenty requests", || {
            if new.requests() > 20 { Ok(()) } else { Err(new.requests()) }
        });
        gone.push_back(Gone { requests: leaving.requests(), server: leaving });
        if gone.len() > 3 {
            let Gone { server, requests } = gone.pop_front().unwrap();
            assert_eq!(server.requests(), requests, "a server that left got requests after that");
            // It stops listening here: a connection to it would now be an error.
        }
    }
    assert_constant_load_without_errors(&load.stop());
    println!("slowest: {slowest:?} from the file written to the first request at the new server");
    assert_eq!(reloads(&proxymgr), ["start"]);
    let wanted: Vec<_> = servers.iter().map(|server| server.address).collect();
    let configured: Vec<_> =
        configured(&setup.paths.haproxy_cfg).into_iter().map(|server| server.address).collect();
    assert!(wanted.iter().all(|address| configured.contains(address)) && configured.len() == wanted.len());
    assert_config_says_what_runs(&setup.paths);
    eventually(SOON, "servers that left are deleted", || {
        let rows = haproxy::servers(&setup.paths.stats_socket).unwrap();
        if rows.len() == 4 { Ok(()) } else { Err(rows.len()) }
    });
}

#[test]
fn ten_new_services_come_under_load_with_one_reload_and_without_a_failed_request() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let server = backends.start("web");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let proxymgr = start(&setup);
    let load = constant_load(port);
    eventually(SOON, "the load runs", || {
        let report = load.so_far();
        if report.successes > 1000 { Ok(()) } else { Err(report.to_string()) }
    });

    let ports: [u16; 10] = free_ports();
    let written = Instant::now();
    for (index, port) in ports.iter().enumerate() {
        setup.paths.write_file_service(&format!("new{index}"), *port, &[server.address.to_string()]);
    }
    for port in ports {
        wait_for_answer(local(port), "web");
    }
    println!("all ten answer {:?} after the first was written", written.elapsed());
    // Long enough that a second reload, at most `min_interval` of 1 s later, would show.
    eventually(SOON, "the load goes on for two seconds", || {
        if written.elapsed() > Duration::from_secs(2) { Ok(()) } else { Err(()) }
    });
    assert_constant_load_without_errors(&load.stop());
    let reloads = reloads(&proxymgr);
    assert_eq!(reloads.len(), 2, "the start and one for all: {reloads:?}");
    assert!((0..10).all(|index| reloads[1].contains(&format!("new{index}: new service"))), "{reloads:?}");
    assert_config_says_what_runs(&setup.paths);
}

#[test]
fn weights_drain_and_backup_of_a_servers_file_take_effect() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let [heavy, light, spare] = ["heavy", "light", "spare"].map(|name| backends.start(name));
    let lines = |heavy_words: &str, light_words: &str| {
        format!(
            "{} {heavy_words}\n{} {light_words}\n{} backup\n",
            heavy.address, light.address, spare.address
        )
    };
    let file = setup.paths.write_file_service("web", port, &[]);
    write_in_one_step(&file, &lines("weight=3", "weight=1"));
    let proxymgr = start(&setup);
    let shares = |requests: u64| {
        let before = [&heavy, &light, &spare].map(Backend::requests);
        for _ in 0..requests {
            get(local(port)).unwrap();
        }
        let after = [&heavy, &light, &spare].map(Backend::requests);
        [after[0] - before[0], after[1] - before[1], after[2] - before[2]]
    };
    // nbthread > 1 keeps round robin exact: its state is shared.
    assert_eq!(shares(40), [30, 10, 0]);

    let until = |wanted: [u64; 3]| {
        eventually(SOON, &format!("of 40 requests each server gets {wanted:?}"), || {
            let shares = shares(40);
            if shares == wanted { Ok(()) } else { Err(shares) }
        });
    };
    write_in_one_step(&file, &lines("weight=1", "weight=1"));
    until([20, 20, 0]);
    write_in_one_step(&file, &lines("drain", "weight=1"));
    until([0, 40, 0]);
    assert_config_says_what_runs(&setup.paths);
    write_in_one_step(&file, &format!("{} backup\n", spare.address));
    until([0, 0, 40]);
    write_in_one_step(&file, &lines("weight=3", "weight=1"));
    until([30, 10, 0]);
    assert_eq!(reloads(&proxymgr), ["start"]);
    assert_config_says_what_runs(&setup.paths);
}

#[test]
fn a_service_that_leaves_is_refused_without_a_reload_and_comes_back() {
    let (setup, backends, [stays, leaves]) = (Setup::new(), Backends::new(), free_ports());
    let server = backends.start("web");
    let servers = [server.address.to_string()];
    setup.paths.write_file_service("stays", stays, &servers);
    setup.paths.write_service(
        "leaves",
        &json!({"type": "file", "file": setup.paths.root.join("stays.servers"), "port": leaves}),
    );
    let proxymgr = start(&setup);
    wait_for_answer(local(leaves), "web");
    setup.paths.remove_service("leaves");
    wait_for_refusal(local(leaves));
    assert_eq!(reloads(&proxymgr), ["start"]);
    get(local(stays)).unwrap();
    assert_config_says_what_runs(&setup.paths);

    setup.paths.write_file_service("leaves", leaves, &servers);
    wait_for_answer(local(leaves), "web");
    get(local(stays)).unwrap();
    let reloads = reloads(&proxymgr);
    assert_eq!(reloads.len(), 2, "{reloads:?}");
    assert!(reloads[1].contains("leaves"), "{reloads:?}");
    assert_config_says_what_runs(&setup.paths);
}
