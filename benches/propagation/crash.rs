//! What clients see when `HAProxy` is killed.

use std::collections::BTreeMap;
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::changes::{local, quick_setup};
use crate::figures::{Figures, print_one};
use crate::probe::Probe;
use crate::support::backend::Backends;
use crate::support::load::Load;
use crate::support::load_report::ErrorKind;
use crate::support::ports::free_port;

const ROUNDS: usize = 5;
/// Load before the kill, and after it.
const BEFORE: Duration = Duration::from_millis(500);
const AFTER: Duration = Duration::from_millis(1500);

/// 1000 requests per second, half of them on kept connections; each round has a `ProxyMgr` of its own, since it waits longer
/// the more often `HAProxy` dies.
pub fn gap_after_kill() {
    let backends = Backends::new();
    let (one, other) = (backends.start("one"), backends.start("other"));
    let mut gaps = Figures::default();
    let mut errors: BTreeMap<ErrorKind, usize> = BTreeMap::new();
    for _ in 0..ROUNDS {
        let setup = quick_setup();
        let port = free_port();
        setup.paths.write_file_service("web", port, &[one.address.to_string(), other.address.to_string()]);
        let proxymgr = setup.start();
        Probe::start(local(port)).first_answer_of("one");
        let load = Load::to(local(port)).short(8).keep_alive(8).rate(1000).start();
        sleep(BEFORE);
        for haproxy in proxymgr.haproxies() {
            haproxy.signal(Signal::SIGKILL);
        }
        sleep(AFTER);
        let report = load.stop();
        gaps.add(report.longest_gap);
        for (kind, count) in report.errors_by_kind() {
            *errors.entry(kind).or_default() += count;
        }
    }
    gaps.print("kill -9 of HAProxy, 1000 requests/s: the gap without an answer", "< 500");
    let errors = errors.iter().map(|(kind, count)| format!("{kind:?} {count}"));
    print_one("    failed requests in all rounds", &errors.collect::<Vec<_>>().join(", "), "none refused");
}
