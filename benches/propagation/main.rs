//! How long a change takes from its registry to the clients, and what `ProxyMgr` costs meanwhile:
//! `cargo bench --bench propagation`, or `-- containers` for one part of it. It needs root, the packages haproxy, zookeeper,
//! unbound, docker.io, iptables and busybox-static, Consul (packaging/get-consul), and an idle machine.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement that can't go on has nothing to tell"
)]

mod changes;
mod consul;
mod containers;
mod crash;
mod figures;
mod large;
mod loss;
mod names;
mod probe;
mod registry;
mod routes;
mod scale;
#[path = "../../tests/suite/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

use std::fs;
use std::process::Command;

use support::haproxy;

const METHOD: &str = "\
How it is measured
  A real ZooKeeper, the real HAProxy and the release binary of ProxyMgr run on this machine. A client sends one request
  after the other to the service, each on a connection of its own (0.1 to 0.3 ms each), and notes which server answered.
  The clock starts before the call that changes the registry (ZooKeeper's create or delete, or the rename of a file) and
  stops when the first answer of the new server, or the last one of the old, has come; each round takes a server
  with another port. 'after the reply': the same, counted from the reply to that call, when the change is durable.
";

/// What can be measured alone.
const PARTS: [(&str, fn()); 10] = [
    ("zookeeper", changes::in_zookeeper),
    ("files", changes::in_files),
    ("consul", consul::instances_come_and_go),
    ("crash", crash::gap_after_kill),
    ("names", names::a_record_changes),
    ("loss", loss::held_then_applied),
    ("containers", containers::start_and_end),
    ("routes", routes::among_few_and_many),
    ("scale", scale::ten_thousand_servers),
    ("large", large::a_thousand_services),
];

fn main() {
    println!("{METHOD}");
    println!("{}", haproxy_version());
    println!("load average at the start: {}", load_average());
    figures::print_head();
    let wanted: Vec<String> = std::env::args().skip(1).filter(|word| !word.starts_with('-')).collect();
    for (name, measure) in PARTS {
        if wanted.is_empty() || wanted.iter().any(|word| word == name) {
            measure();
        }
    }
    println!("load average at the end: {} (this measurement is part of it)", load_average());
}

#[expect(clippy::disallowed_methods, reason = "no reaper runs here")]
fn haproxy_version() -> String {
    let said = Command::new(haproxy::binary()).arg("-v").output().unwrap().stdout;
    String::from_utf8(said).unwrap().lines().next().unwrap_or_default().to_owned()
}

fn load_average() -> String {
    fs::read_to_string("/proc/loadavg").unwrap().split(' ').take(3).collect::<Vec<_>>().join(" ")
}
