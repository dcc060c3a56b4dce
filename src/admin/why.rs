//! What `why` answers: parts of what `status` does.

use serde::Serialize;

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
                let (service, name) = (printable(&service.name), printable(name));
                let message = format!(
                    "{service} has no server {name}: its registry does not list it, or what it lists is skipped; 'proxymgr why {service}' tells where its servers are from and what is skipped"
                );
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
