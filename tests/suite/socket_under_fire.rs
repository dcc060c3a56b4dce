//! The runtime socket under fire: replies that are cut, late, unknown or never come, and a process that dies between two
//! commands. What `HAProxy` holds in the end is what is wanted, no request fails, and nothing is sent again blindly.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use super::support::backend::{Backend, Backends};
use super::support::deadline::eventually;
use super::support::haproxy;
use super::support::load::{Load, RunningLoad};
use super::support::load_report::ErrorKind;
use super::support::middleman::{Fault, Middleman};
use super::support::ports::free_ports;
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{local, wait_for_answer, wait_for_refusal};
use super::support::running::{assert_config_says_what_runs, in_rotation, log_lines, reloads, start};

const SOON: Duration = Duration::from_secs(30);
/// Longer than a reply is waited for.
const LATE: Duration = Duration::from_millis(2500);

struct Bench {
    setup: Setup,
    _backends: Backends,
    servers: Vec<Backend>,
    ports: [u16; 2],
    file: PathBuf,
}

/// The servers of a service: their numbers, each with its weight.
type Wanted = &'static [(usize, u16)];

const FIRST: Wanted = &[(0, 100)];
const MORE: Wanted = &[(0, 100), (1, 5), (2, 100)];
const HEAVIER: Wanted = &[(0, 100), (1, 50), (2, 100)];

/// What changes servers, each with the command that it takes.
const STEPS: [(&str, Wanted, Wanted); 4] = [
    ("add server ", FIRST, MORE),
    ("set server web/", MORE, HEAVIER),
    ("set server web/", HEAVIER, FIRST),
    ("del server ", HEAVIER, FIRST),
];

impl Bench {
    fn new() -> Self {
        let (setup, backends, ports) = (Setup::new(), Backends::new(), free_ports());
        let servers: Vec<_> = (0..3).map(|number| backends.start(&format!("s{number}"))).collect();
        let file = setup.paths.root.join("web.servers");
        let bench = Self { setup, _backends: backends, servers, ports, file };
        bench.want(FIRST);
        let options = json!(["default-server inter 10s"]);
        let definition = json!({"type": "file", "file": bench.file, "port": ports[0], "listen_options": options,
            "server_options": ["check"]});
        bench.setup.paths.write_service("web", &definition);
        bench
    }

    fn start(&self) -> (Proxymgr, RunningLoad) {
        let proxymgr = start(&self.setup);
        wait_for_answer(local(self.ports[0]), "s0");
        let load = Load::to(local(self.ports[0])).short(4).keep_alive(4).rate(300).timeout(SOON).start();
        (proxymgr, load)
    }

    fn want(&self, wanted: Wanted) {
        let line =
            |(number, weight): &(usize, u16)| format!("{} weight={weight}\n", self.servers[*number].address);
        write_in_one_step(&self.file, &wanted.iter().map(line).collect::<String>());
    }

    /// Asks `HAProxy` itself.
    #[track_caller]
    fn wait_for(&self, wanted: Wanted) {
        let server = |(number, weight): &(usize, u16)| (self.servers[*number].address, *weight);
        let wanted: BTreeSet<_> = wanted.iter().map(server).collect();
        eventually(SOON, "HAProxy holds what is wanted", || {
            let holds: BTreeSet<_> = in_rotation(&self.setup.paths)
                .into_iter()
                .filter(|server| server.service == "web")
                .map(|server| (server.address, server.weight))
                .collect();
            if holds == wanted { Ok(()) } else { Err((holds, wanted.clone())) }
        });
    }

    /// Wants that, and waits until it is there and nothing else.
    #[track_caller]
    fn begin_with(&self, wanted: Wanted) {
        self.want(wanted);
        self.wait_for(wanted);
        eventually(SOON, "what left is deleted", || {
            let known =
                haproxy::servers(&self.setup.paths.stats_socket).map_err(|error| error.to_string())?;
            if known.len() == wanted.len() { Ok(()) } else { Err(format!("{known:?}")) }
        });
    }

    /// What `HAProxy` holds lasts for longer than something late may take to come.
    #[track_caller]
    fn assert_lasts(&self, wanted: Wanted) {
        let until = Instant::now() + LATE;
        eventually(2 * LATE, "nothing late comes any more", || {
            self.wait_for(wanted);
            if Instant::now() > until { Ok(()) } else { Err("it may come yet") }
        });
        assert_config_says_what_runs(&self.setup.paths);
    }
}

/// Each change under each of `faults`.
fn change_under(faults: &[Fault]) {
    let bench = Bench::new();
    let (proxymgr, load) = bench.start();
    let middleman = Middleman::between(&proxymgr);
    for fault in faults {
        for (command, before, after) in STEPS {
            bench.begin_with(before);
            middleman.spoil(command, *fault);
            bench.want(after);
            middleman.wait_until_spoiled();
            // Taken back before it is known what became of it.
            bench.begin_with(before);
            if fault.takes_long() {
                continue;
            }
            middleman.spoil(command, *fault);
            bench.want(after);
            middleman.wait_until_spoiled();
            bench.wait_for(after);
        }
    }
    bench.want(FIRST);
    bench.assert_lasts(FIRST);
    assert_nothing_failed(&middleman, &proxymgr, load);
}

