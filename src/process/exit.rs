//! How a process ended.

use std::fmt;

use nix::sys::signal::Signal;
use tokio::sync::watch;

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It ended by itself with this exit code.
    Code(i32),
    /// This signal ended it.
    Signal(i32),
    /// It ended, but something else in this process collected its exit code.
    Unknown,
}

impl Exit {
    /// Whether it ended by itself with code 0.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit code {code}"),
            Self::Signal(number) => match Signal::try_from(*number) {
                Ok(signal) => write!(f, "ended by {signal}"),
                Err(_) => write!(f, "ended by signal {number}"),
            },
            Self::Unknown => f.write_str("ended with an exit code that nobody kept"),
        }
    }
}

/// Waits for the end of one process; clones wait for the same one.
#[derive(Clone, Debug)]
pub struct ExitWatch(watch::Receiver<Option<Exit>>);

impl ExitWatch {
    pub(super) fn new(receiver: watch::Receiver<Option<Exit>>) -> Self {
        Self(receiver)
    }

    /// How it ended; `None` while it runs.
    pub fn ended(&self) -> Option<Exit> {
        *self.0.borrow()
    }

    /// Waits until it has ended. Cancel safe; a later call gives the same answer.
    pub async fn wait(&mut self) -> Exit {
        match self.0.wait_for(Option::is_some).await {
            Ok(exit) => exit.unwrap_or(Exit::Unknown),
            Err(_closed) => Exit::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exit_reads_like_english() {
        assert_eq!(Exit::Code(3).to_string(), "exit code 3");
        assert_eq!(Exit::Signal(9).to_string(), "ended by SIGKILL");
        assert_eq!(Exit::Signal(40).to_string(), "ended by signal 40");
        assert!(Exit::Code(0).success() && !Exit::Code(1).success() && !Exit::Signal(15).success());
    }
}
