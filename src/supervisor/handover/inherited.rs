//! What a program begins with.

use std::path::PathBuf;

use super::record::{Files, Record, RecordError};
use crate::admin::history::History;
use crate::engine::state::AppliedState;
use crate::haproxy::handover::HandedOver;

/// What a predecessor left; nothing, when there was none.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Inherited {
    /// What the serving process holds; `None` when none is to go on.
    pub(in crate::supervisor) applied: Option<AppliedState>,
    pub(in crate::supervisor) haproxy: HandedOver,
    /// What is executed at the next upgrade, when a predecessor was told.
    pub(in crate::supervisor) program: Option<PathBuf>,
    pub(in crate::supervisor) history: History,
}

impl Inherited {
    /// What the program handed over which this one replaced within its process.
    ///
    /// # Errors
    /// When its record can't be understood.
    pub(super) fn of(record: &Record, mut files: Files) -> Result<Self, RecordError> {
        let applied = record.applied()?;
        let haproxy = record.handed_over(&mut files, applied.as_ref());
        let (program, history) = (Some(record.program().to_owned()), History::from_lines(record.history()));
        Ok(Self { applied, haproxy, program, history })
    }
}
