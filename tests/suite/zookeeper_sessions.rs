//! Long paths are spread over several sessions, since the client loses its reconnects when one watches too many bytes.

use proxymgr::zookeeper::{Access, ChildrenWatch, ConnectString, Ensembles, NodePath};
use tokio::time::timeout;
use zookeeper_client::{Acls, Client, CreateMode};

use super::support::requests::SOON;
use super::support::zookeeper::ZookeeperServer;

const PATHS: usize = 700;
/// Bytes of each: 280 KB in all, more than twice what one session survives.
const LENGTH: usize = 400;

fn path(number: usize) -> String {
    format!("/{number:0>width$}", width = LENGTH - 1)
}

async fn client(server: &ZookeeperServer) -> Client {
    Client::connect(&server.address()).await.unwrap()
}

async fn names(watch: &mut ChildrenWatch, wanted: &str) {
    let comes = async { while !watch.next().await.unwrap().nodes.contains_key(wanted) {} };
    timeout(SOON, comes).await.unwrap_or_else(|_late| panic!("no node {wanted}"));
}

#[tokio::test]
async fn paths_beyond_what_one_session_survives_are_followed_through_a_reconnect() {
    let mut server = ZookeeperServer::start();
    let options = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let writer = client(&server).await;
    for number in 0..PATHS {
        writer.create(&path(number), b"", &options).await.unwrap();
        writer.create(&format!("{}/before", path(number)), b"", &options).await.unwrap();
    }
    let ensembles = Ensembles::new();
    let servers = ConnectString::parse(&server.address()).unwrap();
    let mut watches: Vec<_> = (0..PATHS)
        .map(|number| {
            ensembles.children_of(
                &servers,
                &Access::default(),
                &NodePath::parse(&path(number)).unwrap(),
                None,
            )
        })
        .collect();
    for watch in &mut watches {
        names(watch, "before").await;
    }
    server.kill();
    server.restart();
    let writer = client(&server).await;
    for number in 0..PATHS {
        writer.create(&format!("{}/after", path(number)), b"", &options).await.unwrap();
    }
    for watch in &mut watches {
        names(watch, "after").await;
    }
}
