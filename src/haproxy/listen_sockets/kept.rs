//! Listen sockets that systemd keeps over a crash or a restart, and those that it opened itself.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use socket2::{SockRef, Socket};
use tracing::warn;

use super::{KEPT_FOR_OPERATORS, KEPT_FOR_SERVICES, ListenSocket, ListenSockets};
use crate::engine::listen_address::ListenAddress;
use crate::systemd::files;

/// What a listen socket that systemd kept is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeptFor {
    /// A service.
    Services,
    /// Operators' tools.
    Operators,
}

impl KeptFor {
    /// Reads a name under which systemd kept a listen socket; `None` when it is no such name.
    pub fn parse(name: &str) -> Option<(Self, ListenAddress)> {
        let (kept_as, address) = name.split_once('=')?;
        let kept_for = match kept_as {
            KEPT_FOR_SERVICES => Self::Services,
            KEPT_FOR_OPERATORS => Self::Operators,
            _ => return None,
        };
        Some((kept_for, ListenAddress::parse(&address.replace(';', ":"))?))
    }
}

/// Lets systemd close the listen socket of a service at `address`, which nobody uses.
pub fn forget_kept(address: &ListenAddress) {
    files::forget(&kept_name(KEPT_FOR_SERVICES, address));
}

/// A colon can't stand in such a name, and a semicolon not in an address.
fn kept_name(kept_as: &str, address: &ListenAddress) -> String {
    format!("{kept_as}={}", address.to_string().replace(':', ";"))
}

/// Where `file` listens; `None` when it is no stream socket that does.
pub fn listens_at(file: &OwnedFd) -> Option<ListenAddress> {
    let socket = SockRef::from(file);
    let local = socket.local_addr().ok().filter(|_| socket.is_listener().unwrap_or(false))?;
    match (local.as_socket(), local.as_pathname()) {
        (Some(tcp), _) => Some(ListenAddress::Tcp(tcp)),
        (None, Some(path)) => ListenAddress::parse(&format!("unix@{}", path.display())),
        (None, None) => None,
    }
}

impl ListenSockets {
    /// Takes a socket that systemd opened at `address` ([`listens_at`]). It is used once its address is asked for, and stays
    /// systemd's: it is never shut, nor is its file removed.
    pub(in crate::haproxy) fn lend(&mut self, address: ListenAddress, socket: OwnedFd) {
        let socket = Socket::from(socket);
        if let Err(error) = socket.set_nonblocking(true) {
            warn!(%address, %error, "the socket that systemd opened can't be used");
            return;
        }
        self.lent.insert(address, socket);
    }

    /// Lets go of the sockets that systemd opened, for a successor.
    pub(in crate::haproxy) fn hand_over_lent(&mut self) -> Vec<(ListenAddress, OwnedFd)> {
        let lent = std::mem::take(&mut self.lent).into_iter();
        lent.map(|(address, socket)| (address, socket.into())).collect()
    }

    /// Those that are not lent, in order.
    pub(in crate::haproxy) fn own(&self) -> impl Iterator<Item = (&ListenAddress, BorrowedFd<'_>)> {
        let own = |socket: &ListenSocket| !matches!(socket, ListenSocket::Lent(_));
        self.sockets
            .iter()
            .filter(move |(_, socket)| own(socket))
            .map(|(address, socket)| (address, socket.as_fd()))
    }

    /// Removes the files of unix sockets, so that nobody finds them any more.
    pub(in crate::haproxy) fn unlink_unix(&mut self) {
        for socket in self.sockets.values_mut() {
            if let ListenSocket::Unix(listener) = socket {
                listener.unlink();
            }
        }
    }

    /// Closes all sockets here. Those that systemd keeps come back if the service is restarted, and are closed if it is
    /// stopped; not unix sockets, whose files are removed.
    pub(in crate::haproxy) fn leave(&mut self) {
        for address in self.sockets.keys().filter(|address| matches!(address, ListenAddress::Unix(_))) {
            self.forget(address);
        }
        self.sockets.clear();
    }

    pub(super) fn keep(&self, address: &ListenAddress, socket: &ListenSocket) {
        if let Some(name) = self.kept_name(address) {
            files::keep(&name, socket.as_fd());
        }
    }

    pub(super) fn forget(&self, address: &ListenAddress) {
        if let Some(name) = self.kept_name(address) {
            files::forget(&name);
        }
    }

    fn kept_name(&self, address: &ListenAddress) -> Option<String> {
        Some(kept_name(self.kept_as?, address))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_under_which_systemd_keeps_sockets_are_read_again() {
        for text in ["0.0.0.0:80", "[::1]:8080", "unix@/run/a:b.sock"] {
            let address = ListenAddress::parse(text).unwrap();
            for (sockets, kept_for) in [
                (ListenSockets::services(), KeptFor::Services),
                (ListenSockets::operators(), KeptFor::Operators),
            ] {
                let name = sockets.kept_name(&address).unwrap();
                assert!(name.len() < 256 && !name.contains(':'), "{name}");
                assert_eq!(KeptFor::parse(&name), Some((kept_for, address.clone())));
            }
        }
        for other in ["", "proxymgr.socket", "listen=", "output=17"] {
            assert_eq!(KeptFor::parse(other), None, "{other}");
        }
    }

    #[test]
    fn what_systemd_lends_is_used_and_stays_systemds() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = ListenAddress::Tcp(listener.local_addr().unwrap());
        let mut sockets = ListenSockets::services();
        assert_eq!(listens_at(&std::fs::File::open("/dev/null").unwrap().into()), None);
        let lent = listener.try_clone().unwrap().into();
        assert_eq!(listens_at(&lent), Some(address.clone()));
        sockets.lend(address.clone(), lent);
        assert_eq!(sockets.addresses().count(), 0);
        for _ in 0..2 {
            sockets.open(&address).unwrap();
            assert!(sockets.close(&address));
        }
        sockets.open(&address).unwrap();
        assert!(sockets.hand_over().is_empty());
        assert_eq!(sockets.hand_over_lent().len(), 1);
        std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    }
}
