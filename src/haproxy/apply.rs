//! Changes without a reload, and the comparison.

use std::sync::Arc;
use std::time::Instant;

use tracing::debug;

use super::actor::Actor;
use super::config_file::{CONFIG_MODE, ConfigFileError, write_atomically};
use super::last_state::LastState;
use super::reply::{ReplyError, ServerState, parse_servers_state};
use super::route_files::parse_map;
use super::runtime::RuntimeError;
use crate::engine::command::{RuntimeCommand, Verdict};
use crate::engine::error_text::with_causes;
use crate::engine::http_frontend::MapFile;
use crate::engine::observed::{Observed, ObservedServer};
use crate::engine::server::{ServerName, Weight};
use crate::engine::server_id::ServerId;
use crate::engine::state::Checks;

/// Why the running process did not tell what it holds.
#[derive(Debug, thiserror::Error)]
pub(super) enum ObserveError {
    #[error("no HAProxy serves")]
    NoProcess,
    #[error("HAProxy can't be asked")]
    Runtime(#[from] RuntimeError),
    #[error("HAProxy's answer can't be read")]
    Reply(#[from] ReplyError),
}

impl Actor {
    /// Writes haproxy.cfg so that it says what runs after the commands.
    pub(super) async fn update_config(&mut self, text: Arc<str>) -> Result<(), ConfigFileError> {
        let path = self.settings.config_path.clone();
        let written = text.clone();
        let result =
            tokio::task::spawn_blocking(move || write_atomically(&path, &written, CONFIG_MODE).map(|_| ()))
                .await;
        // The text is good whether or not the disk took it: it describes what runs.
        self.last_good = Some(text);
        // The order panics with it.
        result.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
    }

    /// Sends the commands to the serving process. Verdicts up to the first command without a reply.
    pub(super) async fn execute(&mut self, commands: &[RuntimeCommand]) -> Vec<Verdict> {
        if commands.is_empty() {
            return Vec::new();
        }
        if let Some(last_state) = &mut self.last_state {
            for command in commands {
                last_state.note(command);
            }
        }
        let began = Instant::now();
        let texts: Vec<_> = commands.iter().map(ToString::to_string).collect();
        let replies = match &mut self.serving {
            None => Vec::new(),
            Some(serving) => match serving.connection().await {
                Err(error) => {
                    debug!(error = with_causes(&error), "HAProxy takes no commands");
                    Vec::new()
                }
                Ok(connection) => connection.execute_all(&texts).await.unwrap_or_else(|error| {
                    debug!(error = with_causes(&error), "HAProxy stopped replying");
                    error.replies
                }),
            },
        };
        self.commanded = Some(began.elapsed());
        let verdicts: Vec<_> =
            commands.iter().zip(replies).map(|(command, reply)| command.judge(&reply)).collect();
        if verdicts.iter().any(|verdict| matches!(verdict, Verdict::Unexpected(_)))
            && let Some(serving) = &mut self.serving
        {
            // What comes over it may be out of step.
            serving.distrust_connection();
        }
        verdicts
    }

    /// What the serving process holds.
    pub(super) async fn observe(&mut self, routes: Vec<MapFile>) -> Result<Observed, ObserveError> {
        let serving = self.serving.as_mut().ok_or(ObserveError::NoProcess)?;
        let connection = serving.connection().await?;
        let state = connection.execute("show servers state").await?;
        let mut observed = Observed::default();
        for file in routes {
            let reply = connection.execute(&format!("show map {}", file.as_str())).await?;
            observed.routes.insert(file, parse_map(&reply));
        }
        for server in parse_servers_state(&state)? {
            let name = ServerName::reported(&server.name);
            observed
                .servers
                .entry(server.backend.clone())
                .or_default()
                .insert(name, observed_server(&server));
        }
        self.last_state = Some(LastState::new(state));
        Ok(observed)
    }
}

fn observed_server(server: &ServerState) -> ObservedServer {
    ObservedServer {
        id: ServerId::reported(server.id),
        address: server.address,
        weight: Weight::new(server.weight).unwrap_or(Weight::DEFAULT),
        in_maintenance: server.admin.maint(),
        checks: if server.checks_off { Checks::ToEnable } else { Checks::AsConfigured },
    }
}
