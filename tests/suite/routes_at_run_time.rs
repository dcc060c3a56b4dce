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
use super::support::routed::{path, setup, turns, wait_for, who, write};
use super::support::running::{assert_config_says_what_runs, log_lines, reloads, start, wait_for_message};

/// Services, and the routes that each of them gets.
const SERVICES: usize = 10;
const ROUTES: usize = 100;
/// How many it has, one change after the other.
const STEPS: [usize; 14] = [2, 3, 4, 5, 6, 8, 10, 20, 30, 40, 50, 70, 90, ROUTES];

fn routes(count: usize) -> Value {
    (0..count).map(|number| path(&format!("/route/{number}"))).collect()
}

/// The first routes of a service, and its own.
fn of_service(service: usize, count: usize) -> Value {
    let own = path(&format!("/service-{service}"));
    (0..count).map(|number| path(&format!("/route/{service}/{number}"))).chain([own]).collect()
}

#[test]
fn a_thousand_routes_come_and_go_under_load_without_a_reload_or_an_error() {
    let ((setup, port), backends) = (setup(None), Backends::new());
    let rest = backends.start("rest");
    write(&setup.paths, "rest", &path("/"), &[&rest.address.to_string()]);
    let servers: Vec<_> = (0..SERVICES).map(|number| backends.start(&format!("web-{number}"))).collect();
    let define = |service: usize, count: usize| {
        let address = servers[service].address.to_string();
        write(&setup.paths, &format!("web-{service}"), &of_service(service, count), &[&address]);
    };
    (0..SERVICES).for_each(|service| define(service, 1));
    let proxymgr = start(&setup);
    (0..SERVICES)
        .for_each(|service| wait_for(port, &format!("/route/{service}/0"), &format!("web-{service}")));

    let load = |path: &str| Load::to(local(port)).path(path).short(2).keep_alive(2).rate(200).start();
    let loads =
        [("/", "rest"), ("/route/3/0/x", "web-3"), ("/route/4/99/x", "")].map(|(path, by)| (load(path), by));
    let began = Instant::now();
    for service in 0..SERVICES {
        let name = format!("web-{service}");
        for count in STEPS {
            define(service, count);
            turns(port, &format!("/route/{service}/{}/x", count - 1), "rest", &name);
        }
    }
    println!(
        "{} routes added in {} changes in {:?}",
        SERVICES * (ROUTES - 1),
        SERVICES * STEPS.len(),
        began.elapsed()
    );
    assert_eq!(map(&setup.paths).lines().count(), SERVICES * (ROUTES + 1) + 1);
    let began = Instant::now();
    for service in 0..SERVICES {
        let name = format!("web-{service}");
        for count in STEPS.into_iter().rev() {
            define(service, count - 1);
            turns(port, &format!("/route/{service}/{}/x", count - 1), &name, "rest");
        }
        define(service, 1);
    }
    println!("... and removed in {:?}", began.elapsed());
    for (load, by) in loads {
        let report = load.stop();
        println!("{report}");
        report.assert_no_errors();
        // The last one's route came and went.
        let expected = if by.is_empty() { vec!["rest", "web-4"] } else { vec![by] };
        assert_eq!(report.by_backend.keys().collect::<Vec<_>>(), expected);
    }
    assert_eq!(reloads(&proxymgr), ["start"]);
    eventually(SOON, "the last one is gone, too", || match map(&setup.paths).lines().count() {
        count if count == SERVICES * 2 + 1 => Ok(()),
        other => Err(other),
    });
    assert_file_says_what_runs(&setup.paths);
}

