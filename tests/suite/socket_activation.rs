//! Listen sockets that systemd opened (`systemd.socket(5)`).

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::os::unix::net::{UnixListener, UnixStream};

use nix::sys::signal::Signal;
use serde_json::json;

use super::support::backend::Backends;
use super::support::deadline::eventually;
use super::support::ports::free_port;
use super::support::proxymgr_setup::Setup;
use super::support::requests::{SOON, get, local, wait_for_answer};
use super::support::running::{start, wait_for_message};

#[test]
fn sockets_that_systemd_opened_are_used_and_left_open() {
    let (setup, backends) = (Setup::new(), Backends::new());
    let server = backends.start("a");
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = tcp.local_addr().unwrap().port();
    let path = setup.paths.root.join("web.sock");
    let unix = UnixListener::bind(&path).unwrap();
    let file = setup.paths.root.join("web.servers");
    std::fs::write(&file, format!("{}\n", server.address)).unwrap();
    let definition = json!({"type": "file", "file": file, "port": port,
        "bind": ["127.0.0.1", format!("unix@{}", path.display())]});
    setup.paths.write_service("web", &definition);
    setup.paths.write_file_service("other", free_port(), &[]);
    let passed = vec![
        ("web.socket".to_owned(), tcp.try_clone().unwrap().into()),
        ("web.socket".to_owned(), unix.try_clone().unwrap().into()),
        ("other".to_owned(), std::fs::File::open("/dev/null").unwrap().into()),
    ];
    // Clients that came before anything was started are served.
    let early = std::thread::spawn(move || get(local(port)));
    let proxymgr = start(&setup.clone().passing(passed));
    wait_for_message(&proxymgr, "no listening stream socket");
    assert_eq!(early.join().unwrap().unwrap(), "a");
    let by_unix = || {
        let mut stream = UnixStream::connect(&path).unwrap();
        stream.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    };
    assert!(by_unix().starts_with("HTTP/1.1 200"));

    // An upgrade, a death and a service that goes and comes leave them in use.
    proxymgr.signal(Signal::SIGUSR2);
    wait_for_message(&proxymgr, "another program takes over");
    eventually(SOON, "the next one is ready", || {
        match proxymgr.log().matches("\"message\":\"ready\"").count() {
            2.. => Ok(()),
            few => Err(few),
        }
    });
    proxymgr.haproxies()[0].signal(Signal::SIGKILL);
    wait_for_message(&proxymgr, "SIGKILL");
    wait_for_answer(local(port), "a");
    setup.paths.remove_service("web");
    wait_for_message(&proxymgr, "no longer listening");
    drop(TcpStream::connect(local(port)).expect("systemd listens on"));
    setup.paths.write_service("web", &definition);
    wait_for_answer(local(port), "a");
    assert!(by_unix().starts_with("HTTP/1.1 200"));
    assert!(proxymgr.end().success());
    drop(TcpStream::connect(local(port)).expect("systemd listens on"));
    assert!(path.exists());
}
