//! The duties of an init process: as PID 1, and in the same way as a subreaper.

use std::fs;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::support::backend::Backends;
use super::support::deadline::eventually;
use super::support::load::Load;
use super::support::ports::free_port;
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::Setup;
use super::support::requests::{SOON, get, local};
use super::support::running::{assert_config_says_what_runs, log_lines, reloads, start};

const ORPHANS: usize = 1000;
/// A thousand children of a parent that ends at once, when there is a file `go`; none holds `HAProxy`'s output.
const ORPHANAGE: &str = "
orphans() {
    until [ -e go ]; do sleep 0.05; done
    for i in $(seq 1000); do (sleep 0.05 &); done
}
[ \"$1\" = -db ] && [ ! -e once ] && touch once && (orphans </dev/null >/dev/null 2>&1 &)
";

fn collected(proxymgr: &Proxymgr) -> usize {
    log_lines(proxymgr).iter().filter(|line| line.message == "collected an orphan").count()
}

/// The ends of `HAProxy` processes that were told, old ones that drained too.
fn ends(proxymgr: &Proxymgr) -> Vec<String> {
    let end = |line: &super::support::running::LogLine| match line.message.as_str() {
        "an old HAProxy is gone" => Some(line.fields["exit"].as_str().unwrap().to_owned()),
        message => {
            let (_, how) = message.split_once("HAProxy ended by itself (")?;
            Some(how.split_once(')').unwrap().0.to_owned())
        }
    };
    log_lines(proxymgr).iter().filter_map(end).collect()
}

#[test]
fn a_thousand_orphans_are_collected_by_pid_1_under_load() {
    collects_a_thousand_orphans(Setup::new().pid_1());
}

#[test]
fn a_thousand_orphans_are_collected_by_a_subreaper_under_load() {
    collects_a_thousand_orphans(Setup::new());
}

fn collects_a_thousand_orphans(setup: Setup) {
    let (backends, port) = (Backends::new(), free_port());
    let server = backends.start("web");
    let setup = setup.before_haproxy(ORPHANAGE).section("reload", json!({"min_interval": "1ms"}));
    let file = setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let proxymgr = start(&setup);
    let load = Load::to(local(port)).short(4).keep_alive(4).rate(800).start();
    fs::write(setup.paths.root.join("go"), "").unwrap();
    // Meanwhile `haproxy -c` is asked, and old processes end: children whose exit codes count.
    for reload in 1..=5 {
        let options = [format!("timeout queue {reload}s")];
        let definition = json!({"type": "file", "file": file, "port": port, "listen_options": options});
        setup.paths.write_service("web", &definition);
        eventually(SOON, "the reload is done", || match ends(&proxymgr).len() {
            gone if gone == reload => Ok(()),
            gone => Err(gone),
        });
    }
    eventually(Duration::from_secs(60), "all orphans are collected", || match collected(&proxymgr) {
        all if all >= ORPHANS => Ok(()),
        some => Err(some),
    });
    eventually(SOON, "no zombie is left", || match proxymgr.process().zombies() {
        0 => Ok(()),
        some => Err(some),
    });
    let report = load.stop();
    println!("{report}; {} orphans", collected(&proxymgr));
    report.assert_no_errors();
    assert_eq!(ends(&proxymgr), vec!["exit code 0"; 5]);
    assert_eq!((proxymgr.haproxies().len(), reloads(&proxymgr).len()), (1, 6));
    assert_config_says_what_runs(&setup.paths);
    assert_eq!(proxymgr.end().code(), Some(0));
}

#[test]
fn how_haproxy_ended_is_told_exactly_by_pid_1() {
    tells_how_haproxy_ended(Setup::new().pid_1());
}

#[test]
fn how_haproxy_ended_is_told_exactly_by_a_subreaper() {
    tells_how_haproxy_ended(Setup::new());
}

fn tells_how_haproxy_ended(setup: Setup) {
    // SIGHUP stands for what makes a real one exit with a code.
    let exits = "
        if [ \"$1\" = -db ] && [ -e exit-7 ]; then
            trap 'kill -KILL $child; exit 7' HUP
            trap 'kill -TERM $child; exit 143' TERM USR1
            haproxy \"$@\" & child=$!
            wait $child; exit $?
        fi";
    let (backends, port) = (Backends::new(), free_port());
    let server = backends.start("web");
    let setup = setup.before_haproxy(exits);
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let proxymgr = start(&setup);
    let flag = setup.paths.root.join("exit-7");
    let mut wanted = Vec::new();
    for (signal, how) in [
        (Signal::SIGSEGV, "ended by SIGSEGV"),
        (Signal::SIGKILL, "ended by SIGKILL"),
        (Signal::SIGTERM, "ended by SIGTERM"),
        (Signal::SIGHUP, "exit code 7"),
        (Signal::SIGABRT, "ended by SIGABRT"),
    ] {
        let haproxy = eventually(SOON, "the next HAProxy serves", || {
            let times = log_lines(&proxymgr)
                .iter()
                .filter(|line| line.message.starts_with("HAProxy serves,"))
                .count();
            match proxymgr.haproxies().as_slice() {
                [one] if times > wanted.len() => Ok(*one),
                others => Err((others.len(), times)),
            }
        });
        get(local(port)).unwrap();
        // The one that follows is to end by its code.
        if signal == Signal::SIGTERM {
            fs::write(&flag, "").unwrap();
        } else if flag.exists() {
            fs::remove_file(&flag).unwrap();
        }
        haproxy.signal(signal);
        wanted.push(how);
        eventually(SOON, "its end is told", || match ends(&proxymgr) {
            told if told.len() == wanted.len() => Ok(()),
            told => Err(told),
        });
        assert_eq!(ends(&proxymgr), wanted);
    }
    eventually(SOON, "it serves", || get(local(port)));
    assert_eq!(proxymgr.end().code(), Some(0));
}
