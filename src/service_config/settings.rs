//! What a source needs to know.

use std::fmt;
use std::path::PathBuf;

use super::docker::ContainerSource;
use crate::config::SourceConfig;
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
            Self::File { path: _ } | Self::Docker { .. } => None,
        }
    }

    /// The files for TLS of a Docker daemon, where this source names any.
    pub fn docker_tls(&self) -> Option<(DockerHost, TlsFiles)> {
        match self {
            Self::Docker { containers, tls } => Some((containers.host.clone(), tls.clone()?)),
            Self::Zookeeper { .. } | Self::File { path: _ } => None,
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
            Self::Zookeeper { .. } | Self::File { path: _ } | Self::Docker { .. } => Ok(None),
        }
    }
}

impl fmt::Display for SourceSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zookeeper { servers, path, access: _ } => write!(f, "zookeeper {servers} {path}"),
            Self::File { path } => write!(f, "file {}", printable(&path.to_string_lossy())),
            Self::Docker { containers, tls: _ } => write!(f, "docker {}", containers.host),
        }
    }
}

impl TryFrom<&SourceConfig> for SourceSettings {
    type Error = ZookeeperError;

    /// Reads the texts of proxymgr.yml.
    fn try_from(config: &SourceConfig) -> Result<Self, ZookeeperError> {
        Ok(match config {
            SourceConfig::Zookeeper { servers, path, auth, tls } => Self::Zookeeper {
                servers: ConnectString::parse(servers)?,
                path: NodePath::parse(path)?,
                access: Access {
                    auth: auth.as_ref().map(|auth| Auth {
                        scheme: auth.scheme.clone(),
                        credentials: auth.credentials.clone(),
                    }),
                    tls: tls.clone(),
                },
            },
            SourceConfig::File { path } => Self::File { path: path.clone() },
            SourceConfig::Docker { host, tls, address, frontend } => Self::Docker {
                containers: ContainerSource {
                    host: host.clone(),
                    address: address.clone(),
                    frontend: frontend.clone(),
                },
                tls: tls.clone(),
            },
        })
    }
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
