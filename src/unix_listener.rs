//! A listening unix socket and its file.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use nix::sys::stat::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};
use tracing::debug;

/// A unix socket that listens. Dropping it removes its file, if it is still the same.
#[derive(Debug)]
pub struct UnixListener {
    socket: OwnedFd,
    file: SocketFile,
}

/// The file of a unix socket; dropping it removes the file, if it is still the same.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// `None`: whatever is there is left alone.
    identity: Option<(u64, u64)>,
}

impl UnixListener {
    /// Listens at `path`. A file that a dead process left is replaced. The file gets `mode`, or all, as far as the
    /// umask leaves it, before the first client can connect.
    ///
    /// # Errors
    /// `AddrInUse` when somebody listens there, or when it is no socket; or whatever the kernel refuses.
    pub fn open(path: &Path, mode: Option<u32>, backlog: i32) -> io::Result<Self> {
        remove_stale(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        if let Some(mode) = mode {
            // The file is made with the mode of its socket, unix(7): it needn't be found again by its path, where another could
            // have put a link by then.
            fchmod(&socket, Mode::from_bits_truncate(mode))?;
        }
        socket.bind(&SockAddr::unix(path)?)?;
        let metadata = std::fs::symlink_metadata(path)?;
        let file = SocketFile { path: path.to_owned(), identity: Some((metadata.dev(), metadata.ino())) };
        socket.listen(backlog)?;
        Ok(Self { socket: socket.into(), file })
    }

    /// A socket that listens at `path` already.
    pub fn adopt(socket: OwnedFd, path: &Path) -> Self {
        Self { socket, file: SocketFile::adopt(path) }
    }

    /// Lets go of the socket for somebody who goes on with it; the file stays.
    pub fn hand_over(self) -> OwnedFd {
        self.file.hand_over();
        self.socket
    }

    /// Removes the file; who is connected or waits stays.
    pub fn unlink(&mut self) {
        self.file.remove();
        self.file.identity = None;
    }

    /// Closes the socket here, keeps the file.
    pub fn into_file(self) -> SocketFile {
        self.file
    }

    /// The socket, and the file that goes when it is dropped.
    pub fn into_parts(self) -> (OwnedFd, SocketFile) {
        (self.socket, self.file)
    }
}

impl AsFd for UnixListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl SocketFile {
    /// The file at `path`, if there is one.
    pub fn adopt(path: &Path) -> Self {
        let metadata = std::fs::symlink_metadata(path).ok();
        Self { path: path.to_owned(), identity: metadata.map(|metadata| (metadata.dev(), metadata.ino())) }
    }

    /// Leaves the file to somebody else, and gives its path.
    pub fn hand_over(mut self) -> PathBuf {
        self.identity = None;
        std::mem::take(&mut self.path)
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        self.remove();
    }
}

impl SocketFile {
    fn remove(&self) {
        let still_ours = self.identity.is_some()
            && std::fs::symlink_metadata(&self.path)
                .is_ok_and(|now| Some((now.dev(), now.ino())) == self.identity);
        if still_ours && let Err(error) = std::fs::remove_file(&self.path) {
            debug!(path = %self.path.display(), %error, "a socket's file stays behind");
        }
    }
}

/// Removes the socket file at `path` if nobody listens on it.
///
/// # Errors
/// `AddrInUse` when somebody does, or when it is no socket; or whatever the kernel refuses.
pub fn remove_stale(path: &Path) -> io::Result<()> {
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
        Ok(metadata) if !metadata.file_type().is_socket() => {
            return Err(io::ErrorKind::AddrInUse.into());
        }
        Ok(_socket) => {}
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    match probe.connect(&SockAddr::unix(path)?) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => std::fs::remove_file(path),
        // Connected, or its queue is full.
        Ok(()) => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(io::ErrorKind::AddrInUse.into()),
        Err(error) => Err(error),
    }
}
