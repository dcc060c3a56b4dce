//! Free TCP ports that stay free until the test ends.
//!
//! A port of the kernel's choice (bind to 0, close, use the number) can be lost before it is used: to another test, or
//! to an outgoing connection, since the kernel takes both from the same range. So ports are picked below that range,
//! tried by a bind, and reserved by an abstract unix socket named after them, which every test process sees and which
//! vanishes with the process.

use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU16, Ordering};

/// Below 32768, where Linux's default `net.ipv4.ip_local_port_range` begins.
const FIRST: u16 = 12_000;
const COUNT: u16 = 20_000;

static RESERVED: Mutex<Vec<UnixListener>> = Mutex::new(Vec::new());
static NEXT: AtomicU16 = AtomicU16::new(0);

/// A port free on 127.0.0.1, kept from all other tests until this process ends.
pub fn free_port() -> u16 {
    // Each process begins elsewhere, so that parallel tests seldom try the same port.
    let start = std::process::id().wrapping_mul(257) % u32::from(COUNT);
    for _ in 0..COUNT {
        let offset = (start + u32::from(NEXT.fetch_add(1, Ordering::Relaxed))) % u32::from(COUNT);
        let port = FIRST + u16::try_from(offset).unwrap();
        if let Some(reservation) = reserve(port)
            && TcpListener::bind(("127.0.0.1", port)).is_ok()
        {
            RESERVED.lock().unwrap().push(reservation);
            return port;
        }
    }
    panic!("no free port between {FIRST} and {}", FIRST + COUNT);
}

/// `N` different ports, each as from [`free_port`].
pub fn free_ports<const N: usize>() -> [u16; N] {
    std::array::from_fn(|_| free_port())
}

fn reserve(port: u16) -> Option<UnixListener> {
    let name = SocketAddr::from_abstract_name(format!("proxymgr-test-port-{port}")).unwrap();
    UnixListener::bind_addr(&name).ok()
}

#[test]
fn ports_are_free_and_differ() {
    let ports: [u16; 20] = free_ports();
    let listeners: Vec<_> =
        ports.iter().map(|port| TcpListener::bind(("127.0.0.1", *port)).unwrap()).collect();
    assert_eq!(listeners.len(), 20);
    assert!(ports.iter().all(|port| reserve(*port).is_none()), "a port given out is reserved");
}
