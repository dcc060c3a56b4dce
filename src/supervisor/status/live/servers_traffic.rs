//! What goes through the servers of one service, asked while somebody sees them.

use std::path::Path;

use super::super::haproxy_view::LIMIT;
use super::shown::figures;
use crate::admin::live::{ServerTraffic, ServersTraffic};
use crate::admin::protocol::{Failure, FailureCode};
use crate::engine::error_text::with_causes;
use crate::engine::printable::printable;
use crate::engine::service::ServiceName;
use crate::haproxy::runtime::{RuntimeConnection, RuntimeError};
use crate::haproxy::traffic;

pub(super) async fn servers_traffic(socket: &Path, service: &str) -> Result<ServersTraffic, Failure> {
    let reply = match ServiceName::parse(service) {
        Ok(name) => ask(socket, &name).await.map_err(|error| {
            Failure::new(FailureCode::NoAnswer, format!("HAProxy does not answer: {}", with_causes(&error)))
        })?,
        Err(_no_name) => String::new(),
    };
    let servers = traffic::parse_servers(&reply).map_err(|_no_such_proxy| {
        let message = format!("no service '{}' runs", printable(service));
        Failure::new(FailureCode::NotFound, message)
    })?;
    let told = |(name, traffic)| ServerTraffic { name, figures: figures(&traffic), check: traffic.check };
    Ok(ServersTraffic { name: service.to_owned(), servers: servers.into_iter().map(told).collect() })
}

async fn ask(socket: &Path, service: &ServiceName) -> Result<String, RuntimeError> {
    RuntimeConnection::connect(socket, LIMIT).await?.execute(&traffic::servers_of(service.as_str())).await
}
