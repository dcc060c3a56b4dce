//! Services that nerve registers, with their definitions in `ZooKeeper`.

use std::fs;
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::json;
use tokio::runtime::Builder;
use tokio::sync::oneshot;
use zookeeper_client::{Acls, Client, CreateMode};

use crate::support::backend::{Backend, Backends};
use crate::support::example::Example;
use crate::support::load::Load;
use crate::support::ports::free_ports;
use crate::support::requests::{local, wait_for_backends, wait_for_refusal};
use crate::support::running::{assert_config_says_what_runs, wait_for_message};
use crate::support::zookeeper::ZookeeperServer;
use crate::support::zookeeper_nodes::Nodes;

/// What nerve does for one server: its node lasts as long as its session.
struct Nerve {
    end: Option<oneshot::Sender<End>>,
    thread: Option<JoinHandle<()>>,
}

enum End {
    /// It is told to: it takes its node away.
    Stops,
    /// It is killed: its session expires.
    Dies,
}

/// A session that outlives a `ZooKeeper` that is away for a while.
const LONG: Duration = Duration::from_secs(40);
const SHORT: Duration = Duration::from_secs(2);

impl Nerve {
    /// Reports `server`; its node is there when this returns.
    fn report(zookeeper: &ZookeeperServer, service: &str, server: &Backend, session: Duration) -> Self {
        let (end, ended) = oneshot::channel();
        let (address, port) = (zookeeper.address(), server.port());
        let node = format!("/nerve/services/{service}/services/host-{port}_");
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            runtime.block_on(async {
                let client = Client::connector()
                    .with_detached()
                    .with_session_timeout(session)
                    .connect(&address)
                    .await
                    .unwrap();
                let report = json!({"host": "127.0.0.1", "port": port, "name": format!("host-{port}")});
                let options = CreateMode::EphemeralSequential.with_acls(Acls::anyone_all());
                let made = client.create(&node, report.to_string().as_bytes(), &options).await;
                let (_, number) = made.unwrap();
                ready.send(()).unwrap();
                match ended.await {
                    Ok(End::Stops) => client.delete(&format!("{node}{number}"), None).await.unwrap(),
                    // Its session outlives it for a while.
                    Ok(End::Dies) | Err(_) => {}
                }
            });
        });
        is_ready.recv().unwrap();
        Self { end: Some(end), thread: Some(thread) }
    }

    fn end(mut self, how: End) {
        self.end.take().unwrap().send(how).unwrap_or_else(|_| panic!("it runs"));
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Nerve {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            drop(thread.join());
        }
    }
}

/// services/web.json as it is written into `ZooKeeper`, for this ensemble and port.
fn definition(example: &Example, zookeeper: &ZookeeperServer, port: u16) -> String {
    let ensemble = "zk1:2181,zk2:2181,zk3:2181";
    example.rewrite("services/web.json", ensemble, &zookeeper.address());
    example.rewrite("services/web.json", "\"port\": 3210", &format!("\"port\": {port}"));
    fs::read_to_string(example.folder.join("services/web.json")).unwrap()
}

#[test]
fn what_nerve_registers_is_followed_under_load() {
    let (mut zookeeper, backends) = (ZookeeperServer::start(), Backends::new());
    let (nodes, [port, late_port]) = (Nodes::of(&zookeeper), free_ports());
    let [one, two, three, four] = ["one", "two", "three", "four"].map(|name| backends.start(name));
    let example = Example::of("zookeeper-nerve").variable("ZOOKEEPER", &zookeeper.address());
    let web = definition(&example, &zookeeper, port);
    nodes.put("/smartstack/services/web", &web);
    nodes.put("/nerve/services/web/services", "");
    let first = Nerve::report(&zookeeper, "web", &one, LONG);
    let checked = example.said(&["check"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    let proxymgr = example.start();
    wait_for_backends(port, &["one"]);
    let load = Load::to(local(port)).short(2).keep_alive(2).rate(200).start();

    // Ephemeral nodes come, go with their nerve, and vanish after one that died.
    let second = Nerve::report(&zookeeper, "web", &two, LONG);
    wait_for_backends(port, &["one", "two"]);
    let third = Nerve::report(&zookeeper, "web", &three, SHORT);
    wait_for_backends(port, &["one", "three", "two"]);
    third.end(End::Dies);
    wait_for_backends(port, &["one", "two"]);
    first.end(End::Stops);
    wait_for_backends(port, &["two"]);
    for _ in 0..10 {
        let again = Nerve::report(&zookeeper, "web", &one, LONG);
        wait_for_backends(port, &["one", "two"]);
        again.end(End::Stops);
        wait_for_backends(port, &["two"]);
    }
    let first = Nerve::report(&zookeeper, "web", &one, LONG);
    wait_for_backends(port, &["one", "two"]);
    assert_eq!(proxymgr.reloads(), 1);

    // While ZooKeeper is away nothing changes; what changes after it arrives.
    zookeeper.kill();
    wait_for_message(&proxymgr, "connection to ZooKeeper lost");
    load.watch(Duration::from_secs(8));
    wait_for_backends(port, &["one", "two"]);
    zookeeper.restart();
    let fourth = Nerve::report(&zookeeper, "web", &four, LONG);
    wait_for_backends(port, &["four", "one", "two"]);
    assert_eq!(proxymgr.reloads(), 1);

    // Definitions stand in ZooKeeper too.
    nodes.put("/smartstack/services/late", web.replace(&port.to_string(), &late_port.to_string()));
    wait_for_backends(late_port, &["four", "one", "two"]);
    nodes.delete("/smartstack/services/late");
    wait_for_refusal(local(late_port));
    let report = load.stop();
    println!("{report} {:?}", report.by_backend);
    report.assert_no_errors();
    assert_config_says_what_runs(&proxymgr.paths);
    let differs = example.said(&["render", "--diff"]);
    assert_eq!((differs.code, differs.stdout.as_str()), (0, ""), "{differs:?}");
    drop((first, second, fourth));
}
