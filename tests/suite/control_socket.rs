//! The control socket: who may use it, what it says to bad clients, and that none of them harms anybody.

use std::fs::{self, Permissions};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal;
use serde_json::{Value, json};

use super::support::backend::{Backends, Behaviour};
use super::support::control::{Client, Said, said, said_of};
use super::support::deadline::eventually;
use super::support::ports::free_port;
use super::support::proxymgr::{binary, command};
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{SOON, get, local, wait_for_answer, wait_for_backends};
use super::support::running::{start, wait_for_message};

/// A user who is nobody's owner.
const NOBODY: u32 = 65534;
const PING: &str = r#"{"version": 1, "command": "ping"}"#;

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn it_says_who_it_is_and_answers_line_by_line() {
    let setup = Setup::new();
    let proxymgr = start(&setup);
    let mut client = Client::connect(&setup.paths);
    let hello = client.line().unwrap();
    assert_eq!(hello["hello"]["version"], 1);
    assert_eq!(hello["hello"]["release"], env!("CARGO_PKG_VERSION"));
    assert_eq!(hello["hello"]["pid"], proxymgr.process().pid.as_raw());
    assert_eq!(client.ask(PING), json!({"result": {}}));
    assert_eq!(client.ask(r#"{"command": "ping", "unknown": [1, 2]}"#), json!({"result": {}}));
    for (line, code) in [
        ("garbage", "malformed"),
        (r#"{"command": 7}"#, "malformed"),
        (r#"{"command": "fly"}"#, "unknown_command"),
        (r#"{"command": "ping", "version": 99}"#, "version"),
    ] {
        let reply = client.ask(line);
        assert_eq!(reply["error"]["code"], code, "{line}: {reply}");
    }
    assert_eq!(client.ask(PING), json!({"result": {}}), "mistakes end no connection");
}

#[test]
fn it_is_the_owners_alone_and_goes_with_its_process() {
    let setup = Setup::new();
    let mut proxymgr = start(&setup);
    let socket = setup.paths.control_socket();
    assert_eq!(mode(&socket), 0o600);
    proxymgr.signal(Signal::SIGTERM);
    assert!(proxymgr.wait_for_end(SOON).success());
    assert!(!socket.exists());
}

#[test]
fn another_user_is_refused_even_where_the_files_mode_lets_him_in() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: only root can be another user");
        return;
    }
    let setup = Setup::new();
    let _proxymgr = start(&setup);
    let socket = setup.paths.control_socket();
    let program = setup.paths.root.join("proxymgr-for-all");
    fs::copy(binary(), &program).unwrap();
    let as_nobody = || {
        let mut command = std::process::Command::new(&program);
        said_of(command.args(["reload", "--json", "--socket"]).arg(&socket).uid(NOBODY).gid(NOBODY))
    };
    fs::set_permissions(&setup.paths.root, Permissions::from_mode(0o755)).unwrap();
    fs::set_permissions(&setup.paths.runtime_dir, Permissions::from_mode(0o755)).unwrap();
    let said: Said = as_nobody();
    assert_eq!(said.code, 1, "{said:?}");
    assert!(said.json()["error"]["message"].as_str().unwrap().contains("run this as the user"), "{said:?}");
    fs::set_permissions(&socket, Permissions::from_mode(0o666)).unwrap();
    let said = as_nobody();
    assert_eq!((said.code, &said.json()["error"]["code"]), (1, &json!("forbidden")), "{said:?}");
}

#[test]
fn a_line_that_never_ends_is_cut_off() {
    let setup = Setup::new();
    let proxymgr = start(&setup);
    let before = proxymgr.process().memory();
    let mut client = Client::connect(&setup.paths);
    client.line().unwrap();
    let error = client.send(&vec![b'x'; 10 << 20]).unwrap_err();
    assert!([ErrorKind::BrokenPipe, ErrorKind::ConnectionReset].contains(&error.kind()), "{error}");
    let grown = proxymgr.process().memory().saturating_sub(before);
    assert!(grown < 4 << 20, "{grown} bytes more");
    let mut other = Client::connect(&setup.paths);
    other.line().unwrap();
    assert_eq!(other.ask(PING), json!({"result": {}}));
}

#[test]
fn half_a_line_is_waited_for_and_then_given_up() {
    let setup = Setup::new();
    let _proxymgr = start(&setup);
    let mut client = Client::connect(&setup.paths);
    client.line().unwrap();
    client.send(&PING.as_bytes()[..10]).unwrap();
    let asked = Instant::now();
    let reply = client.line().unwrap();
    assert_eq!(reply["error"]["code"], "slow", "{reply}");
    assert!(asked.elapsed() < SOON && client.line().is_none());
}

#[test]
fn two_hundred_silent_clients_delay_no_change_and_leave() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let servers = ["a", "b"].map(|name| backends.start(name));
    let lines = servers.each_ref().map(|server| server.address.to_string());
    let file = setup.paths.write_file_service("web", port, &lines[..1]);
    let proxymgr = start(&setup);
    wait_for_answer(local(port), "a");
    let files = || fs::read_dir(format!("/proc/{}/fd", proxymgr.process().pid)).unwrap().count();
    let before = files();
    let silent: Vec<_> =
        (0..200).map(|_| UnixStream::connect(setup.paths.control_socket()).unwrap()).collect();
    let changed = Instant::now();
    write_in_one_step(&file, &format!("{}\n{}\n", lines[0], lines[1]));
    wait_for_backends(port, &["a", "b"]);
    println!("a change among 200 silent clients took {:?}, until it was seen", changed.elapsed());
    let turned_away = Client::connect(&setup.paths).line().unwrap();
    assert_eq!(turned_away["error"]["code"], "busy", "{turned_away}");
    // A command is patient until the silent ones are given up.
    let said = said_of(command().args(["reload", "--socket"]).arg(setup.paths.control_socket()));
    assert_eq!(said.code, 0, "{said:?}");
    eventually(SOON, "no file of them is left", || match files() {
        left if left <= before => Ok(()),
        left => Err((left, before)),
    });
    drop(silent);
}

#[test]
fn what_a_dead_process_left_is_replaced_and_a_live_one_is_respected() {
    let setup = Setup::new();
    let socket = setup.paths.control_socket();
    drop(UnixListener::bind(&socket).unwrap());
    let proxymgr = start(&setup);
    let mut other = setup.clone();
    other.paths.stats_socket = setup.paths.root.join("other.sock");
    let log = proxymgr.log().len();
    let mut second = other.start();
    assert_eq!(second.wait_for_end(SOON).code(), Some(1));
    let said = second.log()[log..].to_owned();
    assert!(said.contains("another ProxyMgr runs"), "{said}");
    Client::connect(&setup.paths).line().unwrap();
}

#[test]
fn who_runs_nowhere_is_told_what_to_do() {
    let setup = Setup::new();
    fs::write(&setup.paths.proxymgr_yml, setup.yaml()).unwrap();
    for arguments in [["reload"], ["upgrade"]] {
        let said = said(&setup.paths, &arguments);
        assert_eq!((said.code, said.stdout.as_str()), (1, ""));
        assert!(
            said.stderr.contains("no ProxyMgr listens on") && said.stderr.contains("start it"),
            "{said:?}"
        );
    }
    fs::write(&setup.paths.proxymgr_yml, "runtime_dir: [").unwrap();
    let said = said(&setup.paths, &["reload"]);
    assert_eq!(said.code, 78, "{said:?}");
    assert!(said.stderr.contains("--socket"), "{said:?}");
}

#[test]
fn during_an_end_it_tells_so() {
    let setup = Setup::new().section("shutdown", json!({"grace": "10m"}));
    let (backends, port) = (Backends::new(), free_port());
    let server = backends.start("slow");
    server.behave(Behaviour::AnswerAfter(Duration::from_secs(600)));
    setup.paths.write_file_service("web", port, &[server.address.to_string()]);
    let proxymgr = start(&setup);
    let request = std::thread::spawn(move || get(local(port)));
    eventually(
        SOON,
        "the request reaches the server",
        || if server.requests() == 0 { Err(()) } else { Ok(()) },
    );
    proxymgr.signal(Signal::SIGTERM);
    wait_for_message(&proxymgr, "asked to end; HAProxy drains");
    let mut client = Client::connect(&setup.paths);
    client.line().unwrap();
    assert_eq!(client.ask(PING)["error"]["code"], "ending");
    proxymgr.signal(Signal::SIGTERM);
    drop(proxymgr);
    assert!(request.join().unwrap().is_err());
}

#[test]
fn why_is_answered_as_the_command_prints_it() {
    let (setup, backends, port) = (Setup::new(), Backends::new(), free_port());
    let server = backends.start("a").address.to_string();
    setup.paths.write_file_service("web", port, std::slice::from_ref(&server));
    let _proxymgr = start(&setup);
    let mut client = Client::connect(&setup.paths);
    client.line().unwrap();
    let of = format!("web/{server}");
    let ages = |mut why: Value| {
        for at in ["definition", "servers_changed"] {
            why["service"][at]["ago_s"].take();
        }
        why["last_reload"]["ago_s"].take();
        why
    };
    let asked = client.ask(&json!({"command": "why", "service": "web", "server": server}).to_string());
    let printed = said(&setup.paths, &["why", &of, "--json"]).json();
    assert_eq!(printed["server"]["name"], json!(server));
    assert_eq!(ages(asked["result"].clone()), ages(printed));
    let of_the_service = client.ask(r#"{"command": "why", "service": "web"}"#);
    assert_eq!(
        (&of_the_service["result"]["server"], &of_the_service["result"]["service"]["name"]),
        (&Value::Null, &json!("web"))
    );
    for (line, code) in [
        (r#"{"command": "why", "service": "none"}"#, "not_found"),
        (r#"{"command": "why", "service": "web", "server": "none"}"#, "not_found"),
        (r#"{"command": "why"}"#, "malformed"),
    ] {
        assert_eq!(client.ask(line)["error"]["code"], code, "{line}");
    }
}
