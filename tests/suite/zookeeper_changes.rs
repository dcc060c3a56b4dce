//! What each kind of change in `ZooKeeper` costs, and that none costs a request.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use serde_json::json;

use super::support::backend::{Backend, Backends};
use super::support::deadline::eventually;
use super::support::haproxy;
use super::support::load::Load;
use super::support::ports::{free_port, free_ports};
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::Setup;
use super::support::requests::{answering, local, wait_for_answer, wait_for_backends, wait_for_refusal};
use super::support::running::log_lines;
use super::support::slow_proxy::SlowProxy;
use super::support::zookeeper::ZookeeperServer;
use super::support::zookeeper_nodes::{Nodes, definition_path, server_data, server_path};

const SOON: Duration = Duration::from_secs(20);

/// The addresses of the servers of `backend` that take traffic.
fn serving(proxymgr: &Proxymgr, backend: &str) -> Result<BTreeSet<String>, String> {
    let rows = haproxy::servers(&proxymgr.paths.stats_socket).map_err(|error| error.to_string())?;
    let active = rows.into_iter().filter(|row| row.backend == backend && !row.in_maintenance());
    Ok(active.map(|row| format!("{}:{}", row.address, row.port)).collect())
}

#[test]
fn two_hundred_replacements_and_ten_new_services_under_load() {
    let (zookeeper, backends) = (ZookeeperServer::start(), Backends::new());
    let (nodes, port) = (Nodes::of(&zookeeper), free_port());
    let pool: Vec<Backend> = (0..40).map(|number| backends.start(&format!("s{number}"))).collect();
    let (first, rest) = pool.split_at(10);
    let (mut active, mut idle): (VecDeque<&Backend>, VecDeque<&Backend>) =
        (first.iter().collect(), rest.iter().collect());
    nodes.write(async |session| {
        for server in &active {
            session.put(&server_path("web", server), server_data(server.address).as_bytes()).await;
        }
    });
    nodes.define("web", port);
    let proxymgr = Setup::new().zookeeper(&zookeeper.address(), "/service_config").start();
    let names: Vec<String> = (0..10).map(|number| format!("s{number}")).collect();
    wait_for_backends(port, &names.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(proxymgr.reloads(), 1);

    let load = Load::to(([127, 0, 0, 1], port).into()).short(8).keep_alive(8).rate(1500).start();
    let replace_hundred = |active: &mut VecDeque<_>, idle: &mut VecDeque<_>| {
        nodes.write(async |session| {
            for _ in 0..100 {
                let (new, old): (&Backend, &Backend) =
                    (idle.pop_front().unwrap(), active.pop_front().unwrap());
                session.put(&server_path("web", new), server_data(new.address).as_bytes()).await;
                session.delete(&server_path("web", old)).await;
                active.push_back(new);
                idle.push_back(old);
            }
        });
        let wanted: BTreeSet<String> =
            active.iter().map(|server: &&Backend| server.address.to_string()).collect();
        eventually(SOON, "the last replacement is in force", || match serving(&proxymgr, "web") {
            Ok(found) if found == wanted => Ok(()),
            other => Err(other),
        });
    };
    replace_hundred(&mut active, &mut idle);
    assert_eq!(proxymgr.reloads(), 1, "replacements need no new process");

    let new_ports: [u16; 10] = free_ports();
    nodes.write(async |session| {
        for port in new_ports {
            let name = format!("new{port}");
            let server = &pool[0];
            session.put(&server_path(&name, server), server_data(server.address).as_bytes()).await;
        }
        for port in new_ports {
            let name = format!("new{port}");
            let definition = nodes.definition(&name, port).to_string();
            session.put(&definition_path(&name), definition.as_bytes()).await;
        }
    });
    for port in new_ports {
        wait_for_backends(port, &["s0"]);
    }
    assert_eq!(proxymgr.reloads(), 2, "what comes together costs one new process");

    replace_hundred(&mut active, &mut idle);
    assert_eq!(proxymgr.reloads(), 2, "replacements need no new process");
    let report = load.stop();
    println!("{report}");
    report.assert_no_errors();
    assert!(report.rate() > 1000.0, "{report}");
    // What is written is what runs.
    haproxy::check(&proxymgr.paths.haproxy_cfg).unwrap();
    let config = std::fs::read_to_string(&proxymgr.paths.haproxy_cfg).unwrap();
    for server in &pool {
        let runs = active.iter().any(|active| active.port() == server.port());
        let section = config.split("listen web").nth(1).unwrap().split("\nlisten ").next().unwrap();
        assert_eq!(
            section.contains(&format!(" {} ", server.address)),
            runs,
            "{} in {section}",
            server.address
        );
    }
}

#[test]
fn nodes_that_are_gone_before_they_are_read_are_no_loss() {
    // What is told comes late, so that most nodes it tells of have been replaced when they are asked for.
    let (zookeeper, backends) = (ZookeeperServer::start(), Backends::new());
    let slow = SlowProxy::start(zookeeper.address().parse().unwrap(), Duration::from_millis(10));
    let (nodes, port) = (Nodes::of(&zookeeper), free_port());
    let pool: Vec<Backend> = (0..110).map(|number| backends.start(&format!("s{number}"))).collect();
    let mut active: VecDeque<&Backend> = pool.iter().take(10).collect();
    for server in &active {
        nodes.add("web", server);
    }
    let mut definition = nodes.definition("web", port);
    definition["server"] = json!(slow.address.to_string());
    nodes.put("/service_config/web", definition.to_string());
    let rules = json!({"max_shrink": "30%", "shrink_hold": "1h"});
    let setup = Setup::new().zookeeper(&slow.address.to_string(), "/service_config").section("safety", rules);
    let proxymgr = setup.start();
    wait_for_answer(local(port), "s9");
    nodes.write(async |session| {
        for new in &pool[10..] {
            session.put(&server_path("web", new), server_data(new.address).as_bytes()).await;
            let old = active.pop_front().unwrap();
            session.delete(&server_path("web", old)).await;
            active.push_back(new);
        }
    });
    let wanted: BTreeSet<String> = active.iter().map(|server| server.address.to_string()).collect();
    eventually(SOON, "the last servers are in force", || match serving(&proxymgr, "web") {
        Ok(found) if found == wanted => Ok(()),
        other => Err(other),
    });
    let held: Vec<_> = log_lines(&proxymgr)
        .into_iter()
        .filter(|line| ["max_shrink", "on_empty"].iter().any(|rule| line.says(rule)))
        .collect();
    assert!(held.is_empty(), "{held:?}");
}

/// What is defined is `web`, with `web1` below `/services/web` and `other1` below `/services/other`.
struct World {
    nodes: Nodes,
    _zookeeper: ZookeeperServer,
    _servers: [Backend; 2],
    backends: Backends,
    port: u16,
    proxymgr: Proxymgr,
    /// See [`World::settles_at`]. They live on, since one that is removed may still have a request to answer.
    markers: RefCell<Vec<Backend>>,
}

impl World {
    fn start() -> Self {
        let (zookeeper, backends) = (ZookeeperServer::start(), Backends::new());
        let (nodes, port) = (Nodes::of(&zookeeper), free_port());
        let servers = ["web1", "other1"].map(|name| backends.start(name));
        nodes.add("web", &servers[0]);
        nodes.add("other", &servers[1]);
        nodes.define("web", port);
        let proxymgr = Setup::new().zookeeper(&zookeeper.address(), "/service_config").start();
        wait_for_backends(port, &["web1"]);
        Self {
            nodes,
            _zookeeper: zookeeper,
            _servers: servers,
            backends,
            port,
            proxymgr,
            markers: RefCell::default(),
        }
    }

    fn redefine(&self, key: &str, value: serde_json::Value) {
        let mut definition = self.nodes.definition("web", self.port);
        definition[key] = value;
        self.nodes.put(&definition_path("web"), definition.to_string());
    }

    /// Waits until `HAProxy` was started `count` times, and it is shown that no further start follows.
    #[track_caller]
    fn settles_at(&self, count: usize) {
        eventually(SOON, "the reload", || {
            let reloads = self.proxymgr.reloads();
            if reloads >= count { Ok(()) } else { Err(reloads) }
        });
        // A change made after, once it arrived, tells that all before is done with.
        let marker = self.backends.start("marker");
        self.nodes.add("web", &marker);
        let wanted = marker.address.to_string();
        eventually(SOON, "the server that was added last", || {
            let serving = serving(&self.proxymgr, "web");
            if serving.as_ref().is_ok_and(|found| found.contains(&wanted)) { Ok(()) } else { Err(serving) }
        });
        self.nodes.remove("web", &marker);
        eventually(SOON, "the server that was added last is gone", || {
            let serving = serving(&self.proxymgr, "web");
            if serving.as_ref().is_ok_and(|found| !found.contains(&wanted)) { Ok(()) } else { Err(serving) }
        });
        self.markers.borrow_mut().push(marker);
        assert_eq!(self.proxymgr.reloads(), count, "{}", self.proxymgr.log());
    }
}

#[test]
fn a_changed_definition_costs_one_reload_and_an_equal_one_nothing() {
    let world = World::start();
    let load = Load::to(([127, 0, 0, 1], world.port).into()).short(2).keep_alive(2).rate(300).start();
    world.settles_at(1);

    world.nodes.define("web", world.port);
    world.settles_at(1);
    // The same in another order and format, and a key that plays no part.
    let shuffled: BTreeMap<_, _> =
        world.nodes.definition("web", world.port).as_object().unwrap().clone().into_iter().collect();
    world.nodes.put(&definition_path("web"), serde_json::to_string_pretty(&shuffled).unwrap());
    world.redefine("comment", json!("by hand"));
    world.proxymgr.wait_for_log(SOON, "unknown key in the definition");
    world.settles_at(1);

    world.redefine("listen_options", json!(["mode http", "option forwardfor"]));
    world.settles_at(2);
    world.redefine("server_options", json!(["check inter 3000"]));
    world.settles_at(3);
    load.stop().assert_no_errors();

    let moved = free_port();
    world.redefine("port", json!(moved));
    wait_for_backends(moved, &["web1"]);
    wait_for_refusal(local(world.port));
    world.settles_at(4);
}

#[test]
fn a_changed_path_brings_the_servers_of_the_new_one() {
    let world = World::start();
    let load = Load::to(([127, 0, 0, 1], world.port).into()).short(2).keep_alive(2).rate(300).start();
    world.redefine("path", json!("/services/other"));
    wait_for_backends(world.port, &["other1"]);
    let [web2, other2] = ["web2", "other2"].map(|name| world.backends.start(name));
    world.nodes.add("web", &web2);
    world.nodes.add("other", &other2);
    wait_for_backends(world.port, &["other1", "other2"]);
    assert_eq!(web2.requests(), 0, "a server of the old path");
    // A path that isn't there yet is no answer that empties a service.
    world.redefine("path", json!("/services/later"));
    world.proxymgr.wait_for_log(SOON, "the node of the servers doesn't exist");
    assert!(answering(world.port, 2).unwrap().iter().all(|name| name.starts_with("other")));
    world.nodes.add("later", &web2);
    wait_for_backends(world.port, &["web2"]);
    load.stop().assert_no_errors();
    assert_eq!(world.proxymgr.reloads(), 1);
}
