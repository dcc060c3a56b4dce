//! Ensembles that speak TLS, and ask for a certificate of their clients.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::backend::{Backend, Backends};
use super::support::certificates::Authority;
use super::support::ports::{free_port, free_ports};
use super::support::proxymgr::{Proxymgr, command, output_of};
use super::support::proxymgr_setup::Setup;
use super::support::requests::{local, wait_for_backends, wait_for_refusal};
use super::support::running::{log_lines, wait_for_message};
use super::support::zookeeper::{TLS_1_3, ZookeeperServer};
use super::support::zookeeper_nodes::{Nodes, definition_path};

const SOON: Duration = Duration::from_secs(30);

fn source(servers: &str, tls: &Value) -> Value {
    json!({"type": "zookeeper", "servers": servers, "path": "/service_config", "tls": tls})
}

/// A service whose servers are read over TLS.
fn define(nodes: &Nodes, zookeeper: &ZookeeperServer, name: &str, port: u16, server: &Backend) {
    nodes.add(name, server);
    let mut definition = nodes.definition(name, port);
    definition["server"] = json!(zookeeper.secure_address());
    nodes.put(&definition_path(name), definition.to_string());
}

/// The text between the first and the last line of a PEM file.
fn body(file: &PathBuf) -> String {
    let text = fs::read_to_string(file).unwrap();
    text.lines().nth(1).unwrap().to_owned()
}

#[track_caller]
fn wait_for_reason(proxymgr: &Proxymgr, ensemble: &str, reason: &str) {
    let line = wait_for_message(proxymgr, reason);
    assert_eq!(line.fields["ensemble"], ensemble, "{line:?}");
    assert_eq!(
        (line.level.as_str(), line.message.as_str()),
        ("WARN", "ZooKeeper can't be reached; trying on")
    );
}

#[test]
fn services_and_servers_are_followed_over_tls_through_a_restart_of_the_server() {
    let authority = Authority::new("one");
    let (mut zookeeper, backends) = (ZookeeperServer::start_with_tls(&authority, ""), Backends::new());
    let nodes = Nodes::of(&zookeeper);
    let [web_port, api_port, late_port] = free_ports();
    let [web1, web2, api1, api2, late1] =
        ["web1", "web2", "api1", "api2", "late1"].map(|name| backends.start(name));
    define(&nodes, &zookeeper, "web", web_port, &web1);
    define(&nodes, &zookeeper, "api", api_port, &api1);
    let setup = Setup::new();
    let ca = authority.write(setup.paths.root.join("ca.pem"));
    let [cert, key] = authority.sign("127.0.0.1").write(&setup.paths.root, "own");
    let secret = body(&key);
    let tls = json!({"ca": ca, "cert": cert, "key": key});
    let proxymgr = setup.section("service_config", source(&zookeeper.secure_address(), &tls)).start();
    wait_for_backends(web_port, &["web1"]);
    wait_for_backends(api_port, &["api1"]);
    let established = "ZooKeeper session established";
    let sessions = log_lines(&proxymgr).iter().filter(|line| line.message == established).count();
    assert_eq!(sessions, 1, "services and servers share a session");

    zookeeper.kill();
    proxymgr.wait_for_log(SOON, "connection to ZooKeeper lost");
    zookeeper.restart();
    nodes.add("web", &web2);
    nodes.add("api", &api2);
    define(&nodes, &zookeeper, "late", late_port, &late1);
    wait_for_backends(web_port, &["web1", "web2"]);
    wait_for_backends(api_port, &["api1", "api2"]);
    wait_for_backends(late_port, &["late1"]);
    nodes.remove("web", &web1);
    nodes.remove("api", &api1);
    wait_for_backends(web_port, &["web2"]);
    wait_for_backends(api_port, &["api2"]);
    let log = proxymgr.log();
    assert!(!log.contains(&secret));
    assert!(!log.contains("rustls"), "the log's level is debug, but the steps of TLS are no news");
}

