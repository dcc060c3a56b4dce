//! Starting a child, and the handle to it.

use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;

use nix::fcntl::OFlag;
use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use tokio::net::unix::pipe;

use super::child_command::ChildCommand;
use super::exit::ExitWatch;
use super::output::{self, OutputLines};
use super::reaper::Reaper;

/// A started process.
#[derive(Debug)]
pub struct Child {
    /// Its process id, for people; signals go through [`Child::signals`].
    pub pid: u32,
    /// Tells when and how it ends.
    pub exit: ExitWatch,
    /// What it prints on stdout and stderr.
    pub output: OutputLines,
    /// The pipe that its output comes through, to be handed to a successor of this program.
    pub output_pipe: OwnedFd,
    /// Sends signals to it.
    pub signals: SignalSender,
}

/// Sends signals to one process, never to another that got its number later.
#[derive(Debug)]
pub struct SignalSender(OwnedFd);

/// The signals that children get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChildSignal {
    /// SIGUSR1: end when the work is done, as `HAProxy` reads it.
    User1,
    /// SIGTERM: end now.
    Terminate,
    /// SIGKILL.
    Kill,
}

impl SignalSender {
    pub(super) fn new(pidfd: OwnedFd) -> Self {
        Self(pidfd)
    }
}

/// Why a process could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    /// There is no such program.
    #[error("'{}' was not found; install it, or give its full path", program.display())]
    NotFound {
        /// What was looked for.
        program: OsString,
    },
    /// The kernel refused.
    #[error("'{}' can't be started", program.display())]
    Refused {
        /// What was to be started.
        program: OsString,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl Reaper {
    /// Starts `command`. Call it inside a tokio runtime.
    ///
    /// The pipe for the child's output doesn't block it: what doesn't fit (64 KiB) is lost to the child's writes.
    ///
    /// # Errors
    /// When the program is missing or the kernel has no process or file left.
    pub fn spawn(&self, mut command: ChildCommand<'_>) -> Result<Child, SpawnError> {
        let program = command.program().to_owned();
        for variable in &*self.hidden {
            command.env_remove(variable);
        }
        Self::try_spawn(command).map_err(|source| {
            if source.kind() == io::ErrorKind::NotFound {
                SpawnError::NotFound { program }
            } else {
                SpawnError::Refused { program, source }
            }
        })
    }

    fn try_spawn(command: ChildCommand<'_>) -> io::Result<Child> {
        let (read_end, write_end) = nix::unistd::pipe2(OFlag::O_CLOEXEC | OFlag::O_NONBLOCK)?;
        let output_pipe = read_end.try_clone()?;
        let read_end = pipe::Receiver::from_owned_fd(read_end)?;
        let mut command = command.into_command(write_end)?;
        let ((pid, pidfd), exit) = Self::enter(|| {
            let pid = Pid::from_child(&command.spawn()?);
            match pidfd_open(pid, PidfdFlags::empty()) {
                Ok(pidfd) => Ok((pid, (pid, pidfd))),
                Err(error) => {
                    // A child that can't be signalled later must not live; its number is still its own here.
                    rustix::process::kill_process(pid, Signal::KILL)?;
                    Err(io::Error::from(error))
                }
            }
        })?;
        Ok(Child {
            pid: pid.as_raw_nonzero().get().unsigned_abs(),
            exit,
            output: output::drain(read_end),
            output_pipe,
            signals: SignalSender(pidfd),
        })
    }
}

impl SignalSender {
    /// Sends `signal`. To a process that has ended it does nothing.
    ///
    /// # Errors
    /// When the process may not be signalled (it changed its user).
    pub fn send(&self, signal: ChildSignal) -> io::Result<()> {
        let signal = match signal {
            ChildSignal::User1 => Signal::USR1,
            ChildSignal::Terminate => Signal::TERM,
            ChildSignal::Kill => Signal::KILL,
        };
        match pidfd_send_signal(&self.0, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }
}
