//! Lines of proxymgr.yml with values of a registry.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::support::backend::Backends;
use super::support::consul::{ConsulServer, Instance};
use super::support::control::said;
use super::support::deadline::eventually;
use super::support::load::Load;
use super::support::ports::{free_port, free_ports};
use super::support::proxymgr_setup::{Paths, Setup};
use super::support::requests::{local, wait_for_backends};
use super::support::running::{reloads, start, wait_for_message};
use super::support::zookeeper::ZookeeperServer;
use super::support::zookeeper_nodes::Nodes;

const SOON: Duration = Duration::from_secs(20);
const START: &str = "start";
const BASE: &str = "global or defaults changed";

/// The global and defaults sections that take values.
fn with_lines(setup: Setup) -> Setup {
    setup.global(&["maxconn ${kv:haproxy/maxconn:-4096}"]).defaults(&[
        "mode http",
        "timeout connect 2s",
        "timeout client 30s",
        "timeout server ${kv:haproxy/timeout:-30s}",
    ])
}

fn config(paths: &Paths) -> String {
    fs::read_to_string(&paths.haproxy_cfg).unwrap()
}

#[track_caller]
fn wait_for_line(paths: &Paths, line: &str) {
    eventually(SOON, line, || {
        let config = config(paths);
        if config.lines().any(|found| found.trim() == line) { Ok(()) } else { Err(config) }
    });
}

#[test]
fn a_value_in_consul_is_one_reload_and_a_refused_one_none_under_load() {
    let (consul, backends, [port, late_port]) = (ConsulServer::start(), Backends::new(), free_ports());
    let one = backends.start("one");
    consul.write("haproxy/maxconn", "2000\n");
    let setup = with_lines(Setup::new()).section("consul", json!({"servers": consul.address()}));
    setup.paths.write_file_service("web", port, &[one.address.to_string()]);
    let proxymgr = start(&setup);
    wait_for_backends(port, &["one"]);
    wait_for_line(&setup.paths, "maxconn 2000");
    wait_for_line(&setup.paths, "timeout server 30s");
    assert_eq!(reloads(&proxymgr), [START], "the first values were waited for");

    let load = Load::to(local(port)).short(2).keep_alive(2).rate(200).start();
    consul.write("haproxy/timeout", "25s");
    wait_for_line(&setup.paths, "timeout server 25s");
    assert_eq!(reloads(&proxymgr), [START, BASE]);
    // HAProxy refuses the first; the second is no word, and would be a section of its own.
    consul.write("haproxy/timeout", "soon");
    wait_for_message(&proxymgr, "haproxy/timeout: HAProxy says: ");
    consul.write("haproxy/maxconn", "1\nlisten evil");
    wait_for_message(&proxymgr, "haproxy/maxconn: it can't be filled in");
    // Others go on meanwhile.
    setup.paths.write_file_service("late", late_port, &[one.address.to_string()]);
    wait_for_backends(late_port, &["one"]);
    wait_for_line(&setup.paths, "timeout server 25s");
    wait_for_line(&setup.paths, "maxconn 2000");
    // Good ones are taken again, and a value that is gone takes its default.
    consul.write("haproxy/maxconn", "1500");
    consul.write("haproxy/timeout", "20s");
    wait_for_line(&setup.paths, "maxconn 1500");
    wait_for_line(&setup.paths, "timeout server 20s");
    consul.delete("haproxy/timeout");
    wait_for_line(&setup.paths, "timeout server 30s");
    let report = load.stop();
    println!("{report}");
    report.assert_no_errors();
    assert!(reloads(&proxymgr).iter().skip(1).all(|why| why == BASE || why.contains("late")));
}

/// It passes the check, and ends before it serves.
const ENDS: &str = r#"case "$1" in -c|-v) ;; *) for word; do [ -f "$word" ] && grep -q 'maxconn 1666$' "$word" && exit 1; done ;; esac"#;

