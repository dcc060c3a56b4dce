//! The registry side against a real `ZooKeeper` server: nothing that happens to the server may lose or invent a change.

use std::time::{Duration, Instant};

use proxymgr::dns::Names;
use proxymgr::engine::risk::Allowed;
use proxymgr::service_config::SourceSettings;
use proxymgr::service_manager::{self, Memory, RegistryEvent};
use proxymgr::watcher::{HostNames, Registries};
use proxymgr::zookeeper::{Access, Auth, Children, ChildrenWatch, ConnectString, Ensembles, NodePath};
use tokio::sync::mpsc;
use tokio::time::timeout;
use zookeeper_client::{Acls, Client, CreateMode};

use super::support::zookeeper::ZookeeperServer;

fn registries() -> Registries {
    let host_names = HostNames { names: Names::default(), first_wait: Duration::from_secs(5) };
    Registries::new(std::iter::empty(), host_names)
}

const DEADLINE: Duration = Duration::from_secs(30);

async fn client(server: &ZookeeperServer) -> Client {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match Client::connect(&server.address()).await {
            Ok(client) => return client,
            Err(error) => assert!(Instant::now() < deadline, "{error}"),
        }
    }
}

async fn put(client: &Client, path: &str, data: &str) {
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    match client.create(path, data.as_bytes(), &options).await {
        Ok(_) => {}
        Err(zookeeper_client::Error::NodeExists) => {
            client.set_data(path, data.as_bytes(), None).await.unwrap();
        }
        Err(error) => panic!("{path}: {error}"),
    }
}

async fn delete(client: &Client, path: &str) {
    client.delete(path, None).await.unwrap();
}

fn servers(server: &ZookeeperServer) -> ConnectString {
    ConnectString::parse(&server.address()).unwrap()
}

fn follow(ensembles: &Ensembles, server: &ZookeeperServer, path: &str) -> ChildrenWatch {
    ensembles.children_of(&servers(server), &Access::default(), &NodePath::parse(path).unwrap(), None)
}

async fn next(watch: &mut ChildrenWatch) -> Children {
    timeout(DEADLINE, watch.next()).await.expect("a snapshot in time").unwrap()
}

/// Snapshots until one is as wanted.
async fn until(watch: &mut ChildrenWatch, wanted: &[(&str, &str)]) {
    let wanted: Vec<_> =
        wanted.iter().map(|(name, data)| ((*name).to_owned(), data.as_bytes().to_vec())).collect();
    let mut last = None;
    let reached = timeout(DEADLINE, async {
        loop {
            let snapshot = watch.next().await.unwrap();
            let now: Vec<_> =
                snapshot.nodes.iter().map(|(name, node)| (name.to_string(), node.data.to_vec())).collect();
            if now == wanted {
                return;
            }
            last = Some(snapshot);
        }
    });
    assert!(reached.await.is_ok(), "wanted {wanted:?}, last seen {last:?}");
}

#[tokio::test]
async fn two_thousand_children_are_read_at_first_and_each_change_after() {
    let server = ZookeeperServer::start();
    let zk = client(&server).await;
    put(&zk, "/s", "").await;
    put(&zk, "/s/web", "").await;
    for index in 0..2000 {
        put(&zk, &format!("/s/web/n{index:04}"), &"x".repeat(100)).await;
    }
    let ensembles = Ensembles::new();
    let started = Instant::now();
    let mut watch = follow(&ensembles, &server, "/s/web");
    let first = next(&mut watch).await;
    println!("first load of 2000 children: {:?}", started.elapsed());
    assert_eq!(first.nodes.len(), 2000);
    assert!(first.nodes.values().all(|node| node.data.len() == 100));

    put(&zk, "/s/web/n0000", "changed").await;
    let snapshot = next(&mut watch).await;
    assert_eq!((&*snapshot.nodes["n0000"].data, snapshot.nodes.len()), (&b"changed"[..], 2000));
    put(&zk, "/s/web/new", "new").await;
    assert_eq!(next(&mut watch).await.nodes.len(), 2001);
    put(&zk, "/s/web/new/grandchild", "not ours").await;
    delete(&zk, "/s/web/n0001").await;
    let snapshot = next(&mut watch).await;
    assert!(!snapshot.nodes.contains_key("n0001") && snapshot.nodes.len() == 2000);

    let mut late_comer = follow(&ensembles, &server, "/s/web");
    assert_eq!(next(&mut late_comer).await, snapshot);
}

