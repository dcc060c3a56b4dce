//! Two thousand services with ten thousand servers in one `ZooKeeper`: loaded, followed, and followed on after a reconnect.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;
use zookeeper_client::{Acls, CreateMode};

use super::support::deadline::eventually;
use super::support::haproxy;
use super::support::ports::free_port;
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::Setup;
use super::support::running::log_lines;
use super::support::zookeeper::ZookeeperServer;
use super::support::zookeeper_nodes::{Nodes, Session};

const SERVICES: usize = 2000;
const SERVERS: usize = 5;
const LONG: Duration = Duration::from_secs(60);
/// Operations in one request.
const BATCH: usize = 500;

/// Server `number` of a service: an address that nobody asks.
fn server(service: usize, number: usize) -> String {
    format!("127.{}.{}.{}", 100 + number, service / 250, service % 250 + 1)
}

fn data(service: usize, number: usize) -> String {
    json!({"address": server(service, number), "port": 9}).to_string()
}

fn path(service: usize) -> String {
    format!("/services/s{service:04}")
}

/// Makes nodes, many at a time.
async fn create(session: &Session, nodes: impl IntoIterator<Item = (String, String)>) {
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let mut nodes = nodes.into_iter().peekable();
    while nodes.peek().is_some() {
        let mut writer = session.client.new_multi_writer();
        for (path, data) in nodes.by_ref().take(BATCH) {
            writer.add_create(&path, data.as_bytes(), &options).unwrap();
        }
        writer.commit().await.unwrap();
    }
}

fn fill(nodes: &Nodes, ensemble: &str) {
    let port = free_port();
    let definition = |service: usize| {
        json!({
            "type": "zookeeper", "server": ensemble, "path": path(service), "port": port,
            "bind": format!("127.1.{}.{}", service / 250, service % 250 + 1), "listen_options": ["mode tcp"],
        })
    };
    nodes.write(async |session| {
        create(session, ["/services", "/service_config"].map(|path| (path.to_owned(), String::new()))).await;
        create(session, (0..SERVICES).map(|service| (path(service), String::new()))).await;
        let all = (0..SERVICES).flat_map(|service| (0..SERVERS).map(move |number| (service, number)));
        create(session, all.map(|(s, n)| (format!("{}/n{n}", path(s)), data(s, n)))).await;
        let definitions =
            (0..SERVICES).map(|s| (format!("/service_config/s{s:04}"), definition(s).to_string()));
        create(session, definitions).await;
    });
}

/// In each service server `old` goes and server `new` comes.
fn change_each(nodes: &Nodes, old: usize, new: usize) {
    nodes.write(async |session| {
        create(session, (0..SERVICES).map(|s| (format!("{}/n{new}", path(s)), data(s, new)))).await;
        let mut gone = (0..SERVICES).map(|s| format!("{}/n{old}", path(s))).peekable();
        while gone.peek().is_some() {
            let mut writer = session.client.new_multi_writer();
            for path in gone.by_ref().take(BATCH) {
                writer.add_delete(&path, None).unwrap();
            }
            writer.commit().await.unwrap();
        }
    });
}

/// Waits until each service has exactly these servers in rotation.
#[track_caller]
fn wait_for_servers(proxymgr: &Proxymgr, numbers: &[usize]) {
    let all = (0..SERVICES).flat_map(|s| numbers.iter().map(move |n| format!("{}:9", server(s, *n))));
    let expected: BTreeSet<String> = all.collect();
    eventually(LONG, "each service has its servers", || {
        let rows = haproxy::servers(&proxymgr.paths.stats_socket).map_err(|error| error.to_string())?;
        let running: BTreeSet<_> =
            rows.into_iter().filter(|row| !row.in_maintenance()).map(|row| row.name).collect();
        if running == expected {
            return Ok(());
        }
        Err(format!(
            "{} missing, {} too many",
            expected.difference(&running).count(),
            running.difference(&expected).count()
        ))
    });
}

#[test]
fn two_thousand_services_are_followed_through_reconnects_under_load() {
    let mut zookeeper = ZookeeperServer::start();
    let nodes = Nodes::of(&zookeeper);
    fill(&nodes, &zookeeper.address());
    let setup = Setup::new()
        .zookeeper(&zookeeper.address(), "/service_config")
        .section("log", json!({"format": "json", "level": "info"}))
        .section("safety", json!({"startup_timeout": "60s"}));
    let began = Instant::now();
    let proxymgr = setup.start();
    proxymgr.wait_for_log(LONG, "reloading HAProxy: start");
    let loaded = began.elapsed();
    proxymgr.wait_for_log(LONG, "\"ready\"");
    println!(
        "{SERVICES} services with {} servers are known after {loaded:?}, served after {:?}",
        SERVICES * SERVERS,
        began.elapsed()
    );
    println!("memory: {} KiB", proxymgr.process().memory() / 1024);
    wait_for_servers(&proxymgr, &[0, 1, 2, 3, 4]);

    change_each(&nodes, 0, 5);
    wait_for_servers(&proxymgr, &[1, 2, 3, 4, 5]);

    // The same session after a short outage, then a new one after a long one.
    zookeeper.kill();
    zookeeper.restart();
    change_each(&nodes, 1, 6);
    wait_for_servers(&proxymgr, &[2, 3, 4, 5, 6]);

    zookeeper.freeze();
    let sessions = |proxymgr: &Proxymgr| {
        log_lines(proxymgr)
            .iter()
            .filter(|line| line.message == "connection to ZooKeeper lost; the last known answers stay")
            .count()
    };
    let before = sessions(&proxymgr);
    eventually(LONG, "the loss is noticed", || if sessions(&proxymgr) > before { Ok(()) } else { Err(()) });
    zookeeper.thaw();
    change_each(&nodes, 2, 7);
    wait_for_servers(&proxymgr, &[3, 4, 5, 6, 7]);
    assert_eq!(proxymgr.reloads(), 1, "all of it at run time");
    println!("memory: {} KiB", proxymgr.process().memory() / 1024);
    proxymgr.signal(Signal::SIGTERM);
}
