//! The last good topology in `state_dir`: what a start goes by when registries don't answer.
//!
//! Sealed JSON. Fields that this version doesn't know are passed over, so that an older one can read what a newer one wrote.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde::{Deserialize, Serialize, Serializer as _};

use super::sealed::{SealError, seal_to, unseal};
use crate::engine::host_name::HostName;
use crate::engine::listen_address::ListenAddress;
use crate::engine::outage_rules::Servers;
use crate::engine::printable::printable;
use crate::engine::reconciler::Held;
use crate::engine::route::{FrontendName, RouteId, RouteKey};
use crate::engine::server::{Server, Weight};
use crate::engine::server_options::NodeWords;
use crate::haproxy::config_file::{ConfigFileError, stream_atomically};
use crate::own_files;
use crate::service_config::{Format, RawDefinition};
use crate::service_manager::Remembered;

const NAME: &str = "topology.json";
const SET_ASIDE: &str = "topology.json.damaged";
const FORMAT: u32 = 1;
/// Definitions may hold what others must not see.
const OWNER_ONLY: u32 = 0o600;

/// Why a snapshot can't be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum SnapshotError {
    #[error("'{}' can't be read", path.display())]
    Unreadable {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error("it can't be understood")]
    Json(#[from] serde_json::Error),
}

#[derive(Serialize, Deserialize)]
struct Service<'a> {
    origin: Cow<'a, str>,
    yaml: bool,
    definition: Cow<'a, str>,
    servers: Vec<SavedServer>,
    /// Who holds an address keeps it over a restart.
    #[serde(default)]
    listens: Vec<String>,
    /// Likewise a route: its frontend, and its key there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    routes: Vec<(String, String)>,
}

#[derive(Serialize, Deserialize)]
struct SavedServer {
    address: SocketAddr,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    weight: Option<u16>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    backup: bool,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    drain: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    options: Option<String>,
}

/// What is to be remembered of a service: its definition, the servers that are believed, and how it is reached now.
pub(super) struct Saved {
    pub(super) name: String,
    pub(super) definition: RawDefinition,
    pub(super) servers: Arc<Servers>,
    pub(super) held: Held,
}

/// Of all services.
pub(super) type Topology = Vec<Saved>;

/// Where it is written.
pub(super) fn path_in(state_dir: &Path) -> PathBuf {
    state_dir.join(NAME)
}

/// Writes `topology`, so that a crash leaves the old one or the new one whole.
///
/// # Errors
/// When it can't be written.
pub(super) fn save(state_dir: &Path, topology: &Topology) -> Result<(), ConfigFileError> {
    let write = |out: &mut dyn io::Write| {
        let mut json = serde_json::Serializer::new(out);
        let services = topology.iter().map(|Saved { name, definition, servers, held }| {
            let service = Service {
                origin: Cow::Borrowed(&definition.origin),
                yaml: definition.format == Format::Yaml,
                definition: String::from_utf8_lossy(&definition.data),
                servers: servers.values().map(SavedServer::of).collect(),
                listens: held.listens.iter().map(ToString::to_string).collect(),
                routes: held.routes.iter().map(route_words).collect(),
            };
            (name, service)
        });
        json.collect_map(services).map_err(io::Error::from)
    };
    stream_atomically(&state_dir.join(NAME), OWNER_ONLY, |out| seal_to(out, FORMAT, write))
}

/// What was remembered last; empty when nothing was.
///
/// # Errors
/// When it can't be used; it is then set aside for those who want to look at it.
pub(super) fn load(state_dir: &Path) -> Result<BTreeMap<String, Remembered>, SnapshotError> {
    let path = state_dir.join(NAME);
    let text = match own_files::read(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(source) => return Err(SnapshotError::Unreadable { path, source }),
    };
    parse(&text).inspect_err(|_damaged| {
        if let Err(error) = std::fs::rename(&path, state_dir.join(SET_ASIDE)) {
            tracing::debug!(%error, "a damaged snapshot stays where it is");
        }
    })
}

