//! What `status` answers: as the control socket carries it and `status --json` prints it. Keys are never renamed or removed,
//! and never absent; new ones may come.

use serde::{Deserialize, Serialize};

use super::history::Change;

/// What is asked of `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StatusQuery {
    /// This service alone.
    pub service: Option<String>,
    /// With each server.
    pub servers: bool,
}

/// Everything.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// This program.
    pub proxymgr: ProxymgrStatus,
    /// The process that serves.
    pub haproxy: HaproxyStatus,
    /// The last reload since this program began.
    pub last_reload: Option<ReloadStatus>,
    /// How many of what.
    pub counts: Counts,
    /// The included files.
    pub includes: IncludesStatus,
    /// The values of a registry in lines of proxymgr.yml and in templates.
    #[serde(default)]
    pub values: ValuesStatus,
    /// The frontends of proxymgr.yml.
    #[serde(default)]
    pub frontends: FrontendsStatus,
    /// The template.
    #[serde(default)]
    pub template: TemplateStatus,
    /// What runs out, or is about to, and what to do.
    #[serde(default)]
    pub limits: Vec<String>,
    /// The registries that are asked over the network or a socket: ensembles of `ZooKeeper`, agents of Consul, Docker daemons.
    #[serde(default)]
    pub registries: Vec<RegistryStatus>,
    /// By name.
    pub services: Vec<ServiceStatus>,
}

/// `ProxyMgr` itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProxymgrStatus {
    /// Its version.
    pub release: String,
    /// Its process.
    pub pid: u32,
    /// When this program began: it was started, took the place of another, or read proxymgr.yml again.
    pub since: String,
    /// How long ago that was.
    pub since_s: u64,
}

/// `HAProxy`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HaproxyStatus {
    /// `collecting`: the registries' first answers are waited for; `starting`, `serving`, `down`.
    pub state: String,
    /// The version that is installed.
    pub installed: String,
    /// The version that serves; null, as what follows, when it doesn't answer.
    pub version: Option<String>,
    /// Its process.
    pub pid: Option<u32>,
    /// Since its start.
    pub uptime_s: Option<u64>,
    /// Clients that are connected now.
    pub connections: Option<u64>,
    /// Why it doesn't answer.
    pub problem: Option<String>,
    /// All processes, as they were seen last: the one that serves, then those that drain, oldest first.
    pub generations: Vec<GenerationStatus>,
}

/// One process of `HAProxy`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GenerationStatus {
    /// Counted from 1, over upgrades of `ProxyMgr` too.
    pub generation: u64,
    /// Its process.
    pub pid: u32,
    /// What it does.
    pub state: GenerationState,
    /// For how long.
    pub for_s: u64,
    /// Its clients, when it was asked last; null of one that does not tell.
    pub connections: Option<u64>,
}

/// What a process does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GenerationState {
    /// It takes connections.
    Serving,
    /// It ends with its last connection.
    Draining,
}

/// A reload, or a start.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadStatus {
    /// When it began.
    pub at: String,
    /// How long ago that was.
    pub ago_s: u64,
    /// Why.
    pub reasons: Vec<String>,
    /// What came of it.
    pub state: ReloadState,
    /// How long it took.
    pub took_ms: Option<u64>,
    /// Why it failed.
    pub error: Option<String>,
}

/// What came of a reload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ReloadState {
    /// It is not over.
    UnderWay,
    /// The new process serves.
    Done,
    /// The old one, if any, goes on.
    Failed,
}

/// How many of what.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Services in all.
    pub services: usize,
    /// Those that serve as they are defined.
    pub serving: usize,
    /// Those whose definition is refused.
    pub refused: usize,
    /// Those that wait for their registry's first answer, or for a reload.
    pub waiting: usize,
    /// Those of which a loss of servers is held, or an empty answer was not believed.
    pub held: usize,
    /// Servers of all services, without those that leave.
    pub servers: usize,
    /// Those that get traffic.
    pub in_rotation: usize,
}

/// A registry, and the sessions with it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegistryStatus {
    /// What it is.
    #[serde(default)]
    pub kind: RegistryKind,
    /// Its servers.
    pub ensemble: String,
    /// Sessions that are connected.
    pub connected: usize,
    /// Those that are not.
    pub disconnected: usize,
    /// Since when the first of these has not been.
    #[serde(default)]
    pub down_since: Option<String>,
    /// How long that is.
    #[serde(default)]
    pub down_s: Option<u64>,
}

/// What kind of registry it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RegistryKind {
    /// An ensemble of `ZooKeeper`.
    #[default]
    Zookeeper,
    /// Agents of Consul.
    Consul,
    /// A Docker daemon.
    Docker,
}

/// The frontends of proxymgr.yml.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FrontendsStatus {
    /// Why not all of them listen where they are wanted to.
    pub problems: Vec<String>,
}

/// The file of `haproxy.template`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplateStatus {
    /// Why it does not go ahead.
    pub problems: Vec<String>,
}

