//! Writes nodes as any other program would: each time in a session of its own, so that no outage before matters.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio::runtime::{Builder, Runtime};
use zookeeper_client::{Acls, Client, CreateMode, Error};

use super::backend::Backend;
use super::zookeeper::ZookeeperServer;

/// How long a write may take, a server that is still starting included.
const DEADLINE: Duration = Duration::from_secs(30);

/// The nodes of one server. Definitions are children of `/service_config`, the servers of the service NAME those of
/// `/services/NAME`.
pub struct Nodes {
    runtime: Runtime,
    address: String,
    /// Of the scheme `digest`; nodes are then made for this user alone.
    user: Option<String>,
}

impl Nodes {
    pub fn of(server: &ZookeeperServer) -> Self {
        Self::at(&server.address())
    }

    /// Those of the server or the ensemble at `address`.
    pub fn at(address: &str) -> Self {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        Self { runtime, address: address.to_owned(), user: None }
    }

    /// Does `work`, which may be done twice, again and again in new sessions until it is acknowledged.
    pub fn write_until_done(&self, work: &impl AsyncFn(&Client) -> Result<(), Error>) {
        let end = Instant::now() + DEADLINE;
        self.runtime.block_on(async {
            loop {
                let attempt = async {
                    let client = self.connect().await;
                    work(&client).await
                };
                match tokio::time::timeout(Duration::from_secs(5), attempt).await {
                    Ok(Ok(())) => return,
                    failed => assert!(Instant::now() < end, "{failed:?}"),
                }
            }
        });
    }

    /// The nodes that `user` ("name:password") makes for itself alone.
    pub fn of_user(server: &ZookeeperServer, user: &str) -> Self {
        Self { user: Some(user.to_owned()), ..Self::of(server) }
    }

    /// Does `work` in a new session.
    pub fn write<T>(&self, work: impl AsyncFnOnce(&Session) -> T) -> T {
        self.runtime.block_on(async {
            let session = Session { client: self.connect().await, private: self.user.is_some() };
            tokio::time::timeout(DEADLINE, work(&session)).await.expect("ZooKeeper takes the writes in time")
        })
    }

    async fn connect(&self) -> Client {
        let end = Instant::now() + DEADLINE;
        loop {
            let mut connector = Client::connector();
            if let Some(user) = &self.user {
                connector = connector.with_auth("digest", user.as_bytes());
            }
            match connector.connect(&self.address).await {
                Ok(client) => return client,
                Err(error) => assert!(Instant::now() < end, "{error}"),
            }
        }
    }

    /// Makes or overwrites one node.
    pub fn put(&self, path: &str, data: impl AsRef<[u8]>) {
        self.write(async |session| session.put(path, data.as_ref()).await);
    }

    pub fn delete(&self, path: &str) {
        self.write(async |session| session.delete(path).await);
    }

    /// Defines a service that is called `name`, mode http, its servers checked.
    pub fn define(&self, name: &str, port: u16) {
        self.put(&definition_path(name), self.definition(name, port).to_string());
    }

    /// What [`Self::define`] writes.
    pub fn definition(&self, name: &str, port: u16) -> Value {
        json!({
            "type": "zookeeper", "server": self.address, "path": format!("/services/{name}"), "port": port,
            "listen_options": ["mode http"], "server_options": ["check inter 2000"],
        })
    }

    pub fn undefine(&self, name: &str) {
        self.delete(&definition_path(name));
    }

    pub fn add(&self, service: &str, server: &Backend) {
        self.put(&server_path(service, server), server_data(server.address));
    }

    pub fn remove(&self, service: &str, server: &Backend) {
        self.delete(&server_path(service, server));
    }
}

/// A session that lasts as long as one batch of writes.
pub struct Session {
    pub client: Client,
    private: bool,
}

impl Session {
    /// Makes a node, with its parents, or overwrites it.
    pub async fn put(&self, path: &str, data: &[u8]) {
        let acls = if self.private { Acls::creator_all() } else { Acls::anyone_all() };
        let options = CreateMode::Persistent.with_acls(acls);
        let mut created = self.client.create(path, data, &options).await;
        if let (Err(Error::NoNode), Some((parent, _))) = (&created, path.rsplit_once('/')) {
            self.client.mkdir(parent, &options).await.unwrap();
            created = self.client.create(path, data, &options).await;
        }
        match created {
            Ok(_) => {}
            Err(Error::NodeExists) => {
                self.client.set_data(path, data, None).await.unwrap();
            }
            Err(error) => panic!("{path}: {error}"),
        }
    }

    pub async fn delete(&self, path: &str) {
        self.client.delete(path, None).await.unwrap_or_else(|error| panic!("{path}: {error}"));
    }
}

pub fn definition_path(service: &str) -> String {
    format!("/service_config/{service}")
}

pub fn server_path(service: &str, server: &Backend) -> String {
    format!("/services/{service}/{}", server.port())
}

pub fn server_data(address: SocketAddr) -> String {
    json!({"address": address.ip(), "port": address.port()}).to_string()
}
