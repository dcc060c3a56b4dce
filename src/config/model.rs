//! What proxymgr.yml says, as plain typed values.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};

use crate::engine::consul::ConsulAccess;
use crate::engine::cookie::CookieKey;
use crate::engine::docker_spec::{ContainerAddress, DockerHosts};
use crate::engine::include::IncludePattern;
use crate::engine::listen_address::ListenAddress;
use crate::engine::option_line::LineEnd;
use crate::engine::outage_rules::OutageRules;
use crate::engine::risk::Allowed;
use crate::engine::route::FrontendName;
use crate::engine::secret::Secret;
use crate::engine::service::ServiceName;
use crate::engine::tls_files::TlsFiles;
use crate::engine::value_line::ValueLine;

/// The whole of proxymgr.yml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    /// `haproxy`.
    pub haproxy: HaproxyConfig,
    /// `consul`: the one that is meant where none is named.
    pub consul: Option<ConsulAccess>,
    /// `service_config`: at least one source; the first that holds a name keeps it.
    pub service_config: Vec<SourceConfig>,
    /// `frontends`, by name.
    pub frontends: BTreeMap<FrontendName, FrontendConfig>,
    /// Where the values of lines are looked up: `values`, or else the first registry that is named; `None` when there is none.
    pub values: Option<ValuesConfig>,
    /// `reload`.
    pub reload: ReloadConfig,
    /// `safety`.
    pub safety: SafetyConfig,
    /// `admin`; without it there is no HTTP.
    pub admin: Option<AdminConfig>,
    /// `shutdown`.
    pub shutdown: ShutdownConfig,
    /// `log`.
    pub log: LogConfig,
    /// `state_dir`, absolute: what must survive a restart of the machine.
    pub state_dir: PathBuf,
    /// `runtime_dir`, absolute: sockets.
    pub runtime_dir: PathBuf,
}

/// The `HAProxy` to run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HaproxyConfig {
    /// The binary: a name to be found on PATH, or an absolute path.
    pub path: PathBuf,
    /// Where haproxy.cfg is written, absolute.
    pub config_path: PathBuf,
    /// The stats socket for operators' tools, absolute; it can stand in haproxy.cfg as it is.
    pub socket_path: PathBuf,
    /// Lines of the `global` section.
    pub global: Vec<ValueLine>,
    /// Lines of the `defaults` section, `option idle-close-on-response` among them unless the user said otherwise.
    pub defaults: Vec<ValueLine>,
    /// Files with sections of the user's own, in this order.
    pub include: Vec<IncludePattern>,
    /// The template of haproxy.cfg, absolute; `None` for the built-in layout.
    pub template: Option<PathBuf>,
    /// The address of services that name none.
    pub bind_address: IpAddr,
    /// Whether changes may go through the stats socket; if not, every change is a reload.
    pub runtime_updates: bool,
    /// What the values of sticky cookies are made with.
    pub cookie_key: Option<CookieKey>,
}

/// An HTTP frontend that services share.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FrontendConfig {
    /// Where it listens, sorted, each once.
    pub listen: Vec<ListenAddress>,
    /// What follows the address on each `bind` line.
    pub bind_options: Option<LineEnd>,
    /// Lines of the section.
    pub options: Vec<ValueLine>,
    /// Who gets what no route is found for.
    pub default_service: Option<ServiceName>,
}

/// Where definitions of services come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceConfig {
    /// Children of a `ZooKeeper` node.
    Zookeeper {
        /// Connect string: `host:port,host:port`, a chroot may follow; without blanks.
        servers: String,
        /// The parent node, absolute, below the chroot.
        path: String,
        /// How to log in.
        auth: Option<AuthConfig>,
        /// The files for TLS; without them the connection is not private.
        tls: Option<TlsFiles>,
    },
    /// Keys or services of Consul.
    Consul {
        /// Which Consul, and who we are to it.
        access: ConsulAccess,
        /// What is taken from it.
        listing: ConsulListing,
    },
    /// Files.
    File {
        /// A directory or one file, absolute.
        path: PathBuf,
    },
    /// Containers that say what service they belong to.
    Docker {
        /// The daemons.
        hosts: DockerHosts,
        /// The files for TLS; there with each daemon that is reached over the network.
        tls: Option<TlsFiles>,
        /// How containers are reached.
        address: ContainerAddress,
        /// The frontend of routes that name none.
        frontend: Option<String>,
    },
}

/// What makes the services of a Consul.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ConsulListing {
    /// Each key below `path` holds a definition.
    Keys {
        /// The folder, without slashes at its ends.
        path: String,
    },
    /// Each service of the catalog with this tag is one of ours.
    Catalog {
        /// The tag.
        tag: String,
        /// The definition, with places for what the catalog tells.
        template: Map<String, Value>,
    },
}

/// A registry of single values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValuesConfig {
    /// Nodes of `ZooKeeper`.
    Zookeeper {
        /// Connect string: `host:port,host:port`, a chroot may follow; without blanks.
        servers: String,
        /// The node that paths are meant below.
        path: String,
        /// How to log in.
        auth: Option<AuthConfig>,
        /// The files for TLS; without them the connection is not private.
        tls: Option<TlsFiles>,
    },
    /// Keys of Consul.
    Consul {
        /// Which Consul, and who we are to it.
        access: ConsulAccess,
        /// The folder that paths are meant below; empty for none.
        path: String,
    },
}

/// What `ZooKeeper` calls `addauth`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthConfig {
    /// The scheme, such as `digest`.
    pub scheme: String,
    /// For `digest`: `user:password`.
    pub credentials: Secret,
}

/// How often and how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReloadConfig {
    /// From one reload to the next.
    pub min_interval: Duration,
    /// How long an old process may finish its connections.
    pub drain_timeout: Duration,
    /// How many old processes may do so at once.
    pub max_draining: NonZeroUsize,
}

/// What a registry's mistake may not break.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SafetyConfig {
    /// What a registry's answer may do to the servers of a service.
    pub outage: OutageRules,
    /// How long a start waits for first answers.
    pub startup_timeout: Duration,
    /// The risks that lines of definitions may hold.
    pub allow_options: Allowed,
}

/// HTTP, for reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// Where it listens.
    pub listen: SocketAddr,
    /// The file with the token that clients have to send, absolute.
    pub token_file: Option<PathBuf>,
}

/// The end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShutdownConfig {
    /// How long connections may finish.
    pub grace: Duration,
}

/// The log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// For people or for programs.
    pub format: LogFormat,
    /// The least that is logged.
    pub level: LogLevel,
}

/// How a log line looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// Lines for people.
    Text,
    /// One JSON object a line.
    Json,
}

/// How much is logged: this level and what is graver.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// What needs someone now.
    Error,
    /// What needs someone soon.
    Warn,
    /// What changed.
    Info,
    /// Why.
    Debug,
    /// Everything.
    Trace,
}
