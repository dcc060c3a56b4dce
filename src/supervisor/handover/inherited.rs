//! What a program begins with.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use tracing::error;

use super::after_crash::recover;
use super::exec::HandoverError;
use super::record::{Files, Record, RecordError};
use crate::config::Config;
use crate::engine::error_text::with_causes;
use crate::engine::state::AppliedState;
use crate::haproxy::handover::HandedOver;
use crate::systemd::files::ReceiveError;

/// What a predecessor left; nothing, when there was none.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Inherited {
    /// What the serving process holds; `None` when none is to go on.
    pub(in crate::supervisor) applied: Option<AppliedState>,
    pub(in crate::supervisor) haproxy: HandedOver,
    /// What is executed at the next upgrade, when a predecessor was told.
    pub(in crate::supervisor) program: Option<PathBuf>,
}

impl Inherited {
    /// Takes what the program `handed` over which this one replaced within its process; else what one left that was killed,
    /// and what systemd `passed`.
    pub(in crate::supervisor) async fn take(
        config: &Config,
        handed: Result<Option<(Record, Files)>, HandoverError>,
        passed: Result<Vec<(String, OwnedFd)>, ReceiveError>,
    ) -> Self {
        let understood = handed
            .and_then(|handed| Ok(handed.map(|(record, files)| Self::of(&record, files)).transpose()?));
        match understood {
            Ok(Some(inherited)) => return inherited,
            Ok(None) => {}
            Err(error) => {
                error!(
                    error = with_causes(&error),
                    "what was handed over can't be used; HAProxy is started anew"
                );
            }
        }
        let passed = passed.unwrap_or_else(|error| {
            error!(error = with_causes(&error), "what systemd passed can't be taken");
            Vec::new()
        });
        recover(&config.runtime_dir, &config.haproxy.socket_path, passed).await
    }

    fn of(record: &Record, mut files: Files) -> Result<Self, RecordError> {
        Ok(Self {
            applied: record.applied()?,
            haproxy: record.handed_over(&mut files)?,
            program: Some(record.program().to_owned()),
        })
    }
}
