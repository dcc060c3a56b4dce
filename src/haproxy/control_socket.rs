//! The runtime socket of one generation.
//!
//! Each generation has its own: two processes on one socket would give mixed answers. The parent makes it and `HAProxy` inherits it;
//! once the process is started the parent's copy is closed, so that a process that fails to start ends the connection at once.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::runtime::{RuntimeConnection, RuntimeError};
use super::unix_listener::{SocketFile, UnixListener};
use crate::process::child_command::ChildCommand;

/// The environment variable that names the socket in haproxy.cfg: `stats socket "${PROXYMGR_CONTROL-...}" level admin`.
pub const CONTROL_ENV: &str = "PROXYMGR_CONTROL";
const OWNER_ONLY: u32 = 0o600;
const BACKLOG: i32 = 16;

/// A runtime socket that waits for its process to be started.
#[derive(Debug)]
pub struct ControlSocket(UnixListener);

/// The runtime socket of a started process. Dropping it removes its file; connections stay.
#[derive(Debug)]
pub struct ControlAddress(SocketFile);

/// Why the socket could not be made.
#[derive(Debug, thiserror::Error)]
#[error("'{}' can't be made; its directory (runtime_dir) must exist and be writable", path.display())]
pub struct ControlSocketError {
    path: PathBuf,
    source: io::Error,
}

impl ControlSocket {
    /// Makes `control-PID-GENERATION.sock` in `runtime_dir`, for the owner only. One that a dead process left is replaced.
    /// The process id keeps it apart from that of a `HAProxy` which outlived an earlier `ProxyMgr`.
    ///
    /// # Errors
    /// When the directory isn't there or not writable, or another live process has this socket.
    pub fn open(runtime_dir: &Path, generation: u64) -> Result<Self, ControlSocketError> {
        let path = runtime_dir.join(format!("control-{}-{generation}.sock", std::process::id()));
        UnixListener::open(&path, Some(OWNER_ONLY), BACKLOG)
            .map(Self)
            .map_err(|source| ControlSocketError { path, source })
    }

    /// Lets `command` inherit the socket, named [`CONTROL_ENV`] in its environment.
    ///
    /// # Errors
    /// When no further file can be opened.
    pub fn hand_to(&self, command: &mut ChildCommand) -> io::Result<()> {
        let number = command.inherit(self.0.as_fd())?;
        command.env(CONTROL_ENV, format!("fd@{number}"));
        Ok(())
    }

    /// To be called once the process is started: from now on the socket is its alone.
    pub fn started(self) -> ControlAddress {
        ControlAddress(self.0.into_file())
    }
}

impl ControlAddress {
    /// The socket's path.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Connects, and waits at most `limit` for the process to serve: its first reply comes when it does. Fails at once when it ends.
    ///
    /// The connection survives the soft stop of the process, and then nobody can open another.
    ///
    /// # Errors
    /// When the process ended, is in soft stop, or didn't serve in time.
    pub async fn connect(&self, limit: Duration) -> Result<RuntimeConnection, RuntimeError> {
        RuntimeConnection::connect(self.path(), limit).await
    }
}
