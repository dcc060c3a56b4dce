//! A bad node harms nobody but itself, and the log says what is wrong with it.

use std::time::Duration;

use serde_json::json;

use super::support::backend::{Backend, Backends};
use super::support::load::Load;
use super::support::ports::{free_port, free_ports};
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::Setup;
use super::support::requests::{local, wait_for_backends, wait_for_refusal};
use super::support::zookeeper::ZookeeperServer;
use super::support::zookeeper_nodes::{Nodes, definition_path, server_data};

const SOON: Duration = Duration::from_secs(20);
/// What `ZooKeeper` takes at most is 1 MiB for a whole request.
const HUGE: usize = 1_000_000;

/// `web` with one server, `web1`, and its traffic.
struct World {
    _zookeeper: ZookeeperServer,
    nodes: Nodes,
    backends: Backends,
    _web1: Backend,
    port: u16,
    proxymgr: Proxymgr,
}

impl World {
    fn start() -> Self {
        let (zookeeper, backends) = (ZookeeperServer::start(), Backends::new());
        let (nodes, port) = (Nodes::of(&zookeeper), free_port());
        let web1 = backends.start("web1");
        nodes.add("web", &web1);
        nodes.define("web", port);
        let proxymgr = Setup::new().zookeeper(&zookeeper.address(), "/service_config").start();
        wait_for_backends(port, &["web1"]);
        Self { _zookeeper: zookeeper, nodes, backends, _web1: web1, port, proxymgr }
    }

    /// One warning holds all of `texts`.
    #[track_caller]
    fn warned(&self, texts: &[&str]) {
        let log = self.proxymgr.log();
        let told = |line: &&str| line.contains("WARN") && texts.iter().all(|text| line.contains(text));
        assert!(log.lines().any(|line| told(&line)), "no warning with {texts:?} in\n{log}");
    }
}

#[test]
fn bad_definitions_are_refused_one_by_one_and_the_others_go_on() {
    let world = World::start();
    let load = Load::to(([127, 0, 0, 1], world.port).into()).short(2).keep_alive(2).rate(300).start();
    let [bad_port, good_port] = free_ports();
    let with = |key: &str, value: serde_json::Value| {
        let mut definition = world.nodes.definition("bad", bad_port);
        definition[key] = value;
        definition.to_string().into_bytes()
    };
    let mut missing = world.nodes.definition("bad", bad_port);
    missing.as_object_mut().unwrap().remove("port");
    let bad: Vec<(&str, Vec<u8>, &str)> = vec![
        ("json", b"{\"type\": \"zookeeper\", ".to_vec(), "no valid JSON"),
        ("empty", Vec::new(), "it is empty"),
        ("list", b"[1, 2]".to_vec(), "top level must be a map"),
        ("binary", vec![0xff, 0x00, 0xfe, 0x1b, b'[', b'2', b'J'], "no valid JSON"),
        ("huge", vec![b'x'; HUGE], "at most 262144 are read"),
        ("deep", b"[".repeat(100_000), "nested deeper"),
        ("portless", missing.to_string().into_bytes(), "port"),
        ("type", with("type", json!("zoekeeper")), "did you mean \\\"zookeeper\\\"?"),
        ("highport", with("port", json!(99_999)), "99999"),
        ("lines", with("listen_options", json!(["mode http\nbind :1"])), "listen_options"),
        ("section", with("listen_options", json!(["listen other"])), "listen_options"),
        ("path", with("path", json!("services")), "must begin with '/'"),
        ("ensemble", with("server", json!("zk 1")), "server"),
        ("taken", with("port", json!(world.port)), "belongs to the service web"),
        ("option", with("listen_options", json!(["mode http", "bogus words"])), "unknown keyword 'bogus'"),
        ("odd name", with("port", json!(bad_port)), "the name holds ' '"),
        ("näme", with("port", json!(bad_port)), "the name holds '"),
        ("${HOME}", with("port", json!(bad_port)), "the name holds '$'"),
    ];
    world.nodes.write(async |session| {
        for (name, data, _) in &bad {
            session.put(&definition_path(name), data).await;
        }
    });
    // What comes after the bad ones is served.
    let good = world.backends.start("good1");
    world.nodes.add("good", &good);
    world.nodes.define("good", good_port);
    wait_for_backends(good_port, &["good1"]);
    let web2 = world.backends.start("web2");
    world.nodes.add("web", &web2);
    wait_for_backends(world.port, &["web1", "web2"]);
    wait_for_refusal(local(bad_port));
    for (_, _, reason) in &bad {
        world.proxymgr.wait_for_log(SOON, reason);
    }
    for (name, _, reason) in bad.iter().filter(|(name, _, _)| name.is_ascii()) {
        world.warned(&[name, reason]);
    }

    // A bad one that is mended is served, and one that turns bad serves on.
    let mended = world.backends.start("mended1");
    world.nodes.add("json", &mended);
    world.nodes.define("json", bad_port);
    wait_for_backends(bad_port, &["mended1"]);
    world.nodes.put(&definition_path("good"), "nonsense");
    world.proxymgr.wait_for_log(SOON, "expected ident");
    let good2 = world.backends.start("good2");
    world.nodes.add("good", &good2);
    wait_for_backends(good_port, &["good1", "good2"]);
    let report = load.stop();
    report.assert_no_errors();
}

