//! The listen sockets: bound, listening and kept here, inherited by every generation of `HAProxy`.
//!
//! They outlive every generation, so no connection is ever refused: while no process accepts, clients wait in the backlog.

use std::collections::BTreeMap;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use socket2::{Domain, SockRef, Socket, Type};
use tracing::debug;

use super::unix_listener::UnixListener;
use crate::engine::listen_address::ListenAddress;
use crate::process::child_command::ChildCommand;

/// `net.core.somaxconn` of Linux since 5.4, for when it can't be read.
const DEFAULT_BACKLOG: i32 = 4096;
/// Operators' tools only: whoever reaches the socket rules `HAProxy`.
const OWNER_ONLY: u32 = 0o600;
/// What is opened for a reload, a check, a draining process, a registry that is connected again, with some to spare.
const FILES_OF_A_RELOAD: u64 = 32;

/// The open listen sockets, by address.
///
/// As with `HAProxy`'s own binds, `[::]` takes IPv4 clients too (unless `net.ipv6.bindv6only` is set), and an address may be opened
/// beside the wildcard of its port. Another process can't take a share of a port, short of one
/// of the same user that asks for `SO_REUSEPORT` where addresses of ours stand side by side on a port.
#[derive(Debug)]
pub struct ListenSockets {
    sockets: BTreeMap<ListenAddress, ListenSocket>,
    backlog: i32,
    unix_mode: Option<u32>,
}

#[derive(Debug)]
enum ListenSocket {
    Tcp(Socket),
    Unix(UnixListener),
}

/// Why an address can't be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Another process listens there.
    #[error("port {port} on {ip} is used by another process ('ss -ltnp' shows which); stop it or choose another port", port = .0.port(), ip = .0.ip())]
    PortInUse(SocketAddr),
    /// The path is taken.
    #[error("{0} is used: another process listens there, or it is no socket; stop it or choose another path")]
    PathInUse(ListenAddress),
    /// A port below 1024 without the right to it, or a directory that isn't writable.
    #[error(
        "{0} may not be opened: a port below 1024 needs CAP_NET_BIND_SERVICE, a unix socket a writable directory"
    )]
    NotPermitted(ListenAddress),
    /// The address isn't one of this machine's.
    #[error("{0} can't be opened: this machine has no such address; see 'ip address', or bind 0.0.0.0")]
    NoSuchAddress(ListenAddress),
    /// The limit of open files is reached, but for those that every reload takes.
    #[error(
        "{0} can't be opened: the limit of open files is reached; raise it (LimitNOFILE= of the unit, ulimit -n) and start ProxyMgr again"
    )]
    TooManyFiles(ListenAddress),
    /// What a predecessor handed over listens elsewhere, or nowhere.
    #[error("what was handed over for {0} does not listen there; it is opened anew")]
    NotTheSame(ListenAddress),
    /// Anything else.
    #[error("{address} can't be opened")]
    Other {
        /// The address.
        address: ListenAddress,
        /// Why.
        #[source]
        source: io::Error,
    },
}

impl ListenSockets {
    /// No socket yet. Files of unix sockets get `unix_mode`; with `None` the umask decides, as for `HAProxy`'s own.
    pub fn new(unix_mode: Option<u32>) -> Self {
        let backlog = std::fs::read_to_string("/proc/sys/net/core/somaxconn")
            .ok()
            .and_then(|text| text.trim().parse().ok())
            .unwrap_or(DEFAULT_BACKLOG);
        Self { sockets: BTreeMap::new(), backlog, unix_mode }
    }

    /// No socket yet; those to come are for the owner alone.
    pub(super) fn operators() -> Self {
        Self::new(Some(OWNER_ONLY))
    }

