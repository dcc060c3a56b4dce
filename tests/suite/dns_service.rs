//! Services whose servers stand behind names: `type: dns`.

use std::net::SocketAddr;
use std::time::Duration;

use serde_json::{Value, json};

use super::support::backend::{Backend, Backends};
use super::support::deadline::eventually;
use super::support::dns_server::{Dns, DnsServer};
use super::support::load::{Load, RunningLoad};
use super::support::ports::{free_port, free_ports};
use super::support::proxymgr::Proxymgr;
use super::support::proxymgr_setup::Setup;
use super::support::requests::{SOON, local, wait_for_backends};
use super::support::running::{assert_config_says_what_runs, in_rotation, reloads, start, wait_for_message};
use super::support::unbound::Unbound;

/// Backends named after the last number of their addresses, 127.0.0.N, all at one port.
fn backends_at(backends: &Backends, port: u16, numbers: &[u8]) -> Vec<Backend> {
    let at = |number: &u8| backends.start_at(([127, 0, 0, *number], port).into(), &number.to_string());
    numbers.iter().map(at).collect()
}

fn definition(port: u16, nameserver: SocketAddr, backends: &Value) -> Value {
    json!({"type": "dns", "port": port, "backends": backends, "nameservers": [nameserver.to_string()],
        "min_ttl": "100ms", "server_options": ["check inter 200"]})
}

#[test]
fn records_come_and_go_without_a_reload() {
    let (setup, backends, dns) = (Setup::new(), Backends::new(), DnsServer::start());
    let [port, server_port] = free_ports();
    let _servers = backends_at(&backends, server_port, &[11, 12, 13]);
    dns.set("web.example", 0, &["127.0.0.11", "127.0.0.12"]);
    let web = json!([{"name": "web.example", "port": server_port}]);
    setup.paths.write_service("web", &definition(port, dns.address, &web));
    let proxymgr = start(&setup);
    wait_for_backends(port, &["11", "12"]);
    dns.set("web.example", 0, &["127.0.0.13", "127.0.0.12"]);
    wait_for_backends(port, &["12", "13"]);
    // An empty answer is a good one, and the rule for it is on_empty.
    dns.set("web.example", 0, &[]);
    wait_for_message(&proxymgr, "on_empty");
    wait_for_backends(port, &["12", "13"]);
    dns.set("web.example", 0, &["127.0.0.11"]);
    wait_for_backends(port, &["11"]);
    assert_eq!(reloads(&proxymgr).len(), 1);
    assert_config_says_what_runs(&setup.paths);
}

#[test]
fn srv_records_give_ports_weights_and_backups() {
    let (setup, backends, dns) = (Setup::new(), Backends::new(), DnsServer::start());
    let [port, one, two, spare] = free_ports();
    let servers = [("one", one), ("two", two), ("spare", spare)]
        .map(|(name, port)| backends.start_at(local(port), name));
    dns.set("a.example", 0, &["127.0.0.1"]);
    let services = [(10, 3, one, "a.example"), (10, 1, two, "a.example"), (20, 1, spare, "a.example")];
    dns.set_services("_http._tcp.example", 0, &services);
    let web = json!([{"srv": "_http._tcp.example"}]);
    setup.paths.write_service("web", &definition(port, dns.address, &web));
    let proxymgr = start(&setup);
    wait_for_backends(port, &["one", "two"]);
    let weights: Vec<_> = in_rotation(&setup.paths).into_iter().map(|server| server.weight).collect();
    assert_eq!(weights.iter().sum::<u16>(), 5, "{weights:?}");
    dns.set_services("_http._tcp.example", 0, &[(10, 1, two, "a.example"), (20, 1, spare, "a.example")]);
    wait_for_backends(port, &["two"]);
    // The only active one dies: the backup takes over by HAProxy's own check.
    let [_one, two, _spare] = servers;
    drop(two);
    wait_for_backends(port, &["spare"]);
    assert_eq!(reloads(&proxymgr).len(), 1);
}

#[test]
fn a_name_that_is_never_answered_keeps_no_other_out() {
    let (setup, backends, dns) = (Setup::new(), Backends::new(), DnsServer::start());
    let [port, server_port] = free_ports();
    let _servers = backends_at(&backends, server_port, &[21]);
    dns.set("web.example", 0, &["127.0.0.21"]);
    // Nobody listens there.
    let other = json!({"type": "dns", "port": free_port(), "nameservers": [local(free_port()).to_string()],
        "backends": [{"name": "silent.example", "port": 1}]});
    setup.paths.write_service("other", &other);
    let both = json!([{"name": "web.example", "port": server_port}, {"srv": "_gone._tcp.example"}]);
    setup.paths.write_service("web", &definition(port, dns.address, &both));
    let proxymgr = setup.start();
    wait_for_backends(port, &["21"]);
    wait_for_message(&proxymgr, "the name is not answered");
}

/// A service with four servers behind one name, under load.
struct World {
    dns: DnsServer,
    setup: Setup,
    port: u16,
    _servers: Vec<Backend>,
    _backends: Backends,
    proxymgr: Proxymgr,
    load: RunningLoad,
}

