//! From start to end: signals, sockets and their modes, addresses of every kind, and `HAProxy`'s own log lines.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::json;

use super::support::backend::{Backend, Backends, Behaviour};
use super::support::deadline::eventually;
use super::support::haproxy::{self, ask};
use super::support::ports::free_port;
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::Setup;
use super::support::requests::{SOON, get, get_over, local, wait_for_answer, wait_for_refusal};
use super::support::running::{assert_config_says_what_runs, log_lines, reloads, start, wait_for_message};

/// One service at `port` with one server that takes `delay` to answer.
fn slow_service(setup: &Setup, delay: Duration) -> (Backends, Backend, u16) {
    let (backends, port) = (Backends::new(), free_port());
    let server = backends.start("slow");
    server.behave(Behaviour::AnswerAfter(delay));
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    (backends, server, port)
}

/// A request that has reached the server when this returns.
fn request_under_way(server: &Backend, port: u16) -> std::thread::JoinHandle<Result<String, String>> {
    let request = std::thread::spawn(move || get(local(port)));
    eventually(SOON, "the request reaches the server", || match server.requests() {
        0 => Err(()),
        _ => Ok(()),
    });
    request
}

#[track_caller]
fn assert_nothing_remains(proxymgr: &Proxymgr, started: &[super::support::proc::Process], port: u16) {
    assert!(started.iter().all(|process| !process.is_alive()), "something still runs");
    wait_for_refusal(local(port));
    let paths = &proxymgr.paths;
    assert!(!paths.stats_socket.exists(), "the operators' socket is removed");
    let sockets: Vec<_> = fs::read_dir(&paths.runtime_dir)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "sock"))
        .collect();
    assert_eq!(sockets, Vec::<std::path::PathBuf>::new());
}

#[test]
fn sigterm_and_sigint_and_sigusr1_let_requests_finish_and_end_with_0() {
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGUSR1] {
        let setup = Setup::new().section("shutdown", json!({"grace": "15s"}));
        let (_backends, server, port) = slow_service(&setup, Duration::from_millis(700));
        let mut proxymgr = start(&setup);
        let request = request_under_way(&server, port);
        let started = proxymgr.process().descendants();
        assert!(!started.is_empty());
        let asked = Instant::now();
        proxymgr.signal(signal);
        wait_for_refusal(local(port));
        assert_eq!(request.join().unwrap().as_deref(), Ok("slow"), "{signal}");
        let status = proxymgr.wait_for_end(SOON);
        let took = asked.elapsed();
        println!("{signal}: ended {took:?} after the signal");
        assert_eq!(status.code(), Some(0), "{signal}");
        assert!(
            took < Duration::from_secs(14),
            "it ends with its last request, not with the grace: {took:?}"
        );
        assert_nothing_remains(&proxymgr, &started, port);
    }
}

#[test]
fn what_outlasts_the_grace_is_cut() {
    let setup = Setup::new().section("shutdown", json!({"grace": "500ms"}));
    let (_backends, server, port) = slow_service(&setup, Duration::from_secs(600));
    let mut proxymgr = start(&setup);
    let request = request_under_way(&server, port);
    let started = proxymgr.process().descendants();
    let asked = Instant::now();
    proxymgr.signal(Signal::SIGTERM);
    assert_eq!(proxymgr.wait_for_end(SOON).code(), Some(0));
    let took = asked.elapsed();
    println!("ended {took:?} after the signal, with a grace of 500 ms");
    assert!(took >= Duration::from_millis(500), "{took:?}");
    assert!(request.join().unwrap().is_err());
    assert_nothing_remains(&proxymgr, &started, port);
}

#[test]
fn a_second_signal_ends_at_once() {
    let setup = Setup::new().section("shutdown", json!({"grace": "10m"}));
    let (_backends, server, port) = slow_service(&setup, Duration::from_secs(600));
    let mut proxymgr = start(&setup);
    let request = request_under_way(&server, port);
    let started = proxymgr.process().descendants();
    proxymgr.signal(Signal::SIGTERM);
    wait_for_message(&proxymgr, "asked to end; HAProxy drains");
    proxymgr.signal(Signal::SIGINT);
    assert_eq!(proxymgr.wait_for_end(SOON).code(), Some(0));
    assert!(request.join().unwrap().is_err());
    assert_nothing_remains(&proxymgr, &started, port);
}

#[test]
fn files_and_sockets_are_closed_to_others() {
    let setup = Setup::new();
    fs::remove_dir(&setup.paths.runtime_dir).unwrap();
    let (_backends, _server, _port) = slow_service(&setup, Duration::ZERO);
    let proxymgr = start(&setup);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&setup.paths.stats_socket), 0o600);
    assert_eq!(mode(&setup.paths.runtime_dir), 0o700);
    assert_eq!(mode(&setup.paths.haproxy_cfg), 0o640);
    for entry in
        fs::read_dir(&setup.paths.runtime_dir).unwrap().chain(fs::read_dir(&setup.paths.state_dir).unwrap())
    {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path) & 0o007, 0, "{} is open to others", path.display());
    }
    drop(proxymgr);
}

#[test]
fn the_directory_of_the_operators_socket_is_made() {
    let mut setup = Setup::new();
    setup.paths.stats_socket = setup.paths.root.join("not/there/yet/stats.sock");
    let (_backends, _server, port) = slow_service(&setup, Duration::ZERO);
    let _proxymgr = start(&setup);
    wait_for_answer(local(port), "slow");
    assert!(ask(&setup.paths.stats_socket, "show version").unwrap().starts_with(char::is_numeric));
}

