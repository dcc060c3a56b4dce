//! What the live stream says besides [`ServiceStatus`](super::status::ServiceStatus) and [`Change`](super::history::Change).

use serde::{Deserialize, Serialize};

use super::status::{
    Counts, FrontendsStatus, HaproxyStatus, IncludesStatus, ProxymgrStatus, RegistryStatus, ReloadStatus,
    TemplateStatus, ValuesStatus,
};

/// The version of the stream.
pub const VERSION: u32 = 1;

/// The first word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`VERSION`]; another one may name things otherwise.
    pub version: u32,
    /// `ProxyMgr`'s.
    pub release: String,
    /// What time it is here, in UTC.
    pub now: String,
}

/// The status without its services.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Summary {
    /// See [`Status`](super::status::Status), as of what follows.
    pub proxymgr: ProxymgrStatus,
    #[expect(missing_docs, reason = "as above")]
    pub haproxy: HaproxyStatus,
    #[expect(missing_docs, reason = "as above")]
    pub last_reload: Option<ReloadStatus>,
    #[expect(missing_docs, reason = "as above")]
    pub counts: Counts,
    #[expect(missing_docs, reason = "as above")]
    pub includes: IncludesStatus,
    #[expect(missing_docs, reason = "as above")]
    pub values: ValuesStatus,
    #[expect(missing_docs, reason = "as above")]
    pub frontends: FrontendsStatus,
    #[expect(missing_docs, reason = "as above")]
    pub template: TemplateStatus,
    #[expect(missing_docs, reason = "as above")]
    pub limits: Vec<String>,
    #[expect(missing_docs, reason = "as above")]
    pub registries: Vec<RegistryStatus>,
}

/// What goes through a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServiceTraffic {
    /// Its name.
    pub name: String,
    /// The figures.
    #[serde(flatten)]
    pub figures: Figures,
}

/// What goes through the servers of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServersTraffic {
    /// The service.
    pub name: String,
    /// Each of its servers.
    pub servers: Vec<ServerTraffic>,
}

/// What goes through a server.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerTraffic {
    /// Its name in `HAProxy`.
    pub name: String,
    /// The figures.
    #[serde(flatten)]
    pub figures: Figures,
    /// What its last check found; null when it is not checked.
    pub check: Option<String>,
}

/// Figures of traffic; sums since the process of `HAProxy` began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Figures {
    /// Sessions now.
    pub sessions: u64,
    /// Requests in the last second, or sessions where there are no requests.
    pub per_s: u64,
    /// Sessions.
    pub total: u64,
    /// Bytes from clients.
    pub bytes_in: u64,
    /// Bytes to clients.
    pub bytes_out: u64,
    /// Answers with a status of 5xx; of TCP failed connections and broken answers.
    pub errors: u64,
}

impl Summary {
    /// The same without what grows by itself, to see whether something changed.
    #[must_use]
    pub fn without_ages(&self) -> Self {
        let mut same = self.clone();
        same.proxymgr.since_s = 0;
        same.haproxy.uptime_s = same.haproxy.uptime_s.map(|_| 0);
        for generation in &mut same.haproxy.generations {
            generation.for_s = 0;
        }
        for registry in &mut same.registries {
            registry.down_s = registry.down_s.map(|_| 0);
        }
        if let Some(reload) = &mut same.last_reload {
            reload.ago_s = 0;
        }
        same
    }
}
