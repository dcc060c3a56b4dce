//! Answers where a service and its servers are written.

use std::fs::metadata;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde_json::json;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use super::Supervisor;
use super::status::utc;
use crate::admin::origin::{OriginStatus, Origins};
use crate::admin::protocol::{Failure, FailureCode};
use crate::admin::request::{Answer, Asker};
use crate::engine::printable::printable;
use crate::engine::server::ServerName;
use crate::engine::service::ServiceSpec;
use crate::service_config::SourceSettings;
use crate::watcher::{Origin, Registries, origin_of};

/// The longest wait for the registry of the definition.
const PATIENCE: Duration = Duration::from_secs(3);

impl Supervisor {
    /// Answers in a task of its own: registries may take their time.
    pub(super) fn tell_origin(&self, service: &str, server: Option<String>, asker: Asker) {
        let (Some((spec, origin)), Some(registries)) =
            (self.status_desk.definition_of(service), self.feeds.registries.clone())
        else {
            let message = format!("there is no definition of {} that was taken", printable(service));
            asker.refuse(Failure::new(FailureCode::NotFound, message));
            return;
        };
        let (sources, service) = (self.sources.clone(), service.to_owned());
        tokio::spawn(async move {
            let definition = Origin::at(origin);
            let (definition, unasked) = definition_at(definition, &sources, &registries, &service).await;
            let server = server.map(|server| ServerName::reported(&server));
            let (server, problem) = server_at(&spec, &registries, server.as_ref()).await;
            let origins = Origins {
                definition: Some(told(definition)),
                server: server.map(told),
                problem: unasked.or(problem),
            };
            asker.answer(Answer::Said(json!(origins)));
        });
    }
}

async fn definition_at(
    origin: Origin,
    sources: &[SourceSettings],
    registries: &Registries,
    service: &str,
) -> (Origin, Option<String>) {
    for source in sources {
        match timeout(PATIENCE, source.stat(&registries.ensembles, service, &origin.place)).await {
            Ok(Ok(Some(stat))) => return (origin.with_stat(Some(stat)), None),
            Ok(Ok(None)) => {}
            Ok(Err(error)) => return (origin, Some(format!("ZooKeeper: {error}"))),
            Err(_elapsed) => return (origin, Some(format!("{source} gives no answer"))),
        }
    }
    let file = origin.place.clone();
    let written = spawn_blocking(move || metadata(file).and_then(|metadata| metadata.modified()).ok());
    (Origin { written: written.await.ok().flatten(), ..origin }, None)
}

async fn server_at(
    spec: &Arc<ServiceSpec>,
    registries: &Registries,
    server: Option<&ServerName>,
) -> (Option<Origin>, Option<String>) {
    let Some(server) = server else { return (None, None) };
    match origin_of(spec, registries, server).await {
        Ok(origin) => (origin, None),
        Err(error) => (None, Some(error.to_string())),
    }
}

fn told(origin: Origin) -> OriginStatus {
    let Origin { place, version, written } = origin;
    OriginStatus { place, version, written: written.map(|written: SystemTime| utc(written)) }
}