#[test]
fn an_operators_socket_that_another_process_holds_is_not_taken_over() {
    let setup = Setup::new();
    let held = UnixListener::bind(&setup.paths.stats_socket).unwrap();
    let mut proxymgr = setup.start();
    assert_eq!(proxymgr.wait_for_end(SOON).code(), Some(1));
    let log = proxymgr.log();
    assert!(log.contains("haproxy.socket_path") && log.contains("another process listens there"), "{log}");
    UnixStream::connect(&setup.paths.stats_socket).unwrap();
    drop(held);
}

#[test]
fn the_operators_socket_answers_across_reloads() {
    let setup = Setup::new().section("reload", json!({"min_interval": "1ms"}));
    let (_backends, server, port) = slow_service(&setup, Duration::ZERO);
    let proxymgr = start(&setup);
    let socket = &setup.paths.stats_socket;
    let file = setup.paths.root.join("web.servers");
    let mut asked = 0;
    for index in 0..20 {
        let options = [format!("timeout queue {}s", 100 + index)];
        setup.paths.write_service(
            "web",
            &json!({"type": "file", "file": file, "port": port, "listen_options": options}),
        );
        eventually(SOON, "the reload is done", || {
            // Each question must be answered, whichever process is asked.
            let state = ask(socket, "show servers state web").unwrap();
            assert!(state.contains(&server.address.port().to_string()), "{state:?}");
            asked += 1;
            let done =
                log_lines(&proxymgr).iter().filter(|line| line.message == "a new HAProxy serves").count();
            if done == index + 2 { Ok(()) } else { Err(done) }
        });
    }
    println!("{asked} questions over 20 reloads");
}

#[test]
fn ipv6_unix_and_several_addresses_are_served() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let server = backends.start("web");
    let path = setup.paths.root.join("web.sock");
    let file = setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let bind = ["127.0.0.1".to_owned(), "[::1]".to_owned(), format!("unix@{}", path.display())];
    setup.paths.write_service("web", &json!({"type": "file", "file": file, "port": port, "bind": bind}));
    // A source without any service would keep its last one.
    setup.paths.write_file_service("stays", free_port(), &[server.address.to_string()]);
    let proxymgr = start(&setup);
    wait_for_answer(local(port), "web");
    assert_eq!(get(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port))).as_deref(), Ok("web"));
    assert_eq!(get_over(UnixStream::connect(&path).unwrap()).as_deref(), Ok("web"));
    haproxy::check(&setup.paths.haproxy_cfg).unwrap();

    setup.paths.remove_service("web");
    wait_for_refusal(local(port));
    wait_for_refusal(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], port)));
    eventually(SOON, "the unix socket is removed", || if path.exists() { Err(()) } else { Ok(()) });
    assert_eq!(reloads(&proxymgr), ["start"]);
}

#[test]
fn what_a_killed_proxymgr_left_behind_is_no_obstacle() {
    let setup = Setup::new();
    let (_backends, _server, port) = slow_service(&setup, Duration::ZERO);
    let mut first = start(&setup);
    let left = first.process().descendants();
    first.signal(Signal::SIGKILL);
    first.wait_for_end(SOON);
    for process in left {
        process.signal(Signal::SIGKILL);
        eventually(SOON, "its HAProxy is dead", || if process.is_alive() { Err(()) } else { Ok(()) });
    }
    assert!(setup.paths.stats_socket.exists());
    let stale = setup.paths.runtime_dir.join("control-1-1.sock");
    drop(UnixListener::bind(&stale).unwrap());
    let log_before = first.log().len();
    let second = setup.start();
    eventually(SOON, "the second is ready", || {
        if second.log()[log_before..].contains("\"ready\"") { Ok(()) } else { Err(()) }
    });
    wait_for_answer(local(port), "slow");
    assert!(!stale.exists());
    assert_config_says_what_runs(&setup.paths);
    let mut second = second;
    second.signal(Signal::SIGTERM);
    assert_eq!(second.wait_for_end(SOON).code(), Some(0));
    assert_nothing_remains(&second, &[], port);
}

#[test]
fn haproxys_own_lines_stand_in_the_log_with_their_level() {
    let setup = Setup::new();
    let (backends, port) = (Backends::new(), free_port());
    let server = backends.start("web");
    let file = setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let options =
        json!({"type": "file", "file": file, "port": port, "server_options": ["check inter 50ms fall 1"]});
    setup.paths.write_service("web", &options);
    let proxymgr = start(&setup);
    wait_for_answer(local(port), "web");
    drop(server);
    let down = eventually(SOON, "HAProxy tells that the server is down", || {
        let lines = log_lines(&proxymgr);
        lines.into_iter().find(|line| line.target == "haproxy" && line.message.contains("is DOWN")).ok_or(())
    });
    assert_eq!(down.level, "WARN", "{down:?}");
    assert!(down.message.starts_with("Server web/"), "HAProxy's own prefix is taken off: {down:?}");
    let no_server = eventually(SOON, "HAProxy tells that no server is left", || {
        let lines = log_lines(&proxymgr);
        lines
            .into_iter()
            .find(|line| line.target == "haproxy" && line.message.contains("has no server available"))
            .ok_or(())
    });
    assert_eq!(no_server.level, "ERROR", "{no_server:?}");
    assert!(no_server.fields["pid"].is_u64());
}
