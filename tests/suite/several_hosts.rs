//! Several proxy hosts on one `ZooKeeper`: they know nothing of each other, and do the same.

use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};

use serde_json::json;

use super::support::backend::Backends;
use super::support::control::said;
use super::support::deadline::eventually;
use super::support::ports::free_port;
use super::support::proxymgr_setup::{Paths, Setup};
use super::support::requests::SOON;
use super::support::running::{in_rotation, start};
use super::support::zookeeper::ZookeeperServer;
use super::support::zookeeper_nodes::{Nodes, definition_path};

/// Two hosts on one machine: each has another address.
const HOSTS: [Ipv4Addr; 2] = [Ipv4Addr::LOCALHOST, Ipv4Addr::new(127, 0, 0, 2)];

fn get(host: Ipv4Addr, port: u16, path: &str) -> Option<String> {
    let mut stream = TcpStream::connect(SocketAddr::from((host, port))).ok()?;
    stream.set_read_timeout(Some(SOON)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).ok()?;
    let (head, body) = answer.split_once("\r\n\r\n")?;
    head.starts_with("HTTP/1.1 200").then(|| body.to_owned())
}

/// Who answers which path.
fn answers(host: Ipv4Addr, port: u16) -> BTreeMap<String, Option<String>> {
    (0..60).map(|number| format!("/{number}")).map(|path| (path.clone(), get(host, port, &path))).collect()
}

/// Waits until both have these servers, the same in every way, and send each path to the same one.
#[track_caller]
fn assert_same(hosts: &[&Paths; 2], port: u16, servers: usize) {
    eventually(SOON, "both do the same", || {
        let [one, other] = hosts.map(in_rotation);
        if one == other && one.len() == servers { Ok(()) } else { Err((one, other)) }
    });
    let [one, other] = HOSTS.map(|host| answers(host, port));
    assert_eq!(one, other);
    let who: std::collections::BTreeSet<_> = one.into_values().collect();
    assert!(who.len() == servers && !who.contains(&None), "{who:?}");
}

#[test]
fn each_sends_a_client_to_the_same_server_whenever_it_was_started() {
    let (zookeeper, backends, port) = (ZookeeperServer::start(), Backends::new(), free_port());
    let nodes = Nodes::of(&zookeeper);
    let definition = json!({
        "type": "zookeeper", "server": zookeeper.address(), "path": "/services/web", "port": port,
        "listen_options": ["mode http", "balance uri", "hash-type consistent"],
    });
    nodes.put(&definition_path("web"), definition.to_string());
    let setups = HOSTS.map(|host| {
        let setup = Setup::new().zookeeper(&zookeeper.address(), "/service_config");
        setup.haproxy_key("bind_address", json!(host.to_string()))
    });
    let paths = [&setups[0].paths, &setups[1].paths];
    let servers: Vec<_> = ["a", "b", "c", "d", "e"].iter().map(|name| backends.start(name)).collect();
    for server in &servers[..3] {
        nodes.add("web", server);
    }
    let _first = start(&setups[0]);
    eventually(SOON, "the first serves", || get(HOSTS[0], port, "/").ok_or(()));
    // The first has seen servers come and go of which the second knows nothing.
    nodes.add("web", &servers[3]);
    nodes.remove("web", &servers[1]);
    nodes.add("web", &servers[4]);
    nodes.add("web", &servers[1]);
    let _second = start(&setups[1]);
    assert_same(&paths, port, 5);
    nodes.remove("web", &servers[0]);
    assert_same(&paths, port, 4);
    // What an operator drains is drained on one of them, what the registry drains on both.
    let of = |number: usize| servers[number].address.to_string();
    assert_eq!(said(paths[0], &["drain", &format!("web/{}", of(2))]).code, 0);
    assert!(!said(paths[1], &["why", &format!("web/{}", of(2))]).stdout.contains("(drain)"));
    let node = json!({"address": "127.0.0.1", "port": servers[3].port(), "drain": true});
    nodes.put(&super::support::zookeeper_nodes::server_path("web", &servers[3]), node.to_string());
    for host in paths {
        eventually(SOON, "it drains", || {
            let said = said(host, &["why", &format!("web/{}", of(3))]);
            if said.stdout.contains("drained by its registry") { Ok(()) } else { Err(said) }
        });
    }
}
