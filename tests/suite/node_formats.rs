//! Servers from nodes of every form, in one service, and what a definition takes from them.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::backend::{Backend, Backends};
use super::support::deadline::eventually;
use super::support::haproxy::{self, ServerRow};
use super::support::ports::free_port;
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::wait_for_backends;
use super::support::zookeeper::ZookeeperServer;
use super::support::zookeeper_nodes::{Nodes, definition_path};

const SOON: Duration = Duration::from_secs(20);

/// One server's row of `show servers state`, once it is as `wanted`.
#[track_caller]
fn row(proxymgr: &Proxymgr, server: &Backend, wanted: impl Fn(&ServerRow) -> bool) -> ServerRow {
    eventually(SOON, &format!("the state of {}", server.address), || {
        let rows = haproxy::servers(&proxymgr.paths.stats_socket).map_err(|error| error.to_string())?;
        let found = rows.into_iter().find(|row| row.port == server.port());
        found.clone().filter(&wanted).ok_or_else(|| format!("{found:?}"))
    })
}

/// The line of haproxy.cfg, once it ends as `wanted`.
#[track_caller]
fn wait_for_line(proxymgr: &Proxymgr, server: &Backend, wanted: &str) {
    let start = format!("  server {0} {0} id ", server.address);
    eventually(SOON, &format!("a line of {} with {wanted:?}", server.address), || {
        let config = fs::read_to_string(&proxymgr.paths.haproxy_cfg).unwrap();
        let line = config.lines().find(|line| line.starts_with(&start)).map(str::to_owned);
        if line.as_ref().is_some_and(|line| line.ends_with(wanted)) { Ok(()) } else { Err(line) }
    });
}

/// URL-safe base64 without padding, for the names that Nerve gives its nodes.
fn base64(data: &[u8]) -> String {
    const DIGITS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let mut text = String::new();
    for group in data.chunks(3) {
        let bits = group.iter().fold(0_usize, |bits, byte| bits << 8 | usize::from(*byte))
            << (8 * (3 - group.len()));
        let digits = (0..=group.len()).map(|digit| char::from(DIGITS[bits >> (18 - 6 * digit) & 63]));
        text.extend(digits);
    }
    text
}

struct World {
    nodes: Nodes,
    zookeeper: ZookeeperServer,
    backends: Backends,
    port: u16,
}

impl World {
    fn new() -> Self {
        let zookeeper = ZookeeperServer::start();
        let (nodes, port) = (Nodes::of(&zookeeper), free_port());
        Self { nodes, zookeeper, backends: Backends::new(), port }
    }

    fn define(&self, more: &Value) {
        let mut definition = self.nodes.definition("web", self.port);
        definition.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        self.nodes.put(&definition_path("web"), definition.to_string());
    }

    fn put(&self, name: &str, data: &str) {
        self.nodes.put(&format!("/services/web/{name}"), data);
    }

    fn run(&self) -> Proxymgr {
        let ensemble = self.zookeeper.address();
        Setup::new().zookeeper(&ensemble, "/service_config").start()
    }
}

