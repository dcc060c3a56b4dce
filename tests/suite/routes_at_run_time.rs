//! Routes come and go without a reload, and are there after each.

use std::fs;
use std::time::Instant;

use nix::sys::signal::Signal;
use proxymgr::engine::haproxy_version::HaproxyVersion;
use serde_json::{Value, json};

use super::support::backend::Backends;
use super::support::deadline::eventually;
use super::support::haproxy;
use super::support::load::Load;
use super::support::requests::{SOON, local};
use super::support::routed::{path, setup, wait_for, who, write};
use super::support::running::{assert_config_says_what_runs, log_lines, reloads, start, wait_for_message};

const ROUTES: usize = 1000;

fn many(range: std::ops::Range<usize>) -> Value {
    range.map(|number| path(&format!("/route/{number}"))).chain([path("/")]).collect()
}

#[test]
fn a_thousand_routes_come_and_go_under_load_without_a_reload_or_an_error() {
    let ((setup, port), backends) = (setup(None), Backends::new());
    let servers = ["web", "other"].map(|name| backends.start(name));
    let addresses = servers.each_ref().map(|server| server.address.to_string());
    write(&setup.paths, "web", &path("/"), &[&addresses[0]]);
    write(&setup.paths, "other", &path("/other"), &[&addresses[1]]);
    let proxymgr = start(&setup);
    wait_for(port, "/", "web");
    let load = Load::to(local(port)).short(4).keep_alive(4).rate(800).start();
    let route = |number: usize| format!("/route/{number}/x");

    let began = Instant::now();
    for number in (0..100).chain([ROUTES]) {
        write(&setup.paths, "web", &many(0..number), &[&addresses[0]]);
        if let Some(last) = number.checked_sub(1) {
            wait_for(port, &route(last), "web");
        }
    }
    println!("{ROUTES} routes added in 101 changes in {:?}", began.elapsed());
    assert_eq!(who(port, "test", &route(0)), "web");
    // From one to the other.
    let all: Value = (0..ROUTES).map(|number| path(&format!("/route/{number}"))).collect();
    write(&setup.paths, "web", &path("/"), &[&addresses[0]]);
    eventually(SOON, "none is left", || match who(port, "test", "/route/other") {
        answer if answer == "web" && map(&setup.paths).lines().count() == 2 => Ok(()),
        other => Err(other),
    });
    write(&setup.paths, "other", &all, &[&addresses[1]]);
    wait_for(port, &route(ROUTES - 1), "other");
    wait_for(port, "/other", "web");
    // A whole service, and back.
    setup.paths.remove_service("other");
    wait_for(port, &route(7), "web");
    write(&setup.paths, "other", &all, &[&addresses[1]]);
    wait_for(port, &route(7), "other");
    let report = load.stop();
    println!("{report}");
    report.assert_no_errors();
    assert_eq!(reloads(&proxymgr), ["start"]);
    eventually(SOON, "the file says what runs", || match (on_disk(&setup.paths), map(&setup.paths)) {
        (file, runs) if file == runs => Ok(()),
        other => Err(other),
    });

    // What was told at run time is there after a reload, and after a crash.
    let definition = json!({
        "type": "static", "default_servers": [addresses[1]], "route": all, "listen_options": ["timeout queue 3s"],
    });
    setup.paths.write_service("other", &definition);
    eventually(SOON, "a reload", || if reloads(&proxymgr).len() == 2 { Ok(()) } else { Err(()) });
    wait_for(port, &route(ROUTES - 1), "other");
    proxymgr.haproxies().last().unwrap().signal(Signal::SIGKILL);
    eventually(SOON, "a restart", || if reloads(&proxymgr).len() == 3 { Ok(()) } else { Err(()) });
    wait_for(port, &route(ROUTES - 1), "other");
    assert_eq!(map(&setup.paths).lines().count(), ROUTES + 1);
}

/// What `HAProxy` has, sorted.
fn map(paths: &super::support::proxymgr_setup::Paths) -> String {
    let file = paths.runtime_dir.join("routes-http-in.map");
    let reply = haproxy::ask(&paths.stats_socket, &format!("show map {}", file.display())).unwrap();
    let mut lines: Vec<_> =
        reply.lines().filter_map(|line| line.split_once(' ')).map(|(_, entry)| entry).collect();
    lines.sort_unstable();
    lines.join("\n") + "\n"
}

fn on_disk(paths: &super::support::proxymgr_setup::Paths) -> String {
    let text = fs::read_to_string(paths.runtime_dir.join("routes-http-in.map")).unwrap();
    let mut lines: Vec<_> = text.lines().collect();
    lines.sort_unstable();
    lines.join("\n") + "\n"
}