impl World {
    fn start() -> Self {
        let (setup, backends, dns) = (Setup::new(), Backends::new(), DnsServer::start());
        let [port, server_port] = free_ports();
        let servers = backends_at(&backends, server_port, &[31, 32, 33, 34]);
        dns.set("web.example", 0, &["127.0.0.31", "127.0.0.32", "127.0.0.33", "127.0.0.34"]);
        let web = json!([{"name": "web.example", "port": server_port}]);
        setup.paths.write_service("web", &definition(port, dns.address, &web));
        let proxymgr = start(&setup);
        wait_for_backends(port, &["31", "32", "33", "34"]);
        let load = Load::to(local(port)).short(2).keep_alive(2).rate(300).start();
        Self { dns, setup, port, _servers: servers, _backends: backends, proxymgr, load }
    }

    /// Waits until the name server was asked some more times, so that a fault was met.
    fn fault(&self, behaviour: Dns) {
        self.dns.behave(behaviour);
        let before = self.dns.questions();
        eventually(SOON, "the fault is met", || match self.dns.questions() {
            now if now >= before + 4 => Ok(()),
            now => Err(now - before),
        });
    }

    fn ends_without_an_error(self) {
        let report = self.load.stop();
        println!("{report}");
        report.assert_no_errors();
        assert_eq!(reloads(&self.proxymgr).len(), 1);
        assert_config_says_what_runs(&self.setup.paths);
    }
}

#[test]
fn no_fault_of_the_name_server_reaches_the_traffic_under_load() {
    let world = World::start();
    let late = Dns::IsLate(Duration::from_secs(2));
    for fault in [Dns::Fails, Dns::IsSilent, late] {
        world.fault(fault);
        wait_for_backends(world.port, &["31", "32", "33", "34"]);
    }
    // What changed meanwhile arrives.
    world.dns.set("web.example", 0, &["127.0.0.31", "127.0.0.32", "127.0.0.33"]);
    world.dns.behave(Dns::Answers);
    wait_for_backends(world.port, &["31", "32", "33"]);
    world.ends_without_an_error();
}

#[test]
fn empty_answers_and_half_of_the_servers_gone_fail_no_request_under_load() {
    let world = World::start();
    world.dns.set("web.example", 0, &[]);
    wait_for_message(&world.proxymgr, "on_empty");
    wait_for_backends(world.port, &["31", "32", "33", "34"]);
    world.dns.set("web.example", 0, &["127.0.0.31", "127.0.0.32"]);
    wait_for_backends(world.port, &["31", "32"]);
    world.ends_without_an_error();
}

#[test]
fn a_real_name_server_is_followed() {
    let (setup, backends, mut unbound) = (Setup::new(), Backends::new(), Unbound::start());
    let [port, slow_port, many_port, server_port] = free_ports();
    let _servers = backends_at(&backends, server_port, &[41, 42, 43]);
    let a = |ttl: u32, number: u8| format!("{ttl} IN A 127.0.0.{number}");
    let fill = |unbound: &Unbound| {
        unbound.set("web.example", &[a(1, 41), a(1, 42)]);
        unbound.set("slow.example", &[a(3600, 41)]);
        let many: Vec<_> = (1..=200).map(|number| format!("60 IN A 127.0.1.{number}")).collect();
        unbound.set("many.example", &many);
        let srv = [format!("1 IN SRV 10 0 {server_port} web.example")];
        unbound.set("_http._tcp.example", &srv);
    };
    fill(&unbound);
    let name = |name: &str| json!([{"name": name, "port": server_port}]);
    let with = |port: u16, backends: &Value, max_ttl: &str| {
        json!({"type": "dns", "port": port, "backends": backends, "max_ttl": max_ttl,
            "nameservers": [unbound.address().to_string()]})
    };
    setup.paths.write_service("web", &with(port, &json!([{"srv": "_http._tcp.example"}]), "60s"));
    setup.paths.write_service("slow", &with(slow_port, &name("slow.example"), "2s"));
    setup.paths.write_service("many", &with(many_port, &name("many.example"), "60s"));
    let proxymgr = start(&setup);
    wait_for_backends(port, &["41", "42"]);
    wait_for_backends(slow_port, &["41"]);
    // The answer is too long for UDP.
    let many = in_rotation(&setup.paths).into_iter().filter(|server| server.service == "many").count();
    assert_eq!(many, 200);

    unbound.set("web.example", &[a(1, 42), a(1, 43)]);
    unbound.set("slow.example", &[a(3600, 43)]);
    wait_for_backends(port, &["42", "43"]);
    wait_for_backends(slow_port, &["43"]);

    unbound.kill();
    wait_for_message(&proxymgr, "the name is not answered");
    wait_for_backends(port, &["42", "43"]);
    unbound.restart();
    fill(&unbound);
    wait_for_backends(port, &["41", "42"]);
    assert_eq!(reloads(&proxymgr).len(), 1);
}
