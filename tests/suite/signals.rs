//! What each signal does, to PID 1 and to any other; and that how `ProxyMgr` was started plays no part in it, nor for `HAProxy`.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sys::signal::{SigSet, Signal};
use serde_json::json;

use super::support::backend::{Backend, Backends, Behaviour};
use super::support::deadline::eventually;
use super::support::haproxy::{Haproxy, ask};
use super::support::ports::free_port;
use super::support::proc::Process;
use super::support::proxymgr::{Proxymgr, output_of};
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{SOON, get, local, wait_for_answer, wait_for_refusal};
use super::support::running::{log_lines, reloads, start, wait_for_message};

/// What asks for something, as signal(7) numbers it: HUP, INT, USR1, USR2, TERM.
const MEANT: [i32; 5] = [1, 2, 10, 12, 15];
/// What the kernel does to any process but PID 1: QUIT, ILL, TRAP, ABRT, BUS, FPE, SEGV, TSTP, TTIN, TTOU, SYS.
const NOT_FOR_PID_1: [i32; 11] = [3, 4, 5, 6, 7, 8, 11, 20, 21, 22, 31];
/// Nobody escapes KILL and STOP; 32 and 33 are the C library's own.
const OUT_OF_REACH: [i32; 4] = [9, 19, 32, 33];
const LAST: i32 = 64;

fn service(setup: &Setup) -> (Backends, Backend, u16) {
    let (backends, port) = (Backends::new(), free_port());
    let server = backends.start("web");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    (backends, server, port)
}

/// A request that has reached the server when this returns.
fn request_under_way(server: &Backend, port: u16) -> std::thread::JoinHandle<Result<String, String>> {
    let before = server.requests();
    let request = std::thread::spawn(move || get(local(port)));
    eventually(SOON, "the request reaches the server", || match server.requests() {
        more if more > before => Ok(()),
        same => Err(same),
    });
    request
}

/// Any signal by its number.
fn send(process: Process, number: i32) {
    let sent = output_of(Command::new("sh").arg("-c").arg(format!("kill -{number} {}", process.pid)));
    assert!(sent.status.success(), "{number}: {sent:?}");
}

#[test]
fn signals_that_mean_nothing_do_nothing_to_pid_1() {
    do_nothing(&Setup::new().pid_1(), &[]);
}

#[test]
fn signals_that_mean_nothing_do_nothing() {
    do_nothing(&Setup::new(), &NOT_FOR_PID_1);
}

fn do_nothing(setup: &Setup, left_out: &[i32]) {
    let (backends, _server, port) = service(setup);
    let proxymgr = start(setup);
    let (process, haproxies) = (proxymgr.process(), proxymgr.haproxies());
    let ignored = |number: &i32| ![&MEANT[..], &OUT_OF_REACH, left_out].concat().contains(number);
    for number in (1..=LAST).filter(ignored) {
        send(process, number);
        assert!(process.is_alive(), "{number} ended it: {}", proxymgr.log());
    }
    let other = backends.start("other");
    write_in_one_step(&setup.paths.root.join("web.servers"), &format!("{}\n", other.address));
    wait_for_answer(local(port), "other");
    assert_eq!((proxymgr.haproxies(), reloads(&proxymgr).len()), (haproxies, 1));
    assert!(!log_lines(&proxymgr).iter().any(|line| line.says("asked") || line.level == "ERROR"));
    assert_eq!(proxymgr.end().code(), Some(0));
}

#[test]
fn pid_1_lets_requests_finish_when_it_is_asked_to_end() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1] {
        let setup = Setup::new().pid_1().section("shutdown", json!({"grace": "60s"}));
        let (_backends, server, port) = service(&setup);
        server.behave(Behaviour::AnswerAfter(Duration::from_millis(700)));
        let mut proxymgr = start(&setup);
        let started = proxymgr.process().descendants();
        let request = request_under_way(&server, port);
        proxymgr.signal(signal);
        assert_eq!(request.join().unwrap().as_deref(), Ok("web"), "{signal}");
        assert_eq!(proxymgr.wait_for_end(SOON).code(), Some(0), "{signal}");
        wait_for_refusal(local(port));
        assert!(!started.is_empty() && started.iter().all(|process| !process.is_alive()));
    }
}

