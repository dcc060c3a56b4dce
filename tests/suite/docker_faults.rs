//! Containers and their daemon under load, with every error counted.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::support::control::{Client, said};
use super::support::cutter::Cutter;
use super::support::deadline::eventually;
use super::support::docker::Dockerd;
use super::support::load::Load;
use super::support::proxymgr_setup::Setup;
use super::support::requests::SOON;
use super::support::running::{in_rotation, reloads, start, wait_for_message};

const PORT: u16 = 8080;

fn setup(dockerd: &Dockerd, host: &str) -> Setup {
    let setup = dockerd.setup();
    let definition = json!({"type": "docker", "service": "web", "port": PORT, "docker_host": host});
    setup.paths.write_service("web", &definition);
    setup
}

#[track_caller]
fn wait_for_servers(setup: &Setup, count: usize) {
    eventually(Duration::from_secs(60), &format!("{count} servers"), || {
        match in_rotation(&setup.paths).len() {
            servers if servers == count => Ok(()),
            other => Err(other),
        }
    });
}

#[track_caller]
fn wait_for_registry(setup: &Setup, host: &str, is_so: impl Fn(&Value) -> bool) {
    eventually(Duration::from_secs(60), &format!("the status tells what {host} is"), || {
        let status = said(&setup.paths, &["status", "--json"]).json();
        let daemons = status["registries"].as_array().unwrap();
        let found = daemons.iter().any(|daemon| daemon["ensemble"] == host && is_so(daemon));
        if found { Ok(()) } else { Err(status["registries"].clone()) }
    });
}

#[test]
fn a_hundred_containers_started_and_stopped_under_load_cost_no_request() {
    let dockerd = Dockerd::start();
    // A container is in rotation once it runs, which may be before its program listens: as ProxyMgr's own defaults have it.
    let setup = setup(&dockerd, &dockerd.host()).defaults(&[
        "mode http",
        "balance roundrobin",
        "retries 3",
        "option redispatch",
        "timeout connect 2s",
        "timeout client 30s",
        "timeout server 30s",
    ]);
    let stays = ["stay-1", "stay-2"];
    for name in stays {
        dockerd.run(name, &[("SERVICE_NAME", "web")]);
    }
    let proxymgr = start(&setup);
    dockerd.wait_for_answers(PORT, &stays);
    let load = Load::to(dockerd.reached(PORT)).short(8).rate(100).start();
    let all: Vec<String> = (0..100).map(|number| format!("comes-{number}")).collect();
    std::thread::scope(|scope| {
        for part in all.chunks(25) {
            let dockerd = &dockerd;
            scope.spawn(move || {
                for name in part {
                    dockerd.run(name, &[("SERVICE_NAME", "web")]);
                }
            });
        }
    });
    wait_for_servers(&setup, 102);
    std::thread::scope(|scope| {
        for part in all.chunks(25) {
            let dockerd = &dockerd;
            scope.spawn(move || part.iter().for_each(|name| dockerd.stop(name)));
        }
    });
    wait_for_servers(&setup, 2);
    let report = load.stop();
    report.assert_no_errors();
    println!("{} requests by {} containers", report.successes, report.by_backend.len());
    assert!(report.by_backend.len() > 50, "{:?}", report.by_backend);
    assert_eq!(reloads(&proxymgr).len(), 1);
}

