//! `HAProxy` is killed: its listen sockets stay open, so clients wait instead of being refused.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use nix::unistd::Pid;

use super::support::backend::Backends;
use super::support::deadline::eventually;
use super::support::load::Load;
use super::support::load_report::{ErrorKind, LoadReport};
use super::support::ports::free_port;
use super::support::proc::Process;
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::Setup;
use super::support::requests::{SOON, local};
use super::support::running::{LogLine, assert_config_says_what_runs, log_lines, start};

const WORKERS: usize = 16;

/// The process that serves, as far as `ProxyMgr` knows, once it is another than `dead`.
#[track_caller]
fn serving(proxymgr: &Proxymgr, dead: Option<Process>) -> Process {
    eventually(SOON, "a HAProxy serves", || {
        let started: Vec<_> = log_lines(proxymgr)
            .into_iter()
            .filter(|line| line.message == "a new HAProxy serves")
            .map(|line| i32::try_from(line.fields["pid"].as_u64().unwrap()).unwrap())
            .collect();
        let last = started.last().and_then(|pid| Process::with_pid(Pid::from_raw(*pid)));
        last.filter(|last| Some(*last) != dead).ok_or(started)
    })
}

/// Kills the process that serves, and waits until another does.
fn kill_and_wait(proxymgr: &Proxymgr) {
    let killed = serving(proxymgr, None);
    killed.signal(Signal::SIGKILL);
    serving(proxymgr, Some(killed));
}

fn assert_only_requests_in_flight_failed(report: &LoadReport, kills: usize) {
    println!("{report}");
    assert!(report.errors.len() <= WORKERS * kills, "more errors than requests could be in flight: {report}");
    let in_flight =
        |kind: &ErrorKind| matches!(kind, ErrorKind::Reset | ErrorKind::EarlyEof | ErrorKind::IdleClosed);
    assert!(report.errors.iter().all(|error| in_flight(&error.kind)), "{report}");
}

#[test]
fn a_haproxy_killed_under_load_costs_only_the_requests_in_flight() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let servers = [backends.start("a"), backends.start("b")];
    setup.paths.write_file_service("web", port, &servers.each_ref().map(|server| server.address.to_string()));
    let proxymgr = start(&setup);
    let load = Load::to(local(port)).short(WORKERS / 2).keep_alive(WORKERS / 2).rate(1500).start();
    eventually(SOON, "the load runs", || {
        let report = load.so_far();
        if report.successes > 2000 { Ok(()) } else { Err(report.to_string()) }
    });
    let before = load.so_far();
    kill_and_wait(&proxymgr);
    let killed = Instant::now();
    eventually(SOON, "it serves again", || {
        let report = load.so_far();
        if report.successes > before.successes + 2000 { Ok(()) } else { Err(report.to_string()) }
    });
    println!("2000 more requests {:?} after the new process was seen", killed.elapsed());
    let report = load.stop();
    assert_only_requests_in_flight_failed(&report, 1);
    assert!(report.rate() >= 1000.0, "the load was to be at least 1000 requests/s: {report}");
    assert!(report.longest_gap < Duration::from_secs(5), "{report}");
    assert_config_says_what_runs(&setup.paths);
}

#[test]
fn a_haproxy_that_somebody_else_tells_to_stop_is_replaced_and_nobody_is_refused_under_load() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let server = backends.start("a");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let proxymgr = start(&setup);
    let load =
        Load::to(local(port)).short(WORKERS / 2).keep_alive(WORKERS / 2).rate(500).timeout(SOON).start();
    let stopped = serving(&proxymgr, None);
    stopped.signal(Signal::SIGUSR1);
    serving(&proxymgr, Some(stopped));
    let successes = load.so_far().successes;
    eventually(SOON, "it serves again", || {
        let report = load.so_far();
        if report.successes > successes + 500 { Ok(()) } else { Err(report.to_string()) }
    });
    load.stop().assert_no_errors();
    let is_told =
        |line: &LogLine| line.message.contains("ended by itself (somebody else told it to stop (SIGUSR1))");
    let told = log_lines(&proxymgr).iter().filter(|line| is_told(line)).count();
    assert_eq!(told, 1);
}

#[test]
fn a_haproxy_that_keeps_dying_is_started_later_and_later_and_clients_wait_under_load() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let server = backends.start("a");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let proxymgr = start(&setup);
    let load =
        Load::to(local(port)).short(WORKERS / 2).keep_alive(WORKERS / 2).rate(1500).timeout(SOON).start();
    for _ in 0..5 {
        kill_and_wait(&proxymgr);
    }
    let killed = load.so_far().successes;
    eventually(SOON, "it serves again", || {
        let report = load.so_far();
        if report.successes > killed + 100 { Ok(()) } else { Err(report.to_string()) }
    });
    assert_only_requests_in_flight_failed(&load.stop(), 5);
    let waits: Vec<u64> = log_lines(&proxymgr)
        .into_iter()
        .filter_map(|line| {
            let (_, wait) = line.message.split_once("HAProxy ended by itself (ended by SIGKILL")?;
            let (_, wait) = wait.split_once("starting it again in ")?;
            Some(wait.strip_suffix(" ms").unwrap().parse().unwrap())
        })
        .collect();
    println!("waits in ms: {waits:?}");
    assert_eq!(waits.len(), 5, "each death is told");
    assert_eq!(waits[0], 0, "the first restart is at once");
    assert!(waits.is_sorted() && waits[1] >= 50 && waits[4] > waits[1], "{waits:?}");
}

#[test]
fn a_haproxy_that_dies_while_it_starts_is_started_again_and_clients_wait_under_load() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let server = backends.start("a");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let proxymgr = start(&setup);
    let load = Load::to(local(port)).short(WORKERS).rate(1500).timeout(SOON).start();
    let mut killed = serving(&proxymgr, None);
    killed.signal(Signal::SIGKILL);
    // Long before the new one serves, which takes tens of milliseconds.
    for _ in 0..5 {
        killed = eventually(SOON, "another HAProxy starts", || match proxymgr.haproxies().as_slice() {
            [other] if *other != killed => Ok(*other),
            others => Err(format!("{others:?}")),
        });
        killed.signal(Signal::SIGKILL);
    }
    let since = Instant::now();
    serving(&proxymgr, Some(killed));
    let waited = since.elapsed();
    println!("served again {waited:?} after the last kill");
    assert!(waited < Duration::from_secs(6), "{waited:?}");
    let successes = load.so_far().successes;
    eventually(SOON, "the load is served again", || {
        let report = load.so_far();
        if report.successes > successes + 100 { Ok(()) } else { Err(report.to_string()) }
    });
    assert_only_requests_in_flight_failed(&load.stop(), 1);
}
