//! The only `waitpid` of the program.
//!
//! The table of children is locked over "start and enter" and over each "collect and deliver", so an exit code can't
//! arrive before its owner is known. The table is the process's, as its children are: several
//! [`Reaper`]s (one per test) share it.

use std::collections::HashMap;
use std::ffi::OsString;
use std::io;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, WaitOptions, WaitStatus};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tracing::{debug, error};

use super::exit::{Exit, ExitWatch};
use crate::panics::supervised;

static CHILDREN: LazyLock<Mutex<Children>> = LazyLock::new(Mutex::default);

#[derive(Default)]
struct Children {
    waiting: HashMap<Pid, watch::Sender<Option<Exit>>>,
    orphans: u64,
}

fn children() -> MutexGuard<'static, Children> {
    CHILDREN.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The right to start children: whoever holds it knows that exit codes are collected.
#[derive(Clone, Debug)]
pub struct Reaper {
    /// Variables of the environment that no child gets.
    pub(super) hidden: Arc<[OsString]>,
}

/// Why the reaper can't work.
#[derive(Debug, thiserror::Error)]
pub enum ReaperError {
    /// prctl(2) refused `PR_SET_CHILD_SUBREAPER`.
    #[error(
        "the kernel won't hand over orphaned processes (PR_SET_CHILD_SUBREAPER); Linux 3.4 or later is needed"
    )]
    Subreaper(#[source] nix::Error),
    /// SIGCHLD can't be watched.
    #[error("SIGCHLD can't be watched; the ends of child processes would go unseen")]
    Signal(#[source] io::Error),
}

impl Reaper {
    /// Starts to collect ended processes, in a task of the current tokio runtime. Orphans of children come here too, PID 1 or not.
    ///
    /// # Errors
    /// When the kernel refuses the role.
    pub fn start() -> Result<Self, ReaperError> {
        if std::process::id() != 1 {
            nix::sys::prctl::set_child_subreaper(true).map_err(ReaperError::Subreaper)?;
        }
        let ended = signal(SignalKind::child()).map_err(ReaperError::Signal)?;
        tokio::spawn(supervised("reaper", ended, |ended| Box::pin(collect_for_ever(ended))));
        Ok(Self { hidden: Arc::default() })
    }

    /// The same, but no child it starts gets the `variables`.
    #[must_use]
    pub fn hiding(self, variables: Vec<OsString>) -> Self {
        Self { hidden: variables.into() }
    }

    /// How many processes were collected that nobody here had started.
    pub fn orphans(&self) -> u64 {
        children().orphans
    }

    /// Runs `start`, which forks, and enters its child before anything can collect it.
    pub(super) fn enter<T, E>(start: impl FnOnce() -> Result<(Pid, T), E>) -> Result<(T, ExitWatch), E> {
        let mut children = children();
        let (pid, started) = start()?;
        let (sender, receiver) = watch::channel(None);
        children.waiting.insert(pid, sender);
        Ok((started, ExitWatch::new(receiver)))
    }
}

async fn collect_for_ever(ended: &mut Signal) {
    loop {
        while collect_one() {}
        if ended.recv().await.is_none() {
            error!("SIGCHLD is no longer reported; the ends of child processes go unseen");
            return;
        }
    }
}

/// Collects one ended process; `false` when there is none.
fn collect_one() -> bool {
    let mut children = children();
    // Not nix: it answers EINVAL for a death by a realtime signal, and the exit is lost.
    match rustix::process::wait(WaitOptions::NOHANG) {
        Ok(Some((pid, status))) => {
            let exit = exit_of(status);
            if let Some(owner) = children.waiting.remove(&pid) {
                owner.send_replace(Some(exit));
            } else {
                children.orphans = children.orphans.saturating_add(1);
                debug!(pid = pid.as_raw_nonzero().get(), %exit, "collected an orphan");
            }
            true
        }
        Ok(None) => false,
        Err(rustix::io::Errno::INTR) => true,
        Err(_no_child) => {
            for (_, owner) in children.waiting.drain() {
                owner.send_replace(Some(Exit::Unknown));
            }
            false
        }
    }
}

fn exit_of(status: WaitStatus) -> Exit {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, Some(signal)) => Exit::Signal(signal),
        (None, None) => Exit::Unknown,
    }
}
