//! The two registries that changes are made in.

use std::cell::RefCell;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use zookeeper_client::{Acls, Client, CreateMode};

use crate::support::proxymgr_setup::{Paths, Setup, write_in_one_step};
use crate::support::zookeeper::ZookeeperServer;

/// The parent of all definitions.
const SERVICE_CONFIG: &str = "/service_config";
/// Nodes per transaction.
const BATCH: usize = 500;

/// When a change began, and when it was acknowledged.
#[derive(Clone, Copy)]
pub struct Call {
    pub began: Instant,
    pub acknowledged: Instant,
}

impl Call {
    pub fn of(change: impl FnOnce()) -> Self {
        let began = Instant::now();
        change();
        Self { began, acknowledged: Instant::now() }
    }
}

/// Where services and servers come from.
pub trait Registry {
    /// A new service, fed by the servers called `servers`.
    fn define(&self, service: &str, servers: &str, port: u16) -> Call;
    fn add_server(&self, servers: &str, address: SocketAddr) -> Call;
    fn remove_server(&self, servers: &str, address: SocketAddr) -> Call;
}

/// Nodes of a `ZooKeeper` of our own.
pub struct Nodes {
    server: ZookeeperServer,
    client: Client,
    runtime: Handle,
    _end: oneshot::Sender<()>,
}

impl Nodes {
    pub fn start() -> Self {
        let server = ZookeeperServer::start();
        let (handles, handle) = std::sync::mpsc::channel();
        let (end, ended) = oneshot::channel::<()>();
        // The client answers ZooKeeper's pings while nothing is asked.
        std::thread::spawn(move || {
            let runtime = Builder::new_current_thread().enable_all().build().unwrap();
            handles.send(runtime.handle().clone()).unwrap();
            runtime.block_on(async { ended.await.unwrap_or(()) });
        });
        let runtime = handle.recv().unwrap();
        let connector = Client::connector().with_session_timeout(Duration::from_secs(30)).with_detached();
        let client = runtime.block_on(connector.connect(&server.address())).unwrap();
        let nodes = Self { server, client, runtime, _end: end };
        nodes.create(SERVICE_CONFIG, "");
        nodes.create("/servers", "");
        nodes
    }

    /// Services from here.
    pub fn configure(&self, setup: Setup) -> Setup {
        setup.zookeeper(&self.server.address(), SERVICE_CONFIG)
    }

    /// A parent for server nodes.
    pub fn create_servers(&self, servers: &str) {
        self.create(&format!("/servers/{servers}"), "");
    }

    /// Many nodes at once.
    pub fn create_all(&self, nodes: &[(String, String)]) {
        for batch in nodes.chunks(BATCH) {
            let mut writer = self.client.new_multi_writer();
            for (path, data) in batch {
                writer.add_create(path, data.as_bytes(), &persistent()).unwrap();
            }
            self.runtime.block_on(writer.commit()).unwrap();
        }
    }

    pub fn definition_node(service: &str) -> String {
        format!("{SERVICE_CONFIG}/{service}")
    }

    pub fn server_node(servers: &str, address: SocketAddr) -> String {
        format!("/servers/{servers}/{address}")
    }

    pub fn definition(&self, servers: &str, port: u16) -> Value {
        json!({"type": "zookeeper", "server": self.server.address(), "path": format!("/servers/{servers}"), "port": port})
    }

    pub fn server(address: SocketAddr) -> String {
        json!({"address": address.ip(), "port": address.port()}).to_string()
    }

    fn create(&self, path: &str, data: &str) {
        self.runtime.block_on(self.client.create(path, data.as_bytes(), &persistent())).unwrap();
    }
}

fn persistent() -> zookeeper_client::CreateOptions<'static> {
    CreateMode::Persistent.with_acls(Acls::anyone_all())
}

impl Registry for Nodes {
    fn define(&self, service: &str, servers: &str, port: u16) -> Call {
        let (path, data) = (Self::definition_node(service), self.definition(servers, port).to_string());
        Call::of(|| self.create(&path, &data))
    }

    fn add_server(&self, servers: &str, address: SocketAddr) -> Call {
        let (path, data) = (Self::server_node(servers, address), Self::server(address));
        Call::of(|| self.create(&path, &data))
    }

    fn remove_server(&self, servers: &str, address: SocketAddr) -> Call {
        let path = Self::server_node(servers, address);
        Call::of(|| self.runtime.block_on(self.client.delete(&path, None)).unwrap())
    }
}

/// Files of a setup.
pub struct Files {
    paths: Paths,
    /// What the one list of servers holds.
    servers: RefCell<Vec<String>>,
}

impl Files {
    pub fn of(setup: &Setup) -> Self {
        Self { paths: setup.paths.clone(), servers: RefCell::default() }
    }

    fn list(&self, servers: &str) -> PathBuf {
        self.paths.root.join(format!("{servers}.servers"))
    }

    fn rewrite(&self, servers: &str) -> Call {
        let (path, text) = (self.list(servers), self.servers.borrow().join("\n") + "\n");
        Call::of(|| write_in_one_step(&path, &text))
    }
}

impl Registry for Files {
    fn define(&self, service: &str, servers: &str, port: u16) -> Call {
        let definition = json!({"type": "file", "file": self.list(servers), "port": port});
        Call::of(|| self.paths.write_service(service, &definition))
    }

    fn add_server(&self, servers: &str, address: SocketAddr) -> Call {
        self.servers.borrow_mut().push(address.to_string());
        self.rewrite(servers)
    }

    fn remove_server(&self, servers: &str, address: SocketAddr) -> Call {
        self.servers.borrow_mut().retain(|line| *line != address.to_string());
        self.rewrite(servers)
    }
}