/// The files of `haproxy.include`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IncludesStatus {
    /// Why not all of them go ahead.
    pub problems: Vec<String>,
}

/// The values of a registry that `${kv:...}` names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ValuesStatus {
    /// Why not all of them go ahead, each with its path; for those the last good ones stay.
    pub problems: Vec<String>,
}

/// One service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceStatus {
    /// Its name.
    pub name: String,
    /// `serving`; `refused`: its definition is; `waiting`: for its registry's first answer; `starting`: after the next reload;
    /// `leaving`: its definition is gone.
    pub state: String,
    /// Whether clients are served, if only by its last good definition.
    pub serves: bool,
    /// Where clients connect: addresses, and routes as `FRONTEND:HOST/PATH`, of many the first.
    pub listen: Vec<String>,
    /// Its definition; null when none was ever good.
    pub definition: Option<DefinitionStatus>,
    /// Where its servers are from.
    pub servers_from: ServersFrom,
    /// When its registry told other servers last.
    pub servers_changed: Option<TimeStatus>,
    /// What `HAProxy` was last told of it without a reload.
    pub last_command: Option<CommandStatus>,
    /// The last change of it that is known of, as `events` tells it; null unless this service is asked for alone.
    pub last_change: Option<Change>,
    /// The servers that left since this program began, the latest first, 20 at most; null unless this service is asked for
    /// alone.
    #[serde(default)]
    pub gone: Option<Vec<GoneStatus>>,
    /// A loss of servers that is not believed yet.
    pub held: Option<HeldStatus>,
    /// What is wrong, and what plays no part, in words.
    pub problems: Vec<String>,
    /// How many entries of its registry name no server; `problems` tells of the first.
    pub skipped: usize,
    /// How many servers it has, without those that leave.
    pub servers_total: usize,
    /// How many of them get traffic.
    pub servers_in_rotation: usize,
    /// Each of them, by name; null unless asked for.
    pub servers: Option<Vec<ServerStatus>>,
}

/// A definition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DefinitionStatus {
    /// Where it was found.
    pub origin: String,
    /// Where it says that the servers are found.
    pub registry: String,
    /// When it was taken.
    pub at: String,
    /// How long ago that was.
    pub ago_s: u64,
}

/// A point in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TimeStatus {
    /// When.
    pub at: String,
    /// How long ago that was.
    pub ago_s: u64,
}

/// What `HAProxy` was told.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandStatus {
    /// When.
    pub at: String,
    /// How long ago that was.
    pub ago_s: u64,
    /// How long it took, with all that was told at the same time.
    pub took_ms: u64,
    /// The commands.
    pub commands: Vec<String>,
}

/// Where a service's servers are from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServersFrom {
    /// Its definition alone, or what ran before this program began.
    Definition,
    /// Its registry.
    Registry,
    /// Its registry, before that lost them all: its answer is empty.
    Kept,
    /// An earlier run: its registry has not answered.
    Snapshot,
    /// Nowhere yet: its registry has not answered.
    Nowhere,
}

/// A loss that is not believed yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeldStatus {
    /// How many servers are missing in the registry.
    pub missing: usize,
    /// How much longer they stay.
    pub for_s: u64,
    /// When they leave, if the loss lasts.
    #[serde(default)]
    pub until: String,
}

/// A server that left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GoneStatus {
    /// Its name in `HAProxy`.
    pub name: String,
    /// When.
    pub at: String,
    /// How long ago that was.
    pub ago_s: u64,
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerStatus {
    /// Its name in `HAProxy`.
    pub name: String,
    /// Where it listens.
    pub address: String,
    /// Its weight now.
    pub weight: u16,
    /// Used only while no other server is up.
    pub backup: bool,
    /// What becomes of it.
    pub state: ServerState,
    /// Why it gets no traffic, or why it gets some though it should not.
    pub why: Option<String>,
}

/// What becomes of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ServerState {
    /// It gets traffic.
    Up,
    /// Its check fails.
    Down,
    /// It gets no new traffic.
    Drain,
    /// An operator took it out.
    Maintenance,
    /// It is to get traffic.
    Coming,
    /// It is gone from its registry.
    Leaving,
    /// It is in rotation, and `HAProxy` does not tell its health.
    Unknown,
}

impl RegistryKind {
    /// Its name, for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Zookeeper => "ZooKeeper",
            Self::Consul => "Consul",
            Self::Docker => "Docker",
        }
    }
}

impl ServerState {
    /// The word of the JSON.
    pub fn word(self) -> &'static str {
        match self {
            Self::Up => "up",
            Self::Down => "down",
            Self::Drain => "drain",
            Self::Maintenance => "maintenance",
            Self::Coming => "coming",
            Self::Leaving => "leaving",
            Self::Unknown => "unknown",
        }
    }

    /// Whether it gets new traffic, as far as is known.
    pub fn is_in_rotation(self) -> bool {
        match self {
            Self::Up | Self::Unknown => true,
            Self::Down | Self::Drain | Self::Maintenance | Self::Coming | Self::Leaving => false,
        }
    }
}
