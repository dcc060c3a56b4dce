//! The same at 1000 services of 50 servers each.

use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::changes::{Both, local, memory, quick_setup};
use crate::figures::print_one;
use crate::probe::Probe;
use crate::registry::{Nodes, Registry};
use crate::support::backend::Backends;
use crate::support::deadline::eventually;
use crate::support::ports::free_port;
use crate::support::proxymgr::Proxymgr;

const SERVICES: u16 = 1000;
const SERVERS: u16 = 50;
const ROUNDS: usize = 30;
const DEADLINE: Duration = Duration::from_secs(60);
/// The one service that answers.
const PROBED: &str = "probed";

/// Memory with 50000 servers, and what a server's change takes among so many.
pub fn a_thousand_services() {
    let backends = Backends::new();
    let constant = backends.start("constant");
    let nodes = Nodes::start();
    nodes.create_servers(PROBED);
    nodes.add_server(PROBED, constant.address);
    let (probed, other) = (free_port(), free_port());
    nodes.define(PROBED, PROBED, probed);
    nodes.create_all(&other_services(&nodes, other));

    let setup = nodes.configure(quick_setup()).section("safety", json!({"startup_timeout": "60s"}));
    let began = Instant::now();
    let proxymgr = setup.start();
    Probe::start(local(probed)).first_answer_of("constant");
    let took = format!("{:.1} s", began.elapsed().as_secs_f64());
    print_one("1000 services x 50 servers: start of ProxyMgr -> first answer", &took, "");
    wait_for_all(&proxymgr);
    sleep(Duration::from_secs(2));
    print_one("    memory of ProxyMgr, idle", &memory(proxymgr.process()), "");
    for haproxy in proxymgr.haproxies() {
        print_one("    memory of HAProxy", &memory(haproxy), "");
    }

    let probe = Probe::start(local(probed));
    let (mut added, mut removed) = (Both::default(), Both::default());
    for round in 0..ROUNDS {
        let name = format!("server{round}");
        let backend = backends.start(&name);
        let call = nodes.add_server(PROBED, backend.address);
        added.add(call, probe.first_answer_of(&name));
        let call = nodes.remove_server(PROBED, backend.address);
        removed.add(call, probe.last_answer_of(&name, call.began));
    }
    added.print("    server created -> its first answer", "");
    removed.print("    server deleted -> its last answer", "");
    print_one("    memory of ProxyMgr, after these changes", &memory(proxymgr.process()), "");
}

/// Definitions and servers of all services but the probed one; each has an address of its own on one port, and nobody
/// listens where its servers are said to be.
fn other_services(nodes: &Nodes, port: u16) -> Vec<(String, String)> {
    let mut made = Vec::new();
    for number in 1..SERVICES {
        let [high, low] = number.to_be_bytes();
        let service = format!("service{number:04}");
        let mut definition = nodes.definition(&service, port);
        definition["bind"] = json!(Ipv4Addr::new(127, 1, high, low));
        made.push((format!("/servers/{service}"), String::new()));
        for server in 0..SERVERS {
            let address = SocketAddr::from((Ipv4Addr::new(127, 2, high, low), 10_000 + server));
            made.push((Nodes::server_node(&service, address), Nodes::server(address)));
        }
        made.push((Nodes::definition_node(&service), definition.to_string()));
    }
    made
}

fn wait_for_all(proxymgr: &Proxymgr) {
    let wanted = usize::from(SERVICES - 1) * usize::from(SERVERS) + 1;
    eventually(DEADLINE, "haproxy.cfg holds all servers", || {
        let text = fs::read_to_string(&proxymgr.paths.haproxy_cfg).unwrap();
        let count = text.lines().filter(|line| line.starts_with("  server ")).count();
        if count == wanted { Ok(()) } else { Err(count) }
    });
}
