//! HTTP: health, metrics and the reading half of the control socket; who may ask, and what bad clients can do.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::support::admin_http::{KeepAlive, ask, fetch};
use super::support::backend::{Backend, Backends};
use super::support::control::said;
use super::support::deadline::eventually;
use super::support::ports::free_ports;
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{SOON, local, wait_for_answer, wait_for_refusal};
use super::support::running::{start, wait_for_message};

pub const LOCALHOST: &str = "Host: localhost\r\n";

/// A service `web` at the first port with one server, and HTTP at the second.
pub fn with_http(setup: Setup, [web, http]: [u16; 2]) -> (Setup, Backends, Backend) {
    let (setup, backends) = (setup.http(http), Backends::new());
    let server = backends.start("a");
    setup.paths.write_file_service("web", web, &[server.address.to_string()]);
    (setup, backends, server)
}

#[test]
fn there_is_none_unless_it_is_asked_for() {
    let setup = Setup::new();
    let proxymgr = start(&setup);
    let listening = proxymgr.process().listening();
    assert!(listening.iter().all(|socket| socket.starts_with("unix ")), "{listening:?}");
}

#[test]
fn health_readiness_and_the_paths_of_the_control_socket() {
    let ports @ [web, http] = free_ports();
    let (setup, _backends, server) = with_http(Setup::new(), ports);
    let _proxymgr = start(&setup);
    wait_for_answer(local(web), "a");
    for path in ["/livez", "/readyz", "/", "/metrics", "/api/v1/status", "/api/v1/events"] {
        let answer = fetch(http, path);
        assert_eq!(answer.status, 200, "{path}: {answer:?}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let head = ask(http, &format!("HEAD {path}"), LOCALHOST).unwrap();
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        let post = ask(http, &format!("POST {path}"), LOCALHOST).unwrap();
        assert_eq!((post.status, &post.json()["error"]["code"]), (405, &json!("unknown_command")), "{path}");
    }
    let without_times = |mut status: Value| {
        for pointer in [
            "/proxymgr/since_s",
            "/haproxy/uptime_s",
            "/haproxy/connections",
            "/haproxy/generations",
            "/last_reload/ago_s",
            "/services/0/definition/ago_s",
            "/services/0/servers_changed/ago_s",
            "/service/definition/ago_s",
            "/service/servers_changed/ago_s",
        ] {
            if let Some(time) = status.pointer_mut(pointer) {
                time.take();
            }
        }
        status
    };
    for (path, arguments) in [
        ("/api/v1/status".to_owned(), &["status", "--json"][..]),
        ("/api/v1/status/web".to_owned(), &["status", "web", "--json"]),
        ("/api/v1/why/web".to_owned(), &["why", "web", "--json"]),
        (
            format!("/api/v1/why/web/{}", server.address),
            &["why", &format!("web/{}", server.address), "--json"],
        ),
    ] {
        let by_command = without_times(said(&setup.paths, arguments).json());
        assert_eq!(without_times(fetch(http, &path).json()), by_command, "{path}");
    }
    let events = fetch(http, "/api/v1/events?service=web&last=5").json();
    let by_command = said(&setup.paths, &["events", "web", "--json"]).stdout;
    assert_eq!(
        events["events"][0],
        serde_json::from_str::<Value>(by_command.lines().next().unwrap()).unwrap()
    );
    assert_eq!(fetch(http, "/api/v1/events?after=1").json()["events"], json!([]));
    for (path, status, code) in [
        ("/nothing", 404, "not_found"),
        ("/api/v1/status/none", 404, "not_found"),
        ("/api/v1/why/web/none", 404, "not_found"),
        ("/api/v1/events?colour=red", 400, "malformed"),
        ("/api/v1/events?last=many", 400, "malformed"),
    ] {
        let answer = fetch(http, path);
        assert_eq!((answer.status, &answer.json()["error"]["code"]), (status, &json!(code)), "{path}");
    }
}

#[test]
fn another_address_and_none_are_taken_when_proxymgr_yml_is_read_again() {
    let ports @ [web, http] = free_ports();
    let (setup, _backends, _server) = with_http(Setup::new(), ports);
    let _proxymgr = start(&setup);
    wait_for_answer(local(web), "a");
    let [other] = free_ports();
    fs::write(&setup.paths.proxymgr_yml, setup.clone().http(other).yaml()).unwrap();
    assert_eq!(said(&setup.paths, &["reload"]).code, 0);
    assert_eq!(fetch(other, "/readyz").status, 200);
    wait_for_refusal(local(http));
    fs::write(&setup.paths.proxymgr_yml, setup.clone().section("admin", Value::Null).yaml()).unwrap();
    assert_eq!(said(&setup.paths, &["reload"]).code, 0);
    wait_for_refusal(local(other));
}

#[test]
fn an_address_in_use_is_told_and_tried_again_and_stops_nothing() {
    let ports @ [web, http] = free_ports();
    let (setup, _backends, _server) = with_http(Setup::new(), ports);
    let taken = std::net::TcpListener::bind(local(http)).unwrap();
    let proxymgr = start(&setup);
    wait_for_answer(local(web), "a");
    wait_for_message(&proxymgr, "HTTP can't be served at admin.listen");
    drop(taken);
    wait_for_message(&proxymgr, "HTTP is served");
    assert_eq!(fetch(http, "/readyz").status, 200);
}

#[test]
fn it_is_not_ready_while_it_drains() {
    let ports @ [web, http] = free_ports();
    let (setup, _backends, _server) = with_http(Setup::new(), ports);
    let mut proxymgr = start(&setup);
    wait_for_answer(local(web), "a");
    let mut client = TcpStream::connect(local(web)).unwrap();
    client.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    proxymgr.signal(Signal::SIGTERM);
    eventually(SOON, "it is not ready any more", || match fetch(http, "/readyz").status {
        503 => Ok(()),
        other => Err(other),
    });
    let alive = fetch(http, "/livez");
    assert_eq!((alive.status, alive.body.as_str()), (200, "ok, it ends\n"));
    assert_eq!(fetch(http, "/api/v1/status").status, 503);
    client.write_all(b"Host: x\r\nConnection: close\r\n\r\n").unwrap();
    client.read_to_end(&mut Vec::new()).unwrap();
    assert!(proxymgr.wait_for_end(SOON).success());
}

#[test]
fn a_token_is_asked_for_and_other_names_than_its_own_are_refused() {
    let ports @ [web, http] = free_ports();
    let (setup, _backends, _server) = with_http(Setup::new(), ports);
    let token = setup.root_file("token", "s3cret-token\n");
    let admin = json!({"listen": local(http).to_string(), "token_file": token});
    let setup = setup.section("admin", admin);
    let proxymgr = start(&setup);
    wait_for_answer(local(web), "a");
    for path in ["/", "/metrics", "/api/v1/status", "/api/v1/events?follow=true", "/nothing"] {
        for headers in ["", "Authorization: Bearer s3cret\r\n", "Authorization: Basic s3cret-token\r\n"] {
            let answer = ask(http, &format!("GET {path}"), &format!("{LOCALHOST}{headers}")).unwrap();
            assert_eq!((answer.status, answer.header("www-authenticate")), (401, Some("Bearer")), "{path}");
        }
        let answer =
            ask(http, &format!("GET {path}"), "Host: evil.example\r\nAuthorization: Bearer s3cret-token\r\n");
        assert_eq!(answer.unwrap().status, 421, "{path}");
    }
    assert_eq!((fetch(http, "/livez").status, fetch(http, "/readyz").status), (200, 200));
    let with_token = format!("{LOCALHOST}Authorization: Bearer s3cret-token\r\n");
    assert_eq!(ask(http, "GET /metrics", &with_token).unwrap().status, 200);
    assert!(!proxymgr.log().contains("s3cret"));

    fs::remove_file(&token).unwrap();
    let checked = said(&setup.paths, &["check"]);
    assert!(checked.code == 78 && checked.stderr.contains("admin.token_file"), "{checked:?}");
    let refused = said(&setup.paths, &["reload"]);
    assert!(refused.code == 1 && refused.stderr.contains("admin.token_file"), "{refused:?}");
    assert_eq!(ask(http, "GET /metrics", &with_token).unwrap().status, 200);
    write_in_one_step(&token, "an0ther");
    assert_eq!(said(&setup.paths, &["reload"]).code, 0);
    assert_eq!(ask(http, "GET /metrics", &with_token).unwrap().status, 401);
}

#[test]
fn changes_are_told_as_server_sent_events() {
    let ports @ [web, http] = free_ports();
    let (setup, backends, server) = with_http(Setup::new(), ports);
    let other = backends.start("b");
    let proxymgr = start(&setup);
    wait_for_answer(local(web), "a");
    let connect = |headers: &str| {
        let mut stream = TcpStream::connect(local(http)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let request = format!("GET /api/v1/events?follow=true HTTP/1.1\r\n{LOCALHOST}{headers}\r\n");
        stream.write_all(request.as_bytes()).unwrap();
        let lines = BufReader::new(stream).lines().map_while(Result::ok);
        lines.filter_map(|line| Some(line.strip_prefix("data: ")?.to_owned()))
    };
    let mut events = connect("").map(|data| serde_json::from_str::<Value>(&data).unwrap());
    assert_eq!(events.next().unwrap()["reasons"]["first"], json!(["start"]));
    let written = Instant::now();
    let file = setup.paths.root.join("web.servers");
    write_in_one_step(&file, &format!("{}\n{}\n", server.address, other.address));
    let change = events.next().unwrap();
    println!("a change was told after {:?}", written.elapsed());
    assert_eq!(change["servers"]["added"], 1, "{change}");
    let mut again = connect("Last-Event-ID: 1\r\n");
    assert_eq!(serde_json::from_str::<Value>(&again.next().unwrap()).unwrap(), change);

    // An upgrade doesn't wait for those who follow; they come again, and miss nothing.
    assert_eq!(said(&setup.paths, &["upgrade"]).code, 0);
    assert_eq!((events.next(), again.next()), (None, None));
    assert!(!proxymgr.log().contains("a client of HTTP is cut off"), "{}", proxymgr.log());
    write_in_one_step(&file, &format!("{}\n", server.address));
    let mut again = connect("Last-Event-ID: 2\r\n");
    let change: Value = serde_json::from_str(&again.next().unwrap()).unwrap();
    assert_eq!((&change["number"], &change["servers"]["removed"]), (&json!(3), &json!(1)), "{change}");
}

#[test]
fn broken_clients_are_told_so_or_let_go_of() {
    let ports @ [web, http] = free_ports();
    let (setup, _backends, _server) = with_http(Setup::new(), ports);
    let proxymgr = start(&setup);
    wait_for_answer(local(web), "a");
    let send = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(local(http)).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        // It may be cut off meanwhile.
        drop(stream.write_all(bytes));
        let mut answer = Vec::new();
        drop(stream.read_to_end(&mut answer));
        String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
    };
    let began = Instant::now();
    assert_eq!(send(b"GET /livez HTTP/1.1\r\nHost: local"), "", "half a head is given up");
    assert!(began.elapsed() >= Duration::from_secs(9));
    let before = proxymgr.process().memory();
    for (bytes, status) in [
        (b"nonsense\r\n\r\n".to_vec(), "HTTP/1.1 400"),
        (b"\x16\x03\x01\x02\x00\x01".to_vec(), "HTTP/1.1 400"),
        (format!("GET / HTTP/1.1\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)).into_bytes(), "HTTP/1.1 431"),
        (format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(1 << 20)).into_bytes(), "HTTP/1.1 4"),
        (format!("GET / HTTP/1.1\r\n{}\r\n", "X: y\r\n".repeat(1000)).into_bytes(), "HTTP/1.1 431"),
    ] {
        let answer = send(&bytes);
        // What was not read yet may cut off the answer.
        assert!(answer.starts_with(status) || answer.is_empty(), "{answer}");
    }
    let grown = proxymgr.process().memory().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown}");
    assert_eq!(fetch(http, "/livez").status, 200);
}

/// From the change of a file to the first answer of a new server, so often, sorted.
fn propagation(setup: &Setup, servers: [&Backend; 2], rounds: usize) -> Vec<Duration> {
    let file = setup.paths.root.join("web.servers");
    let mut took: Vec<_> = (0..rounds)
        .map(|round| {
            let new = servers[round % 2];
            let before = new.requests();
            let written = Instant::now();
            write_in_one_step(&file, &format!("{}\n", new.address));
            while new.requests() == before {
                assert!(written.elapsed() < SOON);
                drop(super::support::requests::get(local(setup_port(setup))));
            }
            written.elapsed()
        })
        .collect();
    took.sort_unstable();
    took
}

fn setup_port(setup: &Setup) -> u16 {
    let definition = fs::read_to_string(setup.paths.services.join("web.json")).unwrap();
    let definition: Value = serde_json::from_str(&definition).unwrap();
    u16::try_from(definition["port"].as_u64().unwrap()).unwrap()
}

#[test]
fn a_thousand_slow_clients_and_many_scrapes_delay_no_change_under_load() {
    let ports @ [web, http] = free_ports();
    let (setup, backends, server) = with_http(Setup::new(), ports);
    let other = backends.start("b");
    let proxymgr = start(&setup);
    wait_for_answer(local(web), "a");
    let alone = propagation(&setup, [&other, &server], 40);

    let slow: Vec<_> = (0..1000)
        .map(|number| {
            let mut stream = TcpStream::connect(local(http)).unwrap();
            let started: &[u8] = match number % 4 {
                0 => b"",
                1 => b"GET /metrics HTTP/1.1\r\nHost: loc",
                2 => b"nonsense",
                // It reads nothing of all the answers.
                _ => &b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(50),
            };
            drop(stream.write_all(started));
            stream
        })
        .collect();
    let asked = Instant::now();
    assert_eq!(fetch(http, "/livez").status, 200);
    println!("a probe among 1000 slow clients took {:?}", asked.elapsed());
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<_> = (0..2)
        .map(|_| {
            let stop = stop.clone();
            std::thread::spawn(move || {
                let mut scrapes = 0_u32;
                while !stop.load(Ordering::Relaxed) {
                    assert_eq!(fetch(http, "/metrics").status, 200);
                    scrapes += 1;
                }
                scrapes
            })
        })
        .collect();
    let among = propagation(&setup, [&other, &server], 40);
    stop.store(true, Ordering::Relaxed);
    let scrapes: u32 = clients.into_iter().map(|client| client.join().unwrap()).sum();
    println!(
        "a change took {:?} (p95 {:?}) alone, {:?} (p95 {:?}) among 1000 slow clients and {scrapes} scrapes",
        alone[20], alone[38], among[20], among[38]
    );
    assert!(among[20] < alone[20] + Duration::from_millis(50), "{alone:?} {among:?}");
    drop(slow);
    let files = || fs::read_dir(format!("/proc/{}/fd", proxymgr.process().pid)).unwrap().count();
    eventually(SOON, "they are let go of", || match files() {
        few if few < 60 => Ok(()),
        many => Err(many),
    });
}

#[test]
fn a_hundred_thousand_scrapes_delay_no_change_under_load() {
    const SCRAPES: u32 = 100_000;
    const CLIENTS: u32 = 4;
    let ports @ [web, http] = free_ports();
    let (setup, backends, server) = with_http(Setup::new(), ports);
    let other = backends.start("b");
    let proxymgr = start(&setup);
    wait_for_answer(local(web), "a");
    let alone = propagation(&setup, [&other, &server], 40);
    let before = proxymgr.process().memory();
    let began = Instant::now();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            std::thread::spawn(move || {
                let mut client = KeepAlive::to(http);
                (0..SCRAPES / CLIENTS).for_each(|_| assert!(client.fetch("/metrics") > 1000));
            })
        })
        .collect();
    let mut among = Vec::new();
    while clients.iter().any(|client| !client.is_finished()) {
        among.extend(propagation(&setup, [&other, &server], 10));
    }
    let took = began.elapsed();
    for client in clients {
        client.join().unwrap();
    }
    among.sort_unstable();
    let grown = proxymgr.process().memory().saturating_sub(before) / 1024;
    let (median, late) = (among[among.len() / 2], among[among.len() * 95 / 100]);
    println!(
        "{SCRAPES} scrapes in {took:?}: {} changes took {median:?} (p95 {late:?}); alone {:?} (p95 {:?}); {grown} kB more",
        among.len(),
        alone[20],
        alone[38]
    );
    assert!(median < alone[20] + Duration::from_millis(50), "{alone:?} {among:?}");
    assert!(grown < 8 << 10, "{grown} kB");
}