#[test]
fn a_second_signal_ends_at_once_whichever_was_first_as_pid_1_and_otherwise() {
    let ends = [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1];
    for (number, setup) in [Setup::new().pid_1(), Setup::new()].into_iter().enumerate() {
        for (first, second) in ends.iter().zip(ends.iter().cycle().skip(number)) {
            let setup = setup.clone().section("shutdown", json!({"grace": "60s"}));
            let (_backends, server, port) = service(&setup);
            server.behave(Behaviour::AnswerAfter(Duration::from_secs(60)));
            let mut proxymgr = start(&setup);
            let started = proxymgr.process().descendants();
            let request = request_under_way(&server, port);
            proxymgr.signal(*first);
            wait_for_message(&proxymgr, "asked to end; HAProxy drains");
            // What asks for something else is no second one.
            proxymgr.signal(Signal::SIGHUP);
            proxymgr.signal(Signal::SIGUSR2);
            let draining = Instant::now();
            eventually(SOON, "it drains on for half a second", || {
                assert!(proxymgr.process().is_alive() && !request.is_finished());
                if draining.elapsed() > Duration::from_millis(500) { Ok(()) } else { Err(()) }
            });
            let asked = Instant::now();
            proxymgr.signal(*second);
            assert_eq!(proxymgr.wait_for_end(SOON).code(), Some(0), "{first} {second}");
            let took = asked.elapsed();
            println!("{first}, then {second}: ended after {took:?}");
            assert!(took < Duration::from_secs(10), "{took:?}");
            assert!(request.join().unwrap().is_err());
            assert!(started.iter().all(|process| !process.is_alive()));
            wait_for_refusal(local(port));
            // The next one writes to the same file.
            fs::remove_file(&setup.paths.log).unwrap();
        }
    }
}

/// All that `trap` takes.
fn ignoring_all() -> String {
    let numbers = (1..=LAST).filter(|number| !OUT_OF_REACH.contains(number));
    format!("trap '' {}", numbers.map(|number| number.to_string()).collect::<Vec<_>>().join(" "))
}

/// What a process inherits of signals: those blocked, and those ignored but for the C library's own.
fn inherited(process: Process) -> [u64; 2] {
    let mask = |field| u64::from_str_radix(&process.status(field), 16).unwrap() & !(0b11 << 31);
    [mask("SigBlk"), mask("SigIgn")]
}

/// A `HAProxy` that a process without anything blocked or ignored has started.
fn what_haproxy_does_itself() -> [u64; 2] {
    let directory = tempfile::tempdir().unwrap();
    let (config, socket) = (directory.path().join("haproxy.cfg"), directory.path().join("stats.sock"));
    let text = format!("global\n  stats socket {}\ndefaults\n  mode http\n", socket.display());
    fs::write(&config, text).unwrap();
    let haproxy = Haproxy::start(&config);
    eventually(SOON, "it answers", || ask(&socket, "show version").map_err(|error| error.to_string()));
    inherited(haproxy.process())
}

#[test]
fn how_it_was_started_plays_no_part() {
    let clean = what_haproxy_does_itself();
    for setup in [Setup::new().pid_1(), Setup::new()] {
        let setup = setup.before_proxymgr(&ignoring_all(), "");
        let (_backends, _server, port) = service(&setup);
        // Inherited by what this thread starts.
        let mask_before = SigSet::thread_get_mask().unwrap();
        SigSet::all().thread_block().unwrap();
        let proxymgr = setup.start();
        mask_before.thread_set_mask().unwrap();
        wait_for_message(&proxymgr, "ready");
        let haproxies = proxymgr.haproxies();
        assert_eq!(inherited(haproxies[0]), clean);

        // The end of a child is heard, and each request.
        haproxies[0].signal(Signal::SIGKILL);
        wait_for_message(&proxymgr, "HAProxy ended by itself (ended by SIGKILL)");
        wait_for_answer(local(port), "web");
        for signal in [Signal::SIGHUP, Signal::SIGUSR2] {
            let before = starts(&proxymgr);
            proxymgr.signal(signal);
            eventually(SOON, &format!("{signal} is heard"), || match starts(&proxymgr) {
                more if more > before => Ok(()),
                same => Err(same),
            });
        }
        assert_eq!(proxymgr.end().code(), Some(0));
    }
}

fn starts(proxymgr: &Proxymgr) -> usize {
    log_lines(proxymgr).iter().filter(|line| line.message == "ready").count()
}

#[test]
fn under_nohup_sighup_reads_proxymgr_yml_again() {
    let setup = Setup::new().before_proxymgr("", "nohup");
    let (_backends, _server, port) = service(&setup);
    let proxymgr = start(&setup);
    fs::write(&setup.paths.proxymgr_yml, "haproxy: [").unwrap();
    proxymgr.signal(Signal::SIGHUP);
    wait_for_message(&proxymgr, "proxymgr.yml is not taken");
    assert_eq!(get(local(port)).unwrap(), "web");
    assert_eq!(proxymgr.end().code(), Some(0));
}
