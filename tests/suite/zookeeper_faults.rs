//! What registries do in bad nights, under load: no request fails, and what was changed arrives.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use serde_json::json;
use zookeeper_client::{Acls, CreateMode, Error};

use super::support::backend::{Backend, Backends};
use super::support::deadline::eventually;
use super::support::load::{Load, RunningLoad};
use super::support::netns::Netns;
use super::support::ports::free_ports;
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::Setup;
use super::support::requests::{answering, local, wait_for_backends};
use super::support::running::{assert_config_says_what_runs, log_lines, start, wait_for_message};
use super::support::slow_proxy::SlowProxy;
use super::support::zookeeper::ZookeeperServer;
use super::support::zookeeper_ensemble::ZookeeperEnsemble;
use super::support::zookeeper_nodes::{Nodes, server_data, server_path};

const SOON: Duration = Duration::from_secs(20);
const LONG: Duration = Duration::from_secs(60);
/// Beyond the session's time-out of 8 s.
const UNTIL_EXPIRY: Duration = Duration::from_secs(11);
const CHANGES: usize = 50;

fn load(port: u16) -> RunningLoad {
    Load::to(local(port)).short(2).keep_alive(2).rate(200).start()
}

fn times(proxymgr: &Proxymgr, message: &str) -> usize {
    log_lines(proxymgr).iter().filter(|line| line.message.contains(message)).count()
}

#[test]
fn a_leader_that_dies_amid_fifty_changes_loses_none_under_load() {
    let (mut ensemble, backends) = (ZookeeperEnsemble::start(), Backends::new());
    let (nodes, ports) = (Nodes::at(&ensemble.address()), free_ports::<3>());
    let pool: Vec<Backend> = (0..8).map(|number| backends.start(&number.to_string())).collect();
    let services = ["s0", "s1", "s2"];
    for (service, port) in services.iter().zip(ports) {
        nodes.add(service, &pool[0]);
        nodes.define(service, port);
    }
    let setup = Setup::new().zookeeper(&ensemble.address(), "/service_config");
    let proxymgr = start(&setup);
    for port in ports {
        wait_for_backends(port, &["0"]);
    }
    let loads = ports.map(load);

    let mut wanted = [(); 3].map(|()| BTreeSet::from([0]));
    for change in 0..CHANGES {
        if change == CHANGES / 3 {
            ensemble.kill_leader();
        }
        // Server 0 stays; the others come and go.
        let (service, server) = (change % 3, 1 + change % 7);
        let path = server_path(services[service], &pool[server]);
        let comes = wanted[service].insert(server) || !wanted[service].remove(&server);
        let data = server_data(pool[server].address);
        nodes.write_until_done(&async |client| {
            let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
            let done = if comes {
                client.create(&path, data.as_bytes(), &options).await.map(|_| ())
            } else {
                client.delete(&path, None).await
            };
            match done {
                Err(Error::NodeExists | Error::NoNode) => Ok(()),
                done => done,
            }
        });
    }
    for (port, servers) in ports.iter().zip(&wanted) {
        let names: BTreeSet<String> = servers.iter().map(ToString::to_string).collect();
        eventually(LONG, "exactly the registry's servers answer", || {
            let found = answering(*port, names.len())?;
            if found == names { Ok(()) } else { Err(format!("{found:?} instead of {names:?}")) }
        });
    }
    for load in loads {
        let report = load.stop();
        println!("{report}");
        report.assert_no_errors();
    }
    assert_eq!(proxymgr.reloads(), 1);
    assert_config_says_what_runs(&setup.paths);
}

/// `ZooKeeper` behind a network that can be cut; changes are made on another way.
struct Apart {
    netns: Netns,
    nodes: Nodes,
    backends: Backends,
    one: Backend,
    port: u16,
    proxymgr: Proxymgr,
    load: RunningLoad,
    _zookeeper: ZookeeperServer,
}

impl Apart {
    fn start() -> Self {
        let (netns, backends) = (Netns::new(), Backends::new());
        let [port, registry] = free_ports();
        let everywhere = SocketAddr::new(IpAddr::from([0, 0, 0, 0]), registry);
        let zookeeper = ZookeeperServer::start_at_each(everywhere, netns.other_address(), netns.place());
        let (cut, other) = (netns.address(), netns.other_address());
        let nodes = Nodes::at(&SocketAddr::new(other, registry).to_string());
        let ensemble = SocketAddr::new(cut, registry).to_string();
        let one = backends.start("one");
        nodes.add("web", &one);
        let mut definition = nodes.definition("web", port);
        definition["server"] = json!(ensemble);
        nodes.put("/service_config/web", definition.to_string());
        let proxymgr = start(&Setup::new().zookeeper(&ensemble, "/service_config"));
        wait_for_backends(port, &["one"]);
        Self { load: load(port), netns, nodes, backends, one, port, proxymgr, _zookeeper: zookeeper }
    }