    /// Binds and listens, unless it is open already. From here on clients can connect.
    ///
    /// # Errors
    /// When the address can't be had; the text tells what to do.
    pub fn open(&mut self, address: &ListenAddress) -> Result<(), ListenError> {
        if self.sockets.contains_key(address) {
            return Ok(());
        }
        let opened = match address {
            ListenAddress::Tcp(tcp) => self.open_tcp(*tcp).map(ListenSocket::Tcp),
            ListenAddress::Unix(path) => {
                UnixListener::open(path.as_path(), self.unix_mode, self.backlog).map(ListenSocket::Unix)
            }
        };
        let socket = opened.map_err(|source| listen_error(address, source))?;
        if !leaves_room(&socket) {
            return Err(ListenError::TooManyFiles(address.clone()));
        }
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
                ListenAddress::Unix(path) => local.as_pathname() == Some(path.as_path()),
            });
        if !listens {
            return Err(ListenError::NotTheSame(address));
        }
        let socket = match &address {
            ListenAddress::Tcp(_) => ListenSocket::Tcp(socket),
            ListenAddress::Unix(path) => {
                ListenSocket::Unix(UnixListener::adopt(socket.into(), path.as_path()))
            }
        };
        self.sockets.insert(address, socket);
        Ok(())
    }

    /// Lets go of all sockets for a successor that goes on with them.
    pub fn hand_over(self) -> impl Iterator<Item = (ListenAddress, OwnedFd)> {
        self.sockets.into_iter().map(|(address, socket)| {
            let socket = match socket {
                ListenSocket::Tcp(socket) => socket.into(),
                ListenSocket::Unix(listener) => listener.hand_over(),
            };
            (address, socket)
        })
    }

    /// Closes the socket, and removes the file of a unix one; `false` when it wasn't open. Processes that inherited it keep theirs.
    pub fn close(&mut self, address: &ListenAddress) -> bool {
        self.sockets.remove(address).is_some()
    }

    /// The same, and clients are refused at once even where a process keeps what it inherited: with `expose-fd listeners`
    /// `HAProxy` does so for a frontend that is shut down (measured with 3.0 and 3.4).
    pub fn shut(&mut self, address: &ListenAddress) {
        if let Some(socket) = self.sockets.remove(address)
            && let Err(error) = SockRef::from(&socket).shutdown(Shutdown::Both)
        {
            debug!(%address, %error, "a listen socket can't be shut; it ends with its last holder");
        }
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
                ListenSocket::Tcp(_) | ListenSocket::Unix(_),
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
            Self::Tcp(socket) => socket.as_fd(),
            Self::Unix(listener) => listener.as_fd(),
        }
    }
}

