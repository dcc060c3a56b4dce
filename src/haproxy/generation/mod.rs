//! One process of `HAProxy`, from its start to its end.
//!
//! ```text
//!            first reply                 soft stop                  exit
//!  Starting ------------> Serving ------------------> Draining ------------> Gone
//!     |                      |                            |                    ^
//!     | exit, or no reply    | exit                       | drain_timeout, or  |
//!     | in time: terminated, | (a crash)                  | too many drain:    |
//!     | killed; or not       |                            | terminated, killed |
//!     | wanted any more      |                            |                    |
//!     +----------------------+----------------------------+--------------------+
//! ```
//!
//! Soft, then hard: SIGUSR1 lets it drain, SIGTERM ends it with its connections, SIGKILL does so when it has not heard SIGTERM.
//!
//! Each state is a type, so that no step can be taken from the wrong one: [`start`] gives a [`Serving`] or ends the process,
//! [`Serving::drain`] gives a [`Draining`]. `Gone` is the absence of both: whatever is dropped is killed.

mod draining;
mod process;
mod serving;
mod starting;
#[cfg(test)]
mod tests;

use std::time::Duration;

pub(super) use draining::Draining;
pub(super) use serving::Serving;
pub(super) use starting::{Launch, StartError, start};

/// How long a process may take to end after SIGTERM before it is killed.
const TERM_LIMIT: Duration = Duration::from_secs(3);
/// The same where others wait for it.
const HEARS_LIMIT: Duration = Duration::from_millis(500);
/// How long after the end of a process its exit code is known.
const ENDED_LIMIT: Duration = Duration::from_secs(1);
const CONNECT_LIMIT: Duration = Duration::from_secs(2);