#[tokio::test]
async fn a_node_made_late_deleted_and_made_again_is_followed() {
    let server = ZookeeperServer::start();
    let zk = client(&server).await;
    let mut watch = follow(&Ensembles::new(), &server, "/late");
    let first = next(&mut watch).await;
    assert!(!first.parent_exists && first.nodes.is_empty());
    for _ in 0..2 {
        put(&zk, "/late", "").await;
        put(&zk, "/late/a", "1").await;
        until(&mut watch, &[("a", "1")]).await;
        delete(&zk, "/late/a").await;
        delete(&zk, "/late").await;
        until(&mut watch, &[]).await;
    }
}

#[tokio::test]
async fn a_restarted_server_loses_no_change_and_publishes_nothing_itself() {
    let mut server = ZookeeperServer::start();
    let zk = client(&server).await;
    let ensembles = Ensembles::new();
    let paths: Vec<_> = (0..20).map(|index| format!("/s{index}")).collect();
    let mut watches = Vec::new();
    for path in &paths {
        put(&zk, path, "").await;
        put(&zk, &format!("{path}/a"), "1").await;
        let mut watch = follow(&ensembles, &server, path);
        until(&mut watch, &[("a", "1")]).await;
        watches.push(watch);
    }
    drop(zk);
    for round in 0..2 {
        // `between` may come before our client is back: then only the new list can bring it. `after` needs the new watch.
        server.kill();
        server.restart();
        let zk = client(&server).await;
        let (between, after) = (format!("between{round}"), format!("after{round}"));
        for path in &paths {
            put(&zk, &format!("{path}/a"), &between).await;
        }
        for watch in &mut watches {
            until(watch, &[("a", &between)]).await;
        }
        for path in &paths {
            put(&zk, &format!("{path}/a"), &after).await;
        }
        for watch in &mut watches {
            until(watch, &[("a", &after)]).await;
        }
    }
    server.kill();
    server.restart();
    let zk = client(&server).await;
    put(&zk, "/s0/b", "2").await;
    until(&mut watches[0], &[("a", "after1"), ("b", "2")]).await;
    let silent = timeout(Duration::from_millis(500), watches[1].next()).await;
    assert!(silent.is_err(), "the restart itself was published: {silent:?}");
}

#[tokio::test]
async fn an_expired_session_is_replaced_and_no_change_is_lost() {
    let server = ZookeeperServer::start();
    let zk = client(&server).await;
    put(&zk, "/s", "").await;
    put(&zk, "/s/a", "1").await;
    let mut watch = follow(&Ensembles::new(), &server, "/s");
    until(&mut watch, &[("a", "1")]).await;
    server.freeze();
    // Our client gives its session up after 7/5 of 8 s without an answer.
    let quiet = timeout(Duration::from_secs(14), watch.next()).await;
    assert!(quiet.is_err(), "the outage was published: {quiet:?}");
    server.thaw();
    let zk = client(&server).await;
    put(&zk, "/s/a", "2").await;
    until(&mut watch, &[("a", "2")]).await;
    put(&zk, "/s/a", "3").await;
    until(&mut watch, &[("a", "3")]).await;
}

#[tokio::test]
async fn a_server_that_lost_its_data_and_sessions_is_followed_from_what_it_has_now() {
    let mut server = ZookeeperServer::start();
    let zk = client(&server).await;
    put(&zk, "/s", "").await;
    put(&zk, "/s/a", "1").await;
    let mut watch = follow(&Ensembles::new(), &server, "/s");
    until(&mut watch, &[("a", "1")]).await;
    drop(zk);
    server.kill();
    server.wipe();
    server.restart();
    let snapshot = next(&mut watch).await;
    assert!(!snapshot.parent_exists && snapshot.nodes.is_empty());
    let zk = client(&server).await;
    put(&zk, "/s", "").await;
    put(&zk, "/s/b", "2").await;
    until(&mut watch, &[("b", "2")]).await;
}

