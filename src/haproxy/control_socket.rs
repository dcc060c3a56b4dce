//! The runtime socket of one generation.
//!
//! Each generation has its own: two processes on one socket would give mixed answers. The parent makes it and `HAProxy` inherits it;
//! once the process is started the parent's copy is closed, so that a process that fails to start ends the connection at once.

use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::runtime::{RuntimeConnection, RuntimeError};
use crate::process::child_command::ChildCommand;
use crate::unix_listener::{SocketFile, UnixListener, remove_stale};

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

/// Removes the control sockets in `runtime_dir` on which no process listens: what an earlier `ProxyMgr` left when it was killed.
/// Those of a `HAProxy` that still runs stay.
///
/// # Errors
/// When the directory can't be read, or a file can't be removed.
pub fn remove_stale_control_sockets(runtime_dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(runtime_dir)? {
        let entry = entry?;
        let name = entry.file_name();
        let generation = name.to_str().and_then(|name| name.strip_prefix("control-")?.strip_suffix(".sock"));
        if generation.is_some()
            && let Err(error) = remove_stale(&entry.path())
            && error.kind() != io::ErrorKind::AddrInUse
        {
            return Err(error);
        }
    }
    Ok(())
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
    pub fn hand_to<'fd>(&'fd self, command: &mut ChildCommand<'fd>) {
        let number = command.inherit(self.0.as_fd());
        command.env(CONTROL_ENV, format!("fd@{number}"));
    }

    /// To be called once the process is started: from now on the socket is its alone.
    pub fn started(self) -> ControlAddress {
        ControlAddress(self.0.into_file())
    }
}

impl ControlAddress {
    /// The socket of a process that was started by a predecessor.
    pub(super) fn adopt(path: &Path) -> Self {
        Self(SocketFile::adopt(path))
    }

    /// Leaves the socket's file to a successor, and gives its path.
    pub(super) fn hand_over(self) -> PathBuf {
        self.0.hand_over()
    }

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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net;

    use super::*;

    #[test]
    fn the_socket_is_the_owners_and_goes_with_its_last_holder() {
        let dir = tempfile::tempdir().unwrap();
        let address = ControlSocket::open(dir.path(), 7).unwrap().started();
        let path = address.path().to_owned();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        drop(address);
        assert!(!path.exists());
        let error = ControlSocket::open(&dir.path().join("missing"), 7).unwrap_err();
        assert!(error.to_string().contains("must exist"), "{error}");
    }

    #[test]
    fn only_dead_control_sockets_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let _live = net::UnixListener::bind(at("control-1-1.sock")).unwrap();
        drop(net::UnixListener::bind(at("control-1-2.sock")).unwrap());
        drop(net::UnixListener::bind(at("haproxy.sock")).unwrap());
        std::fs::write(at("control-notes.sock"), "").unwrap();
        remove_stale_control_sockets(dir.path()).unwrap();
        let mut left: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["control-1-1.sock", "control-notes.sock", "haproxy.sock"]);
    }
}
