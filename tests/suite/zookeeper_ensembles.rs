//! Several ensembles in one set-up: what happens to one is felt by nobody who needs another.

use std::time::Duration;

use serde_json::{Value, json};

use super::support::backend::Backends;
use super::support::deadline::eventually;
use super::support::load::{Load, RunningLoad};
use super::support::ports::free_ports;
use super::support::proxymgr_setup::Setup;
use super::support::requests::{local, wait_for_backends, wait_for_refusal};
use super::support::running::{LogLine, log_lines};
use super::support::zookeeper::ZookeeperServer;
use super::support::zookeeper_nodes::{Nodes, definition_path};

const SOON: Duration = Duration::from_secs(20);

fn load(port: u16) -> RunningLoad {
    Load::to(local(port)).short(2).keep_alive(2).rate(150).start()
}

/// The ensembles whose loss the log tells of so far, in order.
fn lost(lines: &[LogLine]) -> Vec<&str> {
    let tells = |line: &&LogLine| line.message.contains("connection to ZooKeeper lost");
    lines.iter().filter(tells).map(|line| line.fields["ensemble"].as_str().unwrap()).collect()
}

#[test]
fn the_list_of_services_and_the_servers_may_be_in_ensembles_that_fail_apart() {
    let (mut config, mut registry, backends) =
        (ZookeeperServer::start(), ZookeeperServer::start(), Backends::new());
    let (in_config, in_registry) = (Nodes::of(&config), Nodes::of(&registry));
    let [web_port, api_port, late_port] = free_ports();
    let [web1, web2, web3, api1, api2, late1] =
        ["web1", "web2", "web3", "api1", "api2", "late1"].map(|name| backends.start(name));
    // The servers of `web` are in one ensemble, those of `api` in the other that holds the definitions of both.
    in_registry.add("web", &web1);
    in_config.add("api", &api1);
    in_config.put(&definition_path("web"), in_registry.definition("web", web_port).to_string());
    in_config.define("api", api_port);
    let proxymgr = Setup::new().zookeeper(&config.address(), "/service_config").start();
    wait_for_backends(web_port, &["web1"]);
    wait_for_backends(api_port, &["api1"]);
    let loads = [load(web_port), load(api_port)];

    config.kill();
    eventually(SOON, "the loss of the one ensemble, and of no other", || {
        let lines = log_lines(&proxymgr);
        if lost(&lines) == [config.address()] { Ok(()) } else { Err(lines.last().cloned()) }
    });
    in_registry.add("web", &web2);
    wait_for_backends(web_port, &["web1", "web2"]);
    wait_for_backends(api_port, &["api1"]);
    config.restart();
    in_config.add("api", &api2);
    wait_for_backends(api_port, &["api1", "api2"]);

    registry.kill();
    eventually(SOON, "the loss of the other ensemble", || {
        let lines = log_lines(&proxymgr);
        if lost(&lines) == [config.address(), registry.address()] {
            Ok(())
        } else {
            Err(lines.last().cloned())
        }
    });
    in_config.remove("api", &api1);
    wait_for_backends(api_port, &["api2"]);
    in_config.add("late", &late1);
    in_config.define("late", late_port);
    wait_for_backends(late_port, &["late1"]);
    // A reload came meanwhile, for `late`; the servers of `web` are those known.
    wait_for_backends(web_port, &["web1", "web2"]);
    registry.restart();
    in_registry.add("web", &web3);
    in_registry.remove("web", &web1);
    wait_for_backends(web_port, &["web2", "web3"]);
    for load in loads {
        load.stop().assert_no_errors();
    }
    assert_eq!(proxymgr.reloads(), 2, "the start and `late`");
}

fn source(server: &ZookeeperServer, credentials: &str) -> Value {
    json!({
        "type": "zookeeper", "servers": server.address(), "path": "/service_config",
        "auth": {"scheme": "digest", "credentials": credentials},
    })
}

/// Each ensemble lets in one user alone, so that nothing is read with the other's credentials.
#[test]
fn of_two_ensembles_that_list_services_each_is_read_with_its_own_credentials_and_fails_alone() {
    let (mut one, mut two, backends) = (ZookeeperServer::start(), ZookeeperServer::start(), Backends::new());
    let (in_one, in_two) = (Nodes::of_user(&one, "anna:1"), Nodes::of_user(&two, "bert:2"));
    let [web_port, api_port, shared_port, late_port] = free_ports();
    let [web1, web2, api1, api2, shared1, shared2, late1] =
        ["web1", "web2", "api1", "api2", "shared1", "shared2", "late1"].map(|name| backends.start(name));
    in_one.add("web", &web1);
    in_one.define("web", web_port);
    in_two.add("api", &api1);
    in_two.define("api", api_port);
    // Both know a service of this name.
    in_one.add("shared", &shared1);
    in_one.define("shared", shared_port);
    in_two.add("shared", &shared2);
    in_two.define("shared", shared_port);
    two.kill();
    let setup = Setup::new().section("safety", json!({"startup_timeout": "1s"}));
    let sources = json!([source(&one, "anna:1"), source(&two, "bert:2")]);
    let proxymgr = setup.section("service_config", sources).start();

    // One is not there yet: what the other lists is served.
    wait_for_backends(web_port, &["web1"]);
    wait_for_backends(shared_port, &["shared1"]);
    wait_for_refusal(local(api_port));
    let web = load(web_port);
    two.restart();
    wait_for_backends(api_port, &["api1"]);
    let api = load(api_port);
    wait_for_backends(shared_port, &["shared1"]);

    // The first is away: its services stay, even the one that the second has too, and those of the second change.
    one.kill();
    eventually(SOON, "the loss of the first ensemble, and of no other", || {
        let lines = log_lines(&proxymgr);
        if lost(&lines) == [one.address()] { Ok(()) } else { Err(lines.last().cloned()) }
    });
    in_two.add("api", &api2);
    wait_for_backends(api_port, &["api1", "api2"]);
    in_two.add("late", &late1);
    in_two.define("late", late_port);
    wait_for_backends(late_port, &["late1"]);
    wait_for_backends(web_port, &["web1"]);
    wait_for_backends(shared_port, &["shared1"]);
    one.restart();
    in_one.add("web", &web2);
    wait_for_backends(web_port, &["web1", "web2"]);

    // What the first gives up, the second takes over.
    in_one.undefine("shared");
    wait_for_backends(shared_port, &["shared2"]);
    for load in [web, api] {
        load.stop().assert_no_errors();
    }
}
