//! `HAProxy` stands still for a while (SIGSTOP), in the midst of changes: all is as wanted once it goes on.

use std::time::{Duration, Instant};

use nix::sys::signal::Signal;

use super::support::backend::Backends;
use super::support::deadline::eventually;
use super::support::load::Load;
use super::support::ports::free_ports;
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{SOON, local, wait_for_backends};
use super::support::running::{assert_config_says_what_runs, start};

const FROZEN: Duration = Duration::from_secs(5);

#[test]
fn five_seconds_of_standstill_amid_changes_fail_no_request_under_load() {
    let (setup, backends, [port, other]) = (Setup::new(), Backends::new(), free_ports());
    let servers: Vec<_> = (0..8).map(|number| backends.start(&format!("s{number}"))).collect();
    let line = |number: usize| servers[number].address.to_string() + "\n";
    let file = setup.paths.write_file_service("web", port, &[line(0).trim().to_owned()]);
    let proxymgr = start(&setup);
    let load = Load::to(local(port)).short(4).keep_alive(4).rate(300).timeout(SOON).start();
    let haproxy = proxymgr.haproxies()[0];
    // Commands are on their way when it stands still, and more changes come meanwhile.
    write_in_one_step(&file, &(line(0) + &line(1)));
    haproxy.signal(Signal::SIGSTOP);
    let since = Instant::now();
    let mut next = 2;
    eventually(2 * FROZEN, "it has stood still for long enough", || {
        if next < 7 && since.elapsed() > FROZEN * u32::try_from(next - 1).unwrap() / 6 {
            write_in_one_step(&file, &(line(0) + &line(next)));
            next += 1;
        }
        if since.elapsed() >= FROZEN { Ok(()) } else { Err(since.elapsed()) }
    });
    setup.paths.write_file_service("other", other, &[line(7).trim().to_owned()]);
    haproxy.signal(Signal::SIGCONT);
    wait_for_backends(other, &["s7"]);
    wait_for_backends(port, &["s0", &format!("s{}", next - 1)]);
    let report = load.stop();
    println!("{report}");
    report.assert_no_errors();
    eventually(SOON, "one process remains", || match proxymgr.haproxies().len() {
        1 => Ok(()),
        more => Err(more),
    });
    assert_config_says_what_runs(&setup.paths);
    assert!(proxymgr.end().success());
}
