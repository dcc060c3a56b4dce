//! Ten services that are bad in ten ways come together with ninety good ones.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::backend::{Backend, Backends};
use super::support::control::said;
use super::support::deadline::eventually;
use super::support::load::{Load, RunningLoad};
use super::support::ports::{free_port, free_ports};
use super::support::proxymgr_setup::{Paths, Setup, write_in_one_step};
use super::support::requests::{get, local, wait_for_answer, wait_for_refusal};
use super::support::running::{assert_config_says_what_runs, reloads, start, wait_for_message};

const GOOD: usize = 90;
/// For what takes a second on an idle machine.
const SOON: Duration = Duration::from_secs(60);

struct Good {
    name: String,
    port: u16,
    servers: PathBuf,
}

/// A name, the definition's text, the port that must stay closed, and a part of the reason.
type Bad = (&'static str, String, Option<u16>, &'static str);

fn write_raw(paths: &Paths, name: &str, text: &str) {
    write_in_one_step(&paths.services.join(format!("{name}.json")), text);
}

fn good(paths: &Paths, number: usize, server: &Backend) -> Good {
    let (name, port) = (format!("good-{number:02}"), free_port());
    let servers = paths.write_file_service(&name, port, &[server.address.to_string()]);
    Good { name, port, servers }
}

/// One for each way; `taken` is the port of a service that serves, `used` of another process.
fn bad(paths: &Paths, server: &Backend, taken: u16, used: u16) -> Vec<Bad> {
    let file = paths.root.join("bad.servers");
    write_in_one_step(&file, &format!("{}\n", server.address));
    let definition = |port: u16, key: &str, value: Value| {
        let mut definition = json!({"type": "file", "file": file, "port": port});
        definition[key] = value;
        definition.to_string()
    };
    let with = |key: &str, value: Value| {
        let port = free_port();
        (definition(port, key, value), Some(port))
    };
    let lines = |line: &str| with("listen_options", json!([line]));
    let bad = [
        ("json", ("{\"type\": \"file\",".to_owned(), None), "no valid JSON"),
        ("no-port", (json!({"type": "file", "file": file}).to_string(), None), "\"port\" is missing"),
        (
            "port-taken",
            (definition(taken, "on_empty", json!("keep")), None),
            "belongs to the service good-00",
        ),
        ("forbidden", lines("errorfile 503 /etc/passwd"), "'errorfile' is not allowed"),
        ("parse", lines("no-such-word x"), "unknown keyword 'no-such-word'"),
        ("semantic", lines("use_backend nowhere"), "unable to find required use_backend: 'nowhere'"),
        ("resolution", lines("server x no-such-host.invalid:80"), "could not resolve address"),
        ("port-used", (definition(used, "on_empty", json!("keep")), None), "is used by another process"),
        ("socket", with("bind", json!("unix@/no-such-directory/x.sock")), "/no-such-directory/x.sock"),
        ("certificate", with("bind_options", json!("ssl crt /no-such-file.pem")), "/no-such-file.pem"),
    ];
    bad.map(|(name, (text, port), reason)| (name, text, port, reason)).into()
}

/// All good ones serve, and each bad one is refused for its own reason, as `status` tells.
#[track_caller]
fn wait_until_sorted(paths: &Paths, good: &[Good], bad: &[Bad], server: &str) {
    for service in good {
        wait_for_answer(local(service.port), server);
    }
    eventually(SOON, "each service has its state", || {
        let said = said(paths, &["status", "--json"]);
        let status = said.json();
        let of = |name: &str| {
            let mut all = status["services"].as_array().unwrap().iter();
            all.find(|service| service["name"] == name).cloned().unwrap_or_default()
        };
        let lost = good.iter().map(|good| of(&good.name)).find(|service| service["state"] != "serving");
        let unfound = bad.iter().map(|(name, _, _, reason)| (of(name), reason)).find(|(service, reason)| {
            let told = |problem: &Value| problem.as_str().unwrap().contains(**reason);
            service["state"] != "refused"
                || service["serves"] != false
                || !service["problems"].as_array().unwrap().iter().any(told)
        });
        let counts = &status["counts"];
        let counted = counts["services"] == good.len() + bad.len() && counts["refused"] == bad.len();
        if lost.is_none() && unfound.is_none() && counted {
            Ok(())
        } else {
            Err((lost, unfound.map(|(service, reason)| (service, *reason)), counts.clone()))
        }
    });
    for port in bad.iter().filter_map(|(_, _, port, _)| *port) {
        wait_for_refusal(local(port));
    }
}

/// Each good service follows its servers within the usual time.
#[track_caller]
fn assert_followed(good: &[Good], server: &Backend, name: &str) {
    let began = Instant::now();
    for service in good {
        write_in_one_step(&service.servers, &format!("{}\n", server.address));
    }
    for service in good {
        wait_for_answer(local(service.port), name);
    }
    let took = began.elapsed();
    println!("{} services follow their servers after {took:?}", good.len());
    assert!(took < Duration::from_secs(10), "{took:?}");
}

fn load(good: &[Good]) -> Vec<RunningLoad> {
    let load = |good: &Good| Load::to(local(good.port)).short(2).keep_alive(2).rate(150).start();
    good.iter().step_by(30).map(load).collect()
}

