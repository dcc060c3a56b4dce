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

fn unix(path: &Path) -> ListenAddress {
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
    let mut sockets = ListenSockets::new(Some(0o600));
    sockets.open(&unix(&path)).unwrap();
    net::UnixStream::connect(&path).unwrap();
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
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
