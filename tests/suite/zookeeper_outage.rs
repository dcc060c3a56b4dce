//! Nothing that happens to `ZooKeeper` changes the traffic, and nothing that is changed meanwhile gets lost.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::support::backend::{Backend, Backends};
use super::support::deadline::eventually;
use super::support::load::{Load, RunningLoad};
use super::support::ports::free_ports;
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::Setup;
use super::support::requests::{local, wait_for_backends, wait_for_refusal};
use super::support::zookeeper::ZookeeperServer;
use super::support::zookeeper_nodes::Nodes;

const SOON: Duration = Duration::from_secs(20);
/// Beyond the session's time-out of 8 s.
const UNTIL_EXPIRY: Duration = Duration::from_secs(11);

/// Two services, `web` with two servers and `api` with one, under a load that the machine hardly notices.
struct World {
    zookeeper: ZookeeperServer,
    nodes: Nodes,
    backends: Backends,
    servers: [Backend; 3],
    ports: [u16; 2],
    proxymgr: Proxymgr,
    loads: [RunningLoad; 2],
}

impl World {
    fn start() -> Self {
        let (zookeeper, backends) = (ZookeeperServer::start(), Backends::new());
        let (nodes, ports) = (Nodes::of(&zookeeper), free_ports());
        let servers = ["web1", "web2", "api1"].map(|name| backends.start(name));
        restore(&nodes, ports, &servers);
        let proxymgr = Setup::new().zookeeper(&zookeeper.address(), "/service_config").start();
        wait_for_backends(ports[0], &["web1", "web2"]);
        wait_for_backends(ports[1], &["api1"]);
        let loads = ports
            .map(|port| Load::to(([127, 0, 0, 1], port).into()).short(2).keep_alive(2).rate(150).start());
        eventually(SOON, "the first answers", || {
            if loads.iter().all(|load| load.so_far().successes > 0) { Ok(()) } else { Err(()) }
        });
        Self { zookeeper, nodes, backends, servers, ports, proxymgr, loads }
    }

    /// For `duration` every request succeeds.
    #[track_caller]
    fn watch_traffic(&self, duration: Duration) {
        let end = self.loads[0].so_far().elapsed + duration;
        eventually(duration + SOON, "the end of the watch", || {
            self.loads.iter().for_each(|load| load.so_far().assert_no_errors());
            let now = self.loads[0].so_far().elapsed;
            if now >= end { Ok(()) } else { Err(now) }
        });
    }

    /// A server added and one removed arrive; then all of the traffic is judged.
    #[track_caller]
    fn changes_arrive(self, reloads: usize) {
        let late = self.backends.start("late");
        self.nodes.add("web", &late);
        self.nodes.remove("web", &self.servers[0]);
        wait_for_backends(self.ports[0], &["late", "web2"]);
        wait_for_backends(self.ports[1], &["api1"]);
        assert_eq!(self.proxymgr.reloads(), reloads);
        for load in self.loads {
            let report = load.stop();
            report.assert_no_errors();
            println!("{report} {:?}", report.by_backend);
        }
    }
}

fn restore(nodes: &Nodes, ports: [u16; 2], servers: &[Backend; 3]) {
    nodes.add("web", &servers[0]);
    nodes.add("web", &servers[1]);
    nodes.add("api", &servers[2]);
    nodes.define("web", ports[0]);
    nodes.define("api", ports[1]);
}

#[test]
fn twenty_seconds_without_zookeeper_change_nothing() {
    let mut world = World::start();
    world.zookeeper.kill();
    world.proxymgr.wait_for_log(SOON, "connection to ZooKeeper lost");
    world.watch_traffic(Duration::from_secs(20));
    world.zookeeper.restart();
    world.changes_arrive(1);
}

#[test]
fn a_zookeeper_that_freezes_until_its_sessions_expire_changes_nothing() {
    let world = World::start();
    world.zookeeper.freeze();
    world.watch_traffic(UNTIL_EXPIRY);
    // Thawed, the server may hear from its client before it sees that the session's time is over, and keep it. So the client
    // is held back until the time has passed on the server's clock too.
    world.proxymgr.signal(Signal::SIGSTOP);
    world.zookeeper.thaw();
    world.watch_traffic(UNTIL_EXPIRY);
    world.proxymgr.signal(Signal::SIGCONT);
    world.proxymgr.wait_for_log(SOON, "ZooKeeper session ended");
    world.changes_arrive(1);
}