#[test]
fn ten_bad_among_a_hundred_harm_nobody_nor_after_a_restart_under_load() {
    let (setup, backends) =
        (Setup::new().section("reload", json!({"min_interval": "100ms"})), Backends::new());
    let paths = &setup.paths;
    let servers = ["first", "second"].map(|name| backends.start(name));
    let mut all = vec![good(paths, 0, &servers[0])];
    let proxymgr = start(&setup);
    wait_for_answer(local(all[0].port), "first");
    let before = load(&all);

    let stranger = TcpListener::bind(("0.0.0.0", free_port())).unwrap();
    let bad = bad(paths, &servers[0], all[0].port, stranger.local_addr().unwrap().port());
    let came = Instant::now();
    for number in 1..GOOD {
        all.push(good(paths, number, &servers[0]));
        // Spread over the good ones.
        if let Some((name, text, ..)) = bad.get(number / 9).filter(|_| number % 9 == 0) {
            write_raw(paths, name, text);
        }
    }
    let (name, text, ..) = &bad[0];
    write_raw(paths, name, text);
    wait_until_sorted(paths, &all, &bad, "first");
    println!("sorted {:?} after they came, {} reloads", came.elapsed(), reloads(&proxymgr).len());
    let later = load(&all);
    assert_followed(&all, &servers[1], "second");
    wait_until_sorted(paths, &all, &bad, "second");
    assert_config_says_what_runs(paths);
    for load in before.into_iter().chain(later) {
        load.stop().assert_no_errors();
    }
    proxymgr.end();

    for state_is_lost in [false, true] {
        if state_is_lost {
            fs::remove_dir_all(&paths.state_dir).unwrap();
            fs::create_dir(&paths.state_dir).unwrap();
        }
        let began = Instant::now();
        let proxymgr = start(&setup);
        wait_for_answer(local(all[0].port), "second");
        let loads = load(&all);
        wait_until_sorted(paths, &all, &bad, "second");
        println!("state lost: {state_is_lost}; sorted after {:?}", began.elapsed());
        assert_followed(&all, &servers[0], "first");
        assert_followed(&all, &servers[1], "second");
        wait_until_sorted(paths, &all, &bad, "second");
        for load in loads {
            load.stop().assert_no_errors();
        }
        proxymgr.end();
    }
}

#[test]
fn a_change_that_only_others_suffer_from_stops_its_own_service_alone() {
    let setup = Setup::new().section("reload", json!({"min_interval": "10ms"}));
    let (paths, backends) = (&setup.paths, Backends::new());
    let server = backends.start("first");
    let helper = good(paths, 0, &server);
    let [port, thief, other0, other1] = free_ports();
    let definition = |port: u16, lines: &[&str]| json!({"type": "file", "file": helper.servers, "port": port, "listen_options": lines});
    let line = format!("use_backend {} if {{ path /never }}", helper.name);
    paths.write_service("refers", &definition(port, &[&line, "id 7"]));
    let proxymgr = start(&setup);
    wait_for_answer(local(port), "first");

    // The complaint is about the one that refers to it.
    paths.write_service(&helper.name, &definition(helper.port, &["mode tcp"]));
    paths.write_file_service("other0", other0, &[server.address.to_string()]);
    wait_for_answer(local(other0), "first");
    // The number of another, in a section that stands before it.
    paths.write_service("a-thief", &definition(thief, &["id 7"]));
    paths.write_file_service("other1", other1, &[server.address.to_string()]);
    wait_for_answer(local(other1), "first");
    wait_for_message(&proxymgr, "service good-00 is refused, its last good definition serves on");
    wait_for_message(&proxymgr, "service a-thief is refused, it does not serve");
    wait_for_refusal(local(thief));
    for port in [port, helper.port] {
        assert_eq!(get(local(port)).as_deref(), Ok("first"));
    }
    assert_config_says_what_runs(paths);
    let mended = definition(helper.port, &["timeout queue 3s"]);
    paths.write_service(&helper.name, &mended);
    wait_for_message(&proxymgr, "service good-00 goes ahead");
}

#[test]
fn a_crowd_of_servers_in_one_service_holds_up_nobody_under_load() {
    let setup = Setup::new().section("reload", json!({"min_interval": "10ms"}));
    let (paths, backends) = (&setup.paths, Backends::new());
    let servers = ["first", "second"].map(|name| backends.start(name));
    let mut all = vec![good(paths, 0, &servers[0])];
    let proxymgr = start(&setup);
    wait_for_answer(local(all[0].port), "first");
    let loads = load(&all);
    // What fits into the largest file that is read.
    let crowd: Vec<_> = (0..80_000_u32).map(u32::to_be_bytes).collect();
    let crowd: Vec<_> = crowd.iter().map(|[_, a, b, c]| format!("1.{a}.{b}.{c}:1")).collect();
    paths.write_file_service("crowd", free_port(), &crowd);
    all.push(good(paths, 1, &servers[0]));
    let came = Instant::now();
    wait_for_answer(local(all[1].port), "first");
    println!("a service beside the crowd serves after {:?}", came.elapsed());
    assert_followed(&all, &servers[1], "second");
    let line = wait_for_message(&proxymgr, "a service has at most 10000 servers");
    assert_eq!(
        (&line.fields["service"], &line.fields["entry"]),
        (&json!("crowd"), &json!("the last 70000 servers"))
    );
    for load in loads {
        load.stop().assert_no_errors();
    }
}
