//! Another program in the place of `HAProxy`: what runs serves on, and all is well once the binary is right again.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use super::support::backend::{Backend, Backends};
use super::support::deadline::eventually;
use super::support::load::{Load, RunningLoad};
use super::support::ports::free_ports;
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{answering, local, wait_for_answer};
use super::support::running::{assert_config_says_what_runs, log_lines, start};
use super::support::stand_in::StandIn;

/// Longer than the longest a start or a check may hang, with the next try.
const LATE: Duration = Duration::from_secs(100);

struct Bench {
    setup: Setup,
    stand_in: StandIn,
    _backends: Backends,
    pool: [Backend; 2],
    ports: [u16; 2],
}

impl Bench {
    fn new() -> Self {
        let (setup, stand_in) = StandIn::new(Setup::new().section("reload", json!({"min_interval": "1ms"})));
        let backends = Backends::new();
        let pool = ["first", "second"].map(|name| backends.start(name));
        Self { setup, stand_in, _backends: backends, pool, ports: free_ports() }
    }

    fn start(&self) -> (Proxymgr, RunningLoad) {
        let [first, _] = &self.pool;
        self.setup.paths.write_file_service("web", self.ports[0], &[first.address.to_string()]);
        let proxymgr = start(&self.setup);
        let load = Load::to(local(self.ports[0])).short(4).keep_alive(4).rate(500).start();
        (proxymgr, load)
    }

    /// Asks for a reload while another program stands in, and waits until it is told that it failed. Server changes go on.
    fn reload_fails(&self, proxymgr: &Proxymgr, stand_in: &str) -> String {
        self.stand_in.becomes(stand_in);
        let [first, second] = &self.pool;
        let serving = proxymgr.haproxies();
        self.setup.paths.write_file_service("other", self.ports[1], &[first.address.to_string()]);
        let told = eventually(LATE, "the failure is told", || {
            let lines = log_lines(proxymgr);
            // Who is new may be blamed for a while.
            let told = lines.into_iter().find(|line| {
                line.says("reload failed, what runs serves on") || line.says("service other is refused")
            });
            told.ok_or(())
        });
        write_in_one_step(
            &self.setup.paths.root.join("web.servers"),
            &format!("{}\n{}\n", first.address, second.address),
        );
        // It waits for the attempt that is under way.
        let both = BTreeSet::from(["first".to_owned(), "second".to_owned()]);
        eventually(LATE, "the new server answers too", || match answering(self.ports[0], 2) {
            Ok(names) if names == both => Ok(()),
            other => Err(other),
        });
        assert!(serving.iter().all(|process| process.is_alive()), "the old process is gone");
        told.message
    }

    /// The same, but the service that was asked for is defined anew, so that it need not wait for another try.
    fn recovers_soon(&self, proxymgr: &Proxymgr, load: RunningLoad) {
        self.stand_in.is_haproxy();
        let file = self.setup.paths.root.join("other.servers");
        let options = ["timeout queue 7s"];
        let definition =
            json!({"type": "file", "file": file, "port": self.ports[1], "listen_options": options});
        self.setup.paths.write_service("other", &definition);
        self.recovers(proxymgr, load);
    }

    /// The binary is right again: no request has failed, and what was asked for comes by itself.
    fn recovers(&self, proxymgr: &Proxymgr, load: RunningLoad) {
        self.stand_in.is_haproxy();
        let since = Instant::now();
        eventually(LATE, "the new service serves", || {
            super::support::requests::get(local(self.ports[1])).map(|_| ())
        });
        println!("recovered by itself after {:?}", since.elapsed());
        let report = load.stop();
        println!("{report}");
        report.assert_no_errors();
        eventually(LATE, "one process remains", || match proxymgr.haproxies().len() {
            1 => Ok(()),
            more => Err(more),
        });
        assert_config_says_what_runs(&self.setup.paths);
    }
}

#[test]
fn a_haproxy_that_exits_at_once_costs_nothing_under_load() {
    for (stand_in, expected) in [
        ("exit 1", "does not say why"),
        ("[ \"$1\" = -c ] || exit 3", "ended before it served (exit code 3)"),
        ("[ \"$1\" = -c ] || kill -SEGV $$", "ended before it served (ended by SIGSEGV)"),
        ("exec /nowhere/haproxy", "does not say why"),
    ] {
        let bench = Bench::new();
        let (proxymgr, load) = bench.start();
        let told = bench.reload_fails(&proxymgr, stand_in);
        assert!(told.contains(expected), "{stand_in}: {told}");
        if stand_in.contains("SEGV") {
            bench.recovers_soon(&proxymgr, load);
        } else {
            bench.recovers(&proxymgr, load);
        }
    }
}

