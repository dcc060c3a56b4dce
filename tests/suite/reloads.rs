//! Reloads under constant load: no request fails, and old processes end.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use super::support::backend::Backends;
use super::support::deadline::eventually;
use super::support::haproxy::{self, ask};
use super::support::load::Load;
use super::support::ports::{free_port, free_ports};
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{SOON, local, wait_for_answer, wait_for_refusal};
use super::support::running::{assert_config_says_what_runs, reloads, start};

const RELOADS: usize = 100;

#[test]
fn a_hundred_reloads_under_load_fail_no_request_and_old_processes_end() {
    let reload = json!({"min_interval": "1ms", "drain_timeout": "10m", "max_draining": 8});
    let (setup, backends, port) = (Setup::new().section("reload", reload), Backends::new(), free_port());
    let servers = [backends.start("a"), backends.start("b")];
    let lines = servers.each_ref().map(|server| server.address.to_string());
    let file = setup.paths.write_file_service("web", port, &lines);
    let proxymgr = start(&setup);
    let load = Load::to(local(port)).short(8).keep_alive(8).rate(1500).start();

    let mut pids = BTreeSet::from([serving_pid(&setup)]);
    let began = Instant::now();
    for index in 0..RELOADS {
        let definition = json!({
            "type": "file", "file": file, "port": port,
            "listen_options": [format!("timeout queue {}s", 1000 + index)],
        });
        setup.paths.write_service("web", &definition);
        eventually(SOON, "another process serves", || {
            let pid = serving_pid(&setup);
            if pids.insert(pid) { Ok(()) } else { Err(pid) }
        });
    }
    let took = began.elapsed();
    let report = load.stop();
    println!("{report}\n{RELOADS} reloads in {took:?}");
    report.assert_no_errors();
    assert!(report.rate() >= 1000.0, "the load was to be at least 1000 requests/s: {report}");
    let reloads = reloads(&proxymgr);
    assert_eq!(reloads.len(), RELOADS + 1, "the start and one for each change");
    assert!(
        reloads[1..].iter().all(|reasons| reasons == "web: port, address or options changed"),
        "{reloads:?}"
    );
    eventually(SOON, "only one process remains", || match proxymgr.haproxies().len() {
        1 => Ok(()),
        more => Err(more),
    });
    assert_config_says_what_runs(&setup.paths);
}

/// Asked through the operators' socket, which must answer at any time of a reload.
fn serving_pid(setup: &Setup) -> u32 {
    let info = ask(&setup.paths.stats_socket, "show info").expect("the operators' socket answers");
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid: "));
    pid.unwrap_or_else(|| panic!("no Pid in {info:?}")).parse().unwrap()
}

#[test]
fn what_an_operator_set_survives_a_reload() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let [parked, weighted] = ["parked", "weighted"].map(|name| backends.start(name));
    let lines = [&parked, &weighted].map(|server| server.address.to_string());
    let file = setup.paths.write_file_service("web", port, &lines);
    let proxymgr = start(&setup);
    let socket = &setup.paths.stats_socket;
    let set = |server: &str, what: &str| ask(socket, &format!("set server web/{server} {what}")).unwrap();
    assert_eq!(set(&lines[0], "state maint"), "");
    assert_eq!(set(&lines[1], "weight 7"), "");

    let before = serving_pid(&setup);
    let definition =
        json!({"type": "file", "file": file, "port": port, "listen_options": ["timeout queue 9s"]});
    setup.paths.write_service("web", &definition);
    eventually(SOON, "another process serves", || {
        let pid = serving_pid(&setup);
        if pid == before { Err(pid) } else { Ok(()) }
    });
    let rows = haproxy::servers(socket).unwrap();
    let row = |name: &str| rows.iter().find(|row| row.name == name).unwrap();
    assert!(row(&lines[0]).in_maintenance(), "{rows:?}");
    assert_eq!(row(&lines[1]).weight, 7, "{rows:?}");

    // A change of the file says nothing of what the operator parked.
    let third = backends.start("third");
    write_in_one_step(&file, &format!("{}\n{}\n{}\n", lines[0], lines[1], third.address));
    wait_for_answer(local(port), "third");
    let parked_row = haproxy::servers(socket).unwrap().into_iter().find(|row| row.name == lines[0]).unwrap();
    assert!(parked_row.in_maintenance());
    assert_eq!(parked.requests(), 0);
    assert_eq!(reloads(&proxymgr).len(), 2);
}

#[test]
fn a_port_that_a_service_left_is_refused_and_can_be_taken_by_another() {
    let setup = Setup::new().section("reload", json!({"min_interval": "1ms"}));
    let (backends, [old, new]) = (Backends::new(), free_ports());
    let server = backends.start("web");
    setup.paths.write_file_service("web", old, &[server.address.to_string()]);
    let proxymgr = start(&setup);
    wait_for_answer(local(old), "web");
    setup.paths.write_file_service("web", new, &[server.address.to_string()]);
    wait_for_answer(local(new), "web");
    wait_for_refusal(local(old));
    let other = backends.start("other");
    setup.paths.write_file_service("other", old, &[other.address.to_string()]);
    wait_for_answer(local(old), "other");
    assert_eq!(reloads(&proxymgr).len(), 3);
    assert_config_says_what_runs(&setup.paths);
}

#[test]
fn reloads_keep_their_distance_and_the_last_change_always_arrives() {
    let interval = Duration::from_millis(700);
    let setup = Setup::new().section("reload", json!({"min_interval": "700ms"}));
    let (backends, port) = (Backends::new(), free_port());
    let file = setup.paths.write_file_service("web", port, &[backends.start("a").address.to_string()]);
    let proxymgr = start(&setup);
    let began = Instant::now();
    let mut changes = 0;
    // Endless churn: changes all the time, far more often than reloads are allowed.
    while began.elapsed() < interval * 3 {
        changes += 1;
        let options = [format!("timeout queue {changes}s")];
        let definition = json!({"type": "file", "file": file, "port": port, "listen_options": options});
        setup.paths.write_service("web", &definition);
        std::thread::yield_now();
    }
    let last = format!("timeout queue {changes}s\n");
    eventually(SOON, "haproxy.cfg holds the last change", || {
        let text = std::fs::read_to_string(&setup.paths.haproxy_cfg).unwrap();
        if text.contains(&last) { Ok(()) } else { Err(text) }
    });
    let (count, elapsed) = (reloads(&proxymgr).len(), began.elapsed());
    let most = 2 + usize::try_from(elapsed.as_millis() / interval.as_millis()).unwrap();
    assert!((3..=most).contains(&count), "{count} reloads for {changes} changes in {elapsed:?}");
}
