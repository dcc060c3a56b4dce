//! Servers that are written as host names: looked up, followed, and kept when the DNS is away.

use std::fs;
use std::process::Command;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::backend::{Backend, Backends};
use super::support::deadline::eventually;
use super::support::dns_server::{Dns, DnsServer};
use super::support::haproxy::{self, ServerRow};
use super::support::load::Load;
use super::support::ports::free_port;
use super::support::proxymgr::{Proxymgr, output_of};
use super::support::proxymgr_setup::{Setup, write_in_one_step};
use super::support::requests::{SOON, local, wait_for_backends};
use super::support::system_dns;
use super::support::zookeeper::ZookeeperServer;
use super::support::zookeeper_nodes::Nodes;

/// A DNS server, and backends on one port of several addresses.
struct World {
    dns: DnsServer,
    backends: Backends,
    setup: Setup,
    /// Where services are served.
    port: u16,
    /// Where backends are.
    backend_port: u16,
}

const ONE: &str = "127.0.1.1";
const TWO: &str = "127.0.1.2";
const THREE: &str = "127.0.1.3";

impl World {
    fn new() -> Self {
        let [port, backend_port] = [free_port(), free_port()];
        Self { dns: system_dns::start(), backends: Backends::new(), setup: Setup::new(), port, backend_port }
    }

    fn backend(&self, ip: &str, name: &str) -> Backend {
        self.backends.start_at(self.at(ip).parse().unwrap(), name)
    }

    /// `host`, with the port of all backends.
    fn at(&self, host: &str) -> String {
        format!("{host}:{}", self.backend_port)
    }

    fn start(&self) -> Proxymgr {
        self.start_with_hosts("")
    }

    fn start_with_hosts(&self, hosts: &str) -> Proxymgr {
        let program = system_dns::program(&self.dns, &self.setup.paths.root, hosts);
        let proxymgr = self.setup.clone().program(&program).start();
        proxymgr.wait_for_log(SOON, "\"ready\"");
        proxymgr
    }

