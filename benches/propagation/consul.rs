//! Servers that are registered in Consul.

use std::net::SocketAddr;
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::changes::{Both, local, quick_setup};
use crate::figures::print_one;
use crate::probe::Probe;
use crate::registry::Call;
use crate::support::backend::Backends;
use crate::support::consul::{ConsulServer, Instance, program};
use crate::support::ports::free_port;

const ROUNDS: usize = 100;
/// One question is asked ten times in a row, then ten times a second: without a pause it is this limit that would be measured.
const BETWEEN_ROUNDS: Duration = Duration::from_millis(300);
/// With so many services some find no place to wait at the agent.
const MANY: usize = 300;

/// One service, then one of many that is told by the tables alone.
pub fn instances_come_and_go() {
    if !program().exists() {
        print_one("Consul: packaging/get-consul target/consul fetches it", "skipped", "");
        return;
    }
    measure(0, "Consul: instance registered -> its first answer", "median < 10, p99 < 30");
    measure(MANY, &format!("... as one of {MANY} services"), "");
}

fn measure(others: usize, what: &str, goal: &str) {
    let (consul, backends, setup) = (ConsulServer::start(), Backends::new(), quick_setup());
    let constant = backends.start("constant");
    let register = |id: &str, address: SocketAddr| {
        let call = || consul.register(&Instance { service: "web", id, address }, json!({}));
        called(call)
    };
    register("constant", constant.address);
    let define = |name: &str, port: u16| {
        let definition =
            json!({"type": "consul", "server": consul.address(), "service": "web", "port": port});
        setup.paths.write_service(name, &definition);
    };
    for number in 0..others {
        define(&format!("other{number}"), free_port());
    }
    let port = free_port();
    define("web", port);
    let _proxymgr = setup.start();
    let probe = Probe::start(local(port));
    probe.first_answer_of("constant");
    let (mut added, mut removed) = (Both::default(), Both::default());
    for round in 0..ROUNDS {
        let name = format!("server{round}");
        let backend = backends.start(&name);
        added.add(register(&name, backend.address), probe.first_answer_of(&name));
        let call = called(|| consul.remove(&name));
        removed.add(call, probe.last_answer_of(&name, call.began));
        sleep(BETWEEN_ROUNDS);
    }
    added.print(what, goal);
    removed.print("    deregistered -> its last answer", goal);
}

fn called(change: impl FnOnce()) -> Call {
    let began = Instant::now();
    change();
    Call { began, acknowledged: Instant::now() }
}
