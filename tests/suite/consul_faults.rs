//! What Consul does in bad nights, under load: no request fails, and what was changed arrives.

use std::collections::BTreeSet;
use std::fs;
use std::time::{Duration, Instant};

use serde_json::json;

use super::support::backend::{Backend, Backends};
use super::support::consul::{ConsulServer, MASTER_TOKEN};
use super::support::deadline::eventually;
use super::support::load::{Load, RunningLoad};
use super::support::ports::free_port;
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{local, wait_for_backends};
use super::support::running::{assert_config_says_what_runs, log_lines, start, wait_for_message};

const SOON: Duration = Duration::from_secs(20);

fn load(port: u16) -> RunningLoad {
    Load::to(local(port)).short(2).keep_alive(2).rate(200).start()
}

/// A service of this name at `servers`, and a `ProxyMgr` that serves it.
fn follow(servers: &str, port: u16, setup: Setup) -> Proxymgr {
    setup.paths.write_service("web", &json!({"type": "consul", "service": "web", "port": port}));
    start(&setup.section("consul", json!({"servers": servers, "max_stale": "5s"})))
}

/// For so many requests more, each succeeds.
#[track_caller]
fn watch(load: &RunningLoad, requests: u64) {
    let until = load.so_far().successes + requests;
    eventually(SOON, "the requests are answered", || {
        let report = load.so_far();
        assert!(report.errors.is_empty(), "{report}");
        if report.successes >= until { Ok(()) } else { Err(report.successes) }
    });
}

#[track_caller]
fn end(load: RunningLoad, proxymgr: &Proxymgr) {
    let report = load.stop();
    println!("{report}");
    report.assert_no_errors();
    assert_eq!(proxymgr.reloads(), 1);
}

fn times(proxymgr: &Proxymgr, message: &str) -> usize {
    log_lines(proxymgr).iter().filter(|line| line.message.contains(message)).count()
}

#[test]
fn an_agent_that_is_killed_and_comes_back_loses_no_change_under_load() {
    let (mut consul, backends, port) = (ConsulServer::start(), Backends::new(), free_port());
    let [one, two, three] = ["one", "two", "three"].map(|name| backends.start(name));
    consul.add("web", "one", &one);
    consul.add("web", "two", &two);
    let proxymgr = follow(&consul.address(), port, Setup::new());
    wait_for_backends(port, &["one", "two"]);
    let load = load(port);
    for round in 1..=2 {
        consul.kill();
        eventually(SOON, "the loss is noticed", || match times(&proxymgr, "Consul gives no answer") {
            told if told >= round => Ok(()),
            told => Err(told),
        });
        watch(&load, 300);
        wait_for_backends(port, &["one", "two"]);
        consul.restart();
        consul.add("web", "three", &three);
        wait_for_backends(port, &["one", "three", "two"]);
        consul.remove("three");
        wait_for_backends(port, &["one", "two"]);
    }
    end(load, &proxymgr);
    assert_config_says_what_runs(&proxymgr.paths);
}

#[test]
fn a_frozen_agent_is_left_for_the_next_one_under_load() {
    let (servers, backends, port) = (ConsulServer::start_three(), Backends::new(), free_port());
    let [one, two] = ["one", "two"].map(|name| backends.start(name));
    let follower = servers.iter().position(|server| !server.leads()).unwrap();
    let others = [(follower + 1) % 3, (follower + 2) % 3];
    servers[others[0]].add("web", "one", &one);
    let list = [follower, others[0], others[1]].map(|number| servers[number].address()).join(",");
    let proxymgr = follow(&list, port, Setup::new());
    wait_for_backends(port, &["one"]);
    let load = load(port);
    servers[follower].freeze();
    servers[others[0]].add("web", "two", &two);
    // Its question waits for as long as it may.
    eventually(Duration::from_secs(120), "the next one is asked", || {
        if times(&proxymgr, "Consul answers again") > 0 { Ok(()) } else { Err(()) }
    });
    wait_for_backends(port, &["one", "two"]);
    servers[follower].thaw();
    end(load, &proxymgr);
}

