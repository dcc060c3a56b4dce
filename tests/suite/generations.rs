//! Old processes: how many there are, how long they stay, and what they still do.

use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;

use super::support::backend::{Backends, Behaviour};
use super::support::deadline::eventually;
use super::support::load::Load;
use super::support::ports::{free_port, free_ports};
use super::support::proc::Process;
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{SOON, get, local, wait_for_refusal};
use super::support::running::{assert_config_says_what_runs, reloads, start, wait_for_message};

const RELOADS: usize = 50;
const MAX_DRAINING: usize = 8;
const LONG_LIVED: usize = 20;

/// Sends back what it gets, for as long as its clients stay.
fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            std::thread::spawn(move || {
                let mut connection = connection.unwrap();
                let mut byte = [0];
                while connection.read_exact(&mut byte).and_then(|()| connection.write_all(&byte)).is_ok() {}
            });
        }
    });
    address
}

/// A connection that stays, opened while `generation` served.
struct LongLived {
    generation: usize,
    stream: TcpStream,
}

impl LongLived {
    fn open(port: u16, generation: usize) -> Self {
        let stream = TcpStream::connect(local(port)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut opened = Self { generation, stream };
        assert!(opened.is_alive(), "a new connection is served");
        opened
    }

    fn is_alive(&mut self) -> bool {
        let mut byte = [0];
        self.stream.write_all(b"?").and_then(|()| self.stream.read_exact(&mut byte)).is_ok()
    }
}

/// Counts the `HAProxy` processes all the time, and keeps the most.
struct Census {
    most: Arc<AtomicUsize>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<u64>>,
}

impl Census {
    fn of(proxymgr: Process) -> Self {
        let (most, stop) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicBool::new(false)));
        let (seen, stopped) = (Arc::clone(&most), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let mut counts = 0;
            while !stopped.load(Ordering::Relaxed) {
                seen.fetch_max(serving_or_draining(proxymgr), Ordering::Relaxed);
                counts += 1;
                std::thread::sleep(Duration::from_millis(1));
            }
            counts
        });
        Self { most, stop, thread: Some(thread) }
    }

    /// The most processes at a time, and how often they were counted.
    fn end(mut self) -> (usize, u64) {
        self.stop.store(true, Ordering::Relaxed);
        let counts = self.thread.take().unwrap().join().unwrap();
        (self.most.load(Ordering::Relaxed), counts)
    }
}

impl Drop for Census {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
    }
}

/// Those that only check a configuration, and forks of `ProxyMgr` that are not `HAProxy` yet, have `-c` among their words.
fn serving_or_draining(proxymgr: Process) -> usize {
    let is_one = |child: &Process| {
        let words = child.arguments();
        words.iter().any(|word| word == "-db") && !words.iter().any(|word| word == "-c")
    };
    proxymgr.children().iter().filter(|child| is_one(child)).count()
}

#[test]
fn fifty_reloads_with_long_lived_connections_leave_no_more_than_max_draining_old_processes_under_load() {
    let reload = json!({"min_interval": "1ms", "drain_timeout": "10m", "max_draining": MAX_DRAINING});
    let (setup, backends, [port, held]) =
        (Setup::new().section("reload", reload), Backends::new(), free_ports());
    let servers = [backends.start("a"), backends.start("b")];
    let file = setup.paths.write_file_service(
        "web",
        port,
        &servers.each_ref().map(|server| server.address.to_string()),
    );
    let held_file = setup.root_file("held.servers", &format!("{}\n", echo_server()));
    let tcp = ["mode tcp", "timeout client 1h", "timeout server 1h"];
    setup.paths.write_service(
        "held",
        &json!({"type": "file", "file": held_file, "port": held, "listen_options": tcp}),
    );
    let proxymgr = start(&setup);
    let census = Census::of(proxymgr.process());
    let load = Load::to(local(port)).short(8).keep_alive(8).rate(1000).start();

    let mut open: VecDeque<LongLived> = VecDeque::new();
    let mut cut = 0;
    for generation in 1..=RELOADS {
        while open.len() < LONG_LIVED || open.iter().filter(|c| c.generation == generation).count() < 2 {
            open.push_back(LongLived::open(held, generation));
        }
        let options = [format!("timeout queue {}s", 1000 + generation)];
        let definition = json!({"type": "file", "file": file, "port": port, "listen_options": options});
        setup.paths.write_service("web", &definition);
        eventually(SOON, "the next generation serves", || match reloads_done(&proxymgr) {
            done if done == generation + 1 => Ok(()),
            done => Err(done),
        });
        // The serving one and the draining ones from the newest to the oldest.
        let oldest = (generation + 1).saturating_sub(MAX_DRAINING);
        for connection in &mut open {
            let expected = connection.generation >= oldest;
            if expected {
                assert!(connection.is_alive(), "generation {} of {generation} is cut", connection.generation);
            }
        }
        let before = open.len();
        open.retain_mut(LongLived::is_alive);
        cut += before - open.len();
        assert!(open.iter().all(|connection| connection.generation >= oldest), "an old process stays");
        assert!(open.len() >= LONG_LIVED.min(2 * MAX_DRAINING), "{} connections", open.len());
    }
    let report = load.stop();
    let (most, counts) = census.end();
    println!("{report}\nat most {most} processes in {counts} counts; {cut} long-lived connections cut");
    report.assert_no_errors();
    // The serving one, and the next, or the oldest that is about to end.
    assert!(most <= MAX_DRAINING + 2, "{most} processes at a time");
    assert!(most > MAX_DRAINING, "the long-lived connections kept no old process: {most}");
    assert_eq!(reloads(&proxymgr).len(), RELOADS + 1);

    drop(open);
    eventually(SOON, "only one process remains", || match serving_or_draining(proxymgr.process()) {
        1 => Ok(()),
        more => Err(more),
    });
    assert_config_says_what_runs(&setup.paths);
}