#[test]
fn a_server_of_another_authority_is_refused_until_the_file_names_its_own() {
    let authority = Authority::new("right");
    let (zookeeper, backends) = (ZookeeperServer::start_with_tls(&authority, ""), Backends::new());
    let (nodes, [port, file_port]) = (Nodes::of(&zookeeper), free_ports());
    let [web1, file1] = ["web1", "file1"].map(|name| backends.start(name));
    define(&nodes, &zookeeper, "web", port, &web1);
    let setup = Setup::new().section("safety", json!({"startup_timeout": "1s"}));
    setup.paths.write_file_service("static", file_port, &[file1.address.to_string()]);
    let ca = Authority::new("wrong").write(setup.paths.root.join("ca.pem"));
    let [cert, key] = authority.sign("127.0.0.1").write(&setup.paths.root, "own");
    let sources = json!([
        {"type": "file", "path": setup.paths.services},
        source(&zookeeper.secure_address(), &json!({"ca": ca, "cert": cert, "key": key})),
    ]);
    let proxymgr = setup.section("service_config", sources).start();
    wait_for_backends(file_port, &["file1"]);
    let reason = format!("no authority in {} has signed it; check tls.ca", ca.display());
    wait_for_reason(&proxymgr, &zookeeper.secure_address(), &reason);
    wait_for_refusal(local(port));
    authority.write(ca);
    wait_for_backends(port, &["web1"]);
}

#[test]
fn every_mistake_about_tls_1_2_is_told_with_what_to_do() {
    every_mistake_is_told("");
}

/// Here a server refuses a client's certificate after the handshake.
#[test]
fn every_mistake_about_tls_1_3_is_told_with_what_to_do() {
    every_mistake_is_told(TLS_1_3);
}

/// One set-up with every mistake at once: each is told by its own ensemble, and a service from a file is served.
fn every_mistake_is_told(server_options: &str) {
    let (authority, other) = (Authority::new("right"), Authority::new("wrong"));
    let zookeeper = ZookeeperServer::start_with_tls(&authority, server_options);
    let (backends, file_port) = (Backends::new(), free_port());
    let file1 = backends.start("file1");
    let setup = Setup::new().section("safety", json!({"startup_timeout": "1s"}));
    setup.paths.write_file_service("static", file_port, &[file1.address.to_string()]);
    let root = &setup.paths.root;
    let ca = authority.write(root.join("ca.pem"));
    let [cert, key] = other.sign("127.0.0.1").write(root, "stranger");
    let secure = zookeeper.secure_address();
    let by_name = secure.replace("127.0.0.1", "localhost");
    let mistakes = [
        (&secure, json!({"ca": ca}), "the server refuses a client without a certificate"),
        (&secure, json!({"ca": ca, "cert": cert, "key": key}), "the server refuses our certificate"),
        (&secure, json!({"ca": root.join("none.pem")}), "none.pem: can't be read: No such file"),
        (&by_name, json!({"ca": ca}), "it is for other names (subjectAltName)"),
        (&zookeeper.address(), json!({"ca": ca}), "check that this port is its secureClientPort"),
    ];
    let mut sources = vec![json!({"type": "file", "path": setup.paths.services})];
    sources.extend(mistakes.iter().map(|(servers, tls, _)| source(servers, tls)));
    let proxymgr = setup.section("service_config", json!(sources)).start();
    wait_for_backends(file_port, &["file1"]);
    for (ensemble, _, reason) in &mistakes {
        wait_for_reason(&proxymgr, ensemble, reason);
    }
    assert!(!proxymgr.log().contains(&body(&key)));
}

#[test]
fn check_names_the_file_for_tls_that_is_of_no_use() {
    let (authority, setup) = (Authority::new("one"), Setup::new());
    let root = &setup.paths.root;
    let ca = authority.write(root.join("ca.pem"));
    let [cert, key] = authority.sign("127.0.0.1").write(root, "own");
    let [_, others_key] = authority.sign("127.0.0.1").write(root, "other");
    let cases = [
        (
            json!({"ca": root}),
            format!("{}: is no regular file; write the path of a PEM file", root.display()),
        ),
        (json!({"ca": key}), format!("{}: holds no good certificate in PEM form", key.display())),
        (json!({"ca": ca, "cert": key, "key": key}), format!("{}: holds no good certificate", key.display())),
        (
            json!({"ca": ca, "cert": cert, "key": ca}),
            format!("{}: holds no private key in PEM form", ca.display()),
        ),
        (
            json!({"ca": ca, "cert": cert, "key": others_key}),
            format!("{}: is no key for the certificate", others_key.display()),
        ),
    ];
    for (tls, message) in cases {
        let setup = setup.clone().section("service_config", source("127.0.0.1:1", &tls));
        fs::write(&setup.paths.proxymgr_yml, setup.yaml()).unwrap();
        let output = output_of(command().arg("check").arg("-c").arg(&setup.paths.proxymgr_yml));
        let told = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(78), "{told}");
        assert!(told.contains(&format!("service_config.tls: {message}")), "{message}\n{told}");
        assert!(!told.contains(&body(&key)) && !told.contains(&body(&others_key)), "{told}");
    }
}
