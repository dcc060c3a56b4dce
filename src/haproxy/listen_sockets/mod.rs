//! The listen sockets: bound, listening and kept here, inherited by every generation of `HAProxy`.
//!
//! They outlive every generation, so no connection is ever refused: while no process accepts, clients wait in the backlog.

mod error;
mod kept;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileTypeExt;
use std::path::Path;

use nix::sys::resource::{Resource, getrlimit};
use socket2::{Domain, Socket, Type};
use tracing::trace;

use crate::engine::listen_address::ListenAddress;
use crate::process::child_command::ChildCommand;
use crate::unix_listener::UnixListener;
pub use error::ListenError;
pub use kept::{KeptFor, forget_kept, listens_at};

/// `net.core.somaxconn` of Linux since 5.4, for when it can't be read.
const DEFAULT_BACKLOG: i32 = 4096;
/// What is opened for a reload, a check, a draining process, a registry that is connected again, with some to spare.
const FILES_OF_A_RELOAD: u64 = 32;
/// The names under which systemd keeps them begin with these.
const KEPT_FOR_SERVICES: &str = "listen";
const KEPT_FOR_OPERATORS: &str = "operators";
/// Operators' tools only: whoever reaches the socket rules `HAProxy`.
const OWNER_ONLY: u32 = 0o600;

/// The open listen sockets, by address.
///
/// As with `HAProxy`'s own binds, `[::]` takes IPv4 clients too (unless `net.ipv6.bindv6only` is set), and an address may be opened
/// beside the wildcard of its port. Another process can't take a share of a port, short of one
/// of the same user that asks for `SO_REUSEPORT` where addresses of ours stand side by side on a port.
#[derive(Debug)]
pub struct ListenSockets {
    sockets: BTreeMap<ListenAddress, ListenSocket>,
    /// Those that systemd opened ([`ListenSockets::lend`]); each is used when its address is asked for.
    lent: BTreeMap<ListenAddress, Socket>,
    backlog: i32,
    unix_mode: Option<u32>,
    /// What systemd is to keep them as; `None` where it isn't to keep them.
    kept_as: Option<&'static str>,
}

#[derive(Debug)]
enum ListenSocket {
    Tcp(Socket),
    Unix(UnixListener),
    /// Another's, who may go on with it.
    Lent(Socket),
}

impl ListenSockets {
    /// No socket yet. Files of unix sockets get `unix_mode`; with `None` the umask decides, as for `HAProxy`'s own.
    pub fn new(unix_mode: Option<u32>) -> Self {
        let backlog = std::fs::read_to_string("/proc/sys/net/core/somaxconn")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(DEFAULT_BACKLOG);
        Self { sockets: BTreeMap::new(), lent: BTreeMap::new(), backlog, unix_mode, kept_as: None }
    }

    /// Those of services, none yet.
    pub(super) fn services() -> Self {
        Self { kept_as: Some(KEPT_FOR_SERVICES), ..Self::new(None) }
    }

    /// Those of operators' tools, none yet; those to come are for the owner alone.
    pub(super) fn operators() -> Self {
        Self { kept_as: Some(KEPT_FOR_OPERATORS), ..Self::new(Some(OWNER_ONLY)) }
    }

    /// Binds and listens, unless it is open already. From here on clients can connect.
    ///
    /// # Errors
    /// When the address can't be had; the text tells what to do.
    pub fn open(&mut self, address: &ListenAddress) -> Result<(), ListenError> {
        if self.sockets.contains_key(address) {
            return Ok(());
        }
        if let Some(lent) = self.lent.get(address) {
            let socket = lent.try_clone().map_err(|source| ListenError::of(address, source))?;
            self.sockets.insert(address.clone(), ListenSocket::Lent(socket));
            return Ok(());
        }
        let opened = match address {
            ListenAddress::Tcp(tcp) => self.open_tcp(*tcp).map(ListenSocket::Tcp),
            ListenAddress::Unix(path) => {
                UnixListener::open(path.as_path(), self.unix_mode, self.backlog).map(ListenSocket::Unix)
            }
        };
        let socket = opened.map_err(|source| ListenError::of(address, source))?;
        if !leaves_room(&socket) {
            return Err(ListenError::TooManyFiles(address.clone()));
        }
        self.keep(address, &socket);
        self.sockets.insert(address.clone(), socket);
        Ok(())
    }