#[test]
fn a_daemon_that_is_killed_or_ends_and_starts_again_under_load_costs_no_request() {
    let dockerd = Dockerd::start();
    let setup = setup(&dockerd, &dockerd.host());
    for name in ["one", "two", "three"] {
        dockerd.run(name, &[("SERVICE_NAME", "web")]);
    }
    let proxymgr = start(&setup);
    dockerd.wait_for_answers(PORT, &["one", "two", "three"]);
    let load = Load::to(dockerd.reached(PORT)).short(4).keep_alive(2).rate(100).start();
    for signal in [Signal::SIGKILL, Signal::SIGTERM] {
        dockerd.end(signal);
        wait_for_registry(&setup, &dockerd.host(), |daemon| {
            daemon["disconnected"] == 1 && daemon["down_since"].is_string() && daemon["down_s"].is_u64()
        });
        assert_eq!(in_rotation(&setup.paths).len(), 3);
        let told = said(&setup.paths, &["status"]).stdout;
        assert!(told.contains(&format!("No connection with Docker {} since 20", dockerd.host())), "{told}");
        let mut client = Client::connect(&setup.paths);
        client.line();
        let metrics = client.ask(r#"{"command": "metrics"}"#).to_string().replace('\\', "");
        for (metric, more) in [("down_timestamp_seconds", ""), ("sessions", ",state=\"disconnected\"")] {
            let told = format!(
                "proxymgr_registry_{metric}{{kind=\"docker\",registry=\"{}\"{more}}} 1",
                dockerd.host()
            );
            assert!(metrics.contains(&told), "{told} in {metrics}");
        }
        dockerd.come_back();
        wait_for_registry(&setup, &dockerd.host(), |daemon| {
            daemon["kind"] == "docker" && daemon["connected"] == 1 && daemon["down_since"].is_null()
        });
        let name = format!("late-{signal}");
        dockerd.run_with(&name, &[("SERVICE_NAME", "web")], &Dockerd::answers_check());
        wait_for_servers(&setup, 4);
        dockerd.stop(&name);
        wait_for_servers(&setup, 3);
    }
    load.stop().assert_no_errors();
    assert_eq!(reloads(&proxymgr).len(), 1);
}

#[test]
fn a_stream_of_events_that_is_cut_or_silent_under_load_hides_no_change_for_long() {
    let dockerd = Dockerd::start();
    let cutter = Cutter::before(&dockerd.socket());
    let setup = setup(&dockerd, &cutter.host());
    for name in ["one", "two"] {
        dockerd.run(name, &[("SERVICE_NAME", "web")]);
    }
    let proxymgr = start(&setup);
    dockerd.wait_for_answers(PORT, &["one", "two"]);
    let load = Load::to(dockerd.reached(PORT)).short(4).rate(100).start();
    for _ in 0..10 {
        eventually(SOON, "it connects again", || if cutter.cut() > 0 { Ok(()) } else { Err(()) });
    }
    dockerd.run_with("three", &[("SERVICE_NAME", "web")], &Dockerd::answers_check());
    wait_for_servers(&setup, 3);
    // Nothing comes through the connections that stand, and nobody is told that they are dead.
    cutter.silence();
    let since = Instant::now();
    dockerd.run_with("four", &[("SERVICE_NAME", "web")], &Dockerd::answers_check());
    wait_for_servers(&setup, 4);
    println!("found by the next listing after {:?}", since.elapsed());
    wait_for_message(&proxymgr, "not told by any event");
    let since = Instant::now();
    dockerd.run_with("five", &[("SERVICE_NAME", "web")], &Dockerd::answers_check());
    wait_for_servers(&setup, 5);
    assert!(since.elapsed() < SOON, "events are heard again");
    load.stop().assert_no_errors();
}

#[test]
fn a_container_asked_to_end_gets_no_request_under_load_while_it_still_serves() {
    let dockerd = Dockerd::start();
    let setup = setup(&dockerd, &dockerd.host());
    dockerd.run("stays", &[("SERVICE_NAME", "web")]);
    dockerd.run("ends", &[("SERVICE_NAME", "web"), ("LINGERS", "5")]);
    let proxymgr = start(&setup);
    dockerd.wait_for_answers(PORT, &["stays", "ends"]);
    // A signal that ends nothing is none.
    dockerd.kill_container("ends", "HUP");
    dockerd.wait_for_answers(PORT, &["stays", "ends"]);
    let load = Load::to(dockerd.reached(PORT)).short(4).rate(200).start();
    dockerd.kill_container("ends", "TERM");
    dockerd.wait_for_answers(PORT, &["stays"]);
    assert_eq!(dockerd.inspect("ends")["State"]["Running"], json!(true), "it serves on");
    let line = wait_for_message(&proxymgr, "weight 0");
    assert!(!line.says("maint"), "drained, not cut: {line:?}");
    eventually(SOON, "it has ended", || {
        if dockerd.inspect("ends")["State"]["Running"] == json!(false) { Ok(()) } else { Err(()) }
    });
    dockerd.start_container("ends");
    dockerd.wait_for_answers(PORT, &["stays", "ends"]);
    load.stop().assert_no_errors();
}