#[tokio::test]
async fn a_server_that_is_down_at_first_is_waited_for() {
    let mut server = ZookeeperServer::start();
    put(&client(&server).await, "/s", "").await;
    server.kill();
    let mut watch = follow(&Ensembles::new(), &server, "/s");
    assert!(timeout(Duration::from_millis(500), watch.next()).await.is_err(), "no answer, no snapshot");
    server.restart();
    let snapshot = next(&mut watch).await;
    assert!(snapshot.parent_exists && snapshot.nodes.is_empty());
}

#[tokio::test]
async fn credentials_open_what_others_may_not_read() {
    let server = ZookeeperServer::start();
    let credentials = ("digest", b"me:secret".as_slice());
    let owner =
        Client::connector().with_auth(credentials.0, credentials.1).connect(&server.address()).await.unwrap();
    put(&owner, "/s", "").await;
    let options = CreateMode::Persistent.with_acls(Acls::creator_all());
    owner.create("/s/private", b"1", &options).await.unwrap();
    put(&owner, "/s/public", "2").await;
    let ensembles = Ensembles::new();
    let mut stranger = follow(&ensembles, &server, "/s");
    until(&mut stranger, &[("public", "2")]).await;
    let auth =
        Auth { scheme: "digest".into(), credentials: proxymgr::engine::secret::Secret::new("me:secret") };
    let access = Access { auth: Some(auth), tls: None };
    let below = ConnectString::parse(&format!("{}/s", server.address())).unwrap();
    let mut friend = ensembles.children_of(&below, &access, &NodePath::parse("/").unwrap(), None);
    until(&mut friend, &[("private", "1"), ("public", "2")]).await;
}

async fn event(events: &mut mpsc::Receiver<RegistryEvent>) -> RegistryEvent {
    timeout(DEADLINE, events.recv()).await.expect("an event in time").unwrap()
}

async fn addresses(events: &mut mpsc::Receiver<RegistryEvent>) -> Vec<String> {
    let event = event(events).await;
    let RegistryEvent::Servers { servers, .. } = event else { panic!("{event:?}") };
    servers.servers().iter().map(|server| server.name().to_string()).collect()
}

