//! What those who look at the page cost, once they have left.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use serde_json::json;

use super::http::LOCALHOST;
use super::support::admin_http::fetch;
use super::support::deadline::eventually;
use super::support::ports::free_ports;
use super::support::proxymgr_setup::Setup;
use super::support::requests::{SOON, local};
use super::support::running::start;

const SERVICES: usize = 200;
const SERVERS: u16 = 50;
const WAVES: usize = 6;

/// Asks for the live stream.
fn looking(http: u16) -> TcpStream {
    let mut stream = TcpStream::connect(local(http)).unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    drop(stream.write_all(format!("GET /api/v1/stream HTTP/1.1\r\n{LOCALHOST}\r\n").as_bytes()));
    stream
}

/// Reads what has come.
fn read(stream: &mut TcpStream) -> usize {
    let mut piece = vec![0; 1 << 16];
    let mut all = 0;
    while let Ok(read @ 1..) = stream.read(&mut piece) {
        all += read;
    }
    all
}

#[test]
fn waves_of_viewers_who_leave_do_not_add_up_under_load() {
    let [http] = free_ports();
    let setup = Setup::new().http(http);
    let servers: Vec<_> = (0..SERVERS).map(|number| format!("127.0.0.2:{}", 10_000 + number)).collect();
    for number in 0..SERVICES {
        let bind = format!("unix@{}/s{number}", setup.paths.root.display());
        let definition = json!({"type": "static", "default_servers": servers, "port": 1, "bind": bind});
        setup.paths.write_service(&format!("s{number:04}"), &definition);
    }
    let proxymgr = start(&setup);
    let files = || fetch(http, "/metrics").count("process_open_fds");
    let (before, files_before) = (proxymgr.process().memory(), files());
    let mut after = Vec::new();
    for _ in 0..WAVES {
        // Most of them never read; all are more than may be there at a time.
        let mut viewers: Vec<_> = (0..300).map(|_| looking(http)).collect();
        let until = Instant::now() + Duration::from_secs(1);
        let last = viewers.last_mut().unwrap();
        let mut heard = 0;
        while Instant::now() < until || heard < 100_000 {
            heard += read(last);
        }
        drop(viewers);
        eventually(SOON, "they have left", || {
            let files = files();
            if files <= files_before + 5 { Ok(()) } else { Err(files) }
        });
        after.push(proxymgr.process().memory() >> 20);
    }
    println!("{} MB before, {after:?} MB after each wave of 300", before >> 20);
    let (first, last) = (after[1], after[WAVES - 1]);
    assert!(last <= first + 8, "it grows: {after:?}");
    assert!(last < (before >> 20) + 40, "before {}: {after:?}", before >> 20);
}
