//! What `why` answers: parts of what `status` does.

use serde::Serialize;
use serde_json::{Value, json};

use super::origin::Origins;
use super::protocol::{Failure, FailureCode};
use super::status::{ReloadStatus, ServerStatus, ServiceStatus, Status};
use crate::engine::printable::printable;

/// As `why --json` prints it.
#[derive(Debug, Serialize)]
pub struct Why<'a> {
    /// The service.
    pub service: &'a ServiceStatus,
    /// One of its servers, if it was asked for.
    pub server: Option<&'a ServerStatus>,
    /// The last reload.
    pub last_reload: Option<&'a ReloadStatus>,
    /// Where both are written; null where there is no definition.
    pub origin: Option<Origins>,
}

impl<'a> Why<'a> {
    /// Of the first service of `status`, which was asked for with its servers, and of this server of it.
    ///
    /// # Errors
    /// When there is no such server.
    pub fn of(status: &'a Status, server: Option<&str>) -> Result<Self, Failure> {
        let Some(service) = status.services.first() else {
            let message = "ProxyMgr told nothing of the service; its log tells more";
            return Err(Failure::new(FailureCode::Internal, message));
        };
        let find = |name: &str| service.servers.iter().flatten().find(|server| server.name == name);
        let server = match server.map(|name| find(name).ok_or(name)).transpose() {
            Ok(server) => server,
            Err(name) => {
                let (of, why) = (printable(&service.name), why_not(status, service, name));
                let message = format!("{of} has no server {}: {why}", printable(name));
                return Err(Failure::new(FailureCode::NotFound, message));
            }
        };
        Ok(Self { service, server, last_reload: status.last_reload.as_ref(), origin: None })
    }

    /// The same with where both are written.
    #[must_use]
    pub fn with(self, origin: Option<Origins>) -> Self {
        Self { origin, ..self }
    }
}

/// The same, once the status that it was part of is put away.
#[derive(Debug)]
pub struct WhyTold(Value);

impl WhyTold {
    /// What is told of it.
    pub fn of(why: &Why<'_>) -> Self {
        Self(json!(why))
    }

    /// The same with where both are written.
    pub fn with(self, origin: Option<&Origins>) -> Value {
        let Self(mut told) = self;
        if let Some(keys) = told.as_object_mut() {
            keys.insert("origin".to_owned(), json!(origin));
        }
        told
    }
}

/// Why a service has no server of that name.
fn why_not(status: &Status, service: &ServiceStatus, name: &str) -> String {
    if let Some(gone) = service.gone.iter().flatten().find(|gone| gone.name == name) {
        return format!("it is gone from its registry, and left at {}", gone.at);
    }
    let skipped = || service.problems.iter().filter(|problem| problem.starts_with("skipped "));
    if let Some(skipped) = skipped().find(|skipped| !name.is_empty() && skipped.contains(name)) {
        return format!("its entry is refused: {skipped}");
    }
    let refused = skipped().next().map_or_else(String::new, |first| {
        format!("; unless it is one of {} that are refused: {first}", service.skipped)
    });
    format!(
        "never seen: its registry has not listed it since this program began, at {}{refused}; 'proxymgr why {}' tells which registry that is",
        status.proxymgr.since,
        printable(&service.name)
    )
}
