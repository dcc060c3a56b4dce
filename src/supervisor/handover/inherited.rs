//! What a program begins with.

use std::path::PathBuf;

use tracing::error;

use super::after_crash::recover;
use super::exec::Received;
use super::record::{Files, Record, RecordError};
use crate::config::Config;
use crate::engine::error_text::with_causes;
use crate::engine::state::AppliedState;
use crate::haproxy::handover::HandedOver;
use crate::supervisor::prepare::{Locked, StartError, lock, make_directories};

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
    /// Takes what the program handed over which this one replaced within its process; else what one left that was killed,
    /// and what systemd passed.
    ///
    /// # Errors
    /// When nothing was handed over, and `runtime_dir` can't be this program's alone.
    pub(in crate::supervisor) async fn take(
        config: &Config,
        received: Received,
    ) -> Result<(Self, Option<Locked>), StartError> {
        let Received { handed, passed } = received;
        let understood = handed
            .and_then(|handed| Ok(handed.map(|(record, files)| Self::of(&record, files)).transpose()?));
        let locked = lock(config);
        match understood {
            Ok(Some(inherited)) => {
                let locked = locked.await;
                if let Err(error) = &locked {
                    error!(error = with_causes(error), "what runs serves on");
                }
                return Ok((inherited, locked.ok()));
            }
            Ok(None) => {}
            Err(error) => {
                error!(
                    error = with_causes(&error),
                    "what was handed over can't be used; HAProxy is started anew"
                );
            }
        }
        make_directories(config)?;
        let locked = locked.await?;
        let passed = passed.unwrap_or_else(|error| {
            error!(error = with_causes(&error), "what systemd passed can't be taken");
            Vec::new()
        });
        Ok((recover(&config.runtime_dir, &config.haproxy.socket_path, passed).await, Some(locked)))
    }

    fn of(record: &Record, mut files: Files) -> Result<Self, RecordError> {
        let applied = record.applied()?;
        let haproxy = record.handed_over(&mut files, applied.as_ref());
        Ok(Self { applied, haproxy, program: Some(record.program().to_owned()) })
    }
}
