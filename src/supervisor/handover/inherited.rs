//! What a program begins with.

use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::path::PathBuf;

use super::record::{Files, Record, RecordError};
use crate::admin::history::History;
use crate::engine::state::AppliedState;
use crate::haproxy::handover::HandedOver;
use crate::supervisor::metrics::Totals;

/// What a predecessor left; nothing, when there was none.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Inherited {
    /// What the serving process holds; `None` when none is to go on.
    pub(in crate::supervisor) applied: Option<AppliedState>,
    pub(in crate::supervisor) haproxy: HandedOver,
    /// What is executed at the next upgrade, when a predecessor was told.
    pub(in crate::supervisor) program: Option<PathBuf>,
    pub(in crate::supervisor) legacy: Legacy,
}

/// What is no part of `HAProxy`.
#[derive(Debug, Default)]
pub(in crate::supervisor) struct Legacy {
    pub(in crate::supervisor) history: History,
    pub(in crate::supervisor) totals: Totals,
    /// Where HTTP is served.
    pub(in crate::supervisor) http: Option<(SocketAddr, OwnedFd)>,
}

impl Inherited {
    /// What the program handed over which this one replaced within its process.
    ///
    /// # Errors
    /// When its record can't be understood.
    pub(super) fn of(record: &Record, mut files: Files) -> Result<Self, RecordError> {
        let applied = record.applied()?;
        let haproxy = record.handed_over(&mut files, applied.as_ref());
        let legacy = Legacy {
            history: History::from_lines(record.history()),
            totals: Totals::from_text(record.totals()),
            http: record.http(&mut files),
        };
        Ok(Self { applied, haproxy, program: Some(record.program().to_owned()), legacy })
    }
}