    /// Takes over a socket that a predecessor opened.
    ///
    /// # Errors
    /// When it is none that listens at `address`; it is closed then.
    pub fn adopt(&mut self, address: ListenAddress, socket: OwnedFd) -> Result<(), ListenError> {
        let socket = Socket::from(socket);
        let listens = socket.is_listener().unwrap_or(false)
            && socket.local_addr().is_ok_and(|local| match &address {
                ListenAddress::Tcp(tcp) => local.as_socket() == Some(*tcp),
                ListenAddress::Unix(path) => {
                    local.as_pathname() == Some(path.as_path()) && is_socket(path.as_path())
                }
            });
        if !listens {
            self.forget(&address);
            return Err(ListenError::NotTheSame(address));
        }
        let socket = match &address {
            ListenAddress::Tcp(_) => {
                // That of a predecessor which turned clients away before it ended; most have none.
                if let Err(error) = socket.detach_filter() {
                    trace!(%address, %error, "no filter");
                }
                ListenSocket::Tcp(socket)
            }
            ListenAddress::Unix(path) => {
                ListenSocket::Unix(UnixListener::adopt(socket.into(), path.as_path()))
            }
        };
        self.keep(&address, &socket);
        self.sockets.insert(address, socket);
        Ok(())
    }

    /// Lets go of all sockets for a successor that goes on with them; not of those that were lent.
    pub fn hand_over(&mut self) -> Vec<(ListenAddress, OwnedFd)> {
        let sockets = std::mem::take(&mut self.sockets).into_iter();
        sockets
            .filter_map(|(address, socket)| match socket {
                ListenSocket::Tcp(socket) => Some((address, socket.into())),
                ListenSocket::Unix(listener) => Some((address, listener.hand_over())),
                ListenSocket::Lent(_) => None,
            })
            .collect()
    }

    /// Closes the socket, and removes the file of a unix one; `false` when it wasn't open. Processes that inherited it keep theirs.
    ///
    /// Never shut down: `HAProxy` closes an inherited socket without taking it off its epoll lists, where it stays while another
    /// holds it (`epoll(7)`, question 6), under a number that a client's connection has by now. That would get the hang-up:
    /// a 400, or an end without an answer (measured with 2.6).
    pub fn close(&mut self, address: &ListenAddress) -> bool {
        self.forget(address);
        self.sockets.remove(address).is_some()
    }

    /// The open addresses, in order.
    pub fn addresses(&self) -> impl Iterator<Item = &ListenAddress> {
        self.sockets.keys()
    }

    /// The socket of `address`.
    pub fn get(&self, address: &ListenAddress) -> Option<BorrowedFd<'_>> {
        self.sockets.get(address).map(AsFd::as_fd)
    }

    /// Lets `command` inherit the `needed` sockets, and names each in its environment ([`ListenAddress::env_name`]).
    ///
    /// A process that inherits one its configuration doesn't name keeps it open and never accepts: clients would hang there.
    pub fn hand_to<'fd>(&'fd self, command: &mut ChildCommand<'fd>, needed: impl Fn(&ListenAddress) -> bool) {
        for (address, socket) in self.sockets.iter().filter(|(address, _)| needed(address)) {
            let number = command.inherit(socket.as_fd());
            command.env(address.env_name(), format!("fd@{number}"));
        }
    }

    fn open_tcp(&self, address: SocketAddr) -> io::Result<Socket> {
        match bind_and_listen(address, self.backlog, false) {
            Err(error) if error.kind() == io::ErrorKind::AddrInUse && self.has_port(address.port()) => {
                // SO_REUSEPORT lets an address stand beside its wildcard, as HAProxy has it. It is taken back at once:
                // left on, another process of this user could quietly take a share of the connections.
                self.share_port(address.port(), true)?;
                let bound = bind_and_listen(address, self.backlog, true);
                self.share_port(address.port(), false)?;
                bound
            }
            bound => bound,
        }
    }

    fn has_port(&self, port: u16) -> bool {
        self.sockets.keys().any(|address| matches!(address, ListenAddress::Tcp(tcp) if tcp.port() == port))
    }

    fn share_port(&self, port: u16, share: bool) -> io::Result<()> {
        self.sockets.iter().try_for_each(|(address, socket)| match (address, socket) {
            (ListenAddress::Tcp(other), ListenSocket::Tcp(socket)) if other.port() == port => {
                socket.set_reuse_port(share)
            }
            (
                ListenAddress::Tcp(_) | ListenAddress::Unix(_),
                ListenSocket::Tcp(_) | ListenSocket::Unix(_) | ListenSocket::Lent(_),
            ) => Ok(()),
        })
    }
}

/// Whether enough files can be opened beside `socket`: a reload must go on without it.
fn leaves_room(socket: &ListenSocket) -> bool {
    let number = u64::try_from(socket.as_fd().as_raw_fd()).unwrap_or_default();
    // Numbers are given from below.
    getrlimit(Resource::RLIMIT_NOFILE).map_or(true, |(limit, _)| number + FILES_OF_A_RELOAD < limit)
}

fn is_socket(path: &Path) -> bool {
    std::fs::symlink_metadata(path).is_ok_and(|metadata| metadata.file_type().is_socket())
}

fn bind_and_listen(address: SocketAddr, backlog: i32, share_port: bool) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(share_port)?;
    socket.bind(&address.into())?;
    socket.listen(backlog)?;
    socket.set_reuse_port(false)?;
    Ok(socket)
}

impl AsFd for ListenSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Tcp(socket) | Self::Lent(socket) => socket.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}
