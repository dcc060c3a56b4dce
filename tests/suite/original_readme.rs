//! What the README of the original shows works as it did, but for the service's `port`, which must be given now.

use std::fs;

use super::support::backend::Backends;
use super::support::load::Load;
use super::support::ports::free_port;
use super::support::proxymgr_setup::Setup;
use super::support::requests::{get, local, wait_for_backends};
use super::support::zookeeper::ZookeeperServer;
use super::support::zookeeper_nodes::{Nodes, server_data};

/// Word for word but for paths and ports. `state_dir` and `runtime_dir` are added, since their defaults, below `/var/lib` and
/// `/run`, belong to the machine.
fn proxymgr_yml(setup: &Setup, zookeeper: &ZookeeperServer) -> String {
    let paths = &setup.paths;
    let address = zookeeper.address();
    let port = address.rsplit_once(':').unwrap().1;
    format!(
        "---\n\
         haproxy:\n  config_path: {}\n  socket_path: {}\n\n\
         service_config:\n  type: zookeeper\n  servers: localhost:{port}\n  path: /service_config\n\n\
         state_dir: {}\nruntime_dir: {}\n",
        paths.haproxy_cfg.display(),
        paths.stats_socket.display(),
        paths.state_dir.display(),
        paths.runtime_dir.display(),
    )
}

fn testservice(zookeeper: &ZookeeperServer, path: &str, port: u16) -> String {
    format!(
        r#"{{
            "type": "zookeeper",
            "server": "{}",
            "path": "{path}",
            "port": {port},
            "listen_options": [
                "mode http"
            ],
            "server_options": [
                "check inter 2000"
            ]
        }}"#,
        zookeeper.address().replace("127.0.0.1", "localhost"),
    )
}

#[test]
fn the_example_serves_and_follows_its_nodes() {
    let (setup, backends, zookeeper) = (Setup::new(), Backends::new(), ZookeeperServer::start());
    let (nodes, port) = (Nodes::of(&zookeeper), free_port());
    let one = backends.start("one");
    nodes.put("/service_config/testservice", testservice(&zookeeper, "/services/testservice", port));
    nodes.put("/services/testservice/one", server_data(one.address));

    let proxymgr = setup.start_with(&proxymgr_yml(&setup, &zookeeper));
    wait_for_backends(port, &["one"]);
    let config = fs::read_to_string(&setup.paths.haproxy_cfg).unwrap();
    assert!(config.contains("listen testservice") && config.contains("mode http"), "{config}");
    assert!(config.contains("check inter 2000"), "{config}");

    let load = Load::to(([127, 0, 0, 1], port).into()).short(2).keep_alive(2).rate(300).start();
    let two = backends.start("two");
    nodes.put("/services/testservice/two", server_data(two.address));
    wait_for_backends(port, &["one", "two"]);
    nodes.delete("/services/testservice/one");
    wait_for_backends(port, &["two"]);
    let before = one.requests();
    for _ in 0..50 {
        assert_eq!(get(local(port)).as_deref(), Ok("two"));
    }
    assert_eq!(one.requests(), before, "a server that left got requests");
    let three = backends.start("three");
    nodes.put("/services/testservice/three", server_data(three.address));
    nodes.put("/services/testservice/one", server_data(one.address));
    wait_for_backends(port, &["one", "two", "three"]);
    load.stop().assert_no_errors();
    assert_eq!(proxymgr.reloads(), 1, "only the start starts a process");
    assert!(proxymgr.end().success());
}

#[test]
fn a_path_with_a_trailing_slash_is_taken() {
    let (setup, backends, zookeeper) = (Setup::new(), Backends::new(), ZookeeperServer::start());
    let (nodes, port) = (Nodes::of(&zookeeper), free_port());
    let one = backends.start("one");
    nodes.put("/service_config/testservice", testservice(&zookeeper, "/services/testservice/", port));
    nodes.put("/services/testservice/one", server_data(one.address));
    let _proxymgr = setup.start_with(&proxymgr_yml(&setup, &zookeeper));
    wait_for_backends(port, &["one"]);
    let two = backends.start("two");
    nodes.put("/services/testservice/two", server_data(two.address));
    wait_for_backends(port, &["one", "two"]);
}