    /// Cuts the network; what changes during that time arrives after it.
    fn survives_a_cut_of(self, duration: Duration) {
        let [two, three] = ["two", "three"].map(|name| self.backends.start(name));
        self.netns.cut();
        self.nodes.add("web", &two);
        self.load.watch(duration);
        wait_for_backends(self.port, &["one"]);
        self.netns.heal();
        wait_for_backends(self.port, &["one", "two"]);
        // Every watch is alive.
        self.nodes.add("web", &three);
        self.nodes.remove("web", &self.one);
        wait_for_backends(self.port, &["three", "two"]);
        let report = self.load.stop();
        println!("{report}");
        report.assert_no_errors();
        assert_eq!(self.proxymgr.reloads(), 1);
    }
}

#[test]
fn a_short_cut_of_the_network_changes_nothing_under_load() {
    Apart::start().survives_a_cut_of(Duration::from_secs(2));
}

#[test]
fn a_cut_beyond_the_session_changes_nothing_under_load() {
    Apart::start().survives_a_cut_of(UNTIL_EXPIRY + Duration::from_secs(4));
}

#[test]
fn answers_that_come_two_seconds_late_only_delay_changes_under_load() {
    let (zookeeper, backends) = (ZookeeperServer::start(), Backends::new());
    let (nodes, [port]) = (Nodes::of(&zookeeper), free_ports());
    let slow = SlowProxy::start(zookeeper.address().parse().unwrap(), Duration::from_secs(2));
    let [one, two] = ["one", "two"].map(|name| backends.start(name));
    nodes.add("web", &one);
    let mut definition = nodes.definition("web", port);
    definition["server"] = json!(slow.address.to_string());
    nodes.put("/service_config/web", definition.to_string());
    let setup = Setup::new().zookeeper(&slow.address.to_string(), "/service_config");
    let proxymgr = setup.section("safety", json!({"startup_timeout": "60s"})).start();
    proxymgr.wait_for_log(LONG, "\"ready\"");
    wait_for_backends(port, &["one"]);
    let load = load(port);
    nodes.add("web", &two);
    wait_for_backends(port, &["one", "two"]);
    load.watch(UNTIL_EXPIRY);
    nodes.remove("web", &one);
    wait_for_backends(port, &["two"]);
    load.stop().assert_no_errors();
    assert_eq!(
        times(&proxymgr, "ZooKeeper session ended") + times(&proxymgr, "connection to ZooKeeper lost"),
        0
    );
    assert_eq!(proxymgr.reloads(), 1);
}

#[test]
fn an_empty_answer_and_half_of_the_servers_gone_at_once_fail_no_request_under_load() {
    let (zookeeper, backends) = (ZookeeperServer::start(), Backends::new());
    let (nodes, [port]) = (Nodes::of(&zookeeper), free_ports());
    let servers: Vec<Backend> = (0..9).map(|number| backends.start(&number.to_string())).collect();
    let put = |range: std::ops::Range<usize>| {
        nodes.write(async |session| {
            for server in &servers[range] {
                session.put(&server_path("web", server), server_data(server.address).as_bytes()).await;
            }
        });
    };
    let delete = |range: std::ops::Range<usize>| {
        nodes.write(async |session| {
            let mut writer = session.client.new_multi_writer();
            for server in &servers[range] {
                writer.add_delete(&server_path("web", server), None).unwrap();
            }
            writer.commit().await.unwrap();
        });
    };
    put(0..8);
    nodes.define("web", port);
    let safety = json!({"shrink_hold": "3s"});
    let proxymgr =
        start(&Setup::new().zookeeper(&zookeeper.address(), "/service_config").section("safety", safety));
    let all = ["0", "1", "2", "3", "4", "5", "6", "7"];
    wait_for_backends(port, &all);
    let load = load(port);

    delete(0..8);
    wait_for_message(&proxymgr, "on_empty");
    wait_for_backends(port, &all);
    // The ninth tells that all of the others are back.
    put(0..9);
    let nine = ["0", "1", "2", "3", "4", "5", "6", "7", "8"];
    wait_for_backends(port, &nine);
    // Half is an ordinary scale-down, and goes at once.
    let held = times(&proxymgr, "max_shrink");
    delete(0..4);
    wait_for_backends(port, &["4", "5", "6", "7", "8"]);
    assert_eq!(times(&proxymgr, "max_shrink"), held);
    put(0..4);
    wait_for_backends(port, &nine);
    // Eight of nine are held, then believed.
    delete(0..8);
    eventually(SOON, "the loss is held", || match times(&proxymgr, "max_shrink") {
        more if more > held => Ok(()),
        same => Err(same),
    });
    wait_for_backends(port, &nine);
    wait_for_backends(port, &nine[8..]);
    let report = load.stop();
    println!("{report}");
    report.assert_no_errors();
    assert_eq!(proxymgr.reloads(), 1);
}
