//! What each `HAProxy` does without a reload, as the README's table says, and programs that are too old or not what they say.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::process::Command;

use proxymgr::engine::haproxy_version::HaproxyVersion;
use proxymgr::process::root::may_chroot;
use serde_json::json;

use super::support::deadline::eventually;
use super::support::haproxy;
use super::support::ports::{free_port, free_ports};
use super::support::proxymgr::{Proxymgr, command, output_of};
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::SOON;
use super::support::running::{assert_config_says_what_runs, in_rotation, log_lines, reloads, start};

/// What the README's table says of the column for `version`: whether a change goes without a reload.
fn table(version: HaproxyVersion) -> BTreeMap<String, bool> {
    let readme = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")).unwrap();
    let mut lines = readme.lines().skip_while(|line| !line.starts_with("| without a reload? |"));
    let cells = |line: &str| line.trim_matches('|').split('|').map(|cell| cell.trim().to_owned()).collect();
    let heads: Vec<String> = cells(lines.next().expect("the README has the table"));
    let first_of = |head: &str| HaproxyVersion::parse(head).unwrap();
    let column = heads[1..].iter().rposition(|head| first_of(head) <= version).unwrap() + 1;
    let rows = lines.skip(1).take_while(|line| line.starts_with('|'));
    rows.map(|line| {
        let row: Vec<String> = cells(line);
        let says = match row[column].as_str() {
            "yes" => true,
            "no" => false,
            other => panic!("{other:?} in {line}"),
        };
        (row[0].clone(), says)
    })
    .collect()
}

/// Services that differ in what their servers ask of `HAProxy`.
struct Bench {
    proxymgr: Proxymgr,
    without_reload: BTreeMap<String, bool>,
}

impl Bench {
    fn start(setup: &Setup) -> Self {
        let ports: [u16; 6] = free_ports();
        let services = [
            ("plain", json!([]), ""),
            ("sticky", json!(["cookie SRV insert"]), "cookie a"),
            ("consistent", json!(["balance source", "hash-type consistent"]), ""),
            ("hashed", json!(["balance source"]), ""),
            ("in_turn", json!(["balance static-rr"]), ""),
            ("leaving", json!([]), ""),
        ];
        for ((name, listen_options, server_options), port) in services.into_iter().zip(ports) {
            let file = setup.paths.write_file_service(name, port, &["127.0.0.1:81".to_owned()]);
            let definition = json!({
                "type": "file", "file": file, "port": port,
                "listen_options": listen_options, "server_options": server_options,
            });
            setup.paths.write_service(name, &definition);
        }
        Self { proxymgr: start(setup), without_reload: BTreeMap::new() }
    }

    /// Gives `service` these servers, by port and words, and notes whether that needed a reload.
    fn change(&mut self, what: &str, service: &str, servers: &[(u16, &str)], in_force: &[(u16, u16)]) {
        let lines: Vec<_> = servers.iter().map(|(port, words)| format!("127.0.0.1:{port} {words}")).collect();
        let file = self.proxymgr.paths.root.join(format!("{service}.servers"));
        self.note(what, |proxymgr| {
            write_in_one_step(&file, &(lines.join("\n") + "\n"));
            eventually(SOON, what, || {
                let mine =
                    in_rotation(&proxymgr.paths).into_iter().filter(|server| server.service == service);
                let mut mine: Vec<_> = mine.map(|server| (server.address.port(), server.weight)).collect();
                mine.sort_unstable();
                if mine == in_force { Ok(()) } else { Err(mine) }
            });
        });
    }

    fn note(&mut self, what: &str, change: impl FnOnce(&Proxymgr)) {
        let before = reloads(&self.proxymgr).len();
        change(&self.proxymgr);
        assert_config_says_what_runs(&self.proxymgr.paths);
        let without_reload = reloads(&self.proxymgr).len() == before;
        self.without_reload.insert(what.to_owned(), without_reload);
    }
}

#[track_caller]
fn wait_for_services(proxymgr: &Proxymgr, names: &[&str]) {
    eventually(SOON, "these services run", || {
        let running: BTreeSet<_> =
            in_rotation(&proxymgr.paths).into_iter().map(|server| server.service).collect();
        if running.iter().eq(names) { Ok(()) } else { Err(running) }
    });
}

/// Makes every change of the table on a real `HAProxy`: whether it went without a reload.
fn measured(setup: &Setup) -> BTreeMap<String, bool> {
    let mut bench = Bench::start(setup);
    let (one, two) = ([(81, "")], [(81, ""), (82, "")]);
    let (one_runs, two_run) = ([(81, 1)], [(81, 1), (82, 1)]);
    bench.change("a new server", "plain", &two, &two_run);
    bench.change("a new server with a `cookie`", "sticky", &two, &two_run);
    bench.change("a new server, `balance source`, `hash-type consistent`", "consistent", &two, &two_run);
    bench.change("a new server, `balance source`", "hashed", &two, &two_run);
    bench.change("a new server, `balance static-rr`", "in_turn", &two, &two_run);
    bench.change("another weight", "plain", &[(81, ""), (82, "weight=5")], &[(81, 1), (82, 5)]);
    bench.change(
        "another weight, `balance static-rr`",
        "in_turn",
        &[(81, ""), (82, "weight=5")],
        &[(81, 1), (82, 5)],
    );
    bench.change("drain", "plain", &[(81, ""), (82, "drain")], &[(81, 1), (82, 0)]);
    bench.change("a server leaves", "plain", &one, &one_runs);
    bench.note("a service leaves", |proxymgr| {
        proxymgr.paths.remove_service("leaving");
        wait_for_services(proxymgr, &["consistent", "hashed", "in_turn", "plain", "sticky"]);
    });
    let port = free_port();
    bench.note("a new service", |proxymgr| {
        proxymgr.paths.write_file_service("new", port, &["127.0.0.1:81".to_owned()]);
        wait_for_services(proxymgr, &["consistent", "hashed", "in_turn", "new", "plain", "sticky"]);
    });
    bench.without_reload
}

