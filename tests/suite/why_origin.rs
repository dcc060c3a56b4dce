//! `proxymgr why` tells where a service and its servers are written.

use serde_json::{Value, json};

use super::support::backend::Backends;
use super::support::control::said;
use super::support::deadline::eventually;
use super::support::ports::{free_port, free_ports};
use super::support::proxymgr_setup::{Paths, Setup};
use super::support::requests::{SOON, local, wait_for_answer};
use super::support::running::start;
use super::support::zookeeper::ZookeeperServer;
use super::support::zookeeper_nodes::{Nodes, definition_path, server_path};

#[track_caller]
fn origin(paths: &Paths, of: &str) -> Value {
    let said = said(paths, &["why", of, "--json"]);
    assert_eq!((said.code, said.stderr.as_str()), (0, ""));
    said.json()["origin"].clone()
}

#[test]
fn nodes_are_told_with_their_versions_also_while_zookeeper_is_away() {
    let (mut zookeeper, backends) = (ZookeeperServer::start(), Backends::new());
    let (nodes, port) = (Nodes::of(&zookeeper), free_port());
    let server = backends.start("a");
    nodes.add("web", &server);
    nodes.define("web", port);
    nodes.define("web", port);
    let setup = Setup::new().zookeeper(&zookeeper.address(), "/service_config");
    let _proxymgr = setup.start();
    wait_for_answer(local(port), "a");
    let of = format!("web/{}", server.address);
    let place = |path: &str| json!(format!("zookeeper {} {path}", zookeeper.address()));
    let (definition, node) = (place(&definition_path("web")), place(&server_path("web", &server)));
    let told = origin(&setup.paths, &of);
    assert_eq!((&told["definition"]["place"], &told["definition"]["version"]), (&definition, &json!(1)));
    assert_eq!((&told["server"]["place"], &told["server"]["version"]), (&node, &json!(0)));
    assert!(told["server"]["written"].as_str().is_some_and(|at| at.starts_with("20")), "{told}");
    assert_eq!(
        (origin(&setup.paths, "web")["server"].clone(), &told["problem"]),
        (Value::Null, &Value::Null)
    );
    let text = said(&setup.paths, &["why", &of]).stdout;
    assert!(
        text.contains(&format!("listed in     {} (version 0, written 20", node.as_str().unwrap())),
        "{text}"
    );

    zookeeper.kill();
    let told = eventually(SOON, "it is told that ZooKeeper is away", || {
        let told = origin(&setup.paths, &of);
        if told["problem"].is_null() { Err(told) } else { Ok(told) }
    });
    assert!(told["problem"].as_str().unwrap().starts_with("ZooKeeper: no "), "{told}");
    assert_eq!((&told["definition"]["place"], &told["server"]["place"]), (&definition, &node));
    assert_eq!(told["server"]["version"], Value::Null);
}

#[test]
fn files_are_told_with_the_line() {
    let (setup, backends, [port, other]) = (Setup::new(), Backends::new(), free_ports());
    let server = backends.start("a");
    let file =
        setup.paths.write_file_service("web", port, &["# first".to_owned(), server.address.to_string()]);
    let fixed = json!({"type": "static", "port": other, "default_servers": [server.address.to_string()]});
    setup.paths.write_service("fixed", &fixed);
    let _proxymgr = start(&setup);
    wait_for_answer(local(port), "a");
    let told = origin(&setup.paths, &format!("web/{}", server.address));
    assert_eq!(told["definition"]["place"], json!(setup.paths.services.join("web.json")));
    assert_eq!(told["server"]["place"], format!("{}, line 2", file.display()));
    assert!(told["server"]["written"].is_string() && told["definition"]["written"].is_string(), "{told}");
    let told = origin(&setup.paths, &format!("fixed/{}", server.address));
    assert_eq!(told["server"]["place"], "its service's definition");
}
