//! A disk that is full, or can't be written, under `config_path`, `state_dir` and `runtime_dir` in turn.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;

use super::support::backend::{Backend, Backends};
use super::support::deadline::eventually;
use super::support::disk::Disk;
use super::support::load::Load;
use super::support::ports::free_ports;
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{get, local, wait_for_answer, wait_for_backends};
use super::support::running::{assert_config_says_what_runs, log_lines, start, wait_for_message};

/// Longer than the pause between two tries of anything that is written.
const TRIES: Duration = Duration::from_secs(21);

/// One service, fed by a file that is not on the small disk.
struct Bench {
    setup: Setup,
    backends: Backends,
    pool: Vec<Backend>,
    file: PathBuf,
    web: u16,
    other: u16,
}

impl Bench {
    fn new(setup: Setup) -> Self {
        let (backends, [web, other]) = (Backends::new(), free_ports());
        let pool: Vec<_> = ["first", "second", "third"].map(|name| backends.start(name)).into();
        let file = setup.root_file("web.servers", &line(pool[0].address));
        let setup = setup.section("reload", json!({"min_interval": "1ms"}));
        let bench = Self { setup, backends, pool, file, web, other };
        bench.setup.paths.write_service("web", &bench.definition(bench.web));
        bench
    }

    fn definition(&self, port: u16) -> serde_json::Value {
        json!({"type": "file", "file": self.file, "port": port})
    }

    /// What goes on while something can't be written: other servers, another service, the death of `HAProxy`.
    fn goes_on(&self, proxymgr: &Proxymgr) {
        write_in_one_step(&self.file, &line(self.pool[1].address));
        wait_for_backends(self.web, &["second"]);
        self.setup.paths.write_service("other", &self.definition(self.other));
        wait_for_answer(local(self.other), "second");
        // It answers a little before ProxyMgr knows.
        let starts = eventually(Duration::from_secs(20), "the reload is done", || {
            let starts = told(proxymgr, "a new HAProxy serves");
            if starts == 2 { Ok(starts) } else { Err(starts) }
        });
        proxymgr.haproxies().last().unwrap().signal(Signal::SIGKILL);
        eventually(Duration::from_secs(20), "another process serves", || {
            let now = told(proxymgr, "a new HAProxy serves");
            if now > starts { Ok(()) } else { Err(now) }
        });
        for port in [self.web, self.other] {
            assert_eq!(get(local(port)).unwrap(), "second");
        }
        write_in_one_step(&self.file, &line(self.pool[2].address));
        wait_for_backends(self.web, &["third"]);
    }
}

fn line(address: SocketAddr) -> String {
    format!("{address}\n")
}

/// How often it was told.
fn told(proxymgr: &Proxymgr, text: &str) -> usize {
    log_lines(proxymgr).iter().filter(|line| line.says(text)).count()
}

fn config_on(disk: &Path) -> Setup {
    let mut setup = Setup::new();
    setup.paths.haproxy_cfg = disk.join("haproxy.cfg");
    setup
}

/// A directory in which the disk's mount is not in the way of the setup's own.
fn place() -> (tempfile::TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("disk");
    (directory, path)
}

#[test]
fn a_full_disk_under_haproxy_cfg_stops_no_change_and_is_told_once() {
    let (_directory, path) = place();
    let disk = Disk::new(&path, "256k");
    config_goes_on(&disk, Disk::fill, Disk::free, "the disk or the quota is full");
}

#[test]
fn a_read_only_directory_of_haproxy_cfg_stops_no_change_and_is_told_once() {
    let (_directory, path) = place();
    let disk = Disk::new(&path, "1m");
    config_goes_on(&disk, Disk::read_only, Disk::writable, "is mounted read-only");
}

fn config_goes_on(disk: &Disk, take: impl Fn(&Disk), give: impl Fn(&Disk), reason: &str) {
    let bench = Bench::new(config_on(disk.path()));
    let proxymgr = start(&bench.setup);
    let load = Load::to(local(bench.web)).short(4).keep_alive(4).rate(300).start();
    take(disk);
    let before = std::fs::read_to_string(&proxymgr.paths.haproxy_cfg).unwrap();
    bench.goes_on(&proxymgr);
    assert!(told(&proxymgr, reason) > 0);
    assert_eq!(
        std::fs::read_to_string(&proxymgr.paths.haproxy_cfg).unwrap(),
        before,
        "the old file is whole"
    );
    // Some tries later.
    let done = std::time::Instant::now();
    eventually(2 * TRIES, "time passes", || if done.elapsed() > TRIES { Ok(()) } else { Err(()) });
    assert_eq!(told(&proxymgr, "haproxy.cfg is not up to date"), 1, "it is told once");
    give(disk);
    wait_for_message(&proxymgr, "haproxy.cfg is up to date again");
    let report = load.stop();
    println!("{report}");
    // Only the requests in flight when HAProxy was killed.
    assert!(report.errors.len() <= 8, "{report}");
    assert_config_says_what_runs(&proxymgr.paths);
    let fourth = bench.backends.start("fourth");
    write_in_one_step(&bench.file, &line(fourth.address));
    wait_for_backends(bench.web, &["fourth"]);
    assert_config_says_what_runs(&proxymgr.paths);
}

#[test]
fn a_full_disk_under_state_dir_or_runtime_dir_stops_no_change_and_is_told_seldom() {
    for key in ["state_dir", "runtime_dir"] {
        let (_directory, path) = place();
        let disk = Disk::new(&path, "256k");
        let mut setup = Setup::new();
        match key {
            "state_dir" => setup.paths.state_dir = path.clone(),
            _ => setup.paths.runtime_dir = path.clone(),
        }
        let bench = Bench::new(setup);
        let proxymgr = start(&bench.setup);
        disk.fill();
        bench.goes_on(&proxymgr);
        if key == "state_dir" {
            wait_for_message(&proxymgr, "the snapshot of the topology is not up to date");
        }
        let done = std::time::Instant::now();
        eventually(2 * TRIES, "time passes", || if done.elapsed() > TRIES { Ok(()) } else { Err(()) });
        let warnings: Vec<_> =
            log_lines(&proxymgr).into_iter().filter(|line| line.says("the disk or the quota")).collect();
        let loud = warnings.iter().filter(|line| line.level != "DEBUG").count();
        // The last good configuration, the snapshot and the history, each once.
        assert!(loud <= 3, "{key}: {warnings:?}");
        disk.free();
        if key == "state_dir" {
            wait_for_message(&proxymgr, "the snapshot of the topology is up to date again");
        }
        write_in_one_step(&bench.file, &line(bench.pool[0].address));
        wait_for_backends(bench.web, &["first"]);
        assert_config_says_what_runs(&proxymgr.paths);
    }
}