#[test]
fn a_leader_that_dies_and_a_time_without_any_change_nothing_and_lose_nothing_under_load() {
    let (mut servers, backends, port) = (ConsulServer::start_three(), Backends::new(), free_port());
    let pool: Vec<Backend> = (0..4).map(|number| backends.start(&number.to_string())).collect();
    let leader = servers.iter().position(ConsulServer::leads).unwrap();
    let followers = [(leader + 1) % 3, (leader + 2) % 3];
    let asked = followers[0];
    servers[asked].add("web", "0", &pool[0]);
    let list = [followers[0], followers[1]].map(|number| servers[number].address()).join(",");
    let proxymgr = follow(&list, port, Setup::new());
    wait_for_backends(port, &["0"]);
    let load = load(port);

    // Another is elected.
    servers[leader].kill();
    servers[asked].add("web", "1", &pool[1]);
    wait_for_backends(port, &["0", "1"]);

    // No majority: nobody can lead.
    servers[followers[1]].kill();
    // A question that waits is answered when its time is up.
    proxymgr.wait_for_log(Duration::from_secs(60), "knows no leader");
    let until = Instant::now() + Duration::from_secs(8);
    eventually(Duration::from_secs(30), "a while without a leader", || {
        load.so_far().assert_no_errors();
        if Instant::now() > until { Ok(()) } else { Err(()) }
    });
    wait_for_backends(port, &["0", "1"]);

    servers[leader].restart();
    servers[followers[1]].restart();
    servers.iter().for_each(ConsulServer::wait_for_leader);
    servers[asked].add("web", "2", &pool[2]);
    wait_for_backends(port, &["0", "1", "2"]);
    servers[asked].remove("1");
    wait_for_backends(port, &["0", "2"]);
    end(load, &proxymgr);
}

#[test]
fn a_service_that_flaps_fifty_times_costs_no_request_and_ends_right_under_load() {
    let (consul, backends, port) = (ConsulServer::start(), Backends::new(), free_port());
    let [one, two] = ["one", "two"].map(|name| backends.start(name));
    consul.add("web", "one", &one);
    consul.add("web", "two", &two);
    let proxymgr = follow(&consul.address(), port, Setup::new());
    wait_for_backends(port, &["one", "two"]);
    let load = load(port);
    for _ in 0..50 {
        consul.check("two", "fail");
        consul.check("two", "pass");
    }
    consul.check("two", "fail");
    wait_for_backends(port, &["one"]);
    for _ in 0..50 {
        consul.remove("one");
        consul.add("web", "one", &one);
    }
    consul.check("two", "pass");
    wait_for_backends(port, &["one", "two"]);
    end(load, &proxymgr);
    assert_config_says_what_runs(&proxymgr.paths);
}

#[test]
fn a_token_that_is_withdrawn_and_replaced_changes_nothing_and_is_never_shown_under_load() {
    let (consul, backends, port) = (ConsulServer::start_with_acl(), Backends::new(), free_port());
    let [one, two] = ["one", "two"].map(|name| backends.start(name));
    consul.add("web", "one", &one);
    let rules = r#"service_prefix "" { policy = "read" } node_prefix "" { policy = "read" }"#;
    consul.put("/v1/acl/policy", &json!({"Name": "read", "Rules": rules}).to_string());
    let token = || {
        let made = consul.put("/v1/acl/token", &json!({"Policies": [{"Name": "read"}]}).to_string());
        let made: serde_json::Value = serde_json::from_str(&made).unwrap();
        ["SecretID", "AccessorID"].map(|key| made[key].as_str().unwrap().to_owned())
    };
    let [secret, accessor] = token();
    let setup = Setup::new();
    let file = setup.root_file("token", &format!("{secret}\n"));
    let section = json!({"servers": consul.address(), "token": format!("file:{}", file.display())});
    setup.paths.write_service("web", &json!({"type": "consul", "service": "web", "port": port}));
    let proxymgr = start(&setup.section("consul", section));
    wait_for_backends(port, &["one"]);
    let load = load(port);

    consul.delete_path(&format!("/v1/acl/token/{accessor}"));
    consul.add("web", "two", &two);
    wait_for_message(&proxymgr, "check the token");
    watch(&load, 500);
    wait_for_backends(port, &["one"]);
    // Another token, which the file holds from now on.
    let [fresh, _] = token();
    write_in_one_step(&file, &fresh);
    wait_for_backends(port, &["one", "two"]);

    // Its policy is taken away: the answer is empty then, and the last servers stay.
    let read: serde_json::Value = serde_json::from_str(&consul.get("/v1/acl/policies").1).unwrap();
    let policy =
        read.as_array().unwrap().iter().find(|policy| policy["Name"] == "read").unwrap()["ID"].clone();
    let nothing = json!({"Name": "read", "Rules": r#"key_prefix "" { policy = "read" }"#});
    consul.put(&format!("/v1/acl/policy/{}", policy.as_str().unwrap()), &nothing.to_string());
    consul.check("two", "fail");
    wait_for_message(&proxymgr, "on_empty");
    watch(&load, 500);
    wait_for_backends(port, &["one", "two"]);
    end(load, &proxymgr);

    let shown: BTreeSet<bool> = [secret.as_str(), fresh.as_str(), MASTER_TOKEN]
        .map(|token| {
            proxymgr.log().contains(token)
                || fs::read_to_string(&proxymgr.paths.haproxy_cfg).unwrap().contains(token)
        })
        .into();
    assert_eq!(shown, BTreeSet::from([false]));
}
