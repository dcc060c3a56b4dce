//! What one types, and what the process says when it ends.

pub mod accept_handover;
pub mod args;
pub mod check;
pub mod events;
mod events_text;
mod help;
mod line;
pub mod operate;
mod output;
pub mod render;
pub mod replace;
mod report;
mod report_text;
pub mod run;
mod running;
pub mod status;
mod status_text;
mod terminal;
mod trouble;
mod verdict;
pub mod why;

use std::process::{ExitCode, Termination};

/// How the process ends. Source of the numbers: BSD's sysexits.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All is well, or it was asked to end.
    Success,
    /// Anything that is none of the others.
    Failure,
    /// A command line that can't be understood (`EX_USAGE`).
    Usage,
    /// `HAProxy` is missing or too old (`EX_UNAVAILABLE`).
    HaproxyUnavailable,
    /// proxymgr.yml is wrong (`EX_CONFIG`).
    BadConfig,
}

impl Exit {
    /// The number that the shell sees.
    pub const fn code(self) -> u8 {
        match self {
            Self::Success => 0,
            Self::Failure => 1,
            Self::Usage => 64,
            Self::HaproxyUnavailable => 69,
            Self::BadConfig => 78,
        }
    }
}

impl Termination for Exit {
    fn report(self) -> ExitCode {
        ExitCode::from(self.code())
    }
}