#[tokio::test]
async fn services_are_defined_refused_and_removed_and_their_servers_followed() {
    let server = ZookeeperServer::start();
    let zk = client(&server).await;
    for path in ["/config", "/web", "/web2"] {
        put(&zk, path, "").await;
    }
    put(&zk, "/web/a", r#"{"address":"1.1.1.1","port":80}"#).await;
    put(&zk, "/web/bad", "{\"address\":\"1.1.1.1\\nx\",\"port\":80}").await;
    put(&zk, "/web2/a", r#"{"address":"9.9.9.9","port":80}"#).await;
    let definition = |path: &str, port: &str| {
        format!(r#"{{"type":"zookeeper","server":"{}","path":"{path}"{port}}}"#, server.address())
    };
    put(&zk, "/config/web", &definition("/web", r#","port":8080"#)).await;
    let (sender, mut events) = mpsc::channel(16);
    let path = NodePath::parse("/config").unwrap();
    let source = SourceSettings::Zookeeper { servers: servers(&server), path, access: Access::default() };
    let manager = tokio::spawn(service_manager::run(
        vec![source],
        registries(),
        Allowed::new(),
        Memory::default(),
        sender,
    ));

    assert!(
        matches!(event(&mut events).await, RegistryEvent::Defined { spec, .. } if spec.entrance.to_string() == "8080")
    );
    assert_eq!(event(&mut events).await, RegistryEvent::Listed);
    assert_eq!(addresses(&mut events).await, ["1.1.1.1:80"]);
    // Without a port it is refused, its watcher goes on.
    put(&zk, "/config/web", &definition("/web", "")).await;
    let refused = event(&mut events).await;
    assert!(
        matches!(&refused, RegistryEvent::Refused { reason, .. } if reason.contains("\"port\" is missing")),
        "{refused:?}"
    );
    put(&zk, "/web/b", r#"{"address":"2.2.2.2","port":80}"#).await;
    assert_eq!(addresses(&mut events).await, ["1.1.1.1:80", "2.2.2.2:80"]);
    // Another path is another watcher; what the old one would say is of no interest.
    put(&zk, "/config/web", &definition("/web2", r#","port":8080"#)).await;
    assert!(matches!(event(&mut events).await, RegistryEvent::Defined { .. }));
    assert_eq!(addresses(&mut events).await, ["9.9.9.9:80"]);
    put(&zk, "/web/c", r#"{"address":"3.3.3.3","port":80}"#).await;
    // Another one first: the last one of a source would stay.
    put(&zk, "/config/other", &definition("/web2", r#","port":8081"#)).await;
    assert!(matches!(event(&mut events).await, RegistryEvent::Defined { .. }));
    assert_eq!(addresses(&mut events).await, ["9.9.9.9:80"]);
    delete(&zk, "/config/web").await;
    assert!(matches!(event(&mut events).await, RegistryEvent::Removed { name } if name.as_str() == "web"));
    drop(events);
    timeout(DEADLINE, manager).await.expect("the manager ends with its receiver").unwrap();
}

#[tokio::test]
async fn an_ensemble_that_lost_its_data_removes_no_service() {
    let mut server = ZookeeperServer::start();
    let definition =
        format!(r#"{{"type":"zookeeper","server":"{}","path":"/web","port":8080}}"#, server.address());
    let fill = async |zk: &Client, address: &str| {
        put(zk, "/config", "").await;
        put(zk, "/config/web", &definition).await;
        put(zk, "/web", "").await;
        put(zk, "/web/a", &format!(r#"{{"address":"{address}","port":80}}"#)).await;
    };
    fill(&client(&server).await, "1.1.1.1").await;
    let (sender, mut events) = mpsc::channel(16);
    let path = NodePath::parse("/config").unwrap();
    let source = SourceSettings::Zookeeper { servers: servers(&server), path, access: Access::default() };
    let manager = tokio::spawn(service_manager::run(
        vec![source],
        registries(),
        Allowed::new(),
        Memory::default(),
        sender,
    ));
    assert!(matches!(event(&mut events).await, RegistryEvent::Defined { .. }));
    assert_eq!(event(&mut events).await, RegistryEvent::Listed);
    assert_eq!(addresses(&mut events).await, ["1.1.1.1:80"]);
    server.kill();
    server.wipe();
    server.restart();
    // The service's own node is gone too: that it has no servers is told, and judged elsewhere.
    assert_eq!(addresses(&mut events).await, [""; 0]);
    fill(&client(&server).await, "2.2.2.2").await;
    assert_eq!(
        addresses(&mut events).await,
        ["2.2.2.2:80"],
        "neither a removal nor a definition came between"
    );
    manager.abort();
}

#[tokio::test]
async fn a_new_server_node_is_published_within_milliseconds() {
    let server = ZookeeperServer::start();
    let zk = client(&server).await;
    put(&zk, "/config", "").await;
    put(&zk, "/web", "").await;
    let definition =
        format!(r#"{{"type":"zookeeper","server":"{}","path":"/web","port":1}}"#, server.address());
    put(&zk, "/config/web", &definition).await;
    let (sender, mut events) = mpsc::channel(16);
    let path = NodePath::parse("/config").unwrap();
    let source = SourceSettings::Zookeeper { servers: servers(&server), path, access: Access::default() };
    let manager = tokio::spawn(service_manager::run(
        vec![source],
        registries(),
        Allowed::new(),
        Memory::default(),
        sender,
    ));
    while !matches!(event(&mut events).await, RegistryEvent::Servers { .. }) {}
    let mut took = Vec::new();
    for index in 0..200 {
        let started = Instant::now();
        put(&zk, &format!("/web/n{index}"), &format!(r#"{{"address":"1.1.1.1","port":{}}}"#, 1000 + index))
            .await;
        let acknowledged = started.elapsed();
        assert_eq!(addresses(&mut events).await.len(), index + 1);
        took.push((started.elapsed(), started.elapsed().saturating_sub(acknowledged)));
    }
    took.sort_unstable();
    println!(
        "create sent -> server set: median {:?}, p99 {:?}, max {:?}",
        took[100].0, took[198].0, took[199].0
    );
    took.sort_unstable_by_key(|(_, after)| *after);
    println!("create acknowledged -> server set: median {:?}, p99 {:?}", took[100].1, took[198].1);
    manager.abort();
}