#[test]
fn a_value_that_haproxy_does_not_start_with_stands_in_nobodys_way() {
    let (consul, backends, [port, late_port]) = (ConsulServer::start(), Backends::new(), free_ports());
    let one = backends.start("one");
    consul.write("haproxy/maxconn", "2000");
    let setup =
        with_lines(Setup::new().before_haproxy(ENDS)).section("consul", json!({"servers": consul.address()}));
    setup.paths.write_file_service("web", port, &[one.address.to_string()]);
    let proxymgr = start(&setup);
    consul.write("haproxy/maxconn", "1666");
    wait_for_message(&proxymgr, "haproxy/maxconn: the reload with them failed");
    setup.paths.write_file_service("late", late_port, &[one.address.to_string()]);
    wait_for_backends(late_port, &["one"]);
    wait_for_line(&setup.paths, "maxconn 2000");
    consul.write("haproxy/maxconn", "1667");
    wait_for_line(&setup.paths, "maxconn 1667");
    wait_for_backends(port, &["one"]);
}

#[test]
fn values_in_zookeeper_are_followed_too() {
    let (zookeeper, backends, port) = (ZookeeperServer::start(), Backends::new(), free_port());
    let one = backends.start("one");
    let nodes = Nodes::of(&zookeeper);
    nodes.put("/proxies/haproxy/maxconn", "2000");
    let values = json!({"type": "zookeeper", "servers": zookeeper.address(), "path": "/proxies"});
    let setup = with_lines(Setup::new()).section("values", values);
    setup.paths.write_file_service("web", port, &[one.address.to_string()]);
    let proxymgr = start(&setup);
    wait_for_line(&setup.paths, "maxconn 2000");
    nodes.put("/proxies/haproxy/timeout", "25s");
    wait_for_line(&setup.paths, "timeout server 25s");
    assert_eq!(reloads(&proxymgr), [START, BASE]);
    wait_for_backends(port, &["one"]);
}

#[test]
fn the_values_that_served_last_outlive_a_restart_without_the_registry_and_a_reread() {
    let (mut consul, backends, port) = (ConsulServer::start(), Backends::new(), free_port());
    let one = backends.start("one");
    consul.write("haproxy/maxconn", "2000");
    let setup = with_lines(Setup::new())
        .section("consul", json!({"servers": consul.address()}))
        .section("safety", json!({"startup_timeout": "2s"}));
    setup.paths.write_file_service("web", port, &[one.address.to_string()]);
    let proxymgr = start(&setup);
    wait_for_line(&setup.paths, "maxconn 2000");
    proxymgr.signal(Signal::SIGHUP);
    eventually(SOON, "it has read its file again", || {
        let taken = proxymgr.log().matches("\"ProxyMgr starts\"").count();
        if taken == 2 { Ok(()) } else { Err(taken) }
    });
    consul.write("haproxy/maxconn", "2100");
    eventually(SOON, "it serves with the new value", || {
        let served = proxymgr.log().matches("ms after the order").count();
        if served == 2 { Ok(()) } else { Err(served) }
    });
    assert_eq!(reloads(&proxymgr), [START, BASE]);
    assert!(proxymgr.end().success());

    consul.kill();
    let _again = start(&setup);
    wait_for_backends(port, &["one"]);
    assert!(config(&setup.paths).contains("maxconn 2100"), "{}", config(&setup.paths));
    // What is shown without doing it knows them too.
    consul.restart();
    consul.wait_for_leader();
    let shown = said(&setup.paths, &["render"]).stdout;
    assert!(shown.contains("maxconn 2100"), "{shown}");
}

