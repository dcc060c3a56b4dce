//! The load client counts every failure and invents none.

use std::net::SocketAddr;
use std::time::Duration;

use super::support::backend::{Backend, Backends, Behaviour};
use super::support::deadline::eventually;
use super::support::haproxy::{self, Haproxy};
use super::support::load::{Load, RunningLoad};
use super::support::load_report::{Client, ErrorKind, LoadReport};
use super::support::ports::{free_port, free_ports};

const SOON: Duration = Duration::from_secs(10);

/// Runs until `wanted` requests succeeded or failed.
fn until(load: &RunningLoad, wanted: u64) {
    eventually(Duration::from_secs(60), &format!("{wanted} requests"), || {
        let report = load.so_far();
        let seen = report.successes + u64::try_from(report.errors.len()).unwrap();
        if seen >= wanted { Ok(()) } else { Err(report.to_string()) }
    });
}

fn report_of(load: Load, wanted: u64) -> LoadReport {
    let running = load.start();
    until(&running, wanted);
    running.stop()
}

fn only_kind(report: &LoadReport) -> ErrorKind {
    let kinds = report.errors_by_kind();
    assert_eq!(kinds.len(), 1, "{report}");
    kinds.into_keys().next().unwrap()
}

#[test]
fn a_good_backend_gives_no_error() {
    let backends = Backends::new();
    let backend = backends.start("one");
    let report = report_of(Load::to(backend.address).short(4).keep_alive(4), 2000);
    report.assert_no_errors();
    assert_eq!(report.by_backend.keys().collect::<Vec<_>>(), ["one"]);
    assert_eq!(report.by_backend["one"], report.successes);
    assert_eq!(backend.requests(), report.successes);
}

#[test]
fn a_rate_is_kept() {
    let backends = Backends::new();
    let backend = backends.start("one");
    let report = report_of(Load::to(backend.address).short(2).keep_alive(2).rate(500), 500);
    report.assert_no_errors();
    assert!(report.elapsed >= Duration::from_millis(990), "{report}");
    assert!(report.longest_gap < Duration::from_millis(500), "{report}");
}

#[test]
fn each_kind_of_failure_is_told_apart() {
    let backends = Backends::new();
    let backend = backends.start("one");
    let expected = [
        (Behaviour::Reset, Client::Short, ErrorKind::Reset),
        (Behaviour::CutShort, Client::Short, ErrorKind::EarlyEof),
        (Behaviour::Status(503), Client::KeepAlive, ErrorKind::BadStatus(503)),
        (Behaviour::AnswerAfter(SOON), Client::Short, ErrorKind::ResponseTimeout),
        (Behaviour::CloseSilently, Client::KeepAlive, ErrorKind::IdleClosed),
    ];
    for (behaviour, client, kind) in expected {
        backend.behave(behaviour);
        let load = Load::to(backend.address).timeout(Duration::from_millis(100));
        let load = match client {
            Client::Short => load.short(1),
            Client::KeepAlive => load.keep_alive(1),
        };
        let report = report_of(load, 6);
        assert_eq!(only_kind(&report), kind);
        assert!(report.errors.iter().all(|error| error.client == client && error.at <= report.elapsed));
    }
}

#[test]
fn a_body_that_names_no_backend_is_an_error() {
    let backends = Backends::new();
    let backend = backends.start("");
    assert_eq!(
        only_kind(&report_of(Load::to(backend.address).short(1), 3)),
        ErrorKind::BadBody(String::new())
    );
}

#[test]
fn a_backend_that_ends_and_comes_back_shows_as_refusals_and_a_gap() {
    let backends = Backends::new();
    let backend = backends.start("one");
    let address = backend.address;
    let load = Load::to(address).short(2).start();
    until(&load, 100);
    drop(backend);
    eventually(SOON, "a refused connection", || {
        let report = load.so_far();
        let refused = report.errors.iter().any(|error| error.kind == ErrorKind::ConnectRefused);
        let silent = report.longest_gap > Duration::from_millis(50);
        if refused && silent { Ok(()) } else { Err(report.to_string()) }
    });
    let seen = load.so_far().successes;
    let _backend = backends.start_at(address, "two");
    eventually(SOON, "answers of the new backend", || {
        load.so_far().by_backend.get("two").copied().filter(|count| *count > 10).ok_or("too few")
    });
    let report = load.stop();
    assert!(report.successes > seen && report.longest_gap > Duration::from_millis(50), "{report}");
}

#[test]
fn three_thousand_requests_a_second_through_haproxy_under_load() {
    let directory = tempfile::tempdir().unwrap();
    let backends = Backends::new();
    let servers: Vec<Backend> = (0..200).map(|number| backends.start(&format!("s{number}"))).collect();
    let port = free_port();
    let socket = directory.path().join("stats.sock");
    let config = directory.path().join("haproxy.cfg");
    let lines: Vec<_> =
        servers.iter().enumerate().map(|(n, server)| format!("  server s{n} {}", server.address)).collect();
    let text = format!(
        "global\n  stats socket {} level admin\ndefaults\n  mode http\n  timeout connect 2s\n  timeout client 9s\n  \
         timeout server 9s\nlisten web\n  bind 127.0.0.1:{port}\n{}\n",
        socket.display(),
        lines.join("\n")
    );
    std::fs::write(&config, text).unwrap();
    haproxy::check(&config).unwrap();
    let _haproxy = Haproxy::start(&config);
    let version = eventually(SOON, "HAProxy's reply", || haproxy::ask(&socket, "show version"));
    assert!(version.starts_with(|digit: char| digit.is_ascii_digit()), "{version}");

    let report = report_of(Load::to(SocketAddr::from(([127, 0, 0, 1], port))).short(8).keep_alive(8), 12_000);
    report.assert_no_errors();
    assert_eq!(report.by_backend.len(), servers.len());
    println!("{report}");
    assert!(report.rate() > 3000.0, "{report}");

    assert_eq!(haproxy::ask(&socket, "set server web/s1 state drain").unwrap(), "");
    assert_eq!(haproxy::ask(&socket, "disable server web/s2").unwrap(), "");
    let rows = haproxy::servers(&socket).unwrap();
    assert_eq!(rows.len(), servers.len());
    assert!(rows[1].draining() && rows[2].in_maintenance() && !rows[0].in_maintenance(), "{rows:?}");
    assert_eq!((rows[3].address, rows[3].port), (servers[3].address.ip(), servers[3].port()));
    assert_eq!((rows[3].backend.as_str(), rows[3].name.as_str(), rows[3].id), ("web", "s3", 4));
    assert_eq!((rows[3].operational, rows[3].weight), (2, 1));
}

#[test]
fn a_config_that_haproxy_refuses_is_told_with_its_reason() {
    let directory = tempfile::tempdir().unwrap();
    let config = directory.path().join("haproxy.cfg");
    let [one, other] = free_ports();
    std::fs::write(
        &config,
        format!("listen web\n  bind 127.0.0.1:{one}\n  bind 127.0.0.1:{other}\n  nonsense\n"),
    )
    .unwrap();
    let said = haproxy::check(&config).unwrap_err();
    assert!(said.contains("unknown keyword 'nonsense'"), "{said}");
}
