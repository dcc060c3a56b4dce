//! What a source needs to know.

use std::fmt;
use std::path::PathBuf;

use super::SourceError;
use super::catalog_template::CatalogTemplate;
use super::docker::ContainerSource;
use crate::config::{AuthConfig, ConsulListing, SourceConfig};
use crate::engine::consul::ConsulAccess;
use crate::engine::docker_spec::DockerHost;
use crate::engine::printable::printable;
use crate::engine::tls_files::TlsFiles;
use crate::zookeeper::{Access, Auth, ConnectString, Ensembles, NodePath, NodeStat, ZookeeperError};

/// One source of definitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceSettings {
    /// The children of a node.
    Zookeeper {
        /// The ensemble.
        servers: ConnectString,
        /// The parent node, below the chroot.
        path: NodePath,
        /// Who we are to it, and how we speak with it.
        access: Access,
    },
    /// The keys of a folder in Consul's store.
    ConsulKeys {
        /// Which Consul, and who we are to it.
        access: ConsulAccess,
        /// The folder, without slashes at its ends.
        path: String,
    },
    /// The services of Consul's catalog with a tag.
    ConsulCatalog {
        /// Which Consul, and who we are to it.
        access: ConsulAccess,
        /// The tag.
        tag: String,
        /// What they become.
        template: CatalogTemplate,
    },
    /// A directory of `NAME.json`, `NAME.yml` or `NAME.yaml`, or one file that maps names to definitions.
    File {
        /// The directory or file, absolute.
        path: PathBuf,
    },
    /// Containers that say what service they belong to.
    Docker {
        /// Where they run, how they are reached, and what their definitions share.
        containers: ContainerSource,
        /// The files for TLS.
        tls: Option<TlsFiles>,
    },
}

impl SourceSettings {
    /// Who we are to an ensemble, where this source names one.
    pub fn access(&self) -> Option<(ConnectString, Access)> {
        match self {
            Self::Zookeeper { servers, path: _, access } => Some((servers.clone(), access.clone())),
            Self::ConsulKeys { .. }
            | Self::ConsulCatalog { .. }
            | Self::File { path: _ }
            | Self::Docker { .. } => None,
        }
    }

    /// The files for TLS of each Docker daemon, where this source names any.
    pub fn docker_tls(&self) -> Vec<(DockerHost, TlsFiles)> {
        match self {
            Self::Docker { containers, tls: Some(files) } => {
                containers.hosts.iter().map(|host| (host.clone(), files.clone())).collect()
            }
            Self::Docker { containers: _, tls: None }
            | Self::Zookeeper { .. }
            | Self::ConsulKeys { .. }
            | Self::ConsulCatalog { .. }
            | Self::File { path: _ } => Vec::new(),
        }
    }

    /// Which Consul this source asks, if it does.
    pub fn consul(&self) -> Option<&ConsulAccess> {
        match self {
            Self::ConsulKeys { access, .. } | Self::ConsulCatalog { access, .. } => Some(access),
            Self::Zookeeper { .. } | Self::File { path: _ } | Self::Docker { .. } => None,
        }
    }

    /// The place of the definition called `name`, as it is told.
    pub(super) fn origin_of(servers: &ConnectString, path: &NodePath, name: &str) -> String {
        format!("zookeeper {servers} {path}/{}", printable(name))
    }

    /// Asks `ensembles` for what is kept of the definition called `name`, where it is the one at `origin`.
    ///
    /// # Errors
    /// When the ensemble can't be asked.
    pub async fn stat(
        &self,
        ensembles: &Ensembles,
        name: &str,
        origin: &str,
    ) -> Result<Option<NodeStat>, ZookeeperError> {
        match self {
            Self::Zookeeper { servers, path, access } if Self::origin_of(servers, path, name) == origin => {
                ensembles.stat(servers, access, &path.below(name)?).await
            }
            Self::Zookeeper { .. }
            | Self::ConsulKeys { .. }
            | Self::ConsulCatalog { .. }
            | Self::File { path: _ }
            | Self::Docker { .. } => Ok(None),
        }
    }
}

impl fmt::Display for SourceSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zookeeper { servers, path, access: _ } => write!(f, "zookeeper {servers} {path}"),
            Self::ConsulKeys { access, path } => {
                write!(f, "consul {} {}", access.servers, printable(path))
            }
            Self::ConsulCatalog { access, tag, template: _ } => {
                write!(f, "consul {} catalog, tag {}", access.servers, printable(tag))
            }
            Self::File { path } => write!(f, "file {}", printable(&path.to_string_lossy())),
            Self::Docker { containers, tls: _ } => write!(f, "docker {}", containers.hosts),
        }
    }
}

impl TryFrom<&SourceConfig> for SourceSettings {
    type Error = SourceError;

    /// Reads the texts of proxymgr.yml.
    fn try_from(config: &SourceConfig) -> Result<Self, SourceError> {
        Ok(match config {
            SourceConfig::Zookeeper { servers, path, auth, tls } => Self::Zookeeper {
                servers: ConnectString::parse(servers).map_err(ZookeeperError::from)?,
                path: NodePath::parse(path).map_err(ZookeeperError::from)?,
                access: zookeeper_access(auth.as_ref(), tls.as_ref()),
            },
            SourceConfig::Consul { access, listing: ConsulListing::Keys { path } } => {
                Self::ConsulKeys { access: access.clone(), path: path.clone() }
            }
            SourceConfig::Consul { access, listing: ConsulListing::Catalog { tag, template } } => {
                let template = CatalogTemplate::new(access, tag, template).map_err(SourceError::Template)?;
                Self::ConsulCatalog { access: access.clone(), tag: tag.clone(), template }
            }
            SourceConfig::File { path } => Self::File { path: path.clone() },
            SourceConfig::Docker { hosts, tls, address, frontend } => Self::Docker {
                containers: ContainerSource {
                    hosts: hosts.clone(),
                    address: address.clone(),
                    frontend: frontend.clone(),
                },
                tls: tls.clone(),
            },
        })
    }
}

/// Who we are to an ensemble, as proxymgr.yml says it.
pub fn zookeeper_access(auth: Option<&AuthConfig>, tls: Option<&TlsFiles>) -> Access {
    let login =
        |auth: &AuthConfig| Auth { scheme: auth.scheme.clone(), credentials: auth.credentials.clone() };
    Access { auth: auth.map(login), tls: tls.cloned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AuthConfig;
    use crate::engine::secret::Secret;

    #[test]
    fn the_texts_of_the_file_are_checked_and_credentials_stay_hidden() {
        let config = |servers: &str| SourceConfig::Zookeeper {
            servers: servers.to_owned(),
            path: "/services".to_owned(),
            auth: Some(AuthConfig { scheme: "digest".to_owned(), credentials: Secret::new("me:hunter2") }),
            tls: None,
        };
        let settings = SourceSettings::try_from(&config("zk1,zk2:99/prod")).unwrap();
        assert_eq!(settings.to_string(), "zookeeper zk1:2181,zk2:99/prod /services");
        assert!(!format!("{settings} {settings:?}").contains("hunter2"));
        assert!(SourceSettings::try_from(&config("zk1,,zk2")).is_err());
    }
}