#[test]
fn a_template_takes_values_too() {
    let (consul, backends, port) = (ConsulServer::start(), Backends::new(), free_port());
    let one = backends.start("one");
    let tags = json!({"Tags": ["rest"], "Meta": {"port": port.to_string()}});
    consul.register(&Instance { service: "web", id: "one", address: one.address }, tags);
    let template =
        json!({"port": "${meta.port}", "listen_options": ["timeout server ${kv:web/${name}:-9s}"]});
    let catalog = |template: Value| json!({"type": "consul", "servers": consul.address(), "catalog": {"tag": "rest", "template": template}});
    let setup = Setup::new().section("service_config", catalog(template));
    fs::write(&setup.paths.proxymgr_yml, setup.yaml()).unwrap();
    let refused = said(&setup.paths, &["check"]);
    assert!(
        refused.stdout.contains("kv:web/${name") || refused.stderr.contains("kv:web/${name"),
        "{refused:?}"
    );

    let template =
        json!({"port": "${meta.port}", "listen_options": ["timeout server ${kv:web/timeout:-9s}"]});
    let setup = setup.section("service_config", catalog(template));
    let proxymgr = start(&setup);
    wait_for_backends(port, &["one"]);
    wait_for_line(&setup.paths, "timeout server 9s");
    consul.write("web/timeout", "8s");
    wait_for_line(&setup.paths, "timeout server 8s");
    assert_eq!(proxymgr.reloads(), 2);
    // One that HAProxy refuses harms its service alone, whose last good definition serves on.
    consul.write("web/timeout", "soon");
    wait_for_message(&proxymgr, "service web is refused, its last good definition serves on");
    wait_for_line(&setup.paths, "timeout server 8s");
    wait_for_backends(port, &["one"]);
    consul.write("web/timeout", "7s");
    wait_for_line(&setup.paths, "timeout server 7s");
}

#[test]
fn lines_of_frontends_take_values_too_and_have_them_again_after_a_restart() {
    let (mut consul, backends, port) = (ConsulServer::start(), Backends::new(), free_port());
    let one = backends.start("one");
    let frontend = json!({"bind": format!("127.0.0.1:{port}"), "default_service": "web",
        "options": ["timeout client ${kv:front/timeout:-29s}"]});
    let setup = Setup::new()
        .section("frontends", json!({"http-in": frontend}))
        .section("consul", json!({"servers": consul.address()}))
        .section("safety", json!({"startup_timeout": "2s"}));
    let route = json!({"frontend": "http-in"});
    let web = json!({"type": "static", "default_servers": [one.address.to_string()], "route": route});
    setup.paths.write_service("web", &web);
    let proxymgr = start(&setup);
    wait_for_backends(port, &["one"]);
    wait_for_line(&setup.paths, "timeout client 29s");
    consul.write("front/timeout", "28s");
    wait_for_line(&setup.paths, "timeout client 28s");
    assert_eq!(reloads(&proxymgr), [START, "frontend http-in changed, or is tried again"]);
    consul.write("front/timeout", "soon");
    wait_for_message(&proxymgr, "front/timeout: HAProxy says: ");
    wait_for_backends(port, &["one"]);
    assert_eq!(proxymgr.reloads(), 2);
    assert!(proxymgr.end().success());
    consul.kill();
    let _again = start(&setup);
    wait_for_line(&setup.paths, "timeout client 28s");
    wait_for_backends(port, &["one"]);
}

#[test]
fn a_place_that_can_not_be_filled_is_told_with_its_line() {
    let setup = Setup::new();
    for (line, told) in [
        ("maxconn ${kv:a}", "has no default for kv:a"),
        ("${kv:a:-maxconn} 1", "in its first word"),
        ("maxconn ${kv:a//b:-1}", "bad path"),
        ("maxconn ${kv:a:-1}", "values: is missing; write the registry"),
    ] {
        fs::write(&setup.paths.proxymgr_yml, setup.clone().global(&[line]).yaml()).unwrap();
        let said = said(&setup.paths, &["check"]);
        assert!((said.stdout.clone() + &said.stderr).contains(told), "{line}: {said:?}");
    }
}
