//! A start without registries goes by what was last known.

use std::fs;

use serde_json::json;

use super::support::backend::Backends;
use super::support::ports::free_port;
use super::support::proxymgr_setup::Setup;
use super::support::requests::{SOON, wait_for_backends};
use super::support::running::start;
use super::support::zookeeper::ZookeeperServer;
use super::support::zookeeper_nodes::Nodes;

#[test]
fn a_start_while_zookeeper_is_down_serves_what_was_last_known() {
    let (mut zookeeper, backends) = (ZookeeperServer::start(), Backends::new());
    let (nodes, port) = (Nodes::of(&zookeeper), free_port());
    let [web1, web2, web3] = ["web1", "web2", "web3"].map(|name| backends.start(name));
    nodes.define("web", port);
    nodes.add("web", &web1);
    let setup = Setup::new()
        .zookeeper(&zookeeper.address(), "/service_config")
        .section("safety", json!({"startup_timeout": "1s"}));
    let first = start(&setup);
    nodes.add("web", &web2);
    wait_for_backends(port, &["web1", "web2"]);
    assert_eq!(first.end().code(), Some(0));
    zookeeper.kill();

    let second = setup.start();
    second.wait_for_log(SOON, "those known before the start go ahead");
    second.wait_for_log(SOON, "starting with the servers of an earlier run");
    wait_for_backends(port, &["web1", "web2"]);

    zookeeper.restart();
    nodes.add("web", &web3);
    nodes.remove("web", &web1);
    wait_for_backends(port, &["web2", "web3"]);
    assert_eq!(second.end().code(), Some(0));
}

#[test]
fn who_holds_a_port_keeps_it_over_a_restart() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let [first, second] = ["first", "second"].map(|name| backends.start(name));
    setup.paths.write_file_service("zoo", port, &[first.address.to_string()]);
    let proxymgr = start(&setup);
    wait_for_backends(port, &["first"]);
    // It comes first in each list.
    setup.paths.write_file_service("ant", port, &[second.address.to_string()]);
    proxymgr.wait_for_log(SOON, "belongs to the service zoo");
    assert_eq!(proxymgr.end().code(), Some(0));
    let proxymgr = start(&setup);
    wait_for_backends(port, &["first"]);
    proxymgr.wait_for_log(SOON, "belongs to the service zoo");
    // It is not its own for ever.
    setup.paths.remove_service("zoo");
    wait_for_backends(port, &["second"]);
}

#[test]
fn a_start_on_a_zookeeper_that_lost_its_data_serves_what_was_last_known() {
    let (mut zookeeper, backends) = (ZookeeperServer::start(), Backends::new());
    let (nodes, port) = (Nodes::of(&zookeeper), free_port());
    let web = backends.start("web");
    nodes.define("web", port);
    nodes.add("web", &web);
    let setup = Setup::new().zookeeper(&zookeeper.address(), "/service_config");
    assert_eq!(start(&setup).end().code(), Some(0));
    zookeeper.kill();
    zookeeper.wipe();
    zookeeper.restart();
    nodes.put("/service_config", "");
    let second = setup.start();
    second.wait_for_log(SOON, "lists no service any more");
    wait_for_backends(port, &["web"]);
}

#[test]
fn a_damaged_snapshot_is_set_aside_and_the_start_goes_on() {
    let (setup, backends) = (Setup::new(), Backends::new());
    let (port, web) = (free_port(), backends.start("web"));
    setup.paths.write_file_service("web", port, &[web.address.to_string()]);
    assert_eq!(start(&setup).end().code(), Some(0));
    let path = setup.paths.state_dir.join("topology.json");
    let snapshot = fs::read_to_string(&path).unwrap();
    assert!(snapshot.contains(&web.address.to_string()), "{snapshot}");
    fs::write(&path, &snapshot[..snapshot.len() / 2]).unwrap();
    let second = setup.start();
    wait_for_backends(port, &["web"]);
    second.wait_for_log(SOON, "the snapshot of the last run can't be used");
    assert!(setup.paths.state_dir.join("topology.json.damaged").exists());
}