fn listen_error(address: &ListenAddress, source: io::Error) -> ListenError {
    match (source.kind(), address) {
        (io::ErrorKind::AddrInUse, ListenAddress::Tcp(tcp)) => ListenError::PortInUse(*tcp),
        (io::ErrorKind::AddrInUse, ListenAddress::Unix(_)) => ListenError::PathInUse(address.clone()),
        (io::ErrorKind::PermissionDenied, _) => ListenError::NotPermitted(address.clone()),
        (io::ErrorKind::AddrNotAvailable, _) => ListenError::NoSuchAddress(address.clone()),
        (_, _)
            if [Some(Errno::EMFILE as i32), Some(Errno::ENFILE as i32)].contains(&source.raw_os_error()) =>
        {
            ListenError::TooManyFiles(address.clone())
        }
        (_, _) => ListenError::Other { address: address.clone(), source },
    }
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net;

    use super::*;
    use crate::engine::service::BindAddress;

    fn free_port() -> u16 {
        TcpListener::bind("[::]:0").unwrap().local_addr().unwrap().port()
    }

    fn tcp(ip: &str, port: u16) -> ListenAddress {
        ListenAddress::Tcp(SocketAddr::new(ip.parse().unwrap(), port))
    }

    fn unix(path: &std::path::Path) -> ListenAddress {
        let bind = BindAddress::parse(&format!("unix@{}", path.display())).unwrap();
        ListenAddress::new(&bind, std::num::NonZeroU16::MIN)
    }

    #[test]
    fn clients_can_connect_before_any_process_accepts() {
        let (port, mut sockets) = (free_port(), ListenSockets::new(None));
        sockets.open(&tcp("127.0.0.1", port)).unwrap();
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        assert!(sockets.close(&tcp("127.0.0.1", port)) && !sockets.close(&tcp("127.0.0.1", port)));
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    }

    #[test]
    fn a_shut_socket_refuses_clients_though_a_copy_is_kept_and_can_be_opened_again() {
        let dir = tempfile::tempdir().unwrap();
        for address in [tcp("127.0.0.1", free_port()), unix(&dir.path().join("s"))] {
            let mut sockets = ListenSockets::new(None);
            sockets.open(&address).unwrap();
            let kept = sockets.get(&address).unwrap().try_clone_to_owned().unwrap();
            sockets.shut(&address);
            if let ListenAddress::Tcp(tcp) = &address {
                assert!(TcpStream::connect(tcp).is_err());
            }
            sockets.open(&address).unwrap();
            drop(kept);
        }
    }

    #[test]
    fn a_port_of_another_process_is_refused_with_advice() {
        let other = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = ListenAddress::Tcp(other.local_addr().unwrap());
        let error = ListenSockets::new(None).open(&address).unwrap_err();
        assert!(error.to_string().contains("is used by another process"), "{error}");
        let error = ListenSockets::new(None).open(&tcp("192.0.2.1", free_port())).unwrap_err();
        assert!(error.to_string().contains("no such address"), "{error}");
    }

    #[test]
    fn wildcards_and_addresses_of_one_port_stand_side_by_side_but_no_stranger_gets_in() {
        for order in [["::", "0.0.0.0", "127.0.0.1"], ["127.0.0.1", "0.0.0.0", "::"]] {
            let (port, mut sockets) = (free_port(), ListenSockets::new(None));
            for ip in order {
                sockets.open(&tcp(ip, port)).unwrap();
            }
            assert_eq!(sockets.addresses().count(), 3);
            assert!(!can_bind(port, false));
        }
        let (port, mut sockets) = (free_port(), ListenSockets::new(None));
        sockets.open(&tcp("0.0.0.0", port)).unwrap();
        assert!(!can_bind(port, false) && !can_bind(port, true));
    }

    fn can_bind(port: u16, reuse_port: bool) -> bool {
        let stranger = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        stranger.set_reuse_address(true).unwrap();
        stranger.set_reuse_port(reuse_port).unwrap();
        let address: SocketAddr = ([0, 0, 0, 0], port).into();
        stranger.bind(&address.into()).and_then(|()| stranger.listen(1)).is_ok()
    }

    #[test]
    fn the_ipv6_wildcard_takes_ipv4_clients_as_haproxys_own_bind_does() {
        let (port, mut sockets) = (free_port(), ListenSockets::new(None));
        sockets.open(&tcp("::", port)).unwrap();
        TcpStream::connect(("127.0.0.1", port)).unwrap();
        TcpStream::connect(("::1", port)).unwrap();
    }

    #[test]
    fn a_dead_unix_socket_is_replaced_and_a_live_one_respected() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.sock");
        drop(net::UnixListener::bind(&path).unwrap());
        let mut sockets = ListenSockets::new(Some(0o660));
        sockets.open(&unix(&path)).unwrap();
        net::UnixStream::connect(&path).unwrap();
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o660);
        assert!(matches!(ListenSockets::new(None).open(&unix(&path)), Err(ListenError::PathInUse(_))));
        assert!(sockets.close(&unix(&path)) && !path.exists());

        std::fs::write(&path, "notes").unwrap();
        assert!(matches!(sockets.open(&unix(&path)), Err(ListenError::PathInUse(_))));
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "notes");
    }

    #[test]
    fn a_unix_socket_of_a_successor_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("web.sock");
        let mut sockets = ListenSockets::new(None);
        sockets.open(&unix(&path)).unwrap();
        std::fs::remove_file(&path).unwrap();
        let _successor = net::UnixListener::bind(&path).unwrap();
        drop(sockets);
        assert!(path.exists());
    }
}
