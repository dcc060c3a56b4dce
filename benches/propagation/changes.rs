//! Servers and services that come and go.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::figures::{Figures, print_one};
use crate::probe::Probe;
use crate::registry::{Call, Files, Nodes, Registry};
use crate::support::backend::Backends;
use crate::support::deadline::eventually;
use crate::support::haproxy::{self, Haproxy};
use crate::support::ports::free_port;
use crate::support::proc::Process;
use crate::support::proxymgr::Proxymgr;
use crate::support::proxymgr_setup::Setup;

const SERVER_ROUNDS: usize = 200;
const SERVICE_ROUNDS: usize = 30;
const IDLE_SERVICES: usize = 10;
const HAPROXY_ROUNDS: usize = 10;
/// The servers that all services but those of [`crate::large`] share.
const SERVERS: &str = "web";
const SOON: Duration = Duration::from_secs(20);

pub fn in_zookeeper() {
    let nodes = Nodes::start();
    nodes.create_servers(SERVERS);
    let setup = nodes.configure(quick_setup());
    measure("ZooKeeper", &nodes, &setup);
}

pub fn in_files() {
    let setup = quick_setup();
    measure("file", &Files::of(&setup), &setup);
}

/// The log of everyday use; reloads may follow each other at once, so that a round needn't wait for its own.
pub fn quick_setup() -> Setup {
    Setup::new()
        .section("log", json!({"format": "json", "level": "info"}))
        .section("reload", json!({"min_interval": "50ms"}))
}

/// The address that clients connect to.
pub fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

fn measure(kind: &str, registry: &impl Registry, setup: &Setup) {
    let backends = Backends::new();
    let constant = backends.start("constant");
    registry.add_server(SERVERS, constant.address);
    let ports: Vec<u16> = (0..IDLE_SERVICES).map(|_| free_port()).collect();
    for (number, port) in ports.iter().enumerate() {
        registry.define(&format!("idle{number}"), SERVERS, *port);
    }
    let proxymgr = setup.start();
    for port in &ports {
        Probe::start(local(*port)).first_answer_of("constant");
    }
    server_changes(kind, registry, ports[0], &backends);
    std::thread::sleep(Duration::from_secs(2));
    let what = format!("{kind}: memory, idle, {IDLE_SERVICES} services, after these changes");
    print_one(&what, &memory(proxymgr.process()), "< 15 MB");
    new_services(kind, registry, &proxymgr);
    drop(proxymgr);
    haproxy_alone(kind, setup, ports[0]);
}

fn server_changes(kind: &str, registry: &impl Registry, port: u16, backends: &Backends) {
    let probe = Probe::start(local(port));
    let mut added = Both::default();
    let mut removed = Both::default();
    for round in 0..SERVER_ROUNDS {
        let name = format!("server{round}");
        let backend = backends.start(&name);
        let call = registry.add_server(SERVERS, backend.address);
        added.add(call, probe.first_answer_of(&name));
        let call = registry.remove_server(SERVERS, backend.address);
        removed.add(call, probe.last_answer_of(&name, call.began));
    }
    added.print(&format!("{kind}: server created -> its first answer"), "median < 10, p99 < 30");
    removed.print(&format!("{kind}: server deleted -> its last answer"), "median < 10, p99 < 30");
}

fn new_services(kind: &str, registry: &impl Registry, proxymgr: &Proxymgr) {
    let mut figures = Both::default();
    for round in 0..SERVICE_ROUNDS {
        eventually(SOON, "the old HAProxy ends", || {
            let count = proxymgr.haproxies().len();
            if count == 1 { Ok(()) } else { Err(count) }
        });
        let port = free_port();
        let probe = Probe::start(local(port));
        let call = registry.define(&format!("new{round}"), SERVERS, port);
        figures.add(call, probe.first_answer_of("constant"));
    }
    figures.print(&format!("{kind}: service created -> its first answer"), "median < 150");
}

/// What of a reload is `HAProxy`'s own: it checks the configuration, then starts on it.
fn haproxy_alone(kind: &str, setup: &Setup, port: u16) {
    let config = &setup.paths.haproxy_cfg;
    let (mut checks, mut starts) = (Figures::default(), Figures::default());
    for _ in 0..HAPROXY_ROUNDS {
        let began = Instant::now();
        haproxy::check(config).unwrap();
        checks.add(began.elapsed());
        let began = Instant::now();
        let _haproxy = Haproxy::start(config);
        let probe = Probe::start(local(port));
        starts.add(probe.first_answer_of("constant") - began);
    }
    checks.print(&format!("{kind}: of which HAProxy takes to check the configuration"), "");
    starts.print(&format!("{kind}: of which HAProxy takes to start and answer"), "");
}

/// Figures counted from the start of the call and from its reply.
#[derive(Default)]
pub struct Both {
    from_call: Figures,
    from_reply: Figures,
}

impl Both {
    pub fn add(&mut self, call: Call, seen: Instant) {
        self.from_call.add(seen.saturating_duration_since(call.began));
        self.from_reply.add(seen.saturating_duration_since(call.acknowledged));
    }

    pub fn print(&self, what: &str, goal: &str) {
        self.from_call.print(what, goal);
        self.from_reply.print("    after the reply", "");
    }
}

/// The resident memory of a process, and the part that it shares with none.
pub fn memory(process: Process) -> String {
    let megabytes = |bytes: u64| format!("{}.{} MB", bytes / 1_000_000, bytes % 1_000_000 / 100_000);
    format!("RSS {}, PSS {}", megabytes(process.memory()), megabytes(process.proportional_memory()))
}
