//! `ProxyMgr` itself is killed: `HAProxy` serves on, and the next start takes it over.

use std::fs;
use std::net::TcpStream;
use std::path::PathBuf;

use nix::sys::signal::Signal;
use nix::unistd::Pid;
use serde_json::json;

use super::support::backend::{Backend, Backends};
use super::support::deadline::eventually;
use super::support::haproxy::ask;
use super::support::load::Load;
use super::support::load_report::ErrorKind;
use super::support::ports::free_port;
use super::support::proc::Process;
use super::support::proxymgr::{Proxymgr, command, output_of};
use super::support::proxymgr_setup::{Paths, Setup, write_in_one_step};
use super::support::requests::{SOON, get, local, wait_for_answer, wait_for_backends};
use super::support::running::{assert_config_says_what_runs, log_lines, reloads, start, wait_for_message};
use super::support::service_manager::ServiceManager;

const CRASHES: usize = 5;

/// A `ProxyMgr` with a service on `port`, under a service manager.
struct World {
    setup: Setup,
    manager: ServiceManager,
    backends: Backends,
    servers: Vec<Backend>,
    file: PathBuf,
    port: u16,
}

impl World {
    fn new() -> Self {
        let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
        let servers = vec![backends.start("a"), backends.start("b")];
        let lines: Vec<_> = servers.iter().map(|server| server.address.to_string()).collect();
        let file = setup.paths.write_file_service("web", port, &lines);
        setup.paths.write_file_service("other", free_port(), &[]);
        let manager = ServiceManager::new(&setup.paths.root);
        Self { setup, manager, backends, servers, file, port }
    }

    fn start(&self) -> Proxymgr {
        self.manager.with(&self.setup).start()
    }

    fn write_servers(&self, servers: &[&Backend]) {
        let lines: Vec<_> = servers.iter().map(|server| server.address.to_string() + "\n").collect();
        write_in_one_step(&self.file, &lines.concat());
    }
}

/// The process that serves, whoever started it.
#[track_caller]
fn haproxy(paths: &Paths) -> Process {
    let info = eventually(SOON, "HAProxy answers", || {
        ask(&paths.stats_socket, "show info").map_err(|error| error.to_string())
    });
    let pid = info.lines().find_map(|line| line.strip_prefix("Pid: ")).unwrap().parse().unwrap();
    Process::with_pid(Pid::from_raw(pid)).unwrap()
}

/// One that no `ProxyMgr` looks after when a test fails.
struct EndedWithTheTest(Process);

impl Drop for EndedWithTheTest {
    fn drop(&mut self) {
        self.0.signal(Signal::SIGKILL);
    }
}

fn count(paths: &Paths, message: &str) -> usize {
    fs::read_to_string(&paths.log).unwrap().matches(message).count()
}

/// Waits until `text` stands in the record of what runs.
#[track_caller]
fn wait_for_record(paths: &Paths, text: &str) {
    let record = paths.runtime_dir.join("running.json");
    eventually(SOON, "it is written down", || match fs::read_to_string(&record) {
        Ok(found) if found.contains(text) => Ok(()),
        other => Err(other.map_err(|error| error.to_string())),
    });
}

#[track_caller]
fn kill(mut proxymgr: Proxymgr) {
    proxymgr.signal(Signal::SIGKILL);
    proxymgr.wait_for_end(SOON);
}

/// Waits until the `number`th start has heard its registries.
#[track_caller]
fn wait_until_ready(paths: &Paths, number: usize) {
    eventually(SOON, "the next one is ready", || match count(paths, "\"message\":\"ready\"") {
        many if many >= number => Ok(()),
        few => Err(few),
    });
}

#[test]
fn a_killed_proxymgr_costs_no_request_under_load_and_haproxy_is_taken_over() {
    let mut world = World::new();
    let mut proxymgr = world.start();
    wait_until_ready(&world.setup.paths, 1);
    let haproxy = haproxy(&world.setup.paths);
    let _leftover = EndedWithTheTest(haproxy);
    let load = Load::to(local(world.port)).short(8).keep_alive(8).rate(1500).start();
    for crash in 1..=CRASHES {
        let name = format!("more{crash}");
        let another = world.backends.start(&name);
        world.write_servers(&[&world.servers[0], &another]);
        wait_for_backends(world.port, &["a", &name]);
        // What came just before may be missing in the record: the next start finds it by looking.
        if crash % 2 == 0 {
            wait_for_record(&world.setup.paths, &format!("{}\":{{", another.address));
        }
        world.servers.push(another);
        kill(proxymgr);
        assert_eq!(get(local(world.port)).map(|answer| !answer.is_empty()), Ok(true));
        proxymgr = world.start();
        wait_until_ready(&world.setup.paths, crash + 1);
    }
    let report = load.stop();
    println!("{report}");
    report.assert_no_errors();
    assert!(haproxy.is_alive());
    assert_eq!(reloads(&proxymgr).len(), 1, "{:?}", reloads(&proxymgr));
    assert_eq!(count(&world.setup.paths, "is not taken over"), 0);

    // The last one has everything in hand: servers at run time, reloads, output, the death of one that is no child.
    world.write_servers(&[&world.servers[1]]);
    wait_for_backends(world.port, &["b"]);
    assert_eq!(reloads(&proxymgr).len(), 1);
    haproxy.signal(Signal::SIGKILL);
    wait_for_message(&proxymgr, "nobody kept");
    wait_for_backends(world.port, &["b"]);
    assert_config_says_what_runs(&world.setup.paths);
    world.setup.paths.remove_service("web");
    eventually(SOON, "the port is closed", || match TcpStream::connect(local(world.port)) {
        Err(_) => Ok(()),
        Ok(_) => Err("open"),
    });
    eventually(SOON, "one listen socket is kept", || {
        let names = world.manager.names();
        match names.iter().filter(|name| name.starts_with("listen=")).count() {
            1 => Ok(()),
            _ => Err(names),
        }
    });
    assert!(proxymgr.end().success());
    assert!(!world.setup.paths.runtime_dir.join("running.json").exists());
}

