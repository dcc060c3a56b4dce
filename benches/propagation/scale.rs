//! How fast 10,000 servers are known, and what they cost.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::changes::{memory, quick_setup};
use crate::figures::{Figures, print_one};
use crate::registry::Nodes;
use crate::support::ports::free_port;

const STARTS: usize = 5;
const DEADLINE: Duration = Duration::from_secs(60);

pub fn ten_thousand_servers() {
    measure(2000, 5);
    measure(200, 50);
}

/// From the start of the process to the order to start `HAProxy`, which comes once every service has its servers.
fn measure(services: u16, servers: u16) {
    let nodes = Nodes::start();
    let port = free_port();
    let mut made = Vec::new();
    for number in 0..services {
        let [high, low] = number.to_be_bytes();
        let service = format!("service{number:04}");
        let mut definition = nodes.definition(&service, port);
        definition["bind"] = json!(Ipv4Addr::new(127, 1, high, low));
        definition["listen_options"] = json!(["mode tcp"]);
        made.push((format!("/servers/{service}"), String::new()));
        for server in 0..servers {
            let address = SocketAddr::from((Ipv4Addr::new(127, 2, high, low), 10_000 + server));
            made.push((Nodes::server_node(&service, address), Nodes::server(address)));
        }
        made.push((Nodes::definition_node(&service), definition.to_string()));
    }
    nodes.create_all(&made);
    let (mut known, mut served) = (Figures::default(), Figures::default());
    let mut cost = String::new();
    for _ in 0..STARTS {
        let setup = nodes.configure(quick_setup()).section("safety", json!({"startup_timeout": "60s"}));
        let began = Instant::now();
        let proxymgr = setup.start();
        proxymgr.wait_for_log(DEADLINE, "reloading HAProxy: start");
        known.add(began.elapsed());
        proxymgr.wait_for_log(DEADLINE, "\"ready\"");
        served.add(began.elapsed());
        std::thread::sleep(Duration::from_secs(2));
        cost = memory(proxymgr.process());
    }
    let what = format!("{services} services x {servers} servers: start -> all are known");
    known.print(&what, "< 2000");
    served.print("    start -> HAProxy serves them", "");
    print_one("    memory of ProxyMgr, idle", &cost, "< 40 MB");
}