#[track_caller]
fn assert_nothing_failed(middleman: &Middleman, proxymgr: &Proxymgr, load: RunningLoad) {
    let again = middleman.assert_nothing_was_repeated_blindly();
    println!("{} commands, of which {again} were sent again", middleman.sent().len());
    let report = load.stop();
    println!("{report}");
    report.assert_no_errors();
    assert_eq!(reloads(proxymgr).len(), 1, "{:?}", reloads(proxymgr));
}

#[test]
fn replies_that_break_off_do_no_harm_under_load() {
    change_under(&[Fault::Cut, Fault::Close]);
}

#[test]
fn replies_that_mean_nothing_do_no_harm_under_load() {
    change_under(&[Fault::Replaced("Some words."), Fault::Preceded("Nobody asked.")]);
}

#[test]
fn replies_that_come_late_or_never_do_no_harm_under_load() {
    change_under(&[Fault::Late(LATE), Fault::Swallowed]);
}

#[test]
fn commands_that_are_carried_out_late_do_no_harm_under_load() {
    change_under(&[Fault::PassedOnLate(Duration::from_millis(400))]);
}

#[test]
fn comparisons_that_fail_too_do_no_harm_under_load() {
    let bench = Bench::new();
    let (proxymgr, load) = bench.start();
    let middleman = Middleman::between(&proxymgr);
    for fault in [Fault::Cut, Fault::Close, Fault::Replaced("1"), Fault::Swallowed] {
        bench.begin_with(HEAVIER);
        middleman.spoil("set server web/", Fault::Close);
        middleman.spoil("show servers state", fault);
        bench.want(FIRST);
        middleman.wait_until_spoiled();
        bench.want(MORE);
        bench.wait_for(MORE);
    }
    bench.assert_lasts(MORE);
    assert_nothing_failed(&middleman, &proxymgr, load);
}

#[test]
fn a_socket_that_hangs_costs_one_reload_and_no_request_under_load() {
    let bench = Bench::new();
    let (proxymgr, load) = bench.start();
    let middleman = Middleman::between(&proxymgr);
    bench.begin_with(MORE);
    middleman.hang(true);
    for wanted in [HEAVIER, FIRST, MORE] {
        bench.want(wanted);
    }
    bench.wait_for(MORE);
    bench.want(HEAVIER);
    bench.wait_for(HEAVIER);
    bench.assert_lasts(HEAVIER);
    middleman.assert_nothing_was_repeated_blindly();
    let report = load.stop();
    println!("{report}");
    report.assert_no_errors();
    println!("{:?}", reloads(&proxymgr));
    assert_eq!(reloads(&proxymgr).len(), 2, "{:?}", reloads(&proxymgr));
}

#[test]
fn a_death_between_two_commands_refuses_nobody_under_load() {
    for (command, before, after) in STEPS {
        let bench = Bench::new();
        let (proxymgr, load) = bench.start();
        let middleman = Middleman::between(&proxymgr);
        bench.begin_with(before);
        middleman.spoil(command, Fault::Killed);
        bench.want(after);
        middleman.wait_until_spoiled();
        bench.wait_for(after);
        bench.assert_lasts(after);
        middleman.assert_nothing_was_repeated_blindly();
        let report = load.stop();
        println!("{command}: {report}");
        // Requests that the process had taken end with it.
        let in_flight = [ErrorKind::Reset, ErrorKind::EarlyEof, ErrorKind::IdleClosed];
        assert!(report.errors.len() <= 8, "{report}");
        assert!(report.errors.iter().all(|error| in_flight.contains(&error.kind)), "{report}");
        let reasons = reloads(&proxymgr);
        assert!(reasons.len() == 2 && reasons[1].contains("ended by"), "{reasons:?}");
    }
}

#[test]
fn a_service_that_goes_without_a_reply_is_gone_or_back_as_it_is_wanted_under_load() {
    for fault in [Fault::Close, Fault::Replaced("Some words."), Fault::Swallowed] {
        let bench = Bench::new();
        let other = bench.ports[1];
        let define =
            || bench.setup.paths.write_file_service("other", other, &[bench.servers[1].address.to_string()]);
        define();
        let (proxymgr, load) = bench.start();
        wait_for_answer(local(other), "s1");
        let middleman = Middleman::between(&proxymgr);
        middleman.spoil("shutdown frontend other", fault);
        bench.setup.paths.remove_service("other");
        middleman.wait_until_spoiled();
        wait_for_refusal(local(other));
        let before = reloads(&proxymgr).len();
        define();
        wait_for_answer(local(other), "s1");
        assert_eq!(reloads(&proxymgr).len(), before + 1);
        let middleman = Middleman::between(&proxymgr);
        middleman.spoil("shutdown frontend other", fault);
        bench.setup.paths.remove_service("other");
        middleman.wait_until_spoiled();
        define();
        wait_for_answer(local(other), "s1");
        bench.assert_lasts(FIRST);
        wait_for_answer(local(other), "s1");
        let refused = log_lines(&proxymgr).into_iter().find(|line| line.says("is used by another process"));
        assert!(refused.is_none(), "{refused:?}");
        let report = load.stop();
        println!("{fault:?}: {report}");
        report.assert_no_errors();
    }
}