    /// What a command says on stdout.
    fn run(&self, words: &[&str]) -> String {
        fs::write(&self.setup.paths.proxymgr_yml, self.setup.yaml()).unwrap();
        let mut command = Command::new(system_dns::program(&self.dns, &self.setup.paths.root, ""));
        let output = output_of(command.args(words).arg("-c").arg(&self.setup.paths.proxymgr_yml));
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    /// Waits until names were asked for a few more times.
    #[track_caller]
    fn more_questions(&self) {
        let enough = self.dns.questions() + 4;
        eventually(SOON, "more questions", || {
            let now = self.dns.questions();
            if now > enough { Ok(()) } else { Err(now) }
        });
    }

    /// One server's row of `show servers state`, once it is as `wanted`.
    #[track_caller]
    fn row(&self, name: &str, wanted: impl Fn(&ServerRow) -> bool) -> ServerRow {
        eventually(SOON, &format!("the state of {name}"), || {
            let rows = haproxy::servers(&self.setup.paths.stats_socket).map_err(|error| error.to_string())?;
            let found = rows.into_iter().find(|row| row.name == name);
            found.clone().filter(&wanted).ok_or_else(|| format!("{found:?}"))
        })
    }
}

#[test]
fn a_host_in_a_node_is_followed_and_keeps_its_server_weight_and_drain() {
    let mut world = World::new();
    let zookeeper = ZookeeperServer::start();
    let nodes = Nodes::of(&zookeeper);
    world.setup = world.setup.zookeeper(&zookeeper.address(), "/service_config");
    let _servers = [world.backend(ONE, "one"), world.backend(TWO, "two"), world.backend(THREE, "three")];
    nodes.define("web", world.port);
    let node = json!({"address": "Web.Example.", "port": world.backend_port, "weight": 7});
    nodes.put("/services/web/a", node.to_string());
    nodes.put("/services/web/b", json!({"host": ONE, "port": world.backend_port}).to_string());
    world.dns.set("web.example", 1, &[TWO]);
    let proxymgr = world.start();
    wait_for_backends(world.port, &["one", "two"]);
    let name = world.at("web.example");
    let before = world.row(&name, |row| row.address.to_string() == TWO);
    assert_eq!(before.weight, 7);

    // An operator drains it; it moves, onto the address of another server even.
    haproxy::ask(&world.setup.paths.stats_socket, &format!("set server web/{name} state drain")).unwrap();
    world.dns.set("web.example", 1, &[ONE]);
    world.row(&name, |row| row.address.to_string() == ONE);
    world.dns.set("web.example", 1, &[THREE]);
    let after = world.row(&name, |row| row.address.to_string() == THREE);
    assert_eq!((after.id, after.weight, after.admin & 8), (before.id, 7, 8), "{after:?}");
    wait_for_backends(world.port, &["one"]);
    haproxy::ask(&world.setup.paths.stats_socket, &format!("set server web/{name} state ready")).unwrap();
    wait_for_backends(world.port, &["one", "three"]);
    assert_eq!(proxymgr.reloads(), 1);
}

#[test]
fn a_host_in_a_file_moves_under_load_without_an_error_even_while_the_dns_is_away() {
    let world = World::new();
    let _servers = [world.backend(ONE, "one"), world.backend(TWO, "two")];
    world.setup.paths.write_file_service("web", world.port, &[world.at("web.example")]);
    world.dns.set("web.example", 1, &[ONE]);
    let proxymgr = world.start();
    wait_for_backends(world.port, &["one"]);
    let load = Load::to(local(world.port)).short(2).keep_alive(2).rate(300).start();
    // Among several answers the present address stays.
    world.dns.set("web.example", 1, &[TWO, ONE]);
    world.more_questions();
    assert!(!load.so_far().by_backend.contains_key("two"));
    world.dns.set("web.example", 1, &[TWO]);
    wait_for_backends(world.port, &["two"]);
    for trouble in [Dns::Fails, Dns::IsSilent] {
        world.dns.behave(trouble);
        world.more_questions();
        wait_for_backends(world.port, &["two"]);
    }
    world.dns.behave(Dns::Answers);
    // A name that is gone keeps its last address.
    world.dns.set("web.example", 1, &[]);
    proxymgr.wait_for_log(Duration::from_secs(40), "a host name has no address any more");
    wait_for_backends(world.port, &["two"]);
    world.dns.set("web.example", 1, &[ONE]);
    wait_for_backends(world.port, &["one"]);
    load.stop().assert_no_errors();
    assert_eq!(proxymgr.reloads(), 1);
}

#[test]
fn hosts_in_a_definition_are_followed() {
    let world = World::new();
    let _servers = [world.backend(ONE, "one"), world.backend(TWO, "two"), world.backend(THREE, "three")];
    let write = |definition: &Value| world.setup.paths.write_service("web", definition);
    let of = |kind: &str, hosts: &[&str]| {
        let hosts: Vec<_> = hosts.iter().map(|host| world.at(host)).collect();
        json!({"type": "static", "port": world.port, kind: hosts})
    };
    write(&of("default_servers", &["web.example", "127.0.1.3"]));
    world.dns.set("web.example", 1, &[ONE]);
    let proxymgr = world.start_with_hosts("127.0.1.2 only-here");
    wait_for_backends(world.port, &["one", "three"]);
    world.dns.set("web.example", 1, &[TWO]);
    wait_for_backends(world.port, &["two", "three"]);
    // The last ones serve until the new ones are found.
    write(&of("default_servers", &["late.example"]));
    proxymgr.wait_for_log(SOON, "late.example");
    wait_for_backends(world.port, &["two", "three"]);
    world.dns.set("late.example", 1, &[ONE]);
    wait_for_backends(world.port, &["one"]);
    // /etc/hosts counts, and so does a backup server's name.
    write(&of("default_servers", &["only-here"]));
    wait_for_backends(world.port, &["two"]);
    write(&of("backup_servers", &["only-here"]));
    world.row(&world.at("only-here"), |row| row.address.to_string() == TWO);
    wait_for_backends(world.port, &["two"]);
}

#[test]
fn a_name_that_leads_nowhere_is_told_and_harms_no_other() {
    let world = World::new();
    let _servers = [world.backend(ONE, "one"), world.backend(TWO, "two")];
    let lines = [world.at("nowhere.example"), world.at("127.0.1.1"), world.at("sink.example")];
    world.setup.paths.write_file_service("web", world.port, &lines);
    world.dns.set("sink.example", 1, &["0.0.0.0"]);
    let said: Value = serde_json::from_str(&world.run(&["check", "--json"])).unwrap();
    assert_eq!((&said["ok"], &said["services"][0]["servers"]), (&json!(true), &json!(1)), "{said}");
    let problems = said["services"][0]["problems"].to_string();
    assert!(problems.contains(&format!("skipped {}: the host name has no address", lines[0])), "{problems}");

    let proxymgr = world.start();
    wait_for_backends(world.port, &["one"]);
    for line in [&lines[0], &lines[2]] {
        let warning = proxymgr.wait_for_log(SOON, line);
        assert!(warning.contains("server entry skipped") && warning.contains("has no address"), "{warning}");
    }
    world.dns.set("nowhere.example", 1, &[TWO]);
    wait_for_backends(world.port, &["one", "two"]);
    assert_eq!(proxymgr.reloads(), 1);
}

#[test]
fn a_start_while_the_dns_is_away_uses_the_last_addresses() {
    let mut world = World::new();
    world.setup = world.setup.section("safety", json!({"startup_timeout": "2s"}));
    let _servers = [world.backend(ONE, "one"), world.backend(TWO, "two"), world.backend(THREE, "three")];
    let file = world.setup.paths.root.join("web.servers");
    write_in_one_step(&file, &format!("{}\n{}\n", world.at("file.example"), world.at("127.0.1.3")));
    let definition = json!({"type": "file", "file": file, "port": world.port,
        "default_servers": [world.at("fixed.example")]});
    world.setup.paths.write_service("web", &definition);
    world.dns.set("file.example", 1, &[ONE]);
    world.dns.set("fixed.example", 1, &[TWO]);
    let first = world.start();
    wait_for_backends(world.port, &["one", "two", "three"]);
    assert_eq!(first.end().code(), Some(0));

    for trouble in [Dns::IsSilent, Dns::Fails] {
        world.dns.behave(trouble);
        let again = world.start();
        wait_for_backends(world.port, &["one", "two", "three"]);
        assert_eq!(again.end().code(), Some(0));
    }

    // Where a host was before the start, it stays, if it is still there.
    world.dns.behave(Dns::Answers);
    world.dns.set("fixed.example", 1, &[ONE, TWO]);
    let last = world.start();
    wait_for_backends(world.port, &["one", "two", "three"]);
    assert_eq!(last.reloads() % 10, 4, "one for each start");
}

#[test]
fn a_command_knows_hosts_that_are_up_and_names_those_that_do_not_answer() {
    let mut world = World::new();
    world.setup = world.setup.section("safety", json!({"startup_timeout": "2s"}));
    let _server = world.backend(ONE, "one");
    world.setup.paths.write_file_service(
        "web",
        world.port,
        &[world.at("web.example"), world.at("127.0.1.1")],
    );
    world.dns.set("web.example", 1, &[ONE]);
    let rendered = world.run(&["render"]);
    assert!(
        rendered.contains(&format!("server {} {} id ", world.at("web.example"), world.at("127.0.1.1"))),
        "{rendered}"
    );
    world.dns.behave(Dns::IsSilent);
    let said = world.run(&["check"]);
    assert!(said.contains("no name server has answered for the host name"), "{said}");
}

#[test]
fn under_load_of_ten_thousand_questions_no_answer_is_late() {
    let mut world = World::new();
    world.setup = world.setup.section("log", json!({"format": "json", "level": "info"}));
    let _server = world.backend(ONE, "one");
    let hosts: Vec<_> = (0..5000).map(|number| format!("host{number}.example")).collect();
    for host in &hosts {
        world.dns.set(host, 60, &[ONE]);
    }
    let lines: Vec<_> = hosts.iter().map(|host| world.at(host)).collect();
    world.setup.paths.write_file_service("web", world.port, &lines);
    let proxymgr = world.start();
    eventually(3 * SOON, "every server is there", || {
        let servers = haproxy::servers(&world.setup.paths.stats_socket).map_err(|error| error.to_string())?;
        if servers.len() == hosts.len() { Ok(()) } else { Err(servers.len().to_string()) }
    });
    assert!(!proxymgr.log().contains("is not answered"), "they are not in each other's way");
}