fn setup() -> Setup {
    Setup::new().section("reload", json!({"min_interval": "10ms"}))
}

/// In `HAProxy`'s place: it says that it is `version`, otherwise it is the one under test.
fn claiming(setup: Setup, version: &str) -> Setup {
    setup.before_haproxy(&format!(
        "[ \"$1\" = -v ] && echo 'HAProxy version {version}-1 2022/01/01 - ' && exit"
    ))
}

/// The version of the program under test.
fn real_version() -> HaproxyVersion {
    let output = output_of(Command::new(haproxy::binary()).arg("-v"));
    HaproxyVersion::parse(&String::from_utf8(output.stdout).unwrap()).unwrap()
}

#[test]
fn what_needs_a_reload_is_what_the_readmes_table_says() {
    assert_eq!(measured(&setup()), table(real_version()));
}

/// None of 2.4 and 2.5 is at hand: there the version alone decides.
#[test]
fn a_version_without_dynamic_servers_gets_reloads_for_them() {
    let version = HaproxyVersion::new(2, 4, 0);
    assert_eq!(measured(&claiming(setup(), &version.to_string())), table(version));
}

#[test]
fn an_haproxy_that_can_do_less_than_its_version_says_gets_reloads() {
    let less = measured(&claiming(setup(), "3.4.0"));
    assert_eq!(less, table(real_version()), "what it refuses is done by a reload");
}

#[test]
fn versions_before_2_4_are_refused_with_what_to_do() {
    for (says, version) in [
        ("HA-Proxy version 2.2.9-2+deb11u6 2023/12/15", "2.2.9"),
        ("HAProxy version 2.3.21-1 2022/07/27 - https://haproxy.org/", "2.3.21"),
        ("HA-Proxy version 1.8.19-1+deb10u5 2023/12/15", "1.8.19"),
    ] {
        let setup = Setup::new().before_haproxy(&format!("echo '{says}'; exit"));
        let expected = format!("haproxy.path: HAProxy {version} is too old; install 2.4.0 or later");
        for subcommand in ["run", "check", "render"] {
            fs::write(&setup.paths.proxymgr_yml, setup.yaml()).unwrap();
            let output = output_of(command().args([subcommand, "-c"]).arg(&setup.paths.proxymgr_yml));
            let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert_eq!(output.status.code(), Some(69), "{subcommand}: {said}");
            assert!(said.contains(&expected), "{subcommand}: {said}");
        }
    }
}

#[test]
fn no_version_warns_of_what_proxymgr_writes_as_root_or_not() {
    let setup = setup();
    setup.paths.write_file_service("web", free_port(), &["127.0.0.1:81".to_owned()]);
    let proxymgr = start(&setup);
    setup.paths.write_file_service("new", free_port(), &["127.0.0.1:81".to_owned()]);
    wait_for_services(&proxymgr, &["new", "web"]);
    // A filter of system calls, as containers have, keeps `chroot /` from being said to 3.4.
    let filtered = proxymgr.process().status("Seccomp") != "0";
    let lines = log_lines(&proxymgr).into_iter();
    let warnings: Vec<_> = lines
        .filter(|line| line.target == "haproxy" && line.level != "INFO")
        .filter(|line| !(filtered && line.says("'chroot' directive")))
        .collect();
    assert!(warnings.is_empty(), "{warnings:?}");
    let by_hand = haproxy::check(&setup.paths.haproxy_cfg).unwrap();
    assert!(!by_hand.to_ascii_lowercase().contains("warning"), "{by_hand}");
}

#[test]
fn a_user_and_a_chroot_of_ones_own_are_the_ones_that_count() {
    let setup = setup().global(&["maxconn 4096", "user nobody", "group nogroup", "chroot /var"]);
    if !may_chroot() {
        println!("not root: it can be no other user");
        return;
    }
    setup.paths.write_file_service("web", free_port(), &["127.0.0.1:81".to_owned()]);
    let proxymgr = start(&setup);
    let [haproxy] = proxymgr.haproxies().try_into().unwrap();
    assert_eq!(fs::read_link(format!("/proc/{}/root", haproxy.pid)).unwrap(), Path::new("/var"));
    assert_eq!(haproxy.status("Uid"), ["65534"; 4].join("\t"));
    let refused: Vec<_> =
        log_lines(&proxymgr).into_iter().filter(|line| line.says("already specified")).collect();
    assert!(refused.is_empty(), "{refused:?}");
}
