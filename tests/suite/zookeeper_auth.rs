//! Nodes that only a user with a password may read.

use std::fs;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::backend::Backends;
use super::support::control::said_of;
use super::support::deadline::eventually;
use super::support::ports::free_port;
use super::support::proxymgr::{Proxymgr, command};
use super::support::proxymgr_setup::Setup;
use super::support::requests::{local, wait_for_backends, wait_for_refusal};
use super::support::zookeeper::ZookeeperServer;
use super::support::zookeeper_nodes::{Nodes, definition_path};

const SOON: Duration = Duration::from_secs(20);
const PASSWORD: &str = "Tr0ub4dor";

fn start(zookeeper: &ZookeeperServer, credentials: &str) -> Proxymgr {
    let source: Value = json!({
        "type": "zookeeper", "servers": zookeeper.address(), "path": "/service_config",
        "auth": {"scheme": "digest", "credentials": "${ZK_AUTH}"},
    });
    // Each packet to ZooKeeper and each step of each part is told.
    let setup = Setup::new().section("service_config", source).variable("PROXYMGR_LOG", "trace");
    let setup = setup.variable("ZK_AUTH", credentials);
    setup.section("safety", json!({"startup_timeout": "1s", "allow_options": ["environment"]})).start()
}

/// Neither the log, nor arguments, nor files, nor anything of `HAProxy` holds the password.
#[track_caller]
fn nothing_tells_the_password(proxymgr: &Proxymgr) {
    let holds = |text: &[u8]| text.windows(PASSWORD.len()).any(|window| window == PASSWORD.as_bytes());
    let log = proxymgr.log();
    assert!(!holds(log.as_bytes()), "{log}");
    let children = proxymgr.process().descendants();
    assert!(!children.is_empty());
    for process in children.iter().chain([&proxymgr.process()]) {
        assert!(!process.arguments().iter().any(|argument| holds(argument.as_bytes())));
    }
    let mut read = 0;
    for child in children {
        let Ok(environment) = fs::read(format!("/proc/{}/environ", child.pid)) else {
            // One that ends loses its memory a little before it is gone.
            eventually(SOON, "only an old HAProxy that ends can't be read", || {
                if child.is_alive() { Err(child) } else { Ok(()) }
            });
            continue;
        };
        read += 1;
        assert!(!holds(&environment), "in the environment of {:?}", child.arguments());
    }
    assert!(read > 0, "the serving HAProxy is read");
    // What it writes, and what its commands print.
    for directory in [&proxymgr.paths.root, &proxymgr.paths.state_dir, &proxymgr.paths.runtime_dir] {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            let text = if path.is_file() { fs::read(&path).unwrap() } else { Vec::new() };
            assert!(!holds(&text), "{}", path.display());
        }
    }
    let credentials = format!("proxymgr:{PASSWORD}");
    for words in ["status", "status --json", "why web", "check", "check --json", "render", "render --diff"] {
        let yml = &proxymgr.paths.proxymgr_yml;
        let mut command = command();
        command.args(words.split(' ')).arg("-c").arg(yml).env("ZK_AUTH", &credentials);
        let said = said_of(command.env("PROXYMGR_LOG", "trace"));
        assert!(!holds(said.stdout.as_bytes()) && !holds(said.stderr.as_bytes()), "{words}: {said:?}");
        assert!(
            !said.stdout.is_empty() || !said.stderr.is_empty() || words == "render --diff",
            "{words}: {said:?}"
        );
    }
}

#[test]
fn private_nodes_are_followed_and_nothing_tells_the_password() {
    let (zookeeper, backends) = (ZookeeperServer::start(), Backends::new());
    let credentials = format!("proxymgr:{PASSWORD}");
    let (nodes, port) = (Nodes::of_user(&zookeeper, &credentials), free_port());
    let [one, two] = ["one", "two"].map(|name| backends.start(name));
    nodes.add("web", &one);
    nodes.define("web", port);
    let proxymgr = start(&zookeeper, &credentials);
    wait_for_backends(port, &["one"]);
    nodes.add("web", &two);
    wait_for_backends(port, &["one", "two"]);
    nothing_tells_the_password(&proxymgr);
    // A definition may ask HAProxy for it, but HAProxy doesn't know.
    let nosy = free_port();
    let mut definition = nodes.definition("nosy", nosy);
    let answer = r#"http-request return status 200 content-type text/plain string "${ZK_AUTH}-""#;
    definition["listen_options"] = json!(["mode http", answer]);
    nodes.put(&definition_path("nosy"), definition.to_string());
    nodes.put("/services/nosy", "");
    wait_for_backends(nosy, &["-"]);
    nothing_tells_the_password(&proxymgr);
}

#[test]
fn a_wrong_password_is_told_without_being_shown() {
    let (zookeeper, backends) = (ZookeeperServer::start(), Backends::new());
    let (nodes, port) = (Nodes::of_user(&zookeeper, "proxymgr:right"), free_port());
    let one = backends.start("one");
    nodes.add("web", &one);
    nodes.define("web", port);
    let proxymgr = start(&zookeeper, &format!("proxymgr:{PASSWORD}"));
    proxymgr.wait_for_log(SOON, "not allowed to read; check the node's ACL and the credentials");
    // It starts without.
    proxymgr.wait_for_log(SOON, "HAProxy serves");
    wait_for_refusal(local(port));
    nothing_tells_the_password(&proxymgr);
}
