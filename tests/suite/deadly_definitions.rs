//! A definition that `HAProxy` takes, and that kills it soon after.

use std::time::{Duration, Instant};

use serde_json::json;

use super::support::backend::Backends;
use super::support::deadline::eventually;
use super::support::load::Load;
use super::support::load_report::ErrorKind;
use super::support::ports::free_ports;
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{local, wait_for_answer, wait_for_backends};
use super::support::running::{assert_config_says_what_runs, log_lines, start, wait_for_message};
use super::support::stand_in::StandIn;

const WORKERS: usize = 8;
/// What has served for 10 s is gone back to, as long as nothing has served for a minute.
const PROVED: Duration = Duration::from_secs(11);

#[test]
fn a_definition_that_kills_haproxy_is_given_up_and_the_last_good_one_serves_on_under_load() {
    let reload = json!({"min_interval": "1ms"});
    let (setup, stand_in) = StandIn::new(Setup::new().section("reload", reload));
    stand_in.becomes(
        "if [ \"$1\" = -db ] && grep -q 'timeout queue 666s' \"$3\"; then (sleep 0.3; kill -KILL $$) & fi",
    );
    let (backends, [web, api]) = (Backends::new(), free_ports());
    let [first, second, other] = ["first", "second", "other"].map(|name| backends.start(name));
    let line = |address: std::net::SocketAddr| format!("{address}\n");
    let file = setup.root_file("web.servers", &line(first.address));
    let define = |queue: &str| json!({"type": "file", "file": file, "port": web, "listen_options": [format!("timeout queue {queue}")]});
    setup.paths.write_service("web", &define("1s"));
    setup.paths.write_file_service("api", api, &[other.address.to_string()]);
    let proxymgr = start(&setup);
    let served = Instant::now();
    let load = |port| Load::to(local(port)).short(WORKERS).rate(300).timeout(Duration::from_secs(20)).start();
    let loads = [load(web), load(api)];
    eventually(2 * PROVED, "the first configuration has proved itself", || {
        if served.elapsed() > PROVED { Ok(()) } else { Err(served.elapsed()) }
    });

    let came = Instant::now();
    setup.paths.write_service("web", &define("666s"));
    let back = wait_for_message(&proxymgr, "back to the last good configuration");
    assert!(back.says("since these changed: service web;") && back.level == "WARN", "{back:?}");
    wait_for_message(&proxymgr, "service web is refused, its last good definition serves on");
    let deaths = log_lines(&proxymgr).iter().filter(|line| line.says("HAProxy ended by itself (")).count();
    println!("back after {deaths} deaths, {:?} after the definition came", came.elapsed());
    assert_eq!(deaths, 3);
    wait_for_answer(local(web), "first");
    // The servers are followed meanwhile.
    write_in_one_step(&file, &line(second.address));
    wait_for_backends(web, &["second"]);
    assert_config_says_what_runs(&setup.paths);
    for load in &loads {
        let successes = load.so_far().successes;
        eventually(Duration::from_secs(20), "the load is served", || {
            let report = load.so_far();
            if report.successes > successes + 300 { Ok(()) } else { Err(report.to_string()) }
        });
    }
    for load in loads {
        let report = load.stop();
        println!("{report}");
        // Requests in flight, at each of the three deaths.
        assert!(report.errors.len() <= 3 * WORKERS, "{report}");
        let in_flight = |kind: &ErrorKind| matches!(kind, ErrorKind::Reset | ErrorKind::EarlyEof);
        assert!(report.errors.iter().all(|error| in_flight(&error.kind)), "{report}");
    }
    // Another definition is taken.
    setup.paths.write_service("web", &define("2s"));
    wait_for_message(&proxymgr, "service web goes ahead");
    eventually(Duration::from_secs(20), "haproxy.cfg holds it", || {
        let text = std::fs::read_to_string(&setup.paths.haproxy_cfg).unwrap();
        if text.contains("timeout queue 2s") { Ok(()) } else { Err(text) }
    });
    assert_config_says_what_runs(&setup.paths);
}

#[test]
fn a_definition_that_kills_the_checker_is_found_and_all_others_go_ahead() {
    let reload = json!({"min_interval": "1ms"});
    let (setup, stand_in) = StandIn::new(Setup::new().section("reload", reload));
    stand_in.becomes("if [ \"$1\" = -c ] && grep -q 'timeout queue 666s' \"$3\"; then kill -SEGV $$; fi");
    let (backends, [web, api, later]) = (Backends::new(), free_ports());
    let server = backends.start("first");
    let servers = [server.address.to_string()];
    setup.paths.write_file_service("web", web, &servers);
    let proxymgr = start(&setup);
    wait_for_answer(local(web), "first");

    let file = setup.root_file("api.servers", &format!("{}\n", server.address));
    let lines = ["timeout queue 666s"];
    setup
        .paths
        .write_service("api", &json!({"type": "file", "file": file, "port": api, "listen_options": lines}));
    setup.paths.write_file_service("later", later, &servers);
    wait_for_answer(local(later), "first");
    let told = wait_for_message(&proxymgr, "service api is refused, it does not serve");
    assert!(told.says("ended by SIGSEGV"), "{told:?}");
    assert_config_says_what_runs(&setup.paths);
    setup.paths.write_file_service("api", api, &servers);
    wait_for_answer(local(api), "first");
}
