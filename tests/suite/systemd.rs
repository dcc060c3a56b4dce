//! What systemd hears (`sd_notify(3)`).

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use nix::sys::signal::Signal;

use super::support::backend::Backends;
use super::support::deadline::eventually;
use super::support::ports::free_port;
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{SOON, wait_for_backends};

/// The socket that `NOTIFY_SOCKET` names, and what came so far.
struct Listener {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Listener {
    /// Waits for the next message with `text`, and returns it.
    #[track_caller]
    fn hears(&mut self, text: &str) -> String {
        eventually(SOON, &format!("systemd hears {text}"), || {
            let mut message = [0; 4096];
            match self.socket.recv(&mut message) {
                Ok(length) => {
                    let message = String::from_utf8(message[..length].to_vec()).unwrap();
                    self.heard.push(message.clone());
                    if message.contains(text) { Ok(message) } else { Err(format!("{:?}", self.heard)) }
                }
                Err(error) => Err(format!("{error} after {:?}", self.heard)),
            }
        })
    }
}

#[test]
fn systemd_is_told_what_happens() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let path = setup.paths.root.join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut systemd = Listener { socket, heard: Vec::new() };
    let servers = ["a", "b"].map(|name| backends.start(name));
    let lines = servers.each_ref().map(|server| server.address.to_string());
    let file = setup.paths.write_file_service("web", port, &lines);
    let setup = setup.variable("NOTIFY_SOCKET", path.to_str().unwrap()).variable("WATCHDOG_USEC", "200000");
    let proxymgr = setup.start();
    systemd.hears("READY=1");
    systemd.hears("STATUS=serving 1 services with 2 servers");
    systemd.hears("WATCHDOG=1");
    systemd.hears("WATCHDOG=1");
    // What is meant for ProxyMgr alone is kept from HAProxy.
    let environment = fs::read(format!("/proc/{}/environ", proxymgr.haproxies()[0].pid)).unwrap();
    let names: BTreeSet<_> = environment
        .split(|byte| *byte == 0)
        .filter_map(|entry| entry.split(|byte| *byte == b'=').next())
        .collect();
    assert!(
        names.contains(&b"PATH"[..])
            && !names.contains(&b"NOTIFY_SOCKET"[..])
            && !names.contains(&b"WATCHDOG_USEC"[..])
    );

    write_in_one_step(&file, &(lines[0].clone() + "\n"));
    wait_for_backends(port, &["a"]);
    systemd.hears("STATUS=serving 1 services with 1 servers");

    fs::write(&setup.paths.proxymgr_yml, "haproxy: [").unwrap();
    proxymgr.signal(Signal::SIGHUP);
    let reloading = systemd.hears("RELOADING=1");
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    systemd.hears("READY=1");
    fs::write(&setup.paths.proxymgr_yml, setup.yaml()).unwrap();
    proxymgr.signal(Signal::SIGHUP);
    systemd.hears("RELOADING=1");
    systemd.hears("READY=1");
    systemd.hears("WATCHDOG=1");
    proxymgr.signal(Signal::SIGTERM);
    systemd.hears("STOPPING=1");
}