#[test]
fn a_haproxy_that_hangs_costs_nothing() {
    let bench = Bench::new();
    let (proxymgr, load) = bench.start();
    let told = bench.reload_fails(&proxymgr, "[ \"$1\" = -c ] || exec sleep 1000");
    assert!(told.contains("did not serve: HAProxy gave no reply within 30s"), "{told}");
    bench.recovers(&proxymgr, load);
}

#[test]
fn a_check_that_hangs_costs_nothing() {
    let bench = Bench::new();
    let (proxymgr, load) = bench.start();
    // The new definition could be what keeps it busy: but it doesn't start without it either.
    let told = bench.reload_fails(&proxymgr, "exec sleep 1000");
    assert!(told.contains("did not serve: HAProxy gave no reply within 30s"), "{told}");
    let lines = log_lines(&proxymgr);
    assert!(lines.iter().any(|line| line.says("tried in parts") && line.says("didn't end within 30s")));
    bench.recovers(&proxymgr, load);
}

#[test]
fn a_haproxy_that_prints_without_end_fills_neither_memory_nor_log_under_load() {
    const PRINTED: u64 = 40 << 20;
    // Its stderr doesn't block: what finds no room is printed again.
    let print = format!(
        "perl -e '$text = qq([ALERT]    (1) : something is wrong with this, and that is told at length\\n) x 500; $left = {PRINTED}; \
         while ($left > 0) {{ $n = syswrite(STDERR, $text); if (defined $n) {{ $left -= $n }} else {{ select(undef, undef, undef, 0.0002) }} }}'"
    );
    for stand_in in [format!("{print}; exit 1"), format!("[ \"$1\" = -c ] || {{ {print}; exit 1; }}")] {
        let bench = Bench::new();
        let (proxymgr, load) = bench.start();
        let (before, began) = (proxymgr.process().memory(), Instant::now());
        let told = bench.reload_fails(&proxymgr, &stand_in);
        assert!(told.contains("something is wrong with this") && told.len() < 1000, "{told}");
        let (memory, log) = (proxymgr.process().memory(), proxymgr.log().len());
        println!("memory {before} -> {memory}, log {log} bytes");
        assert!(memory < before + (16 << 20), "{memory} bytes of memory after {before}");
        // 4 MiB at once, and 1 MiB a second; all of it would be 80 MB.
        let most = (6 << 20) + 1300 * usize::try_from(began.elapsed().as_millis()).unwrap();
        assert!(log < most, "{log} bytes of log in {:?}", began.elapsed());
        bench.recovers_soon(&proxymgr, load);
        assert!(log_lines(&proxymgr).iter().any(|line| line.says("lines are left out")));
    }
}

#[test]
fn a_crash_while_the_binary_is_wrong_keeps_clients_waiting_until_it_is_right_again_under_load() {
    let bench = Bench::new();
    let (proxymgr, load) = bench.start();
    load.stop();
    bench.stand_in.becomes("exit 1");
    let load = Load::to(local(bench.ports[0])).short(8).rate(500).timeout(Duration::from_secs(60)).start();
    eventually(LATE, "the load runs", || if load.so_far().successes > 500 { Ok(()) } else { Err(()) });
    for process in proxymgr.haproxies() {
        process.signal(Signal::SIGKILL);
    }
    eventually(LATE, "several tries fail", || {
        let tries =
            log_lines(&proxymgr).iter().filter(|l| l.says("HAProxy can't be started, clients wait")).count();
        if tries >= 4 { Ok(()) } else { Err(tries) }
    });
    bench.stand_in.is_haproxy();
    wait_for_answer(local(bench.ports[0]), "first");
    let successes = load.so_far().successes;
    eventually(LATE, "the load is served", || {
        if load.so_far().successes > successes + 500 { Ok(()) } else { Err(()) }
    });
    let report = load.stop();
    println!("{report}");
    assert!(report.errors.len() <= 8, "more than the requests in flight: {report}");
    assert_config_says_what_runs(&bench.setup.paths);
}
