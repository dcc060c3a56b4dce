//! An end that is asked for: whoever is connected is served, whoever comes later is refused.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::support::backend::{Backends, Behaviour};
use super::support::deadline::eventually;
use super::support::load::Load;
use super::support::load_report::ErrorKind;
use super::support::ports::free_port;
use super::support::proxymgr_setup::Setup;
use super::support::requests::{SOON, get, local};
use super::support::running::start;

const ROUNDS: usize = 10;

#[test]
fn ten_ends_under_load_reset_no_connection() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let server = backends.start("a");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let mut refused = 0;
    for round in 0..ROUNDS {
        let proxymgr = start(&setup);
        let load = Load::to(local(port)).short(16).rate(2000).start();
        eventually(SOON, "the load is on", || match load.so_far().successes {
            many if many > 200 => Ok(()),
            few => Err(few),
        });
        let signal = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1][round % 3];
        proxymgr.signal(signal);
        let mut proxymgr = proxymgr;
        assert!(proxymgr.wait_for_end(SOON).success());
        let errors = load.stop().errors_by_kind();
        let others: Vec<_> = errors.iter().filter(|(kind, _)| **kind != ErrorKind::ConnectRefused).collect();
        assert!(others.is_empty(), "round {round}, {signal}: {others:?}");
        refused += errors.get(&ErrorKind::ConnectRefused).copied().unwrap_or_default();
    }
    assert!(refused > 0, "after the end nobody listens");
}

#[test]
fn a_request_under_way_is_answered_and_the_next_client_refused() {
    let setup = Setup::new().section("shutdown", json!({"grace": "5s"}));
    let (backends, port) = (Backends::new(), free_port());
    let server = backends.start("a");
    let socket = setup.paths.root.join("web.sock");
    let file = setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let definition = json!({"type": "file", "file": file, "port": port,
        "bind": ["127.0.0.1", format!("unix@{}", socket.display())]});
    setup.paths.write_service("web", &definition);
    let mut proxymgr = start(&setup);
    assert_eq!(get(local(port)).unwrap(), "a");
    server.behave(Behaviour::AnswerAfter(Duration::from_secs(1)));
    let slow = std::thread::spawn(move || get(local(port)));
    let mut by_unix = UnixStream::connect(&socket).unwrap();
    by_unix.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
    eventually(SOON, "both requests are under way", || match server.requests() {
        many if many >= 3 => Ok(()),
        few => Err(few),
    });
    proxymgr.signal(Signal::SIGTERM);
    eventually(SOON, "new clients are refused", || {
        let late = TcpStream::connect_timeout(&local(port), Duration::from_millis(200));
        if late.is_err() && UnixStream::connect(&socket).is_err() { Ok(()) } else { Err(()) }
    });
    assert_eq!(slow.join().unwrap().unwrap(), "a");
    let mut answer = String::new();
    by_unix.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
    assert!(proxymgr.wait_for_end(SOON).success());
}
