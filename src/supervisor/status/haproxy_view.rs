//! What the serving process itself tells, for `status`.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use super::compose::Facts;
use crate::engine::error_text::with_causes;
use crate::engine::report::Stage;
use crate::haproxy::reply::{ProcessInfo, ReplyError, ServerState, parse_servers_state, parse_show_info};
use crate::haproxy::runtime::{RuntimeConnection, RuntimeError};

/// How long it may take to answer.
pub(super) const LIMIT: Duration = Duration::from_secs(2);

/// The process and its servers.
#[derive(Debug)]
pub(super) struct HaproxyView {
    pub(super) info: ProcessInfo,
    /// By backend, then by name.
    servers: HashMap<String, HashMap<String, ServerState>>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum LookError {
    #[error(transparent)]
    Runtime(#[from] RuntimeError),
    #[error(transparent)]
    Reply(#[from] ReplyError),
}

impl HaproxyView {
    pub(super) fn new(info: ProcessInfo, states: Vec<ServerState>) -> Self {
        let mut servers: HashMap<_, HashMap<_, _>> = HashMap::new();
        for state in states {
            servers.entry(state.backend.clone()).or_default().insert(state.name.clone(), state);
        }
        Self { info, servers }
    }

    /// What it tells of a server.
    pub(super) fn server(&self, service: &str, server: &str) -> Option<&ServerState> {
        self.servers.get(service)?.get(server)
    }
}

/// Asks through the operators' socket, so that no other command waits for it.
///
/// # Errors
/// Why there is no answer, in words.
pub(super) async fn look(socket: &Path, facts: &Facts) -> Result<HaproxyView, String> {
    match facts.report.stage {
        Stage::Serving => try_look(socket, facts).await.map_err(|error| with_causes(&error)),
        Stage::Collecting | Stage::Starting | Stage::Down => Err("no process serves".to_owned()),
    }
}

async fn try_look(socket: &Path, facts: &Facts) -> Result<HaproxyView, LookError> {
    let mut connection = RuntimeConnection::connect(socket, LIMIT).await?;
    let info = parse_show_info(&connection.execute("show info").await?)?;
    let running = facts.report.services.iter().filter(|(_, service)| service.runs.is_some());
    let command = match (&facts.query.service, running.map(|(name, _)| name).next()) {
        (_, None) => return Ok(HaproxyView::new(info, Vec::new())),
        (Some(_), Some(service)) => format!("show servers state {service}"),
        (None, Some(_)) => "show servers state".to_owned(),
    };
    Ok(HaproxyView::new(info, parse_servers_state(&connection.execute(&command).await?)?))
}
