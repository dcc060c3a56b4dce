//! Agents that speak TLS, and ask for a certificate of their clients.

use serde_json::json;

use super::support::backend::Backends;
use super::support::certificates::Authority;
use super::support::consul::ConsulServer;
use super::support::ports::free_port;
use super::support::proxymgr_setup::Setup;
use super::support::requests::wait_for_backends;
use super::support::running::{start, wait_for_message};

#[test]
fn an_agent_is_asked_over_tls_by_the_name_in_its_certificate() {
    let authority = Authority::new("one");
    let (mut consul, backends) =
        (ConsulServer::start_with_tls(&authority, "server.dc1.consul"), Backends::new());
    let port = free_port();
    let [one, two] = ["one", "two"].map(|name| backends.start(name));
    consul.add("web", "one", &one);
    let setup = Setup::new();
    let ca = authority.write(setup.paths.root.join("ca.pem"));
    let [cert, key] = authority.sign("proxymgr").write(&setup.paths.root, "own");
    let tls = json!({"ca": ca, "cert": cert, "key": key, "server_name": "server.dc1.consul"});
    setup.paths.write_service("web", &json!({"type": "consul", "service": "web", "port": port}));
    let consul_section = json!({"servers": consul.secure_address(), "tls": tls});
    let proxymgr = start(&setup.section("consul", consul_section));
    wait_for_backends(port, &["one"]);
    consul.kill();
    wait_for_message(&proxymgr, "Consul gives no answer");
    consul.restart();
    consul.add("web", "two", &two);
    wait_for_backends(port, &["one", "two"]);
}

#[test]
fn a_certificate_that_is_refused_is_told_with_what_to_do() {
    let (authority, other) = (Authority::new("one"), Authority::new("other"));
    let consul = ConsulServer::start_with_tls(&authority, "127.0.0.1");
    for (trusted, own, name, told) in [
        (&other, &authority, None, "no authority in"),
        (&authority, &authority, Some("server.dc1.consul"), "it is for other names"),
        (&authority, &other, None, "our certificate"),
    ] {
        let setup = Setup::new().section("safety", json!({"startup_timeout": "1s"}));
        let ca = trusted.write(setup.paths.root.join("ca.pem"));
        let [cert, key] = own.sign("proxymgr").write(&setup.paths.root, "own");
        let tls = json!({"ca": ca, "cert": cert, "key": key, "server_name": name});
        setup.paths.write_service("web", &json!({"type": "consul", "service": "web", "port": free_port()}));
        let section = json!({"servers": consul.secure_address(), "tls": tls});
        let proxymgr = setup.section("consul", section).start();
        let line = wait_for_message(&proxymgr, told);
        assert_eq!(line.fields["consul"], consul.secure_address(), "{line:?}");
    }
}