#[test]
fn a_route_that_others_spoilt_is_mended() {
    let ((setup, port), backends) = (setup(None), Backends::new());
    let server = backends.start("web");
    let address = server.address.to_string();
    write(&setup.paths, "web", &json!([path("/a"), path("/b"), path("/c")]), &[&address]);
    let proxymgr = start(&setup);
    wait_for(port, "/a", "web");
    let file = setup.paths.runtime_dir.join("routes-http-in.map");
    for command in
        ["del map FILE /a/", "set map FILE /b/ nobody/0", "del map FILE /c/", "add map FILE /d/ web/0"]
    {
        haproxy::ask(&setup.paths.stats_socket, &command.replace("FILE", file.to_str().unwrap())).unwrap();
    }
    wait_for(port, "/a", "404");
    // It can't be done, so HAProxy is asked what it has: otherwise that is each minute.
    let stripped = json!({"frontend": "http-in", "path": "/c", "strip_prefix": true});
    write(&setup.paths, "web", &json!([path("/a"), path("/b"), stripped]), &[&address]);
    eventually(SOON, "all is as it should be", || match map(&setup.paths) {
        map if map == "/a/ web/0\n/b/ web/0\n/c/ web/1\n" => Ok(()),
        other => Err(other),
    });
    wait_for(port, "/a", "web");
    wait_for_message(&proxymgr, "http-in: /a/ is missing");
    assert_eq!(reloads(&proxymgr), ["start"]);
}

#[test]
fn routes_outlive_an_upgrade_of_proxymgr() {
    let ((setup, port), backends) = (setup(Some("web")), Backends::new());
    let server = backends.start("web");
    write(&setup.paths, "web", &json!([path("/a"), path("/b")]), &[&server.address.to_string()]);
    let proxymgr = start(&setup);
    wait_for(port, "/a", "web");
    proxymgr.signal(Signal::SIGUSR2);
    let ready = || log_lines(&proxymgr).iter().filter(|line| line.message == "ready").count();
    eventually(SOON, "the next one is ready", || if ready() == 2 { Ok(()) } else { Err(ready()) });
    write(&setup.paths, "web", &json!([path("/a"), path("/c")]), &[&server.address.to_string()]);
    eventually(SOON, "what changed is done", || match map(&setup.paths) {
        map if map == "!/ web/0\n/a/ web/0\n/c/ web/0\n" => Ok(()),
        other => Err(other),
    });
    assert_eq!(reloads(&proxymgr), ["start"]);
}

/// What the README's table says of new services that are reached by routes, and of those that are gone.
#[test]
fn a_hundred_new_services_cost_no_reload_where_haproxy_takes_backends_at_run_time_under_load() {
    let reload = json!({"min_interval": "10ms"});
    let ((setup, port), backends) = (setup(None), Backends::new());
    let setup = setup.section("reload", reload);
    let server = backends.start("web");
    let address = server.address.to_string();
    write(&setup.paths, "web", &path("/"), &[&address]);
    let proxymgr = start(&setup);
    wait_for(port, "/", "web");
    let news: Vec<_> = (0..100).map(|number| backends.start(&format!("new-{number}"))).collect();
    let load = Load::to(local(port)).short(4).keep_alive(4).rate(400).start();
    for (number, server) in news.iter().enumerate() {
        let name = format!("new-{number}");
        write(&setup.paths, &name, &path(&format!("/new/{number}")), &[&server.address.to_string()]);
        wait_for(port, &format!("/new/{number}/x"), &name);
    }
    let founded = reloads(&proxymgr).len() - 1;
    let configured = fs::read_to_string(&setup.paths.haproxy_cfg).unwrap();
    assert_eq!(configured.matches("\nbackend new-").count(), 100);
    assert_config_says_what_runs(&setup.paths);
    // One of them with other lines, which only a reload brings.
    let definition = json!({
        "type": "static", "default_servers": [news[0].address.to_string()], "route": path("/lines"),
        "listen_options": ["timeout queue 9s"],
    });
    setup.paths.write_service("lines", &definition);
    wait_for(port, "/lines", "new-0");
    let before = reloads(&proxymgr).len();
    assert_eq!(before, founded + 2, "{:?}", reloads(&proxymgr));
    for number in 0..100 {
        setup.paths.remove_service(&format!("new-{number}"));
    }
    for number in 0..100 {
        wait_for(port, &format!("/new/{number}/x"), "web");
    }
    let takes_backends = takes_backends(&setup);
    if takes_backends {
        assert_eq!(founded, 0, "{:?}", reloads(&proxymgr));
        eventually(SOON, "the backends are gone", || {
            let backends = haproxy::ask(&setup.paths.stats_socket, "show backend").unwrap();
            if backends.contains("new-") { Err(backends) } else { Ok(()) }
        });
        // And back again, at once.
        write(&setup.paths, "new-7", &path("/new/7"), &[&news[7].address.to_string()]);
        wait_for(port, "/new/7", "new-7");
    }
    let report = load.stop();
    println!("{report}");
    report.assert_no_errors();
    assert_eq!(reloads(&proxymgr).len(), before, "to go costs none");
}

fn takes_backends(setup: &super::support::proxymgr_setup::Setup) -> bool {
    let info = haproxy::ask(&setup.paths.stats_socket, "show info").unwrap();
    let version = info.lines().find_map(|line| line.strip_prefix("Version: ")).unwrap();
    HaproxyVersion::parse(version).unwrap().at_least(3, 4)
}
