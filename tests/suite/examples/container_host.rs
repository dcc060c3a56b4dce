//! `container-host`: two Docker daemons as nodes, followed over TLS; containers started by its own script.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::super::support::certificates::Authority;
use super::super::support::deadline::eventually;
use super::super::support::docker::Dockerd;
use super::super::support::load::Load;
use super::super::support::netns::Netns;
use super::super::support::ports::free_port;
use super::super::support::proxymgr::output_of;
use super::super::support::requests::{SOON, local};
use super::super::support::routed::who;
use super::super::support::running::start;

/// Several containers have to become healthy, and others to end.
const LONG: Duration = Duration::from_secs(60);

/// A daemon that takes clients with a certificate of `authority`, as its node's README tells to set it up.
struct Node {
    dockerd: Dockerd,
    address: String,
}

impl Node {
    fn start(authority: &Authority, files: &Path) -> Self {
        let netns = Netns::new();
        let address = netns.address().to_string();
        let [cert, key] = authority.sign(&address).write(files, &format!("node-{address}"));
        let option = |name: &str, value: &dyn std::fmt::Display| format!("--{name}={value}");
        let options = [
            "--tlsverify".to_owned(),
            option("tlscacert", &files.join("ca.pem").display()),
            option("tlscert", &cert.display()),
            option("tlskey", &key.display()),
            option("host", &format_args!("tcp://{address}:2376")),
        ];
        let dockerd = Dockerd::start_in(netns, &options.each_ref().map(String::as_str));
        Self { dockerd, address }
    }

    /// As the README says it: `answer` is what the containers of the image answer.
    fn deploy(&self, service: &str, path: &str, answer: &str) {
        let image = format!("local/{answer}");
        self.dockerd.image(&image, answer);
        self.run("deploy", &[service, path, &image]);
    }

    fn run(&self, script: &str, arguments: &[&str]) {
        let mut command = Command::new(super::folder("container-host").join(script));
        let done = output_of(command.args(arguments).env("DOCKER_HOST", self.dockerd.host()));
        assert!(done.status.success(), "{script} {arguments:?}: {done:?}");
    }
}

fn answers(port: u16, path: &str) -> BTreeSet<String> {
    (0..60).map(|_| who(port, "any.example", path)).collect()
}

#[track_caller]
fn wait_for(port: u16, path: &str, names: &[&str]) {
    let wanted: BTreeSet<String> = names.iter().map(|name| (*name).to_owned()).collect();
    eventually(LONG, &format!("{path} is answered by {wanted:?}"), || match answers(port, path) {
        all if all == wanted => Ok(()),
        other => Err(other),
    });
}

#[test]
fn versions_on_two_nodes_are_reached_by_their_path_and_replaced_under_load() {
    let directory = tempfile::tempdir().unwrap();
    let files = directory.path();
    let authority = Authority::new("docker");
    authority.write(files.join("ca.pem"));
    let [cert, key] = authority.sign("proxymgr").write(files, "proxymgr");
    std::fs::rename(cert, files.join("cert.pem")).unwrap();
    std::fs::rename(key, files.join("key.pem")).unwrap();
    let nodes = [Node::start(&authority, files), Node::start(&authority, files)];
    for (node, name) in nodes.iter().zip(["a", "b"]) {
        node.deploy("hello-v1", "/hello/v1", &format!("v1-{name}"));
        node.deploy("hello-v2", "/hello/v2", &format!("v2-{name}"));
    }
    // One from before, which says all of it to registrator and Cosmonaut.
    let words = [("SERVICE_NAME", "hello/old"), ("PREDICATE", "old.example")];
    let published = json!({"HostConfig": {"PublishAllPorts": true}});
    nodes[0].dockerd.run_with("old", &words, &published);

    let port = free_port();
    let setup = super::setup("container-host")
        .variable("NODE_1", &nodes[0].address)
        .variable("NODE_2", &nodes[1].address)
        .variable("DOCKER_CERT_PATH", &files.display().to_string())
        .variable("HTTP_PORT", &port.to_string());
    let proxymgr = start(&setup);
    wait_for(port, "/hello/v1", &["v1-a", "v1-b"]);
    wait_for(port, "/hello/v2/", &["v2-a", "v2-b"]);
    assert_eq!(who(port, "old.example", "/"), "old");
    assert_eq!(answers(port, "/hello/v12"), BTreeSet::from(["404".to_owned()]));

    let load = |path: &str| Load::to(local(port)).path(path).short(4).keep_alive(2).rate(200).start();
    let [v1, v2] = ["/hello/v1", "/hello/v2"].map(load);
    for (node, name) in nodes.iter().zip(["a", "b"]) {
        node.deploy("hello-v1", "/hello/v1", &format!("v1-new-{name}"));
    }
    wait_for(port, "/hello/v1", &["v1-new-a", "v1-new-b"]);
    let [_, other] = &nodes;
    let all = other.dockerd.must("GET", "/containers/json", b"");
    let all: Vec<Value> = serde_json::from_str(&all).unwrap();
    assert_eq!(all.len(), 4, "the old ones are gone");
    for container in all {
        other.dockerd.stop(container["Id"].as_str().unwrap());
    }
    wait_for(port, "/hello/v1", &["v1-new-a"]);
    wait_for(port, "/hello/v2", &["v2-a"]);
    for (load, new) in [(v1, "v1-new-a"), (v2, "v2-a")] {
        let report = load.stop();
        println!("{report}");
        report.assert_no_errors();
        assert!(report.by_backend[new] > 100, "{:?}", report.by_backend);
    }
    assert_eq!(proxymgr.reloads(), 1);
    let diff = setup.said(&["render", "--diff"]);
    assert_eq!((diff.code, diff.stdout.as_str()), (0, ""), "what runs is what the containers say: {diff:?}");

    nodes[0].dockerd.kill();
    let away = format!("No connection with Docker tcp://{}:2376 since ", nodes[0].address);
    eventually(SOON, "the status tells which daemon is away", || match setup.said(&["status"]).stdout {
        status if status.contains(&away) => Ok(()),
        other => Err(other),
    });
    wait_for(port, "/hello/v1", &["v1-new-a"]);
}