fn parse(text: &str) -> Result<BTreeMap<String, Remembered>, SnapshotError> {
    let services: BTreeMap<String, Service<'_>> = serde_json::from_str(unseal(FORMAT, text)?)?;
    Ok(services.into_iter().map(|(name, service)| (name, service.remembered())).collect())
}

impl Service<'_> {
    fn remembered(self) -> Remembered {
        let definition = RawDefinition {
            data: self.definition.into_owned().into_bytes().into(),
            format: if self.yaml { Format::Yaml } else { Format::Json },
            origin: printable(&self.origin),
        };
        let servers = self.servers.iter().filter_map(SavedServer::server).collect();
        let listens = self.listens.iter().filter_map(|text| ListenAddress::parse(text)).collect();
        let routes = self.routes.iter().filter_map(route).collect();
        Remembered { definition, servers, held: Held { listens, routes } }
    }
}

fn route_words(route: &RouteId) -> (String, String) {
    (route.frontend.to_string(), route.key.as_str().to_owned())
}

fn route((frontend, key): &(String, String)) -> Option<RouteId> {
    Some(RouteId { frontend: FrontendName::parse(frontend).ok()?, key: RouteKey::parse(key).ok()? })
}

impl SavedServer {
    fn of(server: &Server) -> Self {
        Self {
            address: server.address(),
            host: server.host().map(ToString::to_string),
            weight: server.weight.map(Weight::get),
            backup: server.backup,
            drain: server.drain,
            options: server.options.as_ref().map(ToString::to_string),
        }
    }

    fn server(&self) -> Option<Server> {
        let mut server = match &self.host {
            None => Server::at(self.address)?,
            Some(host) => {
                let port = NonZeroU16::new(self.address.port())?;
                Server::named(HostName::parse(host).ok()?, port, self.address.ip())
            }
        };
        server.weight = self.weight.and_then(Weight::new);
        server.backup = self.backup;
        server.drain = self.drain;
        server.options = NodeWords::parse(self.options.as_deref().unwrap_or_default()).ok()?.options;
        Some(server)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topology() -> Topology {
        let mut server = Server::at("10.0.0.1:80".parse().unwrap()).unwrap();
        server.weight = Weight::new(7);
        server.backup = true;
        server.options = NodeWords::parse("maxconn 5").unwrap().options;
        let name = HostName::parse("web.example").unwrap();
        let host = Server::named(name, NonZeroU16::new(81).unwrap(), "::1".parse().unwrap());
        let definition = RawDefinition {
            data: b"{\"port\": 1}".as_slice().into(),
            format: Format::Json,
            origin: "zk".into(),
        };
        let servers = Arc::new(Servers::from([(server.name(), server), (host.name(), host)]));
        let listens = ["0.0.0.0:80", "unix@/run/web"].map(|text| ListenAddress::parse(text).unwrap()).into();
        let routes = [route(&("http-in".to_owned(), "a.example/b/".to_owned())).unwrap()].into();
        let held = Held { listens, routes };
        vec![Saved { name: "web".to_owned(), definition, servers, held }]
    }

    #[test]
    fn what_is_saved_is_remembered() {
        let dir = tempfile::tempdir().unwrap();
        assert!(load(dir.path()).unwrap().is_empty());
        let topology = topology();
        save(dir.path(), &topology).unwrap();
        let remembered = load(dir.path()).unwrap();
        let Saved { name: _, definition, servers, held } = &topology[0];
        let servers = servers.values().cloned().collect();
        let (definition, held) = (definition.clone(), held.clone());
        assert_eq!(remembered["web"], Remembered { definition, servers, held });
    }

    #[test]
    fn a_damaged_snapshot_is_set_aside() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(NAME);
        save(dir.path(), &topology()).unwrap();
        let good = std::fs::read_to_string(&path).unwrap();
        let cut = good.get(..good.len() - 9).unwrap().to_owned();
        let newer = good.replace("\"format\":1", "\"format\":2");
        for bad in
            [String::new(), "x".into(), "{}\n{}".into(), cut, good.replace("10.0.0.1", "10.0.0.2"), newer]
        {
            std::fs::write(&path, bad).unwrap();
            assert!(load(dir.path()).is_err());
            assert!(!path.exists() && dir.path().join(SET_ASIDE).exists());
        }
    }
}
