//! Open files that systemd keeps for this service over a crash or a restart (FDSTORE=1 in `sd_notify(3)`,
//! `FileDescriptorStoreMax=` in `systemd.service(5)`), or opened for it (`systemd.socket(5)`).

use std::io;
use std::os::fd::{AsFd, BorrowedFd, IntoRawFd, OwnedFd};

use rustix::io::{FdFlags, fcntl_setfd};
use sd_notify::{NotifyState, notify_with_fds};
use tracing::debug;

use super::send;

/// Gives systemd a copy of `file`, which comes back under `name` at the next start unless the service was stopped.
/// A name is at most 255 ASCII characters, without a colon.
pub fn keep(name: &str, file: BorrowedFd<'_>) {
    if let Err(error) = notify_with_fds(&[NotifyState::FdStore, NotifyState::FdName(name)], &[file]) {
        debug!(name, %error, "systemd can't be given a file");
    }
}

/// Lets systemd close what it keeps under `name`.
pub fn forget(name: &str) {
    send(&[NotifyState::FdStoreRemove, NotifyState::FdName(name)]);
}

/// Why the files can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// Variables that systemd never writes.
    #[error("LISTEN_PID, LISTEN_FDS: {0}; they are systemd's own, remove them from the environment")]
    Environment(sd_listen_fds::Error),
    /// A number that no file has.
    #[error("LISTEN_FDS names files that are not open; it is systemd's own, remove it from the environment")]
    NotOpen(#[source] io::Error),
}

/// The files that systemd passed, with their names (`sd_listen_fds_with_names(3)`); none, where it passed none. To be called
/// once, before any other file is opened.
///
/// # Errors
/// When the environment promises files that aren't there.
pub fn received() -> Result<Vec<(String, OwnedFd)>, ReceiveError> {
    let files = sd_listen_fds::get().map_err(ReceiveError::Environment)?;
    let mut received = Vec::with_capacity(files.len());
    for (name, file) in files {
        let file = file.into_std();
        if let Err(error) = fcntl_setfd(file.as_fd(), FdFlags::CLOEXEC) {
            // Closing what isn't open could close another's file.
            let _number = file.into_raw_fd();
            return Err(ReceiveError::NotOpen(error.into()));
        }
        received.push((name.unwrap_or_default(), file));
    }
    Ok(received)
}
