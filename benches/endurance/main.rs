//! A week of changes in fast motion: what a million changes of servers leave behind in `ProxyMgr`.
//! `cargo bench --bench endurance`; `PROXYMGR_CHANGES` sets another number. It needs the package haproxy.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "a measurement that can't go on has nothing to tell"
)]

#[path = "../../tests/suite/support/mod.rs"]
#[expect(dead_code, reason = "the tests use the rest")]
mod support;

use std::collections::VecDeque;
use std::fs;
use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use support::deadline::eventually;
use support::ports::free_ports;
use support::proc::Process;
use support::proxymgr::Proxymgr;
use support::proxymgr_setup::{Setup, write_in_one_step};

const SERVICES: usize = 10;
/// Of each service at any time.
const SERVERS: usize = 20;
/// So many of each service come and so many go in one step.
const REPLACED: usize = 10;
const CHANGES_OF_A_STEP: usize = SERVICES * REPLACED * 2;
/// So often a definition changes too, which is a reload.
const STEPS_OF_A_RELOAD: usize = 100;
const ROWS: usize = 10;
const DEADLINE: Duration = Duration::from_secs(60);

const METHOD: &str = "\
How it is measured
  Ten services of 20 servers in files. In each step 10 servers of each service are replaced by others that were never there
  before: 200 changes, through the runtime socket; each hundredth step also changes a definition, which is a reload. The next
  step begins once haproxy.cfg holds the last one. Memory and files are read from /proc.
";

struct Service {
    file: PathBuf,
    servers: VecDeque<String>,
}

fn main() {
    println!("{METHOD}");
    let changes = std::env::var("PROXYMGR_CHANGES").map_or(1_000_000, |text| text.parse().unwrap());
    let steps = changes / CHANGES_OF_A_STEP;
    let log = json!({"format": "text", "level": "info"});
    let setup = Setup::new().section("reload", json!({"min_interval": "10ms"})).section("log", log);
    let mut addresses = (0_u32..).map(|number| {
        let [_, high, middle, low] = number.to_be_bytes();
        format!("{}:{}", Ipv4Addr::new(127, high, middle, low.max(1)), 1000 + number % 60_000)
    });
    let ports: [u16; SERVICES] = free_ports();
    let services = ports.iter().enumerate().map(|(number, port)| {
        let servers: Vec<_> = addresses.by_ref().take(SERVERS).collect();
        let file = setup.paths.write_file_service(&format!("service{number}"), *port, &servers);
        Service { file, servers: servers.into() }
    });
    let mut services: Vec<_> = services.collect();
    let proxymgr = setup.start();
    wait_for(&proxymgr, &services);
    println!(
        "{:>10} {:>9} {:>10} {:>7} {:>12} {:>12}",
        "changes", "seconds", "RSS", "files", "HAProxy RSS", "log bytes"
    );
    let began = Instant::now();
    print_row(&proxymgr, 0, began);
    for step in 1..=steps {
        for service in &mut services {
            service.servers.drain(..REPLACED);
            service.servers.extend(addresses.by_ref().take(REPLACED));
            write_in_one_step(&service.file, &(service.servers.make_contiguous().join("\n") + "\n"));
        }
        if step % STEPS_OF_A_RELOAD == 0 {
            let definition = json!({
                "type": "file", "file": services[0].file, "port": ports[0],
                "listen_options": [format!("timeout queue {step}s")],
            });
            setup.paths.write_service("service0", &definition);
        }
        wait_for(&proxymgr, &services);
        if step % (steps / ROWS).max(1) == 0 {
            print_row(&proxymgr, step * CHANGES_OF_A_STEP, began);
        }
    }
}

/// Waits until the configuration that is written with each change holds the last servers of all.
fn wait_for(proxymgr: &Proxymgr, services: &[Service]) {
    eventually(DEADLINE, "haproxy.cfg holds the last servers", || {
        let config = fs::read_to_string(&proxymgr.paths.haproxy_cfg).unwrap_or_default();
        let is_there = |server: &String| config.contains(&format!(" server {server} "));
        let missing =
            services.iter().filter_map(|service| service.servers.back()).find(|server| !is_there(server));
        missing.map_or(Ok(()), |server| Err(server.clone()))
    });
}

fn print_row(proxymgr: &Proxymgr, changes: usize, began: Instant) {
    let process = proxymgr.process();
    let haproxies: u64 = proxymgr.haproxies().into_iter().map(Process::memory).sum();
    println!(
        "{changes:>10} {:>9.0} {:>7.1} MB {:>7} {:>9.1} MB {:>12}",
        began.elapsed().as_secs_f64(),
        megabytes(process.memory()),
        fs::read_dir(format!("/proc/{}/fd", process.pid)).unwrap().count(),
        megabytes(haproxies),
        proxymgr.log().len(),
    );
}

#[expect(clippy::cast_precision_loss, reason = "it is printed with one digit")]
fn megabytes(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