/// `ProxyMgr` stands still while `ZooKeeper` restarts, which forgets all watches, and while nodes change: no event tells of them.
fn changes_that_no_watch_saw_arrive(away: Duration) {
    let mut world = World::start();
    world.proxymgr.signal(Signal::SIGSTOP);
    world.zookeeper.kill();
    world.zookeeper.restart();
    let [new, third] = ["new", "api2"].map(|name| world.backends.start(name));
    world.nodes.add("web", &new);
    world.nodes.remove("web", &world.servers[1]);
    world.nodes.add("api", &third);
    world.watch_traffic(away);
    world.proxymgr.signal(Signal::SIGCONT);
    wait_for_backends(world.ports[0], &["new", "web1"]);
    wait_for_backends(world.ports[1], &["api1", "api2"]);
    world.nodes.remove("api", &third);
    world.nodes.remove("web", &new);
    world.nodes.add("web", &world.servers[1]);
    wait_for_backends(world.ports[0], &["web1", "web2"]);
    let expired = world.proxymgr.log().contains("ZooKeeper session ended");
    assert_eq!(expired, away >= UNTIL_EXPIRY, "{}", world.proxymgr.log());
    world.changes_arrive(1);
}

#[test]
fn changes_that_no_watch_saw_arrive_in_the_same_session() {
    changes_that_no_watch_saw_arrive(Duration::ZERO);
}

#[test]
fn changes_that_no_watch_saw_arrive_in_a_new_session() {
    changes_that_no_watch_saw_arrive(UNTIL_EXPIRY);
}

#[test]
fn a_zookeeper_that_lost_all_its_data_changes_nothing() {
    let mut world = World::start();
    world.zookeeper.kill();
    world.zookeeper.wipe();
    world.zookeeper.restart();
    world.proxymgr.wait_for_log(SOON, "the node that lists the services doesn't exist");
    world.watch_traffic(Duration::from_secs(1));
    world.proxymgr.wait_for_log(SOON, "lists no service any more");
    world.nodes.put("/service_config", "");
    world.watch_traffic(Duration::from_secs(1));
    restore(&world.nodes, world.ports, &world.servers);
    world.changes_arrive(1);
}

#[test]
fn services_go_one_by_one_but_the_last_one_stays() {
    let world = World::start();
    world.nodes.undefine("api");
    wait_for_refusal(local(world.ports[1]));
    world.nodes.undefine("web");
    let line = world.proxymgr.wait_for_log(SOON, "lists no service any more");
    assert!(line.contains("web") && line.contains("WARN"), "{line}");
    let [web, _api] = world.loads;
    web.so_far().assert_no_errors();
    wait_for_backends(world.ports[0], &["web1", "web2"]);
    // It is followed on.
    world.nodes.remove("web", &world.servers[0]);
    wait_for_backends(world.ports[0], &["web2"]);
    // So it does at first once there is another: a list that was lost may come back in pieces.
    world.nodes.define("api", world.ports[1]);
    wait_for_backends(world.ports[1], &["api1"]);
    wait_for_backends(world.ports[0], &["web2"]);
    let line = world.proxymgr.wait_for_log(SOON, "lists services again, but not all that it had");
    assert!(line.contains("web") && line.contains("WARN"), "{line}");
    web.stop().assert_no_errors();
}

#[test]
fn a_zookeeper_that_comes_after_proxymgr_is_followed_from_then_on() {
    let (mut zookeeper, backends) = (ZookeeperServer::start(), Backends::new());
    let (nodes, [port, file_port]) = (Nodes::of(&zookeeper), free_ports());
    let [web, file] = ["web1", "file1"].map(|name| backends.start(name));
    nodes.add("web", &web);
    nodes.define("web", port);
    zookeeper.kill();
    let setup = Setup::new();
    setup.paths.write_file_service("static", file_port, &[file.address.to_string()]);
    let sources = json!([
        {"type": "zookeeper", "servers": zookeeper.address(), "path": "/service_config"},
        {"type": "file", "path": setup.paths.services},
    ]);
    let proxymgr =
        setup.section("service_config", sources).section("safety", json!({"startup_timeout": "1s"})).start();
    wait_for_backends(file_port, &["file1"]);
    proxymgr.wait_for_log(SOON, "ZooKeeper can't be reached");
    let load = Load::to(([127, 0, 0, 1], file_port).into()).short(2).keep_alive(2).rate(150).start();
    wait_for_refusal(local(port));
    zookeeper.restart();
    wait_for_backends(port, &["web1"]);
    let web2 = backends.start("web2");
    nodes.add("web", &web2);
    wait_for_backends(port, &["web1", "web2"]);
    assert_eq!(proxymgr.reloads(), 2);
    load.stop().assert_no_errors();
}