fn reloads_done(proxymgr: &super::support::proxymgr::Proxymgr) -> usize {
    proxymgr.log().matches("a new HAProxy serves").count()
}

#[test]
fn a_removed_server_gets_nothing_from_an_old_process_either() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let [stays, leaves] = ["stays", "leaves"].map(|name| backends.start(name));
    stays.behave(Behaviour::AnswerAfter(Duration::from_secs(6)));
    leaves.behave(Behaviour::AnswerAfter(Duration::from_secs(3)));
    let line = |server: &super::support::backend::Backend| format!("{}\n", server.address);
    let file = setup.root_file("web.servers", &format!("{}{}", line(&stays), line(&leaves)));
    let define = |queue: &str| {
        json!({"type": "file", "file": file, "port": port,
            "listen_options": [format!("timeout queue {queue}")], "server_options": ["maxconn 1"]})
    };
    setup.paths.write_service("web", &define("60s"));
    let proxymgr = start(&setup);
    // Each server has its one request, and a third waits in the old process for whoever is free first.
    let request = || std::thread::spawn(move || get(local(port)));
    let busy = [request(), request()];
    eventually(SOON, "both servers are busy", || match (stays.requests(), leaves.requests()) {
        (1, 1) => Ok(()),
        other => Err(other),
    });
    let waiting = request();
    eventually(SOON, "the third waits", || {
        let stat = super::support::haproxy::ask(&setup.paths.stats_socket, "show stat -1 2 -1").unwrap();
        let queued = stat.lines().any(|row| row.starts_with("web,BACKEND,1,"));
        if queued { Ok(()) } else { Err(stat) }
    });
    // A process in soft stop takes no commands about servers, so it must be told before.
    write_in_one_step(&file, &line(&stays));
    wait_for_message(&proxymgr, "is going DOWN for maintenance");
    setup.paths.write_service("web", &define("61s"));
    wait_for_message(&proxymgr, "the old HAProxy drains");
    let mut answers = busy.map(|request| request.join().unwrap().unwrap());
    answers.sort();
    assert_eq!(answers, ["leaves", "stays"], "what is under way is not cut");
    assert_eq!(waiting.join().unwrap().unwrap(), "stays");
    assert_eq!((stays.requests(), leaves.requests()), (2, 1));
}

#[test]
fn services_that_are_removed_cost_requests_in_an_old_process_nothing() {
    // A process that drains has closed its listen sockets, and connections have got their numbers.
    let (setup, backends, [port, ports @ ..]) = (Setup::new(), Backends::new(), free_ports::<7>());
    let server = backends.start("web");
    let define = |port: u16, option: &str| json!({"type": "static", "port": port, "default_servers": [server.address.to_string()], "listen_options": [option]});
    setup.paths.write_service(
        "web",
        &define(
            port,
            "http-request return status 200 content-type text/plain string web if { path /of-haproxy }",
        ),
    );
    for port in ports {
        setup.paths.write_service(&format!("other-{port}"), &define(port, "retries 3"));
    }
    let proxymgr = start(&setup);
    let connect = || TcpStream::connect(local(port)).unwrap();
    let ask = |mut client: &TcpStream, path: &str| {
        write!(client, "GET {path} HTTP/1.1\r\nHost: test\r\n\r\n").unwrap();
    };
    let clients: Vec<_> = (0..=ports.len()).map(|_| connect()).collect();
    for client in &clients {
        client.set_read_timeout(Some(SOON)).unwrap();
        ask(client, "/of-haproxy");
        assert!(answer(client).starts_with("HTTP/1.1 200"));
    }
    setup.paths.write_service("web", &define(port, "timeout queue 7s"));
    wait_for_message(&proxymgr, "the old HAProxy drains");
    server.behave(Behaviour::AnswerAfter(Duration::from_secs(2)));
    let before = server.requests();
    for client in &clients {
        ask(client, "/of-a-server");
    }
    eventually(SOON, "all requests are under way", || match server.requests() - before {
        all if all == clients.len() as u64 => Ok(()),
        some => Err(some),
    });
    for port in ports {
        setup.paths.remove_service(&format!("other-{port}"));
    }
    for port in ports {
        wait_for_refusal(local(port));
    }
    for client in &clients {
        let answer = answer(client);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
}

/// What comes next on this connection, up to the whole body `web`.
fn answer(mut client: &TcpStream) -> String {
    let (mut text, mut byte) = (String::new(), [0]);
    while !text.ends_with("\r\n\r\nweb") && matches!(client.read(&mut byte), Ok(1)) {
        text.push(char::from(byte[0]));
    }
    text
}
