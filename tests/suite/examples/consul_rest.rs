//! A catalog of Consul with the tag `rest`, and values of its store.

use serde_json::json;

use crate::support::backend::{Backend, Backends};
use crate::support::consul::{ConsulServer, Instance};
use crate::support::deadline::eventually;
use crate::support::example::Example;
use crate::support::haproxy;
use crate::support::load::Load;
use crate::support::ports::free_port;
use crate::support::proxymgr::Proxymgr;
use crate::support::requests::{SOON, local};
use crate::support::routed::{wait_for, wait_for_all, who};
use crate::support::running::{assert_config_says_what_runs, reloads, wait_for_message};

/// Why a value of the registry reloads.
const VALUES: &str = "global or defaults changed";

fn add(consul: &ConsulServer, service: &str, server: &Backend, id: &str) {
    let instance = Instance { service, id, address: server.address };
    consul.register(&instance, json!({"Tags": ["rest"]}));
}

/// Waits until the process that serves takes so many connections.
#[track_caller]
fn wait_for_maxconn(proxymgr: &Proxymgr, wanted: u32) {
    eventually(SOON, &format!("maxconn {wanted} is in force"), || {
        let info = haproxy::ask(&proxymgr.paths.stats_socket, "show info").unwrap_or_default();
        let told = info.lines().find_map(|line| line.strip_prefix("Maxconn: ")).map(str::to_owned);
        if told == Some(wanted.to_string()) { Ok(()) } else { Err(told) }
    });
}

fn of_values(proxymgr: &Proxymgr) -> usize {
    reloads(proxymgr).iter().filter(|reason| *reason == VALUES).count()
}

#[test]
fn tagged_services_and_values_are_followed_under_load() {
    let (consul, backends, port) = (ConsulServer::start(), Backends::new(), free_port());
    let [one, two, three, four] = ["one", "two", "three", "four"].map(|name| backends.start(name));
    add(&consul, "hello", &one, "one");
    consul.write("service/haproxy/maxconn", "2000");
    let example = Example::of("consul-rest")
        .variable("CONSUL_AGENT", &consul.address())
        .variable("REST_BIND", &format!("127.0.0.1:{port}"));
    let checked = example.said(&["check"]);
    assert_eq!(checked.code, 0, "{checked:?}");
    let proxymgr = example.start();
    wait_for(port, "/hello/v1", "one");
    wait_for_maxconn(&proxymgr, 2000);
    let load = Load::to(local(port)).path("/hello").short(2).keep_alive(2).rate(200).start();

    // A tagged service becomes reachable, another one does not.
    consul.add("plain", "three", &three);
    add(&consul, "world", &two, "two");
    wait_for(port, "/world", "two");
    assert_eq!([who(port, "test", "/plain"), who(port, "test", "/hello2")], ["404", "404"]);
    // Instances come and go by their registration and their checks, without a reload.
    let before = proxymgr.reloads();
    add(&consul, "hello", &four, "four");
    wait_for_all(port, "/hello", &["four", "one"]);
    consul.check("one", "fail");
    wait_for_all(port, "/hello", &["four"]);
    consul.check("one", "pass");
    wait_for_all(port, "/hello", &["four", "one"]);
    consul.remove("four");
    wait_for_all(port, "/hello", &["one"]);
    assert_eq!(proxymgr.reloads(), before);

    // A value is one reload, and in force.
    consul.write("service/haproxy/maxconn", "3000");
    wait_for_maxconn(&proxymgr, 3000);
    assert_eq!(of_values(&proxymgr), 1);
    // One that HAProxy refuses changes nothing, is told, and stands in no other's way.
    consul.write("service/haproxy/timeout/server", "soon");
    wait_for_message(&proxymgr, "service/haproxy/timeout/server");
    let status = example.said(&["status"]).stdout;
    assert!(status.contains("Value refused: service/haproxy/timeout/server: HAProxy says: "), "{status}");
    consul.write("service/haproxy/maxconn", "2500");
    wait_for_maxconn(&proxymgr, 2500);
    assert_eq!(of_values(&proxymgr), 2);
    let config = std::fs::read_to_string(&proxymgr.paths.haproxy_cfg).unwrap();
    assert!(config.contains("timeout server 1m"), "{config}");
    consul.delete("service/haproxy/timeout/server");
    eventually(SOON, "nothing is refused any more", || {
        let status = example.said(&["status"]).stdout;
        if status.contains("service/haproxy") { Err(status) } else { Ok(()) }
    });

    // A service that is deregistered is gone.
    consul.remove("two");
    wait_for(port, "/world", "404");
    let report = load.stop();
    println!("{report}");
    report.assert_no_errors();
    assert_config_says_what_runs(&proxymgr.paths);
    let differs = example.said(&["render", "--diff"]);
    assert_eq!((differs.code, differs.stdout.as_str()), (0, ""), "{differs:?}");
}
