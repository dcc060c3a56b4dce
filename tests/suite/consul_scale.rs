//! A thousand services at one agent, with the limit of connections that agents have.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::support::consul::ConsulServer;
use super::support::deadline::eventually;
use super::support::haproxy;
use super::support::ports::free_port;
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::Setup;

const SERVICES: usize = 1000;
const LONG: Duration = Duration::from_secs(90);
/// What an agent takes from one client by default (Consul documentation, `limits.http_max_conns_per_client`).
const MOST_CONNECTIONS: usize = 200;

/// Server `number` of a service: an address that nobody asks.
fn server(service: usize, number: usize) -> String {
    format!("127.{}.{}.{}", 100 + number, service / 250, service % 250 + 1)
}

/// Puts instances straight into the catalog, as a node of their own.
fn register(consul: &ConsulServer, service: usize, number: usize) {
    let name = format!("s{service:04}");
    let instance = json!({"Service": name, "ID": format!("{name}-{number}"), "Address": server(service, number), "Port": 9});
    let node = json!({"Node": "elsewhere", "Address": "127.0.0.1", "Service": instance});
    consul.put("/v1/catalog/register", &node.to_string());
}

fn deregister(consul: &ConsulServer, service: usize, number: usize) {
    let gone = json!({"Node": "elsewhere", "ServiceID": format!("s{service:04}-{number}")});
    consul.put("/v1/catalog/deregister", &gone.to_string());
}

#[track_caller]
fn wait_for_servers(proxymgr: &Proxymgr, expected: &BTreeSet<String>) {
    eventually(LONG, "each service has its servers", || {
        let rows = haproxy::servers(&proxymgr.paths.stats_socket).map_err(|error| error.to_string())?;
        let running: BTreeSet<_> =
            rows.into_iter().filter(|row| !row.in_maintenance()).map(|row| row.name).collect();
        if running == *expected {
            return Ok(());
        }
        Err(format!(
            "{} missing, {} too many",
            expected.difference(&running).count(),
            running.difference(expected).count()
        ))
    });
}

fn definition(service: usize, port: u16, consul: &ConsulServer) -> Value {
    json!({"type": "consul", "service": format!("s{service:04}"), "server": consul.address(), "port": port,
        "bind": format!("127.1.{}.{}", service / 250, service % 250 + 1), "listen_options": ["mode tcp"]})
}

#[test]
fn a_thousand_services_are_followed_through_one_agent_under_load() {
    let mut consul = ConsulServer::start();
    let (setup, port) = (Setup::new(), free_port());
    let mut expected = BTreeSet::new();
    for service in 0..SERVICES {
        register(&consul, service, 0);
        register(&consul, service, 1);
        expected.extend([0, 1].map(|number| format!("{}:9", server(service, number))));
        setup.paths.write_service(&format!("s{service:04}"), &definition(service, port, &consul));
    }
    let setup = setup
        .section("log", json!({"format": "json", "level": "info"}))
        .section("safety", json!({"startup_timeout": "60s"}));
    let began = Instant::now();
    let proxymgr = setup.start();
    proxymgr.wait_for_log(LONG, "\"ready\"");
    println!("{SERVICES} services are served after {:?}", began.elapsed());
    wait_for_servers(&proxymgr, &expected);
    println!("memory: {} KiB", proxymgr.process().memory() / 1024);

    // One changes, wherever it stands: it is heard of soon.
    let mut heard = Vec::new();
    for service in [0, 1, 499, 500, 501, 998, 999] {
        let began = Instant::now();
        register(&consul, service, 2);
        expected.insert(format!("{}:9", server(service, 2)));
        wait_for_servers(&proxymgr, &expected);
        heard.push(began.elapsed());
    }
    println!("a change is served after {heard:?}");
    // Each of them changes.
    let began = Instant::now();
    for service in 0..SERVICES {
        deregister(&consul, service, 0);
        expected.remove(&format!("{}:9", server(service, 0)));
    }
    println!("a change of each took {:?} to write", began.elapsed());
    let began = Instant::now();
    wait_for_servers(&proxymgr, &expected);
    println!("and {:?} more to arrive", began.elapsed());
    let connections = proxymgr.process().connections_to(consul.address.port());
    println!("{connections} connections");
    assert!(connections < MOST_CONNECTIONS, "{connections}");

    consul.kill();
    proxymgr.wait_for_log(LONG, "Consul gives no answer");
    consul.restart();
    for service in [3, 503, 903] {
        register(&consul, service, 3);
        expected.insert(format!("{}:9", server(service, 3)));
    }
    wait_for_servers(&proxymgr, &expected);
    assert_eq!(proxymgr.reloads(), 1, "all of it at run time");
    println!("memory: {} KiB", proxymgr.process().memory() / 1024);
}