#[test]
fn what_can_not_be_trusted_is_replaced_under_load_without_an_error() {
    let world = World::new();
    let mut proxymgr = world.start();
    wait_until_ready(&world.setup.paths, 1);
    let record = world.setup.paths.runtime_dir.join("running.json");
    let load = Load::to(local(world.port)).short(8).keep_alive(8).rate(1500).start();
    let damages = [("there is no record of it", None), ("its record can't be used", Some("{}"))];
    for (number, (reason, damage)) in (2..).zip(damages) {
        let old = haproxy(&world.setup.paths);
        let _leftover = EndedWithTheTest(old);
        wait_for_record(&world.setup.paths, &format!("\"pid\":{},", old.pid));
        kill(proxymgr);
        match damage {
            None => fs::remove_file(&record).unwrap(),
            Some(text) => fs::write(&record, text).unwrap(),
        }
        proxymgr = world.start();
        wait_for_message(&proxymgr, reason);
        wait_until_ready(&world.setup.paths, number);
        eventually(SOON, "the old HAProxy has drained", || if old.is_alive() { Err(()) } else { Ok(()) });
        assert_ne!(haproxy(&world.setup.paths), old);
    }
    let report = load.stop();
    println!("{report}");
    report.assert_no_errors();
    assert_eq!(reloads(&proxymgr).len(), 3);
}

#[test]
fn an_haproxy_that_ended_or_hangs_meanwhile_is_replaced() {
    let world = World::new();
    let mut proxymgr = world.start();
    wait_until_ready(&world.setup.paths, 1);
    for (number, (signal, reason)) in
        (2..).zip([(Signal::SIGKILL, ""), (Signal::SIGSTOP, "its runtime socket doesn't answer")])
    {
        let old = haproxy(&world.setup.paths);
        let _leftover = EndedWithTheTest(old);
        wait_for_record(&world.setup.paths, &format!("\"pid\":{},", old.pid));
        kill(proxymgr);
        old.signal(signal);
        // Clients wait, nobody is refused.
        let early = std::thread::spawn({
            let port = world.port;
            move || get(local(port))
        });
        proxymgr = world.start();
        wait_until_ready(&world.setup.paths, number);
        wait_for_message(&proxymgr, reason);
        wait_for_backends(world.port, &["a", "b"]);
        if signal == Signal::SIGKILL {
            early.join().unwrap().unwrap();
        }
    }
}

#[test]
fn a_restart_refuses_nobody_where_sockets_are_kept() {
    let world = World::new();
    let mut proxymgr = world.start();
    wait_until_ready(&world.setup.paths, 1);
    let load = Load::to(local(world.port)).short(8).rate(500).start();
    for number in 2..4 {
        assert!(proxymgr.end().success());
        proxymgr = world.start();
        wait_until_ready(&world.setup.paths, number);
    }
    let report = load.stop();
    println!("{report}");
    assert_eq!(report.errors_by_kind().get(&ErrorKind::ConnectRefused), None);
    report.assert_no_errors();
}

#[test]
fn without_a_service_manager_the_next_start_gets_its_ports_back() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let server = backends.start("a");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let proxymgr = start(&setup);
    let old = haproxy(&setup.paths);
    let _leftover = EndedWithTheTest(old);
    kill(proxymgr);
    assert_eq!(get(local(port)).unwrap(), "a");
    let proxymgr = setup.start();
    wait_for_message(&proxymgr, "of an earlier ProxyMgr holds its ports");
    wait_until_ready(&setup.paths, 2);
    wait_for_answer(local(port), "a");
    eventually(SOON, "the old HAProxy is gone", || if old.is_alive() { Err(()) } else { Ok(()) });
    assert_config_says_what_runs(&setup.paths);
    let warnings = log_lines(&proxymgr).into_iter().filter(|line| line.says("is used by another process"));
    assert_eq!(warnings.count(), 0);
}

#[test]
fn a_second_proxymgr_with_the_same_directories_is_refused_and_harms_nothing() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let server = backends.start("a");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let setup = setup.section("log", json!({"format": "text", "level": "info"}));
    let proxymgr = setup.start();
    wait_for_answer(local(port), "a");
    let haproxies = proxymgr.haproxies();
    let second = output_of(command().arg("run").arg("-c").arg(&setup.paths.proxymgr_yml));
    let said = String::from_utf8_lossy(&[second.stdout, second.stderr].concat()).into_owned();
    assert_eq!(second.status.code(), Some(1), "{said}");
    assert!(said.contains("another ProxyMgr runs"), "{said}");
    assert_eq!((proxymgr.haproxies(), get(local(port)).unwrap()), (haproxies, "a".to_owned()));
    assert!(proxymgr.end().success());
}

#[test]
fn a_start_that_finds_no_haproxy_leaves_alone_the_one_that_runs() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let server = backends.start("a");
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let proxymgr = start(&setup);
    let _leftover = EndedWithTheTest(haproxy(&setup.paths));
    kill(proxymgr);
    let mut next = setup.haproxy_key("path", json!("/nowhere/haproxy")).start();
    assert_eq!(next.wait_for_end(SOON).code(), Some(69));
    assert_eq!(get(local(port)).unwrap(), "a");
}