#[test]
fn nodes_of_every_form_serve_side_by_side() {
    let world = World::new();
    let names = ["own", "nerve", "encoded", "serverset", "curator", "spring", "name", "host"];
    let servers = names.map(|name| world.backends.start(name));
    let [own, nerve, encoded, serverset, curator, spring, name, _] = &servers;
    let host = world.backends.start_at(([127, 0, 0, 7], 0).into(), "host");
    world.put("own", &json!({"address": "127.0.0.1", "port": own.port(), "weight": 5}).to_string());
    let report = json!({"host": "127.0.0.1", "port": nerve.port(), "name": "i-1", "weight": 9,
        "haproxy_server_options": "weight 3 maxconn 17 fall 2", "labels": {"az": "a"}});
    world.put("i-1_0000000001", &report.to_string());
    let report = base64(json!({"host": "127.0.0.1", "port": encoded.port()}).to_string().as_bytes());
    world.put(&format!("base64_{}_{report}_0000000002", report.len()), "");
    let endpoint = |port: u16| json!({"host": "127.0.0.1", "port": port});
    let member = |port: u16, status: &str| json!({"serviceEndpoint": endpoint(1), "additionalEndpoints": {"http": endpoint(port)}, "status": status, "shard": 0});
    world.put("member_0000000003", &member(serverset.port(), "ALIVE").to_string());
    world.put("member_0000000004", &member(free_port(), "STOPPING").to_string());
    let instance = |port: Value, ssl: Value, enabled: bool| {
        json!({"name": "web", "id": "x", "address": "127.0.0.1", "port": port, "sslPort": ssl, "payload": null,
            "registrationTimeUTC": 1_514_462_303_125_u64, "serviceType": "DYNAMIC", "uriSpec": null, "enabled": enabled})
    };
    world.put("1357ead8-b043", &instance(json!(curator.port()), Value::Null, true).to_string());
    world.put("1357ead8-b044", &instance(json!(free_port()), Value::Null, false).to_string());
    let mut without_enabled = instance(Value::Null, json!(spring.port()), true);
    without_enabled.as_object_mut().unwrap().remove("enabled");
    world.put("b1fdcb1e-27a8", &without_enabled.to_string());
    world.put(&format!("127.0.0.1:{}", name.port()), "");
    world.put("127.0.0.7", "");
    world.put("bad", r#"{"host": "127.0.0.1", "port": 1, "haproxy_server_options": "lua.evil"}"#);
    world.define(&json!({"endpoint": "http", "remote_port": host.port()}));
    let proxymgr = world.run();
    wait_for_backends(world.port, &names);

    assert_eq!(row(&proxymgr, own, |_| true).weight, 5);
    assert_eq!(row(&proxymgr, nerve, |_| true).weight, 3, "of a Nerve node the weight among the options");
    wait_for_line(&proxymgr, nerve, " check inter 2000 fall 2 maxconn 17 weight 3");
    proxymgr.wait_for_log(SOON, "the option 'lua.evil' can't be set by a node");
    haproxy::check(&proxymgr.paths.haproxy_cfg).unwrap();

    // A weight, be it among the options, is set at run time; other options need a new process.
    let changed = |options: &str| {
        json!({"host": "127.0.0.1", "port": nerve.port(), "weight": 9, "haproxy_server_options": options})
            .to_string()
    };
    world.put("i-1_0000000001", &changed("fall 2 weight 4 maxconn 17"));
    row(&proxymgr, nerve, |row| row.weight == 4);
    assert_eq!(proxymgr.reloads(), 1, "the order of options makes no difference");
    world.put("i-1_0000000001", &changed("weight 4 maxconn 18"));
    wait_for_line(&proxymgr, nerve, " maxconn 18 weight 4");
    assert_eq!(proxymgr.reloads(), 2);
    world.define(&json!({"endpoint": "http", "remote_port": host.port(), "weight_from_node": true}));
    row(&proxymgr, nerve, |row| row.weight == 9);
    assert_eq!(proxymgr.reloads(), 2);
    // A server with options of its own is added at run time.
    let late = world.backends.start("late");
    let report =
        json!({"host": "127.0.0.1", "port": late.port(), "haproxy_server_options": "no-check maxconn 3"});
    world.put("i-2_0000000009", &report.to_string());
    wait_for_backends(world.port, &[&names[..], &["late"]].concat());
    wait_for_line(&proxymgr, &late, " no-check maxconn 3 weight 1");
    assert_eq!(proxymgr.reloads(), 2);
}

#[test]
fn a_filter_chooses_servers_by_label_and_its_change_costs_no_reload() {
    let world = World::new();
    let servers = ["a1", "a2", "b1", "plain"].map(|name| world.backends.start(name));
    for (server, az) in servers.iter().zip(["a", "a", "b", ""]) {
        let mut data = json!({"address": "127.0.0.1", "port": server.port()});
        if !az.is_empty() {
            data["labels"] = json!({"az": az});
        }
        world.put(&server.port().to_string(), &data.to_string());
    }
    world.define(&json!({"filter": {"az": "a"}}));
    let proxymgr = world.run();
    wait_for_backends(world.port, &["a1", "a2"]);
    world.define(&json!({"filter": {"az": ["a", "b"]}}));
    wait_for_backends(world.port, &["a1", "a2", "b1"]);
    world.put(
        &servers[0].port().to_string(),
        &json!({"address": "127.0.0.1", "port": servers[0].port()}).to_string(),
    );
    wait_for_backends(world.port, &["a2", "b1"]);
    world.define(&json!({}));
    wait_for_backends(world.port, &["a1", "a2", "b1", "plain"]);
    assert_eq!(proxymgr.reloads(), 1);
}

#[test]
fn default_servers_are_there_whatever_the_registry_says_and_backups_step_in() {
    let world = World::new();
    let [found, fixed, spare] = ["found", "fixed", "spare"].map(|name| world.backends.start(name));
    let local = |server: &Backend| format!("127.0.0.1:{}", server.port());
    world.nodes.add("web", &found);
    world.define(&json!({"default_servers": [local(&fixed)], "backup_servers": [local(&spare)]}));
    let proxymgr = world.run();
    wait_for_backends(world.port, &["found", "fixed"]);
    wait_for_line(&proxymgr, &spare, " weight 1 backup");
    // An empty answer keeps what the registry had, and the others anyway.
    world.nodes.remove("web", &found);
    proxymgr.wait_for_log(SOON, "empty");
    wait_for_backends(world.port, &["found", "fixed"]);
    world.define(
        &json!({"type": "static", "default_servers": [local(&fixed)], "backup_servers": [local(&spare)]}),
    );
    wait_for_backends(world.port, &["fixed"]);
    drop(fixed);
    wait_for_backends(world.port, &["spare"]);
    assert_eq!(proxymgr.reloads(), 1);
}

#[test]
fn a_static_service_and_a_list_in_a_file_need_no_registry() {
    let setup = Setup::new();
    let backends = Backends::new();
    let [one, two, three] = ["one", "two", "three"].map(|name| backends.start(name));
    let [static_port, list_port] = super::support::ports::free_ports();
    let address = |server: &Backend| server.address.to_string();
    setup.paths.write_service(
        "fixed",
        &json!({"type": "static", "port": static_port, "default_servers": [address(&one), address(&two)]}),
    );
    let file = setup.paths.root.join("list.json");
    write_in_one_step(
        &file,
        &json!([address(&one), {"address": "127.0.0.1", "port": two.port()}]).to_string(),
    );
    setup.paths.write_service("list", &json!({"type": "file", "file": file, "port": list_port}));
    let proxymgr = setup.start();
    wait_for_backends(static_port, &["one", "two"]);
    wait_for_backends(list_port, &["one", "two"]);
    write_in_one_step(&file, &json!([address(&three), "nonsense"]).to_string());
    wait_for_backends(list_port, &["three"]);
    proxymgr.wait_for_log(SOON, "entry 2");
    write_in_one_step(&file, "[");
    proxymgr.wait_for_log(SOON, "the servers' file can't be read");
    wait_for_backends(list_port, &["three"]);
    setup.paths.write_service(
        "fixed",
        &json!({"type": "static", "port": static_port, "default_servers": [address(&three)]}),
    );
    wait_for_backends(static_port, &["three"]);
    assert_eq!(proxymgr.reloads(), 1);
}

#[test]
fn a_nerve_report_in_a_name_is_taken_without_reading_the_node() {
    let (zookeeper, backends, port) = (ZookeeperServer::start(), Backends::new(), free_port());
    let (nodes, stranger) = (Nodes::of(&zookeeper), Nodes::of_user(&zookeeper, "nerve:secret"));
    let [one, two] = ["one", "two"].map(|name| backends.start(name));
    let report = |server: &Backend| {
        let report = base64(json!({"host": "127.0.0.1", "port": server.port()}).to_string().as_bytes());
        format!("/services/web/base64_{}_{report}_0000000001", report.len())
    };
    nodes.put("/services/web", "");
    // Nobody but their maker may read them.
    stranger.put(&report(&one), "");
    stranger.put(&report(&two), "");
    nodes.define("web", port);
    let proxymgr = Setup::new().zookeeper(&zookeeper.address(), "/service_config").start();
    wait_for_backends(port, &["one", "two"]);
    assert!(!proxymgr.log().contains("not allowed to read"));
}
