//! A DNS server that is the system's, for one `ProxyMgr`.

use std::fs::{self, Permissions};
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::dns_server::DnsServer;
use super::proxymgr::binary;

/// On port 53, where resolv.conf(5) expects it, of an address of this machine that no other test uses.
pub fn start() -> DnsServer {
    let start = std::process::id().wrapping_mul(251);
    for offset in 0..60_000 {
        let [.., high, low] = start.wrapping_add(offset).to_be_bytes();
        let address = SocketAddr::from((Ipv4Addr::new(127, 53, high, low.clamp(1, 254)), 53));
        if UdpSocket::bind(address).is_ok() {
            return DnsServer::start_at(address);
        }
    }
    panic!("no address has a free port 53");
}

/// A program in `directory` that is the binary, with `dns` in its /etc/resolv.conf and the lines of `hosts` in its /etc/hosts:
/// in a mount namespace of its own (unshare(1), which needs root).
pub fn program(dns: &DnsServer, directory: &Path, hosts: &str) -> PathBuf {
    let write = |name: &str, text: &str| {
        let path = directory.join(name);
        fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let resolv_conf = write("resolv.conf", &format!("nameserver {}\noptions timeout:1\n", dns.address.ip()));
    let hosts = write("hosts", &format!("127.0.0.1 localhost\n{hosts}\n"));
    let inside = write(
        "inside.sh",
        &format!(
            "#!/bin/sh\nmount --bind {resolv_conf} /etc/resolv.conf && mount --bind {hosts} /etc/hosts && exec {} \"$@\"\n",
            binary().display()
        ),
    );
    let program = directory.join("proxymgr.sh");
    fs::write(
        &program,
        format!("#!/bin/sh\nexec unshare --mount --propagation private sh {inside} \"$@\"\n"),
    )
    .unwrap();
    fs::set_permissions(&program, Permissions::from_mode(0o755)).unwrap();
    program
}
