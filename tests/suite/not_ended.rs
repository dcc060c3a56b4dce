//! What goes wrong once `HAProxy` serves is no reason to end; an end that is asked for comes at any time.

use std::fs;
use std::os::unix::net::UnixListener;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::support::backend::{Backend, Backends};
use super::support::deadline::eventually;
use super::support::haproxy::ask;
use super::support::load::Load;
use super::support::ports::free_port;
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::Setup;
use super::support::requests::{SOON, get, local, wait_for_answer, wait_for_refusal};
use super::support::running::{log_lines, reloads, start, wait_for_message};

const NOT_TAKEN: &str = "proxymgr.yml is not taken; the settings of before stay";

fn count(proxymgr: &Proxymgr, message: &str) -> usize {
    log_lines(proxymgr).iter().filter(|line| line.message == message).count()
}

#[track_caller]
fn wait_for_one_more(proxymgr: &Proxymgr, message: &str, before: usize) {
    eventually(SOON, &format!("{message:?} once more"), || match count(proxymgr, message) {
        more if more > before => Ok(()),
        same => Err(same),
    });
}

/// A service at `port` whose server calls itself web.
fn service(setup: &Setup) -> (Backends, Backend, u16) {
    let (backends, port) = (Backends::new(), free_port());
    let server = backends.start("web");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    (backends, server, port)
}

#[test]
fn a_proxymgr_yml_that_asks_for_what_can_not_be_had_is_refused() {
    let setup = Setup::new();
    let (_backends, _server, port) = service(&setup);
    let proxymgr = start(&setup);
    let haproxies = proxymgr.haproxies();

    let mut held = setup.clone();
    held.paths.stats_socket = setup.paths.root.join("held.sock");
    let _holder = UnixListener::bind(&held.paths.stats_socket).unwrap();
    let mut elsewhere = setup.clone();
    elsewhere.paths.state_dir = "/proc/nowhere".into();
    for (bad, said) in [(held, "another process listens there"), (elsewhere, "/proc/nowhere")] {
        let before = count(&proxymgr, NOT_TAKEN);
        fs::write(&setup.paths.proxymgr_yml, bad.yaml()).unwrap();
        proxymgr.signal(Signal::SIGHUP);
        wait_for_one_more(&proxymgr, NOT_TAKEN, before);
        wait_for_message(&proxymgr, said);
    }
    assert_eq!(get(local(port)).unwrap(), "web");
    assert!(ask(&setup.paths.stats_socket, "show version").unwrap().starts_with(char::is_numeric));
    assert_eq!((proxymgr.haproxies(), reloads(&proxymgr).len()), (haproxies, 1));
    assert!(proxymgr.end().success());
}

#[test]
fn a_proxymgr_yml_that_is_spoiled_after_it_was_found_good_is_taken_as_it_was() {
    let spoil = "[ \"$1\" = -c ] && [ -e spoil ] && echo 'haproxy: [' > proxymgr.yml";
    let setup = Setup::new().before_haproxy(spoil);
    let (_backends, _server, port) = service(&setup);
    let mut proxymgr = start(&setup);
    let haproxies = proxymgr.haproxies();
    fs::write(setup.paths.root.join("spoil"), "").unwrap();
    let quieter = setup.section("log", json!({"format": "json", "level": "info"}));
    fs::write(&quieter.paths.proxymgr_yml, quieter.yaml()).unwrap();
    proxymgr.signal(Signal::SIGHUP);
    wait_for_one_more(&proxymgr, "ready", 1);
    assert_eq!(fs::read_to_string(&quieter.paths.proxymgr_yml).unwrap(), "haproxy: [\n");
    assert_eq!((get(local(port)).unwrap(), proxymgr.haproxies()), ("web".to_owned(), haproxies));
    // The next time it is refused, as ever.
    proxymgr.signal(Signal::SIGHUP);
    wait_for_one_more(&proxymgr, NOT_TAKEN, 0);
    proxymgr.signal(Signal::SIGTERM);
    assert!(proxymgr.wait_for_end(SOON).success());
}

/// `HAProxy` can't be asked for its version any more, but for the question of whether proxymgr.yml is good.
const MUTE: &str =
    "[ \"$1\" = -v ] && [ -e mute ] && ! grep -q accept-handover \"/proc/$PPID/cmdline\" && exit 1";

#[test]
fn a_successor_that_can_not_ask_haproxy_leaves_it_serving_under_load() {
    let setup = Setup::new().before_haproxy(MUTE);
    let (backends, server, port) = service(&setup);
    let proxymgr = start(&setup);
    let haproxies = proxymgr.haproxies();
    let load = Load::to(local(port)).short(4).keep_alive(4).rate(500).start();
    let mute = setup.paths.root.join("mute");
    fs::write(&mute, "").unwrap();
    proxymgr.signal(Signal::SIGHUP);
    eventually(SOON, "it tries on", || match count(&proxymgr, "what runs serves on; trying again") {
        2.. => Ok(()),
        tries => Err(tries),
    });
    let other = backends.start("other");
    let file = setup.paths.write_file_service("web", port, &[other.address.to_string()]);
    fs::remove_file(&mute).unwrap();
    wait_for_answer(local(port), "other");
    drop((file, server));
    let report = load.stop();
    println!("{report}");
    report.assert_no_errors();
    assert_eq!((proxymgr.haproxies(), reloads(&proxymgr).len()), (haproxies, 1));
    assert!(proxymgr.end().success());
}

#[test]
fn a_successor_that_can_not_ask_haproxy_ends_when_it_is_asked_to() {
    let setup = Setup::new().before_haproxy(MUTE);
    let (_backends, _server, port) = service(&setup);
    let mut proxymgr = start(&setup);
    let haproxies = proxymgr.haproxies();
    fs::write(setup.paths.root.join("mute"), "").unwrap();
    proxymgr.signal(Signal::SIGUSR2);
    wait_for_message(&proxymgr, "what runs serves on; trying again");
    proxymgr.signal(Signal::SIGTERM);
    assert_eq!(proxymgr.wait_for_end(SOON).code(), Some(0));
    wait_for_refusal(local(port));
    assert!(haproxies.iter().all(|process| !process.is_alive()));
}

#[test]
fn an_end_is_heard_while_it_starts() {
    for option in ["-v", "-c"] {
        let hang = format!("[ \"$1\" = {option} ] && touch asked && exec sleep 60");
        let setup = Setup::new().before_haproxy(&hang);
        let mut proxymgr = setup.start();
        let asked = setup.paths.root.join("asked");
        eventually(SOON, "HAProxy is asked", || if asked.exists() { Ok(()) } else { Err(()) });
        proxymgr.signal(Signal::SIGTERM);
        assert_eq!(proxymgr.wait_for_end(Duration::from_secs(5)).code(), Some(0), "{option}");
        assert!(proxymgr.log().contains("asked to end before HAProxy was started"), "{}", proxymgr.log());
    }
}