#[test]
fn bad_server_nodes_are_skipped_one_by_one_and_the_others_go_on() {
    let world = World::start();
    let load = Load::to(([127, 0, 0, 1], world.port).into()).short(2).keep_alive(2).rate(300).start();
    let bad: Vec<(&str, Vec<u8>, &str)> = vec![
        ("json", b"{\"address\": ".to_vec(), "no valid JSON"),
        ("empty", Vec::new(), "the node is empty"),
        ("list", b"[1, 2]".to_vec(), "must hold a JSON object"),
        ("binary", vec![0xff, 0x00, 0xfe, 0x1b, b'[', b'2', b'J'], "no valid JSON"),
        ("newline", br#"{"address": "127.0.0.1\nserver x 127.0.0.1:1", "port": 80}"#.to_vec(), "IPv4"),
        ("words", br#"{"address": "127.0.0.1 check", "port": 80}"#.to_vec(), "IPv4"),
        ("highport", br#"{"address": "127.0.0.1", "port": 99999}"#.to_vec(), "99999; it must be 1 to 65535"),
        ("noport", br#"{"address": "127.0.0.1"}"#.to_vec(), "is missing"),
        (
            "hostname",
            br#"{"address": "web..example", "port": 80}"#.to_vec(),
            "it must be an IPv4 or IPv6 address or a host name",
        ),
        ("nowhere", br#"{"address": "0.0.0.0", "port": 80}"#.to_vec(), "no address to connect to"),
        ("huge1", vec![b'x'; HUGE], "the node holds 1000000 bytes"),
        ("huge2", vec![b' '; HUGE], "the node holds 1000000 bytes"),
        ("odd; name ${HOME}", b"x".to_vec(), "no valid JSON"),
        ("näme\u{202e}", b"x".to_vec(), "no valid JSON"),
    ];
    world.nodes.write(async |session| {
        for (name, data, _) in &bad {
            session.put(&format!("/services/web/{name}"), data).await;
        }
    });
    let web2 = world.backends.start("web2");
    // A good node may have any name.
    world.nodes.put("/services/web/ä b;c ${HOME}", server_data(web2.address));
    wait_for_backends(world.port, &["web1", "web2"]);
    for (name, _, reason) in &bad {
        world.proxymgr.wait_for_log(SOON, reason);
        if name.is_ascii() {
            world.warned(&[name, reason]);
        }
    }
    // All of it read at once, by a service that begins with it.
    let again = free_port();
    let mut definition = world.nodes.definition("again", again);
    definition["path"] = json!("/services/web");
    world.nodes.put(&definition_path("again"), definition.to_string());
    wait_for_backends(again, &["web1", "web2"]);

    let web3 = world.backends.start("web3");
    world.nodes.put("/services/web/json", server_data(web3.address));
    wait_for_backends(world.port, &["web1", "web2", "web3"]);
    world.nodes.put("/services/web/json", "{");
    wait_for_backends(world.port, &["web1", "web2"]);
    assert!(!world.proxymgr.log().contains('\u{1b}'), "control characters come into no log");
    load.stop().assert_no_errors();
}
