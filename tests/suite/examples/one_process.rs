//! `one-process`: PID 1, with services, servers and values from Consul.

use std::fs;
use std::process::Command;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::super::support::backend::{Backends, Behaviour};
use super::super::support::consul::ConsulServer;
use super::super::support::deadline::eventually;
use super::super::support::haproxy;
use super::super::support::load::Load;
use super::super::support::ports::free_port;
use super::super::support::proxymgr::{Proxymgr, output_of};
use super::super::support::requests::{SOON, get, local, wait_for_backends};
use super::super::support::running::{log_lines, start};

/// Leaves as many processes behind as `docker exec` may.
const ORPHANS: &str = "for i in $(seq 50); do (sleep 0.1 &); done";

#[test]
fn pid_1_does_what_supervisord_consul_template_and_haproxy_did_under_load() {
    let (consul, backends, port) = (ConsulServer::start(), Backends::new(), free_port());
    let [one, two] = ["one", "two"].map(|name| backends.start(name));
    consul.add("web", "one", &one);
    let web = json!({"type": "consul", "service": "web", "port": port, "server_options": "check"});
    consul.write("proxy/services/web", &web.to_string());
    let setup = super::setup("one-process").pid_1().variable("CONSUL_HTTP_ADDR", &consul.address());
    let proxymgr = start(&setup);
    let status = fs::read_to_string(format!("/proc/{}/status", proxymgr.process().pid)).unwrap();
    let ids = status.lines().find(|line| line.starts_with("NSpid:")).unwrap();
    assert_eq!(ids.split_whitespace().last(), Some("1"), "it is PID 1: {ids}");
    wait_for_backends(port, &["one"]);

    let load = Load::to(local(port)).short(4).keep_alive(4).rate(400).start();
    consul.add("web", "two", &two);
    wait_for_backends(port, &["one", "two"]);
    assert_eq!(proxymgr.reloads(), 1, "a server costs none");
    consul.write("proxy/maxconn", "5000");
    wait_for_maxconn(&proxymgr, 5000);
    assert_eq!(proxymgr.reloads(), 2, "a value costs one");
    leave_orphans(&proxymgr);
    consul.remove("one");
    wait_for_backends(port, &["two"]);
    let report = load.stop();
    println!("{report}");
    report.assert_no_errors();

    for haproxy in proxymgr.haproxies() {
        haproxy.signal(Signal::SIGKILL);
    }
    wait_for_backends(port, &["two"]);
    wait_for_maxconn(&proxymgr, 5000);

    two.behave(Behaviour::AnswerAfter(Duration::from_secs(1)));
    let before = two.requests();
    let slow = std::thread::spawn(move || get(local(port)));
    eventually(SOON, "a request is under way", || if two.requests() > before { Ok(()) } else { Err(()) });
    assert_eq!(proxymgr.end().code(), Some(0));
    assert_eq!(slow.join().unwrap().as_deref(), Ok("two"), "what is under way is answered");
}

fn wait_for_maxconn(proxymgr: &Proxymgr, maxconn: u32) {
    eventually(SOON, &format!("HAProxy runs with maxconn {maxconn}"), || {
        let info = haproxy::ask(&proxymgr.paths.stats_socket, "show info").unwrap_or_default();
        if info.contains(&format!("\nMaxconn: {maxconn}\n")) { Ok(()) } else { Err(info) }
    });
}

fn leave_orphans(proxymgr: &Proxymgr) {
    let pid = proxymgr.process().pid.to_string();
    let left = output_of(Command::new("nsenter").args(["--target", &pid, "--pid", "sh", "-c", ORPHANS]));
    assert!(left.status.success(), "{left:?}");
    eventually(SOON, "all orphans are collected", || {
        let collected =
            log_lines(proxymgr).iter().filter(|line| line.message == "collected an orphan").count();
        if collected >= 50 && proxymgr.process().zombies() == 0 { Ok(()) } else { Err(collected) }
    });
}