#[test]
fn a_thousand_routes_move_at_once_under_load_and_are_there_after_a_reload_and_a_crash() {
    let ((setup, port), backends) = (setup(None), Backends::new());
    let servers = ["web", "other"].map(|name| backends.start(name));
    let addresses = servers.each_ref().map(|server| server.address.to_string());
    let many = SERVICES * ROUTES;
    let (last, all) = (format!("/route/{}", many - 1), routes(many));
    write(&setup.paths, "web", &path("/"), &[&addresses[0]]);
    write(&setup.paths, "other", &path("/other"), &[&addresses[1]]);
    let proxymgr = start(&setup);
    wait_for(port, "/", "web");
    let load = Load::to(local(port)).short(4).keep_alive(4).rate(400).start();
    write(&setup.paths, "other", &all, &[&addresses[1]]);
    turns(port, &last, "web", "other");
    // From one to the other.
    write(&setup.paths, "other", &path("/other"), &[&addresses[1]]);
    turns(port, &last, "other", "web");
    write(&setup.paths, "other", &all, &[&addresses[1]]);
    turns(port, &last, "web", "other");
    // A whole service, and back.
    setup.paths.remove_service("other");
    turns(port, &last, "other", "web");
    write(&setup.paths, "other", &all, &[&addresses[1]]);
    turns(port, &last, "web", "other");
    let report = load.stop();
    println!("{report}");
    report.assert_no_errors();
    assert_eq!(reloads(&proxymgr), ["start"]);
    assert_file_says_what_runs(&setup.paths);

    // What was told at run time is there after a reload, and after a crash.
    let definition = json!({
        "type": "static", "default_servers": [addresses[1]], "route": all, "listen_options": ["timeout queue 3s"],
    });
    setup.paths.write_service("other", &definition);
    eventually(SOON, "a reload", || if reloads(&proxymgr).len() == 2 { Ok(()) } else { Err(()) });
    wait_for(port, &last, "other");
    proxymgr.haproxies().last().unwrap().signal(Signal::SIGKILL);
    eventually(SOON, "a restart", || if reloads(&proxymgr).len() == 3 { Ok(()) } else { Err(()) });
    wait_for(port, &last, "other");
    assert_eq!(map(&setup.paths).lines().count(), many + 1);
}

#[track_caller]
fn assert_file_says_what_runs(paths: &super::support::proxymgr_setup::Paths) {
    eventually(SOON, "the file says what runs", || match (on_disk(paths), map(paths)) {
        (file, runs) if file == runs => Ok(()),
        other => Err(other),
    });
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
    // ProxyMgr looks once what a new HAProxy has, and mends what is spoilt before that.
    eventually(SOON, "the routes are spoilt", || {
        for command in
            ["del map FILE /a/", "set map FILE /b/ nobody/0", "del map FILE /c/", "add map FILE /d/ web/0"]
        {
            haproxy::ask(&setup.paths.stats_socket, &command.replace("FILE", file.to_str().unwrap()))
                .unwrap();
        }
        match who(port, "test", "/a") {
            answer if answer == "404" => Ok(()),
            other => Err(other),
        }
    });
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
        turns(port, &format!("/new/{number}/x"), "web", &name);
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
        turns(port, &format!("/new/{number}/x"), &format!("new-{number}"), "web");
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

/// What the README says of new services on 3.4: their servers can be told at run time, other lines of their sections can't.
#[test]
fn a_new_service_with_lines_of_its_own_or_a_cookie_is_exactly_one_reload() {
    let ((setup, port), backends) = (setup(None), Backends::new());
    let setup = setup.section("reload", json!({"min_interval": "10ms"}));
    let server = backends.start("web");
    let address = server.address.to_string();
    write(&setup.paths, "web", &path("/"), &[&address]);
    let proxymgr = start(&setup);
    wait_for(port, "/", "web");
    let new = backends.start("new");
    let of_a_plain_one = usize::from(!takes_backends(&setup));
    let own = |extra: Value| {
        let mut definition = json!({"type": "static", "default_servers": [new.address.to_string()]});
        definition.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        definition
    };
    for (name, extra, expected) in [
        (
            "plain",
            json!({"server_options": "check inter 2s", "listen_options": ["mode http"]}),
            of_a_plain_one,
        ),
        ("lines", json!({"listen_options": ["mode http", "timeout queue 9s"]}), 1),
        ("cookie", json!({"cookie": "SRV"}), 1),
    ] {
        let before = reloads(&proxymgr).len();
        let mut definition = own(extra);
        definition["route"] = path(&format!("/{name}"));
        setup.paths.write_service(name, &definition);
        turns(port, &format!("/{name}/x"), "web", "new");
        assert_eq!(reloads(&proxymgr).len() - before, expected, "{name}: {:?}", reloads(&proxymgr));
        assert_config_says_what_runs(&setup.paths);
    }
}

fn takes_backends(setup: &super::support::proxymgr_setup::Setup) -> bool {
    let info = haproxy::ask(&setup.paths.stats_socket, "show info").unwrap();
    let version = info.lines().find_map(|line| line.strip_prefix("Version: ")).unwrap();
    HaproxyVersion::parse(version).unwrap().at_least(3, 4)
}
